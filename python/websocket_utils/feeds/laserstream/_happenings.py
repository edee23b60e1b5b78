"""What happens to a stream, for who iterates over it and for callbacks."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Self, get_args
from weakref import WeakSet

from ..._event_handlers import EventHandlers
from ..._faults import Faults, is_power_of_ten
from ._events import StreamEvent, Unexpected

__all__ = ["EventStream", "Happenings"]

# As many as a client keeps.
_MOST_EVENTS = 4096
# A node chooses what it sends: so many kinds are counted apart.
_MOST_KINDS = 64
_LONGEST_TEXT = 120

_CLASSES = frozenset(get_args(StreamEvent))


class EventStream:
    """Iterates over events from its making on: the latest 4096 of them wait."""

    def __init__(self) -> None:
        self._waiting: deque[StreamEvent] = deque(maxlen=_MOST_EVENTS)
        self._waiters: list[asyncio.Future[None]] = []
        self._is_over = False
        self._error: BaseException | None = None

    def put(self, event: StreamEvent) -> None:
        """One more; over 4096 the oldest goes."""
        self._waiting.append(event)
        self._wake()

    def close(self, error: BaseException | None) -> None:
        """End behind what waits, with the error if there is one."""
        if not self._is_over:
            self._is_over, self._error = True, error
            self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamEvent:
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


class Happenings:
    """Events of a stream, told to all who asked for them.

    Args:
        faults: Takes what callbacks raise.
    """

    def __init__(self, faults: Faults) -> None:
        self._handlers = EventHandlers(faults)
        self._streams: WeakSet[EventStream] = WeakSet()
        self._unexpected: dict[str, int] = {}
        self._end: tuple[BaseException | None] | None = None
        self.forks = 0

    def stream(self) -> EventStream:
        """Return what iterates over all that is told from now on."""
        made = EventStream()
        if self._end is not None:
            made.close(self._end[0])
        self._streams.add(made)
        return made

    def on(self, type_: Any, callback: Callable[[Any], object]) -> None:
        """Call `callback` with each event of a class, or of a union of classes.

        Raises:
            TypeError: If it names anything else.
        """
        classes = get_args(type_) or (type_,)
        if not _CLASSES.issuperset(classes):
            raise TypeError(f"{type_} is no event of a stream: messages come from what its methods return")
        self._handlers.add(classes, callback)

    def tell(self, event: StreamEvent) -> None:
        """It has happened."""
        for stream in tuple(self._streams):
            stream.put(event)
        self._handlers.call(event)

    @property
    def unexpected(self) -> int:
        """How much has come that nobody asked for."""
        return sum(self._unexpected.values())

    def count_unexpected(self, what: str, detail: str) -> Unexpected | None:
        """Count what nobody asked for; returns the event, if this is a time that is told."""
        what = what[:_LONGEST_TEXT]
        if what not in self._unexpected and len(self._unexpected) >= _MOST_KINDS:
            what = "others"
        count = self._unexpected[what] = self._unexpected.get(what, 0) + 1
        return Unexpected(what, detail[:_LONGEST_TEXT], count) if is_power_of_ten(count) else None

    def close(self, error: BaseException | None) -> None:
        """Nothing happens any more."""
        self._end = (error,)
        for stream in tuple(self._streams):
            stream.close(error)
