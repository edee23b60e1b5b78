"""Taking out of an inbox what is there, without an event loop: a step of its awaitables returns at once or waits."""

from collections.abc import AsyncIterator, Awaitable
from typing import Any, cast


class NothingWaits(Exception):
    """The reader would have to wait."""


def take(awaitable: Awaitable[Any]) -> Any:
    """What is there."""
    try:
        cast("Any", awaitable).send(None)
    except StopIteration as stop:
        return stop.value
    raise NothingWaits


def take_all(stream: AsyncIterator[Any]) -> list[Any]:
    """All that is there, up to where the reader would wait or the stream ends."""
    taken: list[Any] = []
    while True:
        try:
            taken.append(take(anext(stream)))
        except (NothingWaits, StopAsyncIteration):
            return taken
