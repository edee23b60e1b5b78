"""Events of a publisher on their way to who iterates over them."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

from ._events import PublisherEvent, UpdatesDropped

__all__ = ["Told"]

_MOST: Final = 4096


class Told:
    """The latest events, up to 4096 of them, and the error at their end.

    Attributes:
        dropped: Events that there was no room for.
    """

    __slots__ = ("_error", "_events", "_is_over", "_waiting", "dropped")

    def __init__(self) -> None:
        self._events: deque[PublisherEvent] = deque()
        self._waiting: list[asyncio.Future[None]] = []
        self._is_over = False
        self._error: BaseException | None = None
        self.dropped: int = 0

    def tell(self, event: PublisherEvent) -> None:
        """Keep an event; drops behind each other that nobody has taken become one."""
        last = self._events[-1] if self._events else None
        if isinstance(event, UpdatesDropped) and isinstance(last, UpdatesDropped):
            self._events[-1] = UpdatesDropped(last.count + event.count, last.first, event.last)
            return
        if len(self._events) >= _MOST:
            self._events.popleft()
            self.dropped += 1
        self._events.append(event)
        self._wake()

    def end(self, error: BaseException | None) -> None:
        """No more come; who iterates gets what is kept, and then the error, once."""
        if not self._is_over:
            self._is_over, self._error = True, error
            self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)

    async def events(self) -> AsyncIterator[PublisherEvent]:
        """Iterate."""
        while True:
            while self._events:
                yield self._events.popleft()
            if self._is_over:
                error, self._error = self._error, None
                if error is not None:
                    raise error
                return
            one = asyncio.get_running_loop().create_future()
            self._waiting.append(one)
            await one
