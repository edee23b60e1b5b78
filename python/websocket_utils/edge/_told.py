"""Events of a publisher on their way to who iterates over them."""

from websocket_utils._event_queue import EventQueue

from ._events import PublisherEvent, UpdatesDropped

__all__ = ["Told"]


class Told(EventQueue[PublisherEvent]):
    """The latest events: drops behind each other that nobody has taken are one."""

    __slots__ = ()

    def put(self, event: PublisherEvent) -> None:
        """One more."""
        last = self._waiting[-1] if self._waiting else None
        if isinstance(event, UpdatesDropped) and isinstance(last, UpdatesDropped):
            self._waiting[-1] = UpdatesDropped(last.count + event.count, last.first, event.last)
        else:
            super().put(event)
