"""What a publisher and the object at the edge say to each other, beside the batches."""

from websocket_utils.messages import Message, UInt64

__all__ = ["PublicationRejected", "PublisherAcknowledged", "PublisherWelcome"]


class PublisherWelcome(Message, gc=False):
    """The first word of the edge on each connection of a publisher: what it has of this name."""

    name: str
    """Name of the publisher."""
    epoch: UInt64
    """The greatest epoch it has heard of, in milliseconds since 1970; 0 if it knows none."""
    sequence: UInt64
    """The last update of that epoch that it has, on its disk; 0 if none."""


class PublisherAcknowledged(Message, gc=False):
    """All updates of an epoch up to a sequence are on the disk of the edge."""

    epoch: UInt64
    """Epoch of the publisher."""
    sequence: UInt64
    """The last of them."""


class PublicationRejected(Message, gc=False):
    """One update is not published. It counts as had: it is acknowledged like the others, and not sent again."""

    epoch: UInt64
    """Epoch of the publisher."""
    sequence: UInt64
    """Which update."""
    channel: str
    """The channel it was for."""
    code: int
    """4400: the channel's name or the payload is none; 4403: not for this publisher; 4404: no such namespace; 4413: too
    big."""
    reason: str
    """Why, in words."""
