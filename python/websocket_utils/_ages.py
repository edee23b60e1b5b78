"""When a server looks for clients that have taken nothing for too long: `Disconnect(age=...)`."""

import asyncio
from collections.abc import Callable, Iterable

from ._slow import Disconnect
from .namespaces import Namespace

__all__ = ["AgeWatch"]

# How much later than its age a client may be disconnected, as a part of that age.
_LATE = 1 / 8


class AgeWatch:
    """Calls `check` often enough for the smallest age of some namespaces; never where none has one.

    Args:
        loop: The server's.
        namespaces: All that are declared.
        check: Disconnects who has been behind for too long.
    """

    __slots__ = ("_check", "_interval", "_loop", "_timer")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, namespaces: Iterable[Namespace], check: Callable[[], object]
    ) -> None:
        ages = [space.slow.age for space in namespaces if isinstance(space.slow, Disconnect) and space.slow.age]
        self._loop = loop
        self._check = check
        self._interval = min(ages) * _LATE if ages else None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look from now on."""
        if self._interval is not None:
            self._timer = self._loop.call_later(self._interval, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self.start()
        self._check()
