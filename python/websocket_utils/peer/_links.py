"""The links of a peer: from an opened connection through the handshake to a link that stands, and to its end.

Nothing that a stranger sends is delivered: until it is proven who that is, a connection takes the messages of the
handshake alone, each of a few hundred bytes, and only so long.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Literal, NamedTuple, cast

from websocket_utils import _core
from websocket_utils._handshake import Opened
from websocket_utils._redaction import on_one_line
from websocket_utils.config import WebSocketConfig
from websocket_utils.exceptions import (
    ConnectionClosed,
    MessageTooBig,
    PeerLost,
    PeerNameTaken,
    PeerNotProven,
    PeerRefused,
    RemoteProtocolError,
    SendQueueFull,
)

from ._events import PeerEvent, PeerGap, PeerJoined, PeerLeft
from ._link import Dial, Link, LinkConnection, Meeting
from ._messages import PeerChallenge, PeerHello, PeerWelcome
from ._proofs import Keys, Role, is_name, is_nonce
from ._proofs import Meeting as Said
from ._requests import RequestTable
from ._sequences import Missed, SequenceFault

__all__ = ["DUPLICATE", "Links", "Superseded"]

PeerCodec = Literal["json", "msgpack"]

# Close codes of this package's own (RFC 6455 §7.4.2).
_MALFORMED = 4400
_NOT_PROVEN = 4401
_LATE = 4408
_NAME_TAKEN = 4409
DUPLICATE = 4410
_TOO_MANY = 1013
_GOING_AWAY = 1001
# Of a message of the handshake: name, two numbers, a nonce and a proof.
_MAX_MEETING_BYTES = 1024
_NONCE_BYTES = 32
_INSTANCE_BITS = 63
# JSON has no end of numbers; what is counted here has.
_MOST = 1 << 64


class Superseded(Exception):
    """A dial that is not needed: there is a link with that peer, or it is dialling."""


class _Settled(NamedTuple):
    """What both sides' numbers say: who it is with, where the peer's go on (None: both begin anew), what is lost."""

    instance: int
    goes_on_at: int | None
    ours: Missed | None
    theirs: Missed | None


class Links:
    """All links of one peer.

    Args:
        name: Our name.
        keys: By which peers prove who they are.
        loop: The event loop.
        inbox: Where messages go.
        config: Bounds and timeouts.
        codec: How messages are sent.
        max_peers: Names that are remembered.
        max_requests: Requests in flight to one peer.
        tell: Is told what happens.
        logger: Where what strangers do is logged.

    Attributes:
        instance: Drawn at the start: who comes back with another one has forgotten what was before.
        refused: Connections that this side has refused.
    """

    def __init__(
        self,
        name: str,
        keys: Keys,
        *,
        loop: asyncio.AbstractEventLoop,
        inbox: _core.Inbox,
        config: WebSocketConfig,
        codec: PeerCodec,
        max_peers: int,
        max_requests: int,
        tell: Callable[[PeerEvent], None],
        logger: logging.Logger,
    ) -> None:
        self.name = name
        self.instance = secrets.randbits(_INSTANCE_BITS) | 1
        self.refused = 0
        self._keys = keys
        self._loop = loop
        self._inbox = inbox
        self._config = config
        self._codec: PeerCodec = codec
        self._max_peers = max_peers
        self._max_requests = max_requests
        self._tell = tell
        self.raised: Callable[[LinkConnection], object] = lambda _: None
        """Is told of each link that has come to stand."""
        self._logger = logger
        self._links: dict[str, Link] = {}
        # Transports that are not read are referred to by nobody else.
        self._connections: set[LinkConnection] = set()
        self._closing: dict[LinkConnection, asyncio.TimerHandle] = {}
        self._empty = asyncio.Event()
        self._empty.set()
        self._is_over = False
        inbox.control(PeerChallenge, self._on_challenge, consume=True, longest=_MAX_MEETING_BYTES)
        inbox.control(PeerHello, self._on_hello, consume=True, longest=_MAX_MEETING_BYTES)
        inbox.control(PeerWelcome, self._on_welcome, consume=True, longest=_MAX_MEETING_BYTES)

    # --- what there is ---

    @property
    def all(self) -> dict[str, Link]:
        """By name, those that do not stand among them."""
        return self._links

    def up(self) -> tuple[LinkConnection, ...]:
        """The connections of those that stand."""
        return tuple(link.connection for link in self._links.values() if link.connection is not None)

    def link(self, name: str) -> Link:
        """The link with that peer, made where it is not known yet."""
        link = self._links.get(name)
        if link is None:
            link = self._links[name] = Link(name, RequestTable(self._max_requests))
        return link

    def _has_room(self, name: str) -> bool:
        """Whether one more name may be remembered; the oldest that is of no use now is forgotten for it."""
        if name in self._links or len(self._links) < self._max_peers:
            return True
        idle = next((one for one, link in self._links.items() if link.is_idle), None)
        if idle is None:
            return False
        del self._links[idle]
        return True

    # --- connections ---

    def take_accepted(self, opened: Opened) -> LinkConnection:
        """Somebody has dialled us."""
        connection = self._make(opened, "listener", None)
        self._loop.call_soon(self._challenge, connection)
        return connection

    def take_dialled(self, opened: Opened, dial: Dial) -> LinkConnection:
        """A dial of ours has led somewhere."""
        return self._make(opened, "dialler", dial)

    def _make(self, opened: Opened, role: Role, dial: Dial | None) -> LinkConnection:
        connection = LinkConnection(
            is_client=role == "dialler",
            format=self._codec,
            inbox=self._inbox,
            owner=self,
            transport=opened.transport,
            event_loop=self._loop,
            descriptor=opened.descriptor,
            watched_descriptor=opened.watched_descriptor,
            transport_busy=opened.transport_busy,
            max_message_size=self._config.max_message_size,
            max_send_queue=self._config.max_send_queue,
            deflate=opened.deflate,
            compression_threshold=self._config.compression_threshold,
            enveloped=True,
        )
        connection.link, connection.peer, connection.leave = None, "", opened.leave
        connection.own = connection.control = 0
        deadline = self._loop.call_later(self._config.open_timeout, self._on_late, connection)
        connection.meeting = Meeting(connection, role, secrets.token_hex(_NONCE_BYTES), deadline, dial)
        connection.mute(self._on_stray, _MAX_MEETING_BYTES)
        opened.announce(connection)
        self._connections.add(connection)
        self._empty.clear()
        return connection

    def connection_closing(self, connection: LinkConnection) -> None:
        """The closing handshake has begun: it gets `close_timeout`, then the transport is aborted."""
        self._closing[connection] = self._loop.call_later(self._config.close_timeout, connection.abort)
        self._over(connection, self._reason(connection, None))

    def connection_lost(self, connection: LinkConnection, error: BaseException | None) -> None:
        """The connection is over."""
        timer = self._closing.pop(connection, None)
        if timer is not None:
            timer.cancel()
        self._over(connection, self._reason(connection, error))
        self._connections.discard(connection)
        connection.leave()
        if not self._connections:
            self._empty.set()

    def _reason(self, connection: LinkConnection, error: BaseException | None) -> ConnectionClosed:
        closed = cast("ConnectionClosed", connection.closed_error())
        closed.__cause__ = error
        if connection.fault is not None:
            code, reason = connection.fault
            too_big = code == 1009  # noqa: PLR2004  # message too big, RFC 6455 §7.4.1
            closed.__cause__ = (
                MessageTooBig(None, self._config.max_message_size) if too_big else RemoteProtocolError(code, reason)
            )
        return closed

    def _over(self, connection: LinkConnection, error: BaseException) -> None:
        meeting = connection.meeting
        if meeting is not None:
            self._end_meeting(meeting, error)
        elif connection.link is not None:
            self.end(connection, error)

    def end(self, connection: LinkConnection, error: BaseException) -> None:
        """A link is lost: every request on it fails, and the peer is told of as gone."""
        link, connection.link = connection.link, None
        if link is None or link.connection is not connection:
            return
        link.end()
        connection.stop_delivering()
        for answer, _ in link.requests.take_all():
            if not answer.done():
                lost = PeerLost(link.name)
                lost.__cause__ = error
                answer.set_exception(lost)
        if not self._is_over:
            self._tell(PeerLeft(link.name, error))

    def cut(self, connection: LinkConnection, error: BaseException) -> None:
        """End a link, and its connection, now."""
        self.end(connection, error)
        connection.abort()

    # --- the handshake ---

    def _challenge(self, connection: LinkConnection) -> None:
        meeting = connection.meeting
        if meeting is not None and connection.is_open:
            self._say(connection, PeerChallenge(self.name, self.instance, meeting.nonce))

    def _say(self, connection: LinkConnection, message: object) -> None:
        try:
            connection.send(message)
        except (ConnectionClosed, SendQueueFull):
            connection.abort()

    def _on_challenge(self, connection: LinkConnection, message: PeerChallenge) -> None:
        meeting = connection.meeting
        if meeting is None or meeting.dial is None or meeting.challenge is not None:
            self._refuse(connection, _MALFORMED, "a PeerChallenge is the listener's first message")
            return
        dial, name = meeting.dial, message.name
        if (
            not is_name(name)
            or not is_nonce(message.nonce)
            or not _are_numbers(message.instance)
            or not message.instance
        ):
            self._refuse(connection, _MALFORMED, "that is no name, no nonce or no instance")
        elif dial.expected is not None and name != dial.expected:
            self._refuse(connection, _NAME_TAKEN, f"a peer {dial.expected!r} was expected here, not {name!r}")
        elif name == self.name:
            self._refuse(connection, _NAME_TAKEN, f"both sides are called {name!r}")
        elif not self._has_room(name):
            self._refuse(connection, _TOO_MANY, "too many peers")
        else:
            meeting.challenge, dial.met = message, name
            self._greet(meeting, self.link(name), message)

    def _greet(self, meeting: Meeting, link: Link, challenge: PeerChallenge) -> None:
        assert meeting.dial is not None  # noqa: S101  # the caller has looked
        connection = meeting.connection
        if link.is_up or link.greeting is not None:
            meeting.error = Superseded()
            connection.close(DUPLICATE, "there is a link already")
            return
        said = Said(self.name, link.name, meeting.nonce, challenge.nonce)
        proof = self._keys.proof(said, "dialler", link.name)
        if proof is None:
            self._refuse(connection, _NOT_PROVEN, f"there is no key for {link.name!r}")
            return
        knows = link.book.knows(challenge.instance)
        meeting.link, meeting.knows, link.greeting = link, challenge.instance if knows else 0, meeting
        self._say(
            connection,
            PeerHello(
                name=self.name,
                instance=self.instance,
                nonce=meeting.nonce,
                proof=proof,
                knows=meeting.knows,
                attempt=meeting.dial.attempt,
                links=link.links if knows else 0,
                sent=link.book.sent if knows else 0,
                received=link.book.received if knows else 0,
            ),
        )

    def _on_hello(self, connection: LinkConnection, message: PeerHello) -> None:
        meeting = connection.meeting
        if meeting is None or meeting.role != "listener" or not connection.is_open:
            self._refuse(connection, _MALFORMED, "a PeerHello is the dialler's first message")
            return
        name = message.name
        numbers = (message.instance, message.knows, message.attempt, message.links, message.sent, message.received)
        if not is_name(name) or not is_nonce(message.nonce) or not _are_numbers(*numbers) or not message.instance:
            self._refuse(connection, _MALFORMED, "that is no name, no nonce, or no number")
            return
        said = Said(name, self.name, message.nonce, meeting.nonce)
        if not self._keys.are_proven(said, "dialler", name, message.proof):
            self._refuse(connection, _NOT_PROVEN, "the key is another one")
        elif name == self.name:
            self._refuse(connection, _NAME_TAKEN, f"both sides are called {name!r}")
        elif not self._has_room(name):
            self._refuse(connection, _TOO_MANY, "too many peers")
        else:
            self._judge(meeting, self.link(name), message, said)

    def _judge(self, meeting: Meeting, link: Link, hello: PeerHello, said: Said) -> None:
        connection = meeting.connection
        decision = link.standing(self.name).judge(hello.instance, hello.attempt, hello.links)
        if decision == "taken":
            self._refuse(connection, _NAME_TAKEN, f"there is another peer called {link.name!r}")
            return
        if decision == "duplicate":
            self._refuse(connection, DUPLICATE, "there is a link already, or a dial that goes before")
            return
        proof = self._keys.proof(said, "listener", link.name)
        if proof is None:
            # Its own key was shown a moment ago.
            self._refuse(connection, _NOT_PROVEN, "there is no key")
            return
        if link.connection is not None:
            self.cut(link.connection, PeerRefused(link.name, DUPLICATE, "the peer has dialled again"))
        if link.greeting is not None:
            link.greeting.error = Superseded()
            link.greeting.connection.close(DUPLICATE, "the peer's own dial goes before")
        book = link.book
        # It knows nothing of us and has sent nothing: the last welcome to it was lost, with all that was behind it.
        is_unheard = hello.knows == hello.sent == hello.received == book.received == 0
        goes_on = book.knows(hello.instance) and (hello.knows == self.instance or is_unheard)
        settled = self._compare(connection, link, hello.instance, hello.sent, hello.received, goes_on=goes_on)
        if settled is None:
            return
        sent, received = (book.sent, book.received) if goes_on else (0, 0)
        self._say(connection, PeerWelcome(proof, hello.instance if goes_on else 0, sent, received))
        self._raise(meeting, link, settled, is_new=not goes_on, attempt=hello.attempt)

    def _on_welcome(self, connection: LinkConnection, message: PeerWelcome) -> None:
        meeting = connection.meeting
        if meeting is None or meeting.dial is None or meeting.link is None or meeting.challenge is None:
            self._refuse(connection, _MALFORMED, "a PeerWelcome answers a PeerHello")
            return
        if not _are_numbers(message.knows, message.sent, message.received):
            self._refuse(connection, _MALFORMED, "that is no number")
            return
        link, challenge = meeting.link, meeting.challenge
        said = Said(self.name, link.name, meeting.nonce, challenge.nonce)
        if not self._keys.are_proven(said, "listener", link.name, message.proof):
            self._refuse(connection, _NOT_PROVEN, "the key is another one")
            return
        goes_on = message.knows == self.instance
        if meeting.knows == 0:
            link.begin(challenge.instance)
        settled = self._compare(connection, link, challenge.instance, message.sent, message.received, goes_on=goes_on)
        if settled is not None:
            self._raise(meeting, link, settled, is_new=not goes_on or meeting.knows == 0, attempt=0)

    def _compare(
        self, connection: LinkConnection, link: Link, instance: int, sent: int, received: int, *, goes_on: bool
    ) -> _Settled | None:
        """What the numbers of both sides say; None if the peer's can't be: it is refused."""
        if not goes_on:
            return _Settled(instance, None, None, None)
        try:
            return _Settled(instance, sent, *link.book.check(sent, received))
        except SequenceFault as fault:
            self._refuse(connection, _MALFORMED, str(fault)[:100])
            return None

    def _raise(self, meeting: Meeting, link: Link, settled: _Settled, *, is_new: bool, attempt: int) -> None:
        connection = meeting.connection
        if not connection.is_open:
            # Nothing is settled that the peer does not hear of: the next link begins where this one would have.
            return
        meeting.deadline.cancel()
        if link.greeting is meeting:
            link.greeting = None
        if settled.goes_on_at is None:
            link.begin(settled.instance)
        else:
            link.book.go_on(settled.goes_on_at)
        link.raise_on(connection, is_own_dial=meeting.role == "dialler", attempt=attempt)
        connection.unmute()
        if settled.ours is not None:
            self._tell(PeerGap(link.name, "sent", *settled.ours))
        if settled.theirs is not None:
            self._tell(PeerGap(link.name, "received", *settled.theirs))
        self._tell(PeerJoined(link.name, is_new))
        if meeting.dial is not None and not meeting.dial.outcome.done():
            meeting.dial.outcome.set_result(link)
        # A handler of these may have ended it.
        if link.connection is connection:
            self.raised(connection)

    def _on_stray(self, connection: LinkConnection) -> None:
        self._refuse(connection, _MALFORMED, "the handshake comes first")

    def _on_late(self, connection: LinkConnection) -> None:
        self._refuse(connection, _LATE, f"no handshake within {self._config.open_timeout:g} s")

    def _refuse(self, connection: LinkConnection, code: int, reason: str) -> None:
        if not connection.is_open:
            return
        meeting = connection.meeting
        whom = connection.peer
        if meeting is not None:
            meeting.error = _refusal(meeting.dial.url if meeting.dial is not None else "a stranger", code, reason)
            whom = meeting.dial.url if meeting.dial is not None else "somebody"
        if code != DUPLICATE:
            self.refused += 1
            self._logger.debug("%s is refused: %s (%d)", whom, on_one_line(reason), code)
        connection.close(code, reason)

    def _end_meeting(self, meeting: Meeting, error: BaseException) -> None:
        connection = meeting.connection
        connection.meeting = None
        connection.stop_delivering()
        meeting.deadline.cancel()
        link = meeting.link
        if link is not None and link.greeting is meeting:
            link.greeting = None
            # Who never proved to have that name leaves none behind; a dial that gives way has a link to give way to.
            is_unknown = link.is_idle and not link.book.instance and not isinstance(meeting.error, Superseded)
            if is_unknown and self._links.get(link.name) is link:
                del self._links[link.name]
        if meeting.dial is None:
            return
        received = error.received if isinstance(error, ConnectionClosed) else None
        if meeting.error is not None:
            meeting.dial.fail(meeting.error)
        elif received is not None and received.code == DUPLICATE:
            meeting.dial.fail(Superseded())
        elif received is not None:
            meeting.dial.fail(_refusal(meeting.dial.expected or meeting.dial.url, received.code, received.reason))
        else:
            meeting.dial.fail(error)

    # --- the end ---

    async def close(self) -> None:
        """Close all connections, and wait until they are gone."""
        self._is_over = True
        for connection in tuple(self._connections):
            connection.close(_GOING_AWAY, "the peer is closing")
        await self._empty.wait()


def _are_numbers(*values: int) -> bool:
    return all(0 <= value < _MOST for value in values)


def _refusal(peer: str, code: int, reason: str) -> PeerRefused:
    kind = {_NAME_TAKEN: PeerNameTaken, _NOT_PROVEN: PeerNotProven}.get(code, PeerRefused)
    return kind(peer, code, reason)
