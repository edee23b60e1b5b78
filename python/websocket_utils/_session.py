"""One connection of a link, from its handshake to its end: authenticated, subscribed, live, lost.

    took the transport -> authenticate (if asked for) -> subscriptions, acknowledgements (where given) -> restored

Received messages are delivered from the first one on, whatever is still to be done. A session ends once: by its
connection, or by `fail`, which does not wait for the connection to notice.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Protocol, TypeVar, cast

from . import _core
from ._connection import Connection
from ._handshake import Opened
from ._heartbeat import MessageHeartbeat, system_clocks
from ._own_sends import OwnSends
from ._recovery import Recovery, Renewal
from ._subscription_protocol import SUBPROTOCOLS, ConnectionProtocol, RecoveringProtocol, SubscriptionProtocol, Wish
from ._subscriptions import Acknowledgements
from ._terms import Terms
from .exceptions import (
    AuthenticationFailed,
    ConnectionClosed,
    HeartbeatTimeout,
    MessageTooBig,
    RemoteProtocolError,
    SubscribeRejected,
    SubscribeTimeout,
    WebSocketError,
)

__all__ = ["Login", "Session", "SessionOwner"]

T = TypeVar("T")

# Close codes that this side fails a connection with and that are no violation of the protocol (RFC 6455 §7.4.1).
_MESSAGE_TOO_BIG = 1009
_INTERNAL_ERROR = 1011
# The close code of servers that want to know who we are; others use it so too.
_NOT_AUTHENTICATED = 4401
_PROTOCOL_ERROR = 1002


class SessionOwner(Protocol):
    """A link, as its sessions see it."""

    @property
    def inbox(self) -> _core.Inbox:
        """Where received messages go."""
        ...

    @property
    def recovery(self) -> Recovery:
        """What is known of its channels."""
        ...

    def session_authenticated(self, session: "Session") -> None: ...
    def session_restored(self, session: "Session") -> None: ...
    def session_lost(self, session: "Session", error: BaseException) -> None: ...
    def session_gone(self, session: "Session") -> None: ...
    def expect_replies(self) -> None: ...
    def channel_rejected(self, channel: str, error: SubscribeRejected) -> None: ...


class Login:
    """A connection that is not yet authenticated, as the callable `authenticate` is given it.

    Attributes:
        epoch: Number of the connection.
        refresh: Whether the credentials used last were refused: take fresh ones.
    """

    __slots__ = ("_session", "epoch", "refresh")

    epoch: int
    refresh: bool

    def __init__(self, session: "Session", *, refresh: bool) -> None:
        self._session = session
        self.epoch = session.epoch
        self.refresh = refresh

    def send(self, message: Any) -> Awaitable[object]:
        """Send one message, ahead of everything else."""
        return self._session.own.send(message)

    async def receive(self, type_: type[T]) -> T:
        """Wait for the next message of a class; others meanwhile go where they always go.

        Raises:
            TimeoutError: If `authenticate` takes longer than `authenticate_timeout` altogether.
        """
        arrived: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        inbox = self._session.owner.inbox

        def take(connection: _core.Connection, message: T) -> None:
            if connection is self._session.connection and not arrived.done():
                arrived.set_result(message)

        inbox.control(type_, take, consume=True)
        try:
            return await arrived
        finally:
            inbox.uncontrol(type_)


class Session:
    """One connection of a link, and what has to be done before it is live.

    Args:
        owner: Is told of each step.
        terms: What all connections of the client have in common.
        epoch: Number of the connection.
        opened: What the opening handshake left.
        source: Which of the link's endpoints it leads to.
        now_ns: When that was (monotonic).
        is_successor: Whether it runs beside the connection that it is to replace.

    Attributes:
        protocol: How subscriptions are asked for on it.
        renewal: What its server says to the positions of this side; None where it sends none.
        is_recovered: Whether it was proven that nothing is missing between the connection before and this one.
    """

    __slots__ = (
        "_acknowledgements",
        "_closing_timer",
        "_deadline",
        "_heartbeat",
        "_login",
        "_terms",
        "acknowledges",
        "connection",
        "epoch",
        "has_ended",
        "is_authenticated",
        "is_recovered",
        "is_restored",
        "opened_ns",
        "own",
        "owner",
        "protocol",
        "renewal",
        "source",
    )

    acknowledges: bool
    connection: Connection
    epoch: int
    has_ended: bool
    is_authenticated: bool
    is_recovered: bool
    is_restored: bool
    opened_ns: int
    own: OwnSends
    owner: SessionOwner
    protocol: SubscriptionProtocol
    renewal: Renewal | None
    source: int

    def __init__(
        self,
        owner: SessionOwner,
        terms: Terms,
        epoch: int,
        opened: Opened,
        source: int,
        now_ns: int,
        *,
        is_successor: bool = False,
    ) -> None:
        self.owner = owner
        self._terms = terms
        self.protocol = terms.make_protocol()
        self.epoch = epoch
        self.source = source
        self.opened_ns = now_ns
        config = terms.config
        # Publications to who agreed to one of our subprotocols say where they stand, whoever asks for them.
        has_positions = opened.subprotocol in SUBPROTOCOLS
        self.connection = Connection(
            is_client=True,
            format=terms.codec,
            inbox=owner.inbox,
            owner=self,
            transport=opened.transport,
            event_loop=terms.loop,
            descriptor=opened.descriptor,
            watched_descriptor=opened.watched_descriptor,
            transport_busy=opened.transport_busy,
            max_message_size=config.max_message_size,
            max_send_queue=config.max_send_queue,
            deflate=opened.deflate,
            compression_threshold=config.compression_threshold,
            epoch=epoch,
            rtt=terms.rtt,
            positions=owner.recovery.positions if has_positions else None,
        )
        self.own = OwnSends(self.connection)
        opened.announce(self.connection)
        self.acknowledges = bool(self.protocol.replies) and self.protocol.speaks(opened.subprotocol)
        is_sequenced = has_positions and self.acknowledges and isinstance(self.protocol, RecoveringProtocol)
        self.renewal = owner.recovery.begin(is_successor=is_successor) if is_sequenced else None
        self._acknowledgements = Acknowledgements()
        self._deadline: asyncio.TimerHandle | None = None
        self._closing_timer: asyncio.TimerHandle | None = None
        self._login: asyncio.Task[None] | None = None
        self._heartbeat: MessageHeartbeat | None = None
        self.is_authenticated = False
        self.is_restored = False
        self.is_recovered = False
        self.has_ended = False

    # --- towards live ---

    def begin(self, *, refresh: bool = False) -> None:
        """Authenticate if that is asked for, then subscribe."""
        if self._terms.authenticate is None:
            self._authenticated()
        else:
            self._login = asyncio.create_task(self._authenticate(refresh))

    async def _authenticate(self, refresh: bool) -> None:
        assert self._terms.authenticate is not None  # noqa: S101  # the caller has looked
        timeout = self._terms.config.authenticate_timeout
        try:
            async with asyncio.timeout(timeout):
                await self._terms.authenticate(Login(self, refresh=refresh))
        except TimeoutError:
            self.fail(TimeoutError(f"authentication took longer than {timeout:g} s (authenticate_timeout)"))
        except ConnectionClosed:
            # The connection ended meanwhile, and says so itself.
            return
        except AuthenticationFailed as error:
            self.fail(error)
        except Exception as error:  # noqa: BLE001  # the user's callable: whatever it raises ends this attempt
            failure = AuthenticationFailed(f"the callable `authenticate` raised {error!r}")
            failure.__cause__ = error
            self.fail(failure)
        else:
            if not self.has_ended:
                self._authenticated()

    def _authenticated(self) -> None:
        self.is_authenticated = True
        self.owner.session_authenticated(self)
        config = self._terms.config
        if self._terms.heartbeat == "message" and config.ping_interval is not None:
            self._heartbeat = MessageHeartbeat(
                self._terms.loop,
                self.own,
                interval=config.ping_interval,
                timeout=config.ping_timeout,
                on_dead=lambda _: self.die_of_silence(),
                rtt=self._terms.rtt,
                on_broken=lambda _: self.connection.abort(),
                clocks=system_clocks,
            )
            self._heartbeat.start()
        try:
            self.subscribe(self._terms.subscriptions.channels)
        except Exception as error:  # noqa: BLE001  # the connection's end, or what the user's protocol raises
            # Not to be raised into the handshake that called: it would keep the connection's end to itself.
            self.fail(error)
            return
        self._look_for_end_of_restoring()

    def subscribe(self, channels: Sequence[str]) -> None:
        """Ask for channels; not before authentication, whose end asks for all."""
        if not channels or not self.is_authenticated or not self.connection.is_open:
            return
        # Before it is sent: an in-memory peer may answer inside the call.
        if self.acknowledges:
            self._acknowledgements.expect(channels, self._terms.loop.time(), self._terms.config.subscribe_timeout)
            self.owner.expect_replies()
            self._watch_deadline()
        for message in self._requests(channels):
            self.own.send(message)
        if not self.acknowledges:
            # Whoever waits had hoped for a server that does.
            for channel in channels:
                self._terms.waiters.settle(channel)

    def _requests(self, channels: Sequence[str]) -> Sequence[Any]:
        protocol, requests = self.protocol, self.protocol.subscribe(channels)
        if not isinstance(protocol, RecoveringProtocol):
            return requests
        return [made for request in requests for made in protocol.present(request, self._wish)]

    def _wish(self, name: str) -> Wish:
        positions = () if self.renewal is None else self.renewal.positions(name)
        return Wish(name, self._terms.subscriptions.slow(name), positions)

    def take_place(self) -> None:
        """It is the link's connection from here on: the first one, or in the place of another."""
        if self.renewal is None:
            self.owner.recovery.begin_blind()
        else:
            self.renewal.take_over()
        if isinstance(self.protocol, ConnectionProtocol):
            self.protocol.take_place(self.epoch)

    # Any: a message of whatever class the venue speaks.
    def take_reply(self, reply: Any) -> None:
        """The server has answered."""
        protocol = self.protocol
        settled = protocol.settle(reply)
        if self.renewal is not None and isinstance(protocol, RecoveringProtocol):
            positions, recovered = protocol.goes_on(reply)
            names = [name for name, refusal in settled if refusal is None]
            try:
                self.renewal.answer(names, positions, recovered, self._terms.subscriptions)
            except ValueError as error:
                self.connection.close(_PROTOCOL_ERROR, str(error))
                self.fail(RemoteProtocolError(_PROTOCOL_ERROR, str(error)))
                return
        for channel, refusal in settled:
            self.settle(channel, refusal)
        if isinstance(protocol, ConnectionProtocol) and self.connection.is_open:
            for message in protocol.follow_up():
                self.own.send(message)

    def unsubscribe(self, channels: Sequence[str]) -> None:
        """Tell the server that channels are not wanted any more."""
        for channel in channels:
            self._acknowledgements.settle(channel)
        if self.renewal is not None:
            self.renewal.leave(channels)
        if channels and self.is_authenticated and self.connection.is_open:
            for message in self.protocol.unsubscribe(channels):
                self.own.send(message)
        if channels:
            # Its answers may have been all that was missing.
            self._look_for_end_of_restoring()

    def unacknowledged(self, channels: Sequence[str]) -> tuple[str, ...]:
        """Those of the channels that are still to be answered for."""
        due = set(self._acknowledgements.channels)
        return tuple(channel for channel in channels if channel in due)

    def pong_received(self) -> None:
        """A `Pong` message has come."""
        if self._heartbeat is not None:
            self._heartbeat.pong_received()

    def counted(self) -> tuple[int, ...]:
        """What the user sent: messages, bytes; and how the messages ended: accepted, written, dropped, unknown."""
        every = (*self.connection.sent_counters(), *self.connection.fate_counters())
        return tuple(all_sent - own for all_sent, own in zip(every, self.own.counted(), strict=True))

    @property
    def awaits_replies(self) -> bool:
        """Whether acknowledgements are still to come."""
        return not self.has_ended and not self._acknowledgements.is_complete

    def settle(self, channel: str, error: SubscribeRejected | None) -> None:
        """The server has answered for one channel, or its data has come, which is an answer too."""
        was_due = self._acknowledgements.settle(channel)
        if error is not None:
            # Also of one that was acknowledged before: the server has changed its mind.
            was_due |= self._terms.subscriptions.forget(channel)
            if self.renewal is not None:
                self.renewal.refuse(channel)
        if not was_due:
            return
        if not self._terms.waiters.settle(channel, error) and error is not None:
            self.owner.channel_rejected(channel, error)
        self._look_for_end_of_restoring()

    def _look_for_end_of_restoring(self) -> None:
        if self._acknowledgements.is_complete and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self.is_authenticated and not self.is_restored and not self.has_ended and self._acknowledgements.is_complete:
            self.is_restored = True
            if self.renewal is not None:
                self.is_recovered = self.renewal.complete()
            self.owner.session_restored(self)

    def _watch_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        deadline = self._acknowledgements.deadline
        if deadline is not None:
            self._deadline = self._terms.loop.call_at(deadline, self._look_at_deadline)

    def _look_at_deadline(self) -> None:
        self._deadline = None
        overdue = self._acknowledgements.overdue(self._terms.loop.time())
        if overdue:
            self.fail(SubscribeTimeout(overdue, self._terms.config.subscribe_timeout))
        else:
            self._watch_deadline()

    # --- towards the end ---

    def fail(self, error: BaseException) -> None:
        """End it for a reason of ours: told at once, whatever the transport still does."""
        if self.has_ended:
            return
        self._end(error)
        self.connection.abort()

    def retire(self) -> None:
        """Another session has taken over: the closing handshake, that nobody waits for."""
        self._finish()
        self.connection.stop_delivering()
        self.connection.close(1000, "replaced by a newer connection")

    def die_of_silence(self) -> None:
        """It did not answer a ping."""
        self.fail(HeartbeatTimeout(self._terms.config.ping_timeout))

    def connection_closing(self, connection: Connection) -> None:
        """The closing handshake has begun: it gets `close_timeout`, then the transport is aborted."""
        self._closing_timer = self._terms.loop.call_later(self._terms.config.close_timeout, connection.abort)
        error = connection.closed_error()
        # Nothing follows a peer's close frame or its violation: nobody need wait for the socket.
        if error.received is not None or connection.fault is not None:
            self._end(self._reason(None))

    def connection_lost(self, connection: Connection, error: BaseException | None) -> None:
        """The connection is over."""
        del connection
        if self._closing_timer is not None:
            self._closing_timer.cancel()
            self._closing_timer = None
        self._end(self._reason(error))
        self.owner.session_gone(self)

    def _reason(self, error: BaseException | None) -> BaseException:
        closed = self.connection.closed_error()
        closed.__cause__ = self._violation() or error
        received = closed.received
        if received is None or received.code != _NOT_AUTHENTICATED or self.is_authenticated:
            return cast("BaseException", closed)
        # The answer to what `authenticate` said.
        refused = AuthenticationFailed(received.reason or "closed with 4401")
        refused.__cause__ = closed
        return refused

    def _violation(self) -> WebSocketError | None:
        """What the peer did wrong, if that was the end of the connection."""
        fault = self.connection.fault
        if fault is None:
            return None
        code, reason = fault
        if code == _MESSAGE_TOO_BIG:
            return MessageTooBig(None, self._terms.config.max_message_size)
        return None if code == _INTERNAL_ERROR else RemoteProtocolError(code, reason)

    def _end(self, error: BaseException) -> None:
        if self.has_ended:
            return
        self._finish()
        self.owner.session_lost(self, error)

    def _finish(self) -> None:
        self.has_ended = True
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._heartbeat is not None:
            self._heartbeat.stop()
        if self._login is not None:
            login, self._login = self._login, None
            # It may be the one that ends us.
            if login is not asyncio.current_task():
                login.cancel()
