"""What happens to a stream, for who iterates over it and for callbacks."""

from collections.abc import Callable
from typing import Any, get_args
from weakref import WeakSet

from ..._event_handlers import EventHandlers
from ..._event_queue import EventQueue
from ..._faults import Faults, is_power_of_ten
from ._events import StreamEvent, Unexpected

__all__ = ["Happenings"]

# A node chooses what it sends: so many kinds are counted apart.
_MOST_KINDS = 64
_LONGEST_TEXT = 120

_CLASSES = frozenset(get_args(StreamEvent))


class Happenings:
    """Events of a stream, told to all who asked for them.

    Args:
        faults: Takes what callbacks raise.
    """

    def __init__(self, faults: Faults) -> None:
        self._handlers = EventHandlers(faults)
        self._streams: WeakSet[EventQueue[StreamEvent]] = WeakSet()
        self._unexpected: dict[str, int] = {}
        self._end: tuple[BaseException | None] | None = None
        self.forks = 0

    def stream(self) -> EventQueue[StreamEvent]:
        """Return what iterates over all that is told from now on."""
        made: EventQueue[StreamEvent] = EventQueue()
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
