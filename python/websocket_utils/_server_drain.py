"""Carries the timetable of a drain out on a server's connections, and begins one on a signal."""

import asyncio
import contextlib
import logging
import random
import signal
from collections.abc import Callable, Collection, Coroutine, Generator
from typing import Any, Final

from ._connection import ServerConnection
from ._draining import Step, Timetable, timetable
from ._subscription_protocol import SUBPROTOCOLS
from .exceptions import ConnectionClosed, SendQueueFull
from .messages import GoAway

__all__ = ["Drain", "on_signals"]

_logger = logging.getLogger("websocket_utils.server")

# IANA's registry of close codes (RFC 6455 §11.7): the server restarts, its clients may come back at once.
_SERVICE_RESTART: Final = 1012
_REASON: Final = "service restart"
# How often those are looked at that had not taken what was sent to them when they were to be closed.
_LOOK_SECONDS: Final = 0.05


class Drain:
    """One drain: tells peers to go, closes them, and ends when none is left, or at its deadline.

    Args:
        connections: Returns those that are open now.
        flush: Writes what was published in this turn.
        deadline: Seconds until it ends.
        window: Seconds over which the peers are to leave.
        batch: The most peers that are told or closed in one turn of the event loop.
    """

    def __init__(
        self,
        connections: Callable[[], Collection[ServerConnection]],
        flush: Callable[[], None],
        *,
        deadline: float,
        window: float,
        batch: int,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._connections = connections
        self._flush = flush
        self._began = self._loop.time()
        self._timetable = self._planned(deadline, window, batch)
        self._batch = batch
        # Closed as soon as they have taken what was sent to them.
        self._behind: list[ServerConnection] = []
        self._over = asyncio.Event()

    def _planned(self, deadline: float, window: float, batch: int) -> Timetable[ServerConnection]:
        told: list[ServerConnection] = []
        plain: list[ServerConnection] = []
        for connection in self._connections():
            (told if connection.subprotocol in SUBPROTOCOLS else plain).append(connection)
        # Jitter is no secret.
        return timetable(told, plain, deadline=deadline, window=window, batch=batch, chance=random.random)

    @property
    def left(self) -> float:
        """Seconds until the deadline; 0 behind it."""
        return max(0.0, self._began + self._timetable.deadline - self._loop.time())

    def stop(self) -> None:
        """End it now: no connection is left, or they are closed otherwise."""
        self._over.set()

    async def run(self) -> None:
        """Carry it out; returns when it is over, whatever is left then."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._began + self._timetable.deadline):
                for step in self._timetable.steps:
                    if await self._waited_in_vain(step.at):
                        return
                    self._take(step)
                while self._behind:
                    if await self._waited_in_vain(self._now() + _LOOK_SECONDS):
                        return
                    self._look()
                await self._over.wait()

    def _now(self) -> float:
        return self._loop.time() - self._began

    async def _waited_in_vain(self, at: float) -> bool:
        """Wait for a time of the timetable; returns whether there is nothing left to do then."""
        # In any case one turn: what a step has queued is written, and others have theirs.
        await asyncio.sleep(0)
        while not self._over.is_set() and (rest := at - self._now()) > 0:
            with contextlib.suppress(TimeoutError):
                # In pieces: who is behind is looked at meanwhile.
                async with asyncio.timeout(min(rest, _LOOK_SECONDS)):
                    await self._over.wait()
            self._look()
        return self._over.is_set()

    def _take(self, step: Step[ServerConnection]) -> None:
        for connection, after in step.notices:
            # One that does not read gets no notice: the close ends it.
            with contextlib.suppress(SendQueueFull, ConnectionClosed):
                connection.send(GoAway(after, _REASON))
        if step.closes:
            # What was published in this turn leaves before the close frames.
            self._flush()
            self._close(step.closes)

    def _look(self) -> None:
        behind, self._behind = self._behind, []
        for first in range(0, len(behind), self._batch):
            self._close(behind[first : first + self._batch])

    def _close(self, connections: Collection[ServerConnection]) -> None:
        is_late = self._now() >= self._timetable.last
        for connection in connections:
            if not connection.is_open:
                continue
            if connection.send_queue_bytes and not is_late:
                self._behind.append(connection)
            else:
                connection.close(_SERVICE_RESTART, _REASON)


@contextlib.contextmanager
def on_signals(first: Callable[[], Coroutine[Any, Any, None]]) -> Generator[None]:
    """Run `first` as a task at the first SIGTERM or SIGINT; the second one cancels it. So does leaving the block.

    Where the event loop has no signal handlers, as on Windows, signals do what they did before.
    """
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[None]] = []

    def on_signal() -> None:
        if tasks:
            tasks[0].cancel()
        else:
            tasks.append(loop.create_task(first()))

    before = signal.getsignal(signal.SIGINT)
    installed: list[signal.Signals] = []
    with contextlib.suppress(NotImplementedError):
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)
            installed.append(number)
    try:
        yield
    finally:
        for number in installed:
            loop.remove_signal_handler(number)
        if signal.SIGINT in installed:
            # The loop leaves Python's own handler behind; the runner's cancels its task.
            signal.signal(signal.SIGINT, before)
        for task in tasks:
            task.cancel()
