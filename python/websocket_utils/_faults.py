"""Errors without a caller: what handlers raise, and messages that some receiver cannot be given."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from . import _core
from .exceptions import CodecError, DecodeError

__all__ = ["Faults", "is_power_of_ten"]


def is_power_of_ten(count: int) -> bool:
    """Whether the `count`-th time (from 1) is one that gets a line in the log."""
    return str(count).strip("0") == "1"


class Faults:
    """Logs errors at a bounded rate and hands `DecodeError`s to who asked for them.

    A peer decides how often a message is broken, so each kind of error is logged at its 1st, 10th, 100th... time: a log
    can't be flooded, and the count says how many there were.
    """

    __slots__ = ("_counts", "_logger", "_on_decode_error", "_tasks")

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._counts: dict[type[BaseException], int] = {}
        self._on_decode_error: list[Callable[[DecodeError], object]] = []
        # A task that nobody refers to may be collected before it is done.
        self._tasks: set[asyncio.Future[Any]] = set()

    def on_decode_error(self, callback: Callable[[DecodeError], object]) -> None:
        """Call `callback` with each `DecodeError` instead of logging it."""
        self._on_decode_error.append(callback)

    def report(self, error: BaseException) -> None:
        """Take an error that has no caller."""
        if isinstance(error, DecodeError) and self._on_decode_error:
            for callback in self._on_decode_error:
                try:
                    callback(error)
                except Exception as raised:  # noqa: BLE001  # a callback's error must not end the read
                    self._log(raised)
            return
        self._log(error)

    def run(self, awaitable: Awaitable[Any], connection: _core.Connection, nbytes: int) -> None:
        """Run what an `async def` handler returned for a message of `nbytes` bytes from `connection`.

        While such handlers of a connection work on more than `max_inbox`, nothing is read from it.
        """
        if not asyncio.iscoroutine(awaitable) and not asyncio.isfuture(awaitable):
            # A handler that returns some value: it means nothing to us.
            return
        task = self.keep(awaitable)
        connection.begin_handling(nbytes)
        task.add_done_callback(lambda _: connection.end_handling(nbytes))

    def keep(self, awaitable: Awaitable[Any]) -> "asyncio.Future[Any]":
        """Run an awaitable to its end, or until `finish`; what it raises is reported."""
        task = asyncio.ensure_future(awaitable)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Future[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log(error)

    async def finish(self, within: float | None = None) -> None:
        """Cancel handlers that still run and wait for them; but not for the one that asks for it.

        Args:
            within: Seconds to wait at most; None waits until all have ended.
        """
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=within)

    def _log(self, error: BaseException) -> None:
        count = self._counts.get(type(error), 0) + 1
        self._counts[type(error)] = count
        if not is_power_of_ten(count):
            return
        seen = f" (seen {count} times; logged at each power of ten)" if count > 1 else ""
        if isinstance(error, CodecError):
            self._logger.warning("%s%s", error, seen)
        else:
            self._logger.error("error in a handler: %s%s", error, seen, exc_info=error)
