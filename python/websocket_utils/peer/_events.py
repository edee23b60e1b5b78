"""What happens between peers, as values: items of `peer.events()`, and for `peer.on`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from websocket_utils._event_handlers import EventHandlers
from websocket_utils._event_queue import EventQueue
from websocket_utils._faults import Faults

__all__ = ["PeerDialFailed", "PeerEvent", "PeerEvents", "PeerGap", "PeerJoined", "PeerLeft", "peer_event_classes"]


@dataclass(frozen=True, slots=True)
class PeerJoined:
    """A peer is there: it has proved who it is, and the link stands."""

    name: str
    """Whom the link is with."""

    is_new: bool
    """It knows nothing of links before: it has just started, or this side has."""


@dataclass(frozen=True, slots=True)
class PeerLeft:
    """The link with a peer is lost. Behind all that it brought."""

    name: str
    """Whom the link was with."""

    error: BaseException
    """Why: a `ConnectionClosed` with the close code, a `HeartbeatTimeout`, a `SendQueueFull`..."""


@dataclass(frozen=True, slots=True)
class PeerGap:
    """Messages did not come over when a link was lost. They are not sent again. In front of `PeerJoined`."""

    name: str
    """Whom the link is with."""

    direction: Literal["sent", "received"]
    """Whose they are: ours, or the peer's."""

    first: int
    """Number of the first one, as `links[name].sent` and `.received` count them."""

    last: int
    """Number of the last one."""


@dataclass(frozen=True, slots=True)
class PeerDialFailed:
    """A dial failed, or the peer refused the link; it goes on being dialled. Told again when the error is another."""

    name: str | None
    """Whom the link was to be with; None where only the URL is known."""

    url: str
    """What was dialled, without credentials."""

    error: BaseException
    """Why: a `PeerRefused`, a `HandshakeError`, an `OSError`..."""


PeerEvent = PeerJoined | PeerLeft | PeerGap | PeerDialFailed
"""Any of these."""

_CLASSES = frozenset(get_args(PeerEvent))


def peer_event_classes(type_: Any) -> tuple[type, ...]:
    """The classes of events that a type names; empty if it names none.

    Raises:
        TypeError: If it names events and messages: they come in different ways.
    """
    members = get_args(type_) or (type_,)
    events = tuple(member for member in members if member in _CLASSES)
    if events and len(events) < len(members):
        raise TypeError(f"{type_} names events and messages: register the handler for each kind")
    return events


class PeerEvents:
    """Tells events to handlers, inside what brings them about, and keeps the latest for who iterates.

    Args:
        faults: Takes what handlers raise, and runs what `async def` handlers return.

    Attributes:
        kept: What is told, for who iterates.
    """

    kept: EventQueue[PeerEvent]

    def __init__(self, faults: Faults) -> None:
        self._handlers = EventHandlers(faults)
        self.kept = EventQueue()

    def on(self, classes: tuple[type, ...], handler: Callable[[Any], object]) -> None:
        """Call `handler` with each event of these classes."""
        self._handlers.add(classes, handler)

    def tell(self, event: PeerEvent) -> None:
        """Something has happened."""
        self.kept.put(event)
        self._handlers.call(event)
