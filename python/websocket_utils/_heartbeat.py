"""Heartbeat: pings that find out whether a silent peer is still there (RFC 6455 §5.5.2).

One timer serves all connections of a client or server. A connection that has brought any byte since the last round is
alive and gets no ping, so a busy link costs nothing. A silent one gets a ping; if it is still silent `timeout` seconds
later it is dead. Any byte counts as an answer: a pong behind a big message is a sign of life before it is parsed.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

__all__ = ["Heartbeat"]


class _Beating(Protocol):
    @property
    def is_open(self) -> bool: ...
    def take_activity(self) -> bool: ...
    def ping(self, payload: bytes = b"", /) -> None: ...


C = TypeVar("C", bound=_Beating)


class Heartbeat(Generic[C]):
    """Rounds of pings over the connections that `connections()` yields.

    Args:
        loop: Its `call_later` is all that is used.
        interval: Seconds between two rounds.
        timeout: Seconds a pinged connection has to show a sign of life.
        connections: The connections to look at, asked anew each round.
        on_dead: Called with each connection that showed none.
    """

    __slots__ = ("_connections", "_interval", "_loop", "_on_dead", "_timeout", "_timers", "_unanswered")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        interval: float,
        timeout: float,
        connections: Callable[[], Iterable[C]],
        on_dead: Callable[[C], None],
    ) -> None:
        self._loop = loop
        self._interval = interval
        self._timeout = timeout
        self._connections = connections
        self._on_dead = on_dead
        # The next round and the checks of rounds before: a timeout may be longer than the interval.
        self._timers: dict[object, asyncio.TimerHandle] = {}
        # Pinged and silent since, each with the round that pinged it.
        self._unanswered: dict[C, list[C]] = {}

    def start(self) -> None:
        """Begin; the first pings leave after one interval."""
        self._schedule(self._interval, self._round)

    def stop(self) -> None:
        """End; nothing is called afterwards."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._unanswered.clear()

    def _schedule(self, delay: float, action: Callable[[], None]) -> None:
        key = object()

        def due() -> None:
            del self._timers[key]
            action()

        self._timers[key] = self._loop.call_later(delay, due)

    def _round(self) -> None:
        silent: list[C] = []
        for connection in self._connections():
            if connection.take_activity():
                self._unanswered.pop(connection, None)
            elif connection.is_open and connection not in self._unanswered:
                silent.append(connection)
        # Timers first: a ping may end its connection, and whoever hears of that may stop us.
        self._schedule(self._interval, self._round)
        if silent:
            self._schedule(self._timeout, lambda: self._check(silent))
        for connection in silent:
            if connection.is_open:
                self._unanswered[connection] = silent
                connection.ping()

    def _check(self, pinged: list[C]) -> None:
        for connection in pinged:
            # With a timeout longer than the interval it may have answered, and been pinged anew, in a round since.
            if self._unanswered.get(connection) is not pinged:
                continue
            del self._unanswered[connection]
            if connection.is_open and not connection.take_activity():
                self._on_dead(connection)
