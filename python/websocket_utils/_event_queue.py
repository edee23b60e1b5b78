"""Events on their way to who iterates over them: of streams of nodes, peers and publishers to the edge."""

import asyncio
from collections import deque
from typing import Final, Generic, Self, TypeVar

__all__ = ["EventQueue"]

E = TypeVar("E")

_MOST: Final = 4096


class EventQueue(Generic[E]):
    """Iterates over events: the latest 4096 of them wait, and each is handed out once, whoever iterates.

    Attributes:
        dropped: Events that there was no room for.
    """

    __slots__ = ("__weakref__", "_error", "_is_over", "_waiters", "_waiting", "dropped")

    def __init__(self) -> None:
        self._waiting: deque[E] = deque()
        self._waiters: list[asyncio.Future[None]] = []
        self._is_over = False
        self._error: BaseException | None = None
        self.dropped: int = 0

    def put(self, event: E) -> None:
        """One more; over 4096 the oldest goes."""
        if len(self._waiting) >= _MOST:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(event)
        self._wake()

    def close(self, error: BaseException | None) -> None:
        """No more come; who iterates gets what waits, then the error once, then the end."""
        if not self._is_over:
            self._is_over, self._error = True, error
            self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E:
        while not self._waiting:
            if self._is_over:
                error, self._error = self._error, None
                if error is not None:
                    raise error
                raise StopAsyncIteration
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)
        return self._waiting.popleft()
