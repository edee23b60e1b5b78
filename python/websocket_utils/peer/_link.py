"""What there is with one peer, over all its connections."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from websocket_utils._connection import Connection

from ._clock_offset import ClockEstimate
from ._messages import PeerChallenge
from ._pairing import Standing
from ._proofs import Role
from ._requests import RequestTable
from ._sequences import SequenceBook

__all__ = ["Answer", "Dial", "Link", "LinkConnection", "Meeting", "PeerLink"]


# Number, kind and message of an answer, as it comes.
Answer = tuple[int, str, bytes]
# Of a request: its answer, and the seconds that there are for it.
Ticket = tuple["asyncio.Future[Answer]", float]


@dataclass(frozen=True, slots=True)
class PeerLink:
    """What there was with one peer when `peer.links` was asked."""

    name: str
    """Whom it is with."""
    is_up: bool
    """Whether it stands: messages can be sent."""
    is_own_dial: bool
    """Whether this side dialled it last."""
    round_trip_time: float | None
    """Seconds there and back, the shortest of the last samples; None before the first."""
    clock_offset: float | None
    """Seconds that the peer's clock is ahead of ours, wrong by half of `round_trip_time` at most; None as above."""
    sent: int
    """Number of the last message to this instance of the peer: its sequence in our direction."""
    received: int
    """The same of the peer's messages."""
    connections: int
    """How often the link with this instance came to stand."""
    requests_waiting: int
    """Requests that wait for an answer."""
    late_answers: int
    """Answers that came for requests nobody waited for any more."""


class LinkConnection(Connection):
    """One connection of a link.

    Attributes:
        link: Whose it is; None before it is proven.
        peer: Whom it is with; empty before that.
        meeting: The handshake that is under way on it; None before and behind it.
        own: What was sent on it that has no number: all but the users' messages.
        control: The same of what was received.
        leave: Gives its place among the connections back.
    """

    __slots__ = ("control", "leave", "link", "meeting", "own", "peer")

    link: "Link | None"
    peer: str
    meeting: "Meeting | None"
    own: int
    control: int
    leave: Callable[[], None]


@dataclass(eq=False, slots=True)
class Dial:
    """One dial of ours: where to, whom we expect there (None: anybody), who says to be there, and what comes of it."""

    url: str
    expected: str | None
    attempt: int
    outcome: "asyncio.Future[Link]"
    met: str | None = None

    def fail(self, error: BaseException) -> None:
        """It comes to nothing."""
        if not self.outcome.done():
            self.outcome.set_exception(error)


@dataclass(eq=False, slots=True)
class Meeting:
    """A handshake on one connection."""

    connection: LinkConnection
    role: Role
    nonce: str
    deadline: asyncio.TimerHandle
    dial: Dial | None = None
    challenge: PeerChallenge | None = None
    link: "Link | None" = None
    """With whom, once a dialler's `PeerHello` has left."""
    knows: int = 0
    """What that said."""
    error: BaseException | None = None
    """Why this side ends it."""


@dataclass(eq=False)
class Link:
    """What is known of one peer.

    Attributes:
        name: The peer's.
        greeting: A dial of ours whose `PeerHello` has left.
        attempt: Number of the peer's dial that made the link.
        links: How often a link with this instance stood.
        at_least: Counters of the connection when the link came to stand.
    """

    name: str
    requests: "RequestTable[Ticket]"
    book: SequenceBook = field(default_factory=SequenceBook)
    clock: ClockEstimate = field(default_factory=ClockEstimate)
    connection: LinkConnection | None = None
    greeting: Meeting | None = None
    is_own_dial: bool = False
    attempt: int = 0
    links: int = 0
    sent_before: int = 0
    received_before: int = 0
    waiting: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_up(self) -> bool:
        """Whether messages can be sent."""
        return self.connection is not None

    @property
    def is_idle(self) -> bool:
        """Whether it may be forgotten: there is nothing, and nobody waits for it."""
        return self.connection is None and self.greeting is None and not self.waiting

    def numbers(self) -> tuple[int, int]:
        """Messages sent and received on the connection there is."""
        connection = self.connection
        if connection is None:
            return 0, 0
        sent = connection.sent_counters()[0] - self.sent_before - connection.own
        return sent, connection.messages_received - self.received_before - connection.control

    def begin(self, instance: int) -> None:
        """Begin anew, with an instance of the peer that there is no past in common with."""
        self.book.begin(instance)
        self.clock.clear()
        self.links = 0

    def raise_on(self, connection: LinkConnection, *, is_own_dial: bool, attempt: int) -> None:
        """It stands, on that connection."""
        connection.link, connection.peer, connection.meeting = self, self.name, None
        connection.own = connection.control = 0
        self.connection = connection
        self.is_own_dial, self.attempt = is_own_dial, attempt
        self.links += 1
        self.sent_before = connection.sent_counters()[0]
        self.received_before = connection.messages_received
        self._tell_changed()

    def end(self) -> None:
        """The connection is over; what it brought is counted."""
        sent, received = self.numbers()
        self.book.end(max(0, sent), max(0, received))
        self.connection = None
        self._tell_changed()

    def _tell_changed(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    async def wait(self, *, up: bool) -> None:
        """Wait until it stands, or does not any more."""
        self.waiting += 1
        try:
            while self.is_up is not up:
                await self.changed.wait()
        finally:
            self.waiting -= 1

    def standing(self, own: str) -> Standing:
        """What is to be known to judge a `PeerHello` of this peer."""
        return Standing(
            own=own,
            peer=self.name,
            has_greeted=self.greeting is not None,
            instance=self.book.instance if self.is_up else None,
            is_own_dial=self.is_own_dial,
            attempt=self.attempt,
            links=self.links,
        )

    def snapshot(self) -> PeerLink:
        """What can be told of it now."""
        sent, received = self.numbers()
        return PeerLink(
            name=self.name,
            is_up=self.is_up,
            is_own_dial=self.is_own_dial,
            round_trip_time=self.clock.round_trip_time,
            clock_offset=self.clock.offset,
            sent=self.book.sent + sent,
            received=self.book.received + received,
            connections=self.links,
            requests_waiting=len(self.requests),
            late_answers=self.requests.late,
        )
