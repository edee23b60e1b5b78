"""What travels on a link besides the users' messages."""

import msgspec

from websocket_utils.messages import Int64, Message, UInt64

__all__ = [
    "PeerAnnouncement",
    "PeerChallenge",
    "PeerEcho",
    "PeerFailure",
    "PeerHello",
    "PeerPlace",
    "PeerProbe",
    "PeerRoster",
    "PeerWelcome",
]


class PeerChallenge(Message, gc=False):
    """The first message of a link, from the side that listens."""

    name: str
    """Its name."""
    instance: UInt64
    """Drawn at its start: a peer that comes back with another one has forgotten what was before."""
    nonce: str
    """32 random bytes, in hexadecimal digits."""


class PeerHello(Message, gc=False):
    """The answer of the side that dialled."""

    name: str
    instance: UInt64
    nonce: str
    proof: str
    """That it knows the key; empty without one."""
    knows: UInt64
    """The listener's instance that the numbers below go on from; 0 if it had no link with this one."""
    attempt: UInt64
    """Number of this dial: of two, the later one counts."""
    links: UInt64
    """How many links with this instance it has had."""
    sent: UInt64
    """Messages sent to this instance so far."""
    received: UInt64
    """Messages of this instance that it has."""


class PeerWelcome(Message, gc=False):
    """The last message of a handshake: the link stands."""

    proof: str
    knows: UInt64
    """The dialler's instance that the numbers below go on from; 0 if numbering begins anew."""
    sent: UInt64
    received: UInt64


class PeerProbe(Message, gc=False):
    """Asks for the other side's time."""

    sent: Int64
    """Nanoseconds, by the asker's clock."""


class PeerEcho(Message, gc=False):
    """Answers a probe."""

    sent: Int64
    """As the probe has it."""
    received: Int64
    """When the probe came, in nanoseconds, by this side's clock."""
    returned: Int64
    """When this left."""


class PeerFailure(Message, gc=False):
    """Says why a request is not answered. Requests and answers are what they ask and answer, behind a head."""

    number: UInt64
    kind: str
    """`unknown`, `busy`, `expired`, or the class of the error that the handler raised."""
    reason: str


class PeerPlace(msgspec.Struct, gc=False):
    """Where a peer can be dialled."""

    name: str
    instance: UInt64
    url: str
    """Empty if it only dials."""


class PeerAnnouncement(Message, gc=False):
    """A peer says at a rendezvous where it is."""

    channel: str
    """The channel that others learn of it by."""
    place: PeerPlace
    lease: float
    """Seconds that this holds, if it is not said again."""


class PeerRoster(Message):
    """All that are announced on a channel: the answer to a first announcement, and published on changes."""

    channel: str
    places: list[PeerPlace]
