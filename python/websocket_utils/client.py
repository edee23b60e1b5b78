"""The client: one logical link to a server, over as many connections as it takes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from ssl import SSLContext
from typing import Any, Literal, Unpack, get_args

from ._alone import Strategy
from ._assembly import Assembly, Mode, dialer_of
from ._busy_poll import BusyPoll
from ._connection import Connection
from ._endpoints import HeadersSource, TokenSource, UrlSource
from ._faults import Faults
from ._heartbeat import Heartbeat, system_clocks
from ._held import HeldMessages, Overflow
from ._legs import open_any
from ._merging import Key
from ._opening import Closing, Opening
from ._receiving import Receiving
from ._reconnect import ClosePolicy, ReconnectPolicy
from ._session import Login, Session
from ._slow import Backpressure, Conflate, DropOldest
from ._statistics import client_stats
from ._subscribing import Subscribing
from ._subscription_protocol import ProtocolSource, StandardSubscriptions, protocol_maker
from ._terms import Codec, Terms
from ._watching import Watching
from .config import ConfigOverrides, WebSocketConfig
from .events import Event, Gap, Lagged, Restored, Stale, SubscriptionLost
from .exceptions import (
    ConnectionClosedOK,
    LocalProtocolError,
    StaleData,
    SubscribeRejected,
)
from .messages import Ping, WsMessage
from .metrics import ClientState, ClientStats

__all__ = ["WebSocketClient"]

_logger = logging.getLogger("websocket_utils.client")

# Of several links: what can be said of the client is what can be said of the one that has come farthest.
_FARTHEST_FIRST: Sequence[ClientState] = (
    "live",
    "stale",
    "restoring",
    "authenticating",
    "connecting",
    "backoff",
    "idle",
    "failed",
    "closed",
)


class WebSocketClient(Receiving, Subscribing, Closing):
    """A link to a WebSocket server that receives typed messages, and dials again when the connection is lost.

    Made by `WebSocketClient.connect(url)`. A message is delivered once: to the handlers of its class if there are any
    (`on`), else to whoever pulls next (`receive`, `messages`, `batches`, `events`). All methods belong to the thread of
    the event loop it was made on.
    """

    def __init__(self, assembly: Assembly) -> None:
        terms = self._terms = assembly.terms
        config = self._config = terms.config
        self._loop = terms.loop
        self._faults = Faults(_logger)
        Receiving.__init__(
            self, self._loop, self._faults, config.max_inbox, config.max_inbox_messages, assembly.slow_rule
        )
        held = HeldMessages(
            terms.codec,
            max_messages=config.message_buffer_size,
            max_bytes=config.max_send_queue,
            overflow=assembly.overflow,
        )
        Subscribing.__init__(self, terms, held, assembly.when_down)
        self._open_within = assembly.timeout
        self._replaces_stale = assembly.when_stale == "replace"
        self._watching = Watching(
            self._loop, self._inbox, self._on_freshness, self._on_silence, self._on_channel_data, self._is_held
        )
        self._links, self._legs = assembly.links(
            Strategy(
                inbox=self._inbox,
                channels=lambda: self.channels,
                tell=self._tell,
                use=self._use,
                connected=self._connected,
                subscription_lost=self._subscription_lost,
                fault=self._faults.report,
                finish=self._finish,
            )
        )
        self._heartbeat: Heartbeat[Connection] | None = None
        self._busy_poll: BusyPoll | None = None
        self._is_closing = False
        self._gaps = self._lagged = 0

    @classmethod
    def connect(
        cls,
        url: UrlSource | Sequence[UrlSource],
        *,
        mode: Mode = "failover",
        config: WebSocketConfig | None = None,
        codec: Codec = "json",
        headers: HeadersSource | None = None,
        token: TokenSource | None = None,
        ssl: SSLContext | None = None,
        subprotocols: Sequence[str] | None = None,
        recover: bool = False,
        authenticate: Callable[[Login], Awaitable[object]] | None = None,
        subscriptions: ProtocolSource | None = None,
        timeout: float | None = None,
        reconnect: bool | ReconnectPolicy = True,
        closes: ClosePolicy | None = None,
        when_down: Literal["raise", "queue"] = "raise",
        overflow: Overflow = "raise",
        slow: Backpressure | DropOldest | Conflate | None = None,
        heartbeat: Literal["frame", "message"] = "frame",
        when_stale: Literal["replace", "tell"] = "replace",
        key: Key | None = None,
        of: Any = WsMessage,
        **overrides: Unpack[ConfigOverrides],
    ) -> Opening["WebSocketClient"]:
        """Connect to a WebSocket server; to be awaited, or entered with `async with`, which closes it at the end.

        Args:
            url: `ws://` or `wss://`, or a callable that gives it, asked for each dial; several of one stream, the
                preferred first. A user and password in it become an `Authorization` header only, its query is sent and
                never shown, nor are long pieces of letters and digits in its path, as keys are. A shorter secret there
                is shown in logs and errors: it looks like any path.
            mode: With several URLs: `failover` is connected to one, and goes back to the preferred one when it can;
                `standby` keeps a second one subscribed, to be promoted in the moment the first is lost; `race` listens
                to all, and delivers the first of equal messages.
            config: Settings; None takes the defaults.
            codec: How messages are sent. Received ones are read by their frame: text is JSON, binary is MessagePack, or
                Protocol Buffers with that codec.
            headers: Additional headers of the opening request, or a callable that gives them, asked for each dial.
            token: Sent as `Authorization: Bearer`; text, or a callable, asked for each dial. One that takes `refresh`
                is told by it that the token before was refused.
            ssl: For `wss`; None checks the server's certificate against the system's.
            subprotocols: Offered to the server in this order; None offers `websocket-utils.msgpack` or
                `websocket-utils.protobuf` with those codecs and nothing with JSON. A server of this package
                acknowledges subscriptions to who offers `websocket-utils.json` or one of these.
            recover: Offer `websocket-utils.json` with JSON too. A server of this package that agrees numbers what it
                publishes, acknowledges subscriptions, and sends what was missed after a reconnect, out of its history.
            authenticate: Called with a `Login` on each connection before it subscribes; raises `AuthenticationFailed`
                if the server refuses.
            subscriptions: How subscriptions are asked for and acknowledged: one object for all connections, or a
                callable, such as a class, that makes one for each; None speaks `Subscribe` and `Unsubscribe`.
            timeout: None dials once, and raises the error. With a number of seconds the first dial is repeated until
                then, by the same rules as a reconnect.
            reconnect: Dial again when the connection is lost; a `ReconnectPolicy` says when.
            closes: Which ends of a connection are worth another dial; None takes `ClosePolicy()`.
            when_down: What `send` does without a connection: raise, or keep up to `message_buffer_size` messages.
            overflow: What it does with one too many: raise, or drop the oldest or the newest (the one sent).
            slow: What happens when messages come faster than they are taken; None is `Backpressure()`, or
                `DropOldest()` where several connections are merged.
            heartbeat: `frame` pings with ping frames; `message` with `Ping` messages, for peers without ping frames.
            when_stale: What follows on a channel's silence (`stale_after` of `subscribe`): `replace` dials anew, `tell`
                only tells.
            key: What tells equal messages of several connections apart: a field, a tuple of fields (such as `channel`
                and `sequence`), or a callable that is given the message.
            of: The class of messages that have the key.
            **overrides: Single settings, in place of those of `config`.

        Returns:
            An awaitable for the client, which is also its asynchronous context manager.

        Raises:
            InvalidURL: If `url` is no WebSocket URL.
            ConfigError: If a setting is wrong.
            HandshakeError: When awaited, if the server's answer is no 101.
            AuthenticationFailed: When awaited, if `authenticate` raised it.
            TimeoutError: When awaited, if there is no connection within `open_timeout`, or `timeout`.
            OSError: When awaited, if the name does not resolve or nobody listens.
        """
        settings = (config or WebSocketConfig()).replace(**overrides)
        terms = Terms(
            loop=asyncio.get_running_loop(),
            config=settings,
            codec=codec,
            make_protocol=protocol_maker(StandardSubscriptions() if subscriptions is None else subscriptions),
            authenticate=authenticate,
            heartbeat=heartbeat,
        )
        assembly = Assembly(
            terms=terms,
            dialer=dialer_of(url, settings, codec, headers, token, ssl, subprotocols, recover=recover),
            mode=mode,
            reconnect=reconnect,
            closes=closes or ClosePolicy(),
            when_down=when_down,
            overflow=overflow,
            slow=slow,
            when_stale=when_stale,
            key=key,
            of=of,
            timeout=timeout,
            recover=recover,
        )
        client = cls(assembly)
        return Opening(client, client._open)

    def _registered(self, type_: Any) -> None:
        if type_ is Ping or Ping in get_args(type_):
            for link in self._links:
                link.pings.leave()

    # --- what links tell (see `Strategy`) ---

    def _tell(self, event: Event) -> None:
        if not self._is_closing:
            if isinstance(event, Gap):
                self._gaps += 1
            elif isinstance(event, Lagged):
                self._lagged += event.count
            self._inbox.tell(event)
            self._event_handlers.call(event)

    def _use(self, session: Session | None) -> None:
        if session is None:
            self._watching.disconnected()
        else:
            self._next_session = session
        self._send_through(session)

    def _connected(self, session: Session) -> None:
        self._next_session = session
        self._watching.connected()

    def _subscription_lost(self, channel: str, error: SubscribeRejected) -> None:
        self._watching.unwatch(channel)
        self._tell(SubscriptionLost(channel, error))

    def _finish(self, error: BaseException | None) -> None:
        if self._is_closing:
            return
        self._stop()
        self._terms.waiters.fail(error or ConnectionClosedOK(initiator="local"))
        self._inbox.close(error)
        if error is not None:
            _logger.error("gave up on %s: %s", self.url, error)

    def _on_freshness(self, event: Stale | Restored) -> None:
        self._tell(event)
        stale = self._watching.stale
        for link in self._links:
            link.note_freshness(is_fresh=not stale)

    def _on_silence(self, channel: str, age: float) -> None:
        for link in self._links if self._replaces_stale else ():
            if link.session is not None and not link.session.has_ended:
                link.session.fail(StaleData(channel, age))

    def _is_held(self) -> bool:
        return any(link.session is not None and link.session.connection.is_held for link in self._links)

    def _on_channel_data(self, channel: str) -> None:
        for link in self._links:
            if link.session is not None:
                link.session.settle(channel, None)

    # --- life ---

    @property
    def url(self) -> str:
        """The server's URL without user and password, and with `?...` for its query: safe to log."""
        session = self._next_session
        using = next((link for link in self._links if link.session is session), self._links[0])
        return using.url

    @property
    def state(self) -> ClientState:
        """Where it is in its life; of several links, where the one is that has come farthest."""
        states = [link.lifecycle.state for link in self._links]
        if self._is_closing:
            return "closed"
        return next(state for state in _FARTHEST_FIRST if state in states)

    @property
    def epoch(self) -> int:
        """Number of the connection that is used, or was used last, from 1; 0 before the first."""
        return 0 if self._next_session is None else self._next_session.epoch

    @property
    def is_connected(self) -> bool:
        """Whether messages can be sent now."""
        return self._connection is not None and self._connection.is_open

    @property
    def current_position(self) -> tuple[str, int, int, int] | None:
        """Channel, epoch, sequence and previous sequence of the message that a handler (`on`) is called with right now.

        None for a message that stands in no channel, from a server that does not number them, in what an `async def`
        handler does, and wherever no handler is being called.
        """
        return next((found for link in self._links if (found := link.recovery.positions.current)), None)

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(self._open_within):
                repeats = self._open_within is not None
                if len(self._links) == 1:
                    await self._links[0].open(repeats=repeats)
                else:
                    await open_any(self._links, repeats=repeats)
        except BaseException as error:
            self._is_closing = True
            self._stop()
            await asyncio.gather(*(link.give_up() for link in self._links))
            if isinstance(error, TimeoutError) and self._open_within is not None and self._links[0].last_error:
                raise TimeoutError(
                    f"no connection to {self.url} within {self._open_within:g} s (timeout); the last attempt failed: "
                    f"{self._links[0].last_error}"
                ) from self._links[0].last_error
            raise
        if self._config.ping_interval is not None and self._terms.heartbeat == "frame":
            self._heartbeat = Heartbeat(
                self._loop,
                interval=self._config.ping_interval,
                timeout=self._config.ping_timeout,
                connections=lambda: [one for link in self._links for one in link.connections],
                on_dead=self._on_dead,
                on_broken=self._on_broken,
                clocks=system_clocks,
            )
            self._heartbeat.start()
        if self._config.busy_poll:
            self._busy_poll = BusyPoll(
                self._loop,
                lambda: max(link.inbox.last_read_ns for link in self._links),
                self._config.busy_poll_window,
            )
            self._busy_poll.start()

    def _on_dead(self, connection: Connection) -> None:
        for link in self._links:
            session = link.session_of(connection)
            if session is not None:
                session.die_of_silence()

    def _on_broken(self, connection: Connection) -> None:
        # Its socket has an error that a paused transport does not look for.
        connection.abort()

    async def reconnect(self) -> bool:
        """Exchange the connection for a new one, which is live before the old one is left; of several links each one.

        Returns:
            Whether it was exchanged: without a new connection the old one stays, and without an old one a new one is
            on its way.
        """
        return all(await asyncio.gather(*(link.rotate() for link in self._links)))

    def _stop(self) -> None:
        self._stop_sending()
        self._watching.stop()
        if self._heartbeat is not None:
            self._heartbeat.stop()
        if self._busy_poll is not None:
            self._busy_poll.stop()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the link: the closing handshake, then the end of the stream for all who receive.

        Waits for the peer for at most `close_timeout` seconds. Messages that had come can still be received. Calling it
        again does nothing; cancelling it aborts the connection.

        Args:
            code: Close code for the peer: 1000, or 3000 to 4999 (RFC 6455 §7.4).
            reason: For the peer's log; cut at 123 bytes.

        Raises:
            LocalProtocolError: If `code` must not be sent. Nothing was done.
        """
        if self._is_closing:
            return
        if self._is_over:
            await asyncio.gather(*(link.gone() for link in self._links))
            await self._faults.finish()
            return
        if not (code == 1000 or 1001 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):  # noqa: PLR2004
            raise LocalProtocolError(1002, f"close code {code} must not be sent (RFC 6455 §7.4)")
        self._is_closing = True
        self._stop()
        self._terms.waiters.fail(ConnectionClosedOK(initiator="local"))
        try:
            await asyncio.gather(*(link.close(code, reason) for link in self._links))
        finally:
            for link in self._links:
                link.abandon()
            self._inbox.close()
            await self._faults.finish()

    def stats(self) -> ClientStats:
        """Return what this client has done so far, over all its connections."""
        legs = () if self._legs is None else self._legs.stats()
        missed = (self._gaps, self._lagged)
        return client_stats(self.state, self.epoch, self._inbox, self._held, self._terms, self._links, legs, missed)

    def __repr__(self) -> str:
        return f"<WebSocketClient {self.url} {self.state}>"
