"""Heartbeat: pings that find out whether a silent peer is still there (RFC 6455 §5.5.2).

One timer serves all connections of a client or server. A connection that has brought any byte since the last round is
alive and gets no ping, so a busy link costs nothing. A silent one gets a ping; if it is still silent `timeout` seconds
later it is dead. Any byte counts as an answer: a pong behind a big message is a sign of life before it is parsed.

What is not the peer's fault is not held against it:

- A loop that was busy for long finds timers due before it has read what waits in the socket, and may have sent the ping
  late. A check that is late waits once more, for as long as it was late; each one lets the loop read first.
- A connection whose reading is held shows no sign of life. Its socket is asked for an error, which is the kernel's
  finding (`_transport.py` has it look).
- A machine that slept finds its peers gone, mostly. All are asked at once, with little time to answer.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

from .exceptions import ConnectionClosed, SendQueueFull
from .messages import Ping

__all__ = ["Heartbeat", "MessageHeartbeat", "system_clocks"]

# A timer that fires later than this waited for a loop that did something else.
_LATE_SECONDS = 0.05
# A machine slept when its time went on by more than this without the clock that stands still in sleep.
_ASLEEP_SECONDS = 1.0
# How often that is looked for.
_LOOK_SECONDS = 1.0
# How long a peer has to answer a machine that wakes up.
_WAKE_SECONDS = 2.0
_NONCE_BYTES = 8
# `Ping` messages whose time is kept.
_MOST_UNANSWERED = 16


class _Beating(Protocol):
    @property
    def is_open(self) -> bool: ...
    def take_activity(self) -> bool: ...
    def has_socket_error(self) -> bool: ...
    def ping(self, payload: bytes = b"", /) -> None: ...


C = TypeVar("C", bound=_Beating)


def system_clocks() -> tuple[float, float]:
    """Monotonic seconds, without and with those that the machine slept; the same twice where only one is known."""
    monotonic = time.monotonic()
    # Linux has it.
    boot: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return monotonic, monotonic if boot is None else time.clock_gettime(boot)


class Heartbeat(Generic[C]):
    """Rounds of pings over the connections that `connections()` yields.

    Each ping has a payload of its own, so that a pong tells which one it answers.

    Args:
        loop: Its `call_later`, `call_soon` and `time` are used.
        interval: Seconds between two rounds.
        timeout: Seconds a pinged connection has to show a sign of life.
        connections: The connections to look at, asked anew each round.
        on_dead: Called with each connection that showed none.
        on_broken: Called with each whose socket has an error that nothing reads; None is `on_dead`.
        clocks: Gives monotonic seconds, without and with those that the machine slept; None does not look for sleep.
    """

    __slots__ = (
        "_clocks",
        "_connections",
        "_interval",
        "_loop",
        "_nonce",
        "_on_broken",
        "_on_dead",
        "_slept",
        "_timeout",
        "_timers",
        "_unanswered",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        interval: float,
        timeout: float,
        connections: Callable[[], Iterable[C]],
        on_dead: Callable[[C], None],
        on_broken: Callable[[C], None] | None = None,
        clocks: Callable[[], tuple[float, float]] | None = None,
    ) -> None:
        self._loop = loop
        self._interval = interval
        self._timeout = timeout
        self._connections = connections
        self._on_dead = on_dead
        self._on_broken = on_broken or on_dead
        self._clocks = clocks
        self._slept = 0.0
        self._nonce = 0
        # The next round and the checks of rounds before: a timeout may be longer than the interval.
        self._timers: dict[object, asyncio.Handle] = {}
        # Pinged and silent since, each with the round that pinged it.
        self._unanswered: dict[C, list[C]] = {}

    def start(self) -> None:
        """Begin; the first pings leave after one interval."""
        self._schedule(self._interval, self._round)
        if self._clocks is not None:
            awake, all_time = self._clocks()
            self._slept = all_time - awake
            self._schedule(min(self._interval, _LOOK_SECONDS), self._look_for_sleep)

    def stop(self) -> None:
        """End; nothing is called afterwards."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._unanswered.clear()

    def _schedule(self, delay: float, action: Callable[[], None]) -> None:
        key = object()
        self._timers[key] = self._loop.call_later(delay, self._due, key, action)

    def _schedule_soon(self, action: Callable[[], None]) -> None:
        key = object()
        self._timers[key] = self._loop.call_soon(self._due, key, action)

    def _due(self, key: object, action: Callable[[], None]) -> None:
        del self._timers[key]
        action()

    def _round(self) -> None:
        silent: list[C] = []
        broken: list[C] = []
        for connection in self._connections():
            if connection.take_activity():
                self._unanswered.pop(connection, None)
                # One whose reading is held is counted as active.
                if connection.has_socket_error():
                    broken.append(connection)
            elif connection.is_open and connection not in self._unanswered:
                silent.append(connection)
        # Timers first: a ping may end its connection, and whoever hears of that may stop us.
        self._schedule(self._interval, self._round)
        self._ask(silent, self._timeout)
        for connection in broken:
            self._on_broken(connection)

    def _look_for_sleep(self) -> None:
        if self._clocks is None:
            return
        awake, all_time = self._clocks()
        before, self._slept = self._slept, all_time - awake
        self._schedule(min(self._interval, _LOOK_SECONDS), self._look_for_sleep)
        if self._slept - before <= _ASLEEP_SECONDS:
            return
        # What came before the sleep says nothing about now.
        asked = [connection for connection in self._connections() if connection.is_open]
        for connection in asked:
            connection.take_activity()
        self._ask(asked, min(self._timeout, _WAKE_SECONDS))

    def _ask(self, silent: list[C], timeout: float) -> None:
        if silent:
            self._check_in(timeout, silent, again=True)
        for connection in silent:
            if connection.is_open:
                self._unanswered[connection] = silent
                self._nonce += 1
                connection.ping(self._nonce.to_bytes(_NONCE_BYTES, "big"))

    def _check_in(self, delay: float, pinged: list[C], *, again: bool) -> None:
        due = self._loop.time() + delay

        def check() -> None:
            late = self._loop.time() - due
            if again and late > _LATE_SECONDS:
                # The ping may have left as late.
                self._check_in(min(late, delay), pinged, again=False)
            else:
                # What is called soon from a timer still runs before anything is read; what that calls soon does not.
                self._schedule_soon(lambda: self._schedule_soon(lambda: self._check(pinged)))

        self._schedule(delay, check)

    def _check(self, pinged: list[C]) -> None:
        for connection in pinged:
            # With a timeout longer than the interval it may have answered, and been pinged anew, in a round since.
            if self._unanswered.get(connection) is not pinged:
                continue
            del self._unanswered[connection]
            if connection.is_open and not connection.take_activity():
                self._on_dead(connection)


class _MessagePings:
    """A connection whose pings are messages; `asked_ns` is when those that are not answered were sent."""

    __slots__ = ("_clock_ns", "_connection", "asked_ns")

    def __init__(self, connection: "_Messaging", clock_ns: Callable[[], int]) -> None:
        self._connection = connection
        self._clock_ns = clock_ns
        # Of a peer that sends data and never a `Pong` no more is kept.
        self.asked_ns: deque[int] = deque(maxlen=_MOST_UNANSWERED)

    @property
    def is_open(self) -> bool:
        return self._connection.is_open

    def take_activity(self) -> bool:
        return self._connection.take_activity()

    def has_socket_error(self) -> bool:
        return self._connection.has_socket_error()

    def ping(self, payload: bytes = b"", /) -> None:
        # `Ping` has no field for it.
        del payload
        now_ns = self._clock_ns()
        try:
            self._connection.send(Ping())
        except (ConnectionClosed, SendQueueFull):
            # It ends, or its peer reads nothing: not this ping either.
            return
        self.asked_ns.append(now_ns)


class _Messaging(_Beating, Protocol):
    def send(self, message: Ping, /) -> object: ...


M = TypeVar("M", bound=_Messaging)


class _Recorder(Protocol):
    def record(self, value_ns: int, /) -> None: ...


class MessageHeartbeat:
    """A heartbeat of one connection by `Ping` and `Pong` messages, for peers that know no ping frames.

    Args:
        loop: As for `Heartbeat`.
        connection: Has `send`, `take_activity`, `has_socket_error` and `is_open`.
        interval: Seconds between two rounds.
        timeout: Seconds the connection has to show a sign of life after a ping.
        on_dead: Called with the connection if it showed none.
        rtt: `record` is called with the nanoseconds from each ping to its pong.
        on_broken: As for `Heartbeat`.
        clocks: As for `Heartbeat`.
        clock_ns: Monotonic nanoseconds.
    """

    __slots__ = ("_clock_ns", "_heartbeat", "_pings", "_rtt")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connection: M,
        *,
        interval: float,
        timeout: float,
        on_dead: Callable[[M], None],
        rtt: _Recorder,
        on_broken: Callable[[M], None] | None = None,
        clocks: Callable[[], tuple[float, float]] | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        pings = self._pings = _MessagePings(connection, clock_ns)
        broken = on_broken or on_dead
        self._heartbeat = Heartbeat(
            loop,
            interval=interval,
            timeout=timeout,
            connections=lambda: (pings,),
            on_dead=lambda _: on_dead(connection),
            on_broken=lambda _: broken(connection),
            clocks=clocks,
        )
        self._rtt = rtt
        self._clock_ns = clock_ns

    def start(self) -> None:
        """Begin; the first ping leaves after one interval of silence."""
        self._heartbeat.start()

    def stop(self) -> None:
        """End; nothing is called afterwards."""
        self._heartbeat.stop()

    def pong_received(self) -> None:
        """A `Pong` has come: it answers the oldest ping that is not answered."""
        if self._pings.asked_ns:
            self._rtt.record(self._clock_ns() - self._pings.asked_ns.popleft())
