"""What `connect` and `bind` return: one object to be awaited, or entered with `async with`."""

from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

__all__ = ["Closing", "Opening"]


class _Closable(Protocol):
    """Something that has to be closed."""

    async def close(self) -> None:
        """Close it; calling it again does nothing."""


C = TypeVar("C", bound=_Closable)


class Closing:
    """Makes an open object a context manager too, for who awaited it first: `async with client:`."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self: _Closable, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


class Opening(Generic[C]):
    """Something that is opened when it is awaited or entered, and closed when it is left.

    Args:
        opened: The object, not yet open.
        opens: Opens it.
    """

    __slots__ = ("_opened", "_opens")

    def __init__(self, opened: C, opens: Callable[[], Awaitable[object]]) -> None:
        self._opened = opened
        self._opens = opens

    async def _open(self) -> C:
        await self._opens()
        return self._opened

    def __await__(self) -> Generator[Any, None, C]:
        return self._open().__await__()

    async def __aenter__(self) -> C:
        return await self._open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._opened.close()
