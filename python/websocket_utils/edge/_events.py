"""What happens to a publisher that its caller must know, as values: items of `publisher.events()`, and for `on`."""

from dataclasses import dataclass

from websocket_utils.events import Disconnected, Reconnected

__all__ = [
    "AcknowledgementsStalled",
    "EdgeForgot",
    "PublisherEvent",
    "PublishingResumed",
    "UpdateRejected",
    "UpdatesDropped",
]


@dataclass(frozen=True, slots=True)
class UpdateRejected:
    """The edge has refused one update: it is not published, and not sent again."""

    number: int | None
    """What `publish` returned for it; None where it was acknowledged before it was refused."""

    channel: str
    """The channel it was for."""

    code: int
    """4400, 4403, 4404 or 4413: see `PublicationRejected`."""

    reason: str
    """The edge's words."""


@dataclass(frozen=True, slots=True)
class UpdatesDropped:
    """Updates that were never sent were left out for newer ones, as `when_full` says."""

    count: int
    """How many since the event before."""

    first: int
    """Number of the first of them, as `publish` returned it."""

    last: int
    """Number of the last of them; in between there may be some that were not dropped."""


@dataclass(frozen=True, slots=True)
class AcknowledgementsStalled:
    """The edge takes updates and acknowledges none: the connection is given up for another one."""

    count: int
    """Updates that were sent and are not acknowledged."""

    age: float
    """Seconds since the last acknowledgement, or since the first of them was sent."""


@dataclass(frozen=True, slots=True)
class PublishingResumed:
    """A new connection has said what the edge has; what it lacks is sent again."""

    acknowledged: int
    """Updates that it turned out to have. Had it refused one of them, the word of that went with the old connection."""

    resent: int
    """Updates that are sent again."""


@dataclass(frozen=True, slots=True)
class EdgeForgot:
    """The edge lacks updates that it had acknowledged, because its disk is another one. They can't be sent again.

    Numbering begins anew, with what is not acknowledged.
    """

    epoch: int
    """The new epoch."""

    count: int
    """Updates that it had acknowledged and lacks: all those of the epoch before, where it knows nothing of that."""


PublisherEvent = (
    UpdateRejected
    | UpdatesDropped
    | AcknowledgementsStalled
    | PublishingResumed
    | EdgeForgot
    | Disconnected
    | Reconnected
)
"""What `EdgePublisher.events()` yields."""
