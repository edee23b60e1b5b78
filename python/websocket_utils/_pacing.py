"""Delivering things when they are due: when a recorded moment is, and the loop that waits for it.

A source says when its next item is due, in seconds since it began, and makes that item when it is taken: a price made
at its due time carries the time of sending, not of planning. `Player` takes what is due and sleeps between. No clock is
read here except through arguments, so that tests move time as they like.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

__all__ = ["MOST_ARREARS", "MOST_PER_TURN", "NANOSECONDS", "Pace", "Player", "Source"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

NANOSECONDS = 1_000_000_000
# Items between two turns of the event loop: some 50 us of work, so that connections are served in between.
MOST_PER_TURN = 64
# Arrears over this are forgiven: after a pause of the process, a burst of old prices helps nobody.
MOST_ARREARS = 1.0


class Pace:
    """When each of some recorded moments is due, in seconds since the first one.

    A moment that is not known, or lies before the one in front of it, is due at once.

    Args:
        speed: Factor on the recorded pace; None makes everything due at once.
    """

    __slots__ = ("_due", "_last", "_speed")

    def __init__(self, speed: float | None = 1.0) -> None:
        self._speed = speed
        self._last: int | None = None
        self._due = 0.0

    def due(self, at: int | None) -> float:
        """When the next moment is due, which was recorded at `at` nanoseconds."""
        if at is not None:
            if self._last is not None and self._speed is not None:
                self._due += max(0, at - self._last) / NANOSECONDS / self._speed
            self._last = at
        return self._due


class Source(Protocol[T_co]):
    """Items in order."""

    def due(self) -> float | None:
        """When the next item is due, in seconds since the source began; None when there is none."""
        ...

    def take(self) -> T_co:
        """Make the next item; allowed once `due` has said that there is one."""
        ...


async def _next_turn() -> None:
    await asyncio.sleep(0)


class Player(Generic[T]):
    """Delivers items when they are due; several sources that it plays one after the other share one beginning.

    Args:
        deliver: Called with each item.
        clock: Seconds, from anywhere.
        sleep: Waits for seconds of that clock.
        end_turn: Awaited after each `MOST_PER_TURN` items that were due without a wait.
    """

    __slots__ = ("_begun", "_clock", "_deliver", "_end_turn", "_in_turn", "_sleep")

    def __init__(
        self,
        deliver: Callable[[T], object],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        end_turn: Callable[[], Awaitable[None]] = _next_turn,
    ) -> None:
        self._deliver = deliver
        self._clock = clock
        self._sleep = sleep
        self._end_turn = end_turn
        self._begun: float | None = None
        self._in_turn = 0

    async def play(self, source: Source[T]) -> None:
        """Deliver each item of `source` when it is due."""
        begun = self._clock() if self._begun is None else self._begun
        while (due := source.due()) is not None:
            ahead = due - (self._clock() - begun)
            if ahead > 0:
                await self._sleep(ahead)
                self._in_turn = 0
            elif self._in_turn == MOST_PER_TURN:
                await self._end_turn()
                self._in_turn = 0
            elif ahead < -MOST_ARREARS:
                begun -= ahead
            self._deliver(source.take())
            self._in_turn += 1
        self._begun = begun
