"""A timer of the door: how late the event loop runs it is the loop's lag, and once a second it takes a sample."""

import asyncio
from collections.abc import Callable

from ._facts import Counted
from ._samples import Samples

__all__ = ["Pulse"]

_INTERVAL = 0.1
# What lag says the loop is not well, and for how long.
_LONGEST_LAG = 1.0
_REMEMBERED_SECONDS = 10.0


class Pulse:
    """Measures the event loop until it is stopped.

    Args:
        loop: The event loop.
        counted: Reads the server's counters.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, counted: Callable[[], Counted]) -> None:
        self._loop = loop
        self._counted = counted
        self.samples = Samples(counted(), loop.time())
        """What it has measured."""
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._arm()

    def _arm(self) -> None:
        self._due = self._loop.time() + _INTERVAL
        self._timer = self._loop.call_at(self._due, self._beat)

    def _beat(self) -> None:
        now = self._loop.time()
        self.samples.beat(max(0.0, now - self._due), now)
        if self.samples.is_due(now):
            self.samples.take(self._counted(), now)
        self._arm()

    @property
    def worst_lag(self) -> float:
        """The longest lag of the last seconds, that of a timer that should have run by now included."""
        now = self._loop.time()
        return max(self.samples.worst_lag(_REMEMBERED_SECONDS, now), now - self._due if self._timer else 0.0)

    @property
    def is_well(self) -> bool:
        """Whether no timer of the last seconds was a second late."""
        return self.worst_lag < _LONGEST_LAG

    def stop(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
