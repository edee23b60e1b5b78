"""The client: one logical link to a server, over as many connections as it takes."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ssl import SSLContext
from typing import Any, Literal, Unpack

from ._connection import Connection
from ._dialer import Dialer
from ._faults import Faults
from ._handshake import Opened
from ._heartbeat import Heartbeat
from ._held import HeldMessages
from ._opening import Closing, Opening
from ._receiving import Receiving
from ._reconnect import Backoff, is_final
from ._url import parse_url
from .config import ConfigOverrides, WebSocketConfig
from .exceptions import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    HandshakeError,
    HeartbeatTimeout,
    LocalProtocolError,
    MessageTooBig,
    ReconnectGaveUp,
    RemoteProtocolError,
    WebSocketError,
)
from .messages import Subscribe, Unsubscribe
from .metrics import ClientState, ClientStats

__all__ = ["WebSocketClient"]

Codec = Literal["json", "msgpack", "protobuf"]

_logger = logging.getLogger("websocket_utils.client")

# Close codes that this side fails a connection with and that are no violation of the protocol (RFC 6455 §7.4.1).
_MESSAGE_TOO_BIG = 1009
_INTERNAL_ERROR = 1011


class WebSocketClient(Receiving, Closing):
    """A link to a WebSocket server that receives typed messages, and dials again when the connection is lost.

    Made by `WebSocketClient.connect(url)`. A message is delivered once: to the handlers of its class if there are any
    (`on`), else to whoever pulls next (`receive`, `messages`, `batches`). All methods belong to the thread of the event
    loop it was made on.
    """

    def __init__(
        self,
        dialer: Dialer,
        *,
        codec: Codec,
        reconnect: bool,
        when_down: Literal["raise", "queue"],
    ) -> None:
        self._dialer = dialer
        self._config = dialer.config
        self._codec = codec
        self._reconnect = reconnect
        self._when_down = when_down
        self._loop = asyncio.get_running_loop()
        super().__init__(self._loop, Faults(_logger), self._config.max_inbox)
        self._connection: Connection | None = None
        self._state: ClientState = "connecting"
        self._channels: dict[str, None] = {}
        self._held = HeldMessages(codec, self._config)
        self._supervisor: asyncio.Task[None] | None = None
        self._down: asyncio.Future[BaseException] | None = None
        self._heartbeat_timeout = False
        self._connects = 0
        self._sent_before = (0, 0)
        self._closing_timer: asyncio.TimerHandle | None = None
        self._heartbeat: Heartbeat[Connection] | None = None

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        config: WebSocketConfig | None = None,
        codec: Codec = "json",
        headers: Mapping[str, str] | None = None,
        ssl: SSLContext | None = None,
        subprotocols: Sequence[str] | None = None,
        reconnect: bool = True,
        when_down: Literal["raise", "queue"] = "raise",
        **overrides: Unpack[ConfigOverrides],
    ) -> Opening["WebSocketClient"]:
        """Connect to a WebSocket server; to be awaited, or entered with `async with`, which closes it at the end.

        Args:
            url: `ws://` or `wss://`. A user and password in it become an `Authorization` header only, its query is sent
                and never shown. A secret that is part of the path is shown in logs and errors: it looks like any path.
            config: Settings; None takes the defaults.
            codec: How messages are sent. Received ones are read by their frame: text is JSON, binary is MessagePack, or
                Protocol Buffers with that codec.
            headers: Additional headers of the opening request.
            ssl: For `wss`; None checks the server's certificate against the system's.
            subprotocols: Offered to the server in this order; None offers `websocket-utils.msgpack` or
                `websocket-utils.protobuf` with those codecs and nothing with JSON.
            reconnect: Dial again when the connection is lost. The first dial is not repeated: its error is raised.
            when_down: What `send` does without a connection: raise, or keep up to `message_buffer_size` messages.
            **overrides: Single settings, in place of those of `config`.

        Returns:
            An awaitable for the client, which is also its asynchronous context manager.

        Raises:
            InvalidURL: If `url` is no WebSocket URL.
            ConfigError: If a setting is wrong.
            HandshakeError: When awaited, if the server's answer is no 101.
            TimeoutError: When awaited, if there is no connection within `open_timeout`.
            OSError: When awaited, if the name does not resolve or nobody listens.
        """
        settings = (config or WebSocketConfig()).replace(**overrides)
        if subprotocols is None:
            subprotocols = () if codec == "json" else (f"websocket-utils.{codec}",)
        dialer = Dialer(parse_url(url), settings, dict(headers or {}), tuple(subprotocols), ssl)
        client = cls(dialer, codec=codec, reconnect=reconnect, when_down=when_down)
        return Opening(client, client._open)

    # --- sending ---

    # `compress` by position too, here and in `broadcast`: CPython looks defaults of keyword-only arguments up in a
    # dict, which would make each call 20 ns slower.
    def send(self, message: Any, compress: bool | None = None) -> Awaitable[None]:
        """Send one message now; what it returns may be awaited to keep pace with a slow peer.

        The first message of an event loop turn goes to the socket at once, further ones together at the turn's end.

        Args:
            message: A message object (sent in the client's codec), `str` (a text message) or bytes-like (a binary one).
            compress: Where the server agreed to `compression`: None compresses from `compression_threshold` on, True
                always, False never (a secret beside text that an attacker chooses must not be compressed).

        Returns:
            An awaitable: done at once while the socket takes bytes, else when it has taken all. It need not be awaited.

        Raises:
            ConnectionClosed: If there is no connection, or it is closing. Nothing was sent.
            SendQueueFull: If more than `max_send_queue` bytes wait, or `message_buffer_size` messages while down.
            EncodeError: If the message has no form in the codec. Nothing was sent.
        """
        connection = self._connection
        if connection is None:
            return self._keep(message, compress)
        try:
            return connection.send(message) if compress is None else connection.send(message, compress=compress)
        except ConnectionClosed:
            # Closing: its end, and the next connection, are still to come.
            if self._when_down == "raise":
                raise
            return self._keep(message, compress)

    def _keep(self, message: Any, compress: bool | None) -> Awaitable[None]:
        if self._when_down == "raise" or self._state in {"closing", "closed"}:
            raise self._closed_error()
        self._held.put(message, compress)
        done: asyncio.Future[None] = self._loop.create_future()
        done.set_result(None)
        return done

    def _closed_error(self) -> WebSocketError:
        if self._state in {"closing", "closed"}:
            return ConnectionClosedOK(initiator="local")
        return ConnectionClosedError(initiator="transport")

    async def subscribe(self, *channels: str) -> None:
        """Subscribe to channels; kept, and renewed in this order after every reconnect.

        Args:
            *channels: Names such as `prices:SOL-USDC`. Those subscribed to already are not asked for again.
        """
        new = [channel for channel in dict.fromkeys(channels) if channel not in self._channels]
        await self._tell(Subscribe(channels=new), lambda: self._channels.update(dict.fromkeys(new)))

    async def unsubscribe(self, *channels: str) -> None:
        """End subscriptions; names that are not subscribed to are ignored."""
        gone = [channel for channel in dict.fromkeys(channels) if channel in self._channels]

        def forget() -> None:
            for channel in gone:
                del self._channels[channel]

        await self._tell(Unsubscribe(channels=gone), forget)

    async def _tell(self, message: Subscribe | Unsubscribe, remember: Callable[[], None]) -> None:
        """Send a change of subscriptions, and remember it unless it could not be sent."""
        sending = None
        if message.channels and self._connection is not None and self._connection.is_open:
            sending = self._connection.send(message)
        remember()
        if sending is not None:
            # Lost meanwhile: the next connection begins with all subscriptions.
            with contextlib.suppress(ConnectionClosed):
                await sending

    # --- life ---

    @property
    def url(self) -> str:
        """The server's URL without user and password, and with `?...` for its query: safe to log."""
        return self._dialer.target.url

    @property
    def is_connected(self) -> bool:
        """Whether messages can be sent now."""
        return self._connection is not None and self._connection.is_open

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels that are subscribed to, in the order they are renewed."""
        return tuple(self._channels)

    async def _open(self) -> None:
        await self._dialer.dial(self._take)
        self._supervisor = asyncio.create_task(self._supervise(), name=f"websocket_utils.client {self.url}")
        if self._config.ping_interval is not None:
            self._heartbeat = Heartbeat(
                self._loop,
                interval=self._config.ping_interval,
                timeout=self._config.ping_timeout,
                connections=lambda: () if self._connection is None else (self._connection,),
                on_dead=self._on_dead,
            )
            self._heartbeat.start()

    def _take(self, opened: Opened) -> Connection:
        """A handshake is complete: the connection's first moment, before any of its bytes are read."""
        connection = Connection(
            is_client=True,
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
        )
        opened.announce(connection)
        replaced, self._connection = self._connection, connection
        if replaced is not None:
            # A dial can time out in the very turn that completes its handshake: nobody waits for that connection.
            replaced.abort()
            self._inbox.forget_connection()
        self._connects += 1
        if self._state != "closing":
            self._state = "open"
        self._heartbeat_timeout = False
        self._down = self._loop.create_future()
        if self._channels:
            connection.send(Subscribe(channels=list(self._channels)))
        self._held.send_all(connection)
        if _logger.isEnabledFor(logging.INFO):
            _logger.info("connected to %s", self.url)
        return connection

    async def _supervise(self) -> None:
        """Wait for the connection to end, dial again, until closed or out of attempts."""
        backoff = Backoff(self._config.reconnect_interval)
        limit = self._config.max_reconnect_attempts
        attempts = 0
        while self._down is not None:
            since = self._loop.time()
            error = await asyncio.shield(self._down)
            if not self._reconnect:
                self._end(None if isinstance(error, ConnectionClosedOK) else error)
                return
            backoff = backoff.dropped(self._loop.time() - since)
            if backoff.failures == 0:
                attempts = 0
            self._state = "reconnecting"
            _logger.warning("connection to %s lost: %s", self.url, error)
            while True:
                if limit is not None and attempts >= limit:
                    gave_up = ReconnectGaveUp(attempts, error if attempts else None)
                    gave_up.__cause__ = error
                    self._end(gave_up)
                    return
                attempts += 1
                await asyncio.sleep(backoff.delay(random.random()))  # noqa: S311  # jitter is no secret
                try:
                    await self._dialer.dial(self._take)
                except (HandshakeError, OSError) as failure:
                    if isinstance(failure, HandshakeError) and is_final(failure.status):
                        self._end(failure)
                        return
                    backoff = backoff.failed()
                    error = failure
                    _logger.warning("reconnect %d to %s failed: %s", attempts, self.url, failure)
                except Exception as failure:  # noqa: BLE001  # a redirect to nowhere, or a fault of ours: it would come again
                    self._end(failure)
                    return
                else:
                    break

    def _end(self, error: BaseException | None) -> None:
        self._state = "closed"
        if self._heartbeat is not None:
            self._heartbeat.stop()
        self._inbox.close(error)
        if error is not None:
            _logger.error("gave up on %s: %s", self.url, error)

    def connection_closing(self, connection: Connection) -> None:
        """The closing handshake has begun: it gets `close_timeout`, then the transport is aborted."""
        self._closing_timer = self._loop.call_later(self._config.close_timeout, connection.abort)

    def connection_lost(self, connection: Connection, error: BaseException | None) -> None:
        """The connection is over."""
        messages, size = connection.sent_counters()
        self._sent_before = (self._sent_before[0] + messages, self._sent_before[1] + size)
        if self._connection is not connection:
            return
        self._inbox.forget_connection()
        self._connection = None
        if self._closing_timer is not None:
            self._closing_timer.cancel()
            self._closing_timer = None
        if self._down is not None and not self._down.done():
            reason: BaseException = connection.closed_error()
            if self._heartbeat_timeout:
                reason = HeartbeatTimeout(self._config.ping_timeout)
            reason.__cause__ = self._violation(connection) or error
            self._down.set_result(reason)

    def _violation(self, connection: Connection) -> WebSocketError | None:
        """What the peer did wrong, if that was the end of the connection."""
        if connection.fault is None:
            return None
        code, reason = connection.fault
        if code == _MESSAGE_TOO_BIG:
            return MessageTooBig(None, self._config.max_message_size)
        return None if code == _INTERNAL_ERROR else RemoteProtocolError(code, reason)

    def _on_dead(self, connection: Connection) -> None:
        self._heartbeat_timeout = True
        connection.abort()

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
        if self._state == "closing":
            return
        if self._state == "closed":
            await self._faults.finish()
            return
        if not (code == 1000 or 1001 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):  # noqa: PLR2004
            raise LocalProtocolError(1002, f"close code {code} must not be sent (RFC 6455 §7.4)")
        self._state = "closing"
        if self._supervisor is not None:
            self._supervisor.cancel()
        if self._heartbeat is not None:
            self._heartbeat.stop()
        try:
            if self._supervisor is not None:
                # It may be in the middle of a dial, whose socket it closes first.
                await asyncio.wait([self._supervisor])
            connection, down = self._connection, self._down
            if connection is not None and down is not None:
                connection.stop_delivering()
                connection.close(code, reason)
                await asyncio.shield(down)
        finally:
            if self._connection is not None:
                self._connection.abort()
            self._state = "closed"
            self._inbox.close()
            await self._faults.finish()

    def stats(self) -> ClientStats:
        """Return what this client has done so far, over all its connections."""
        messages, size, decode_errors, handler_errors, unhandled, waiting, waiting_bytes, *_ = self._inbox.counters()
        sent, sent_bytes = self._sent_before
        queued = 0
        if self._connection is not None:
            now_sent, now_bytes = self._connection.sent_counters()
            sent, sent_bytes = sent + now_sent, sent_bytes + now_bytes
            queued = self._connection.send_queue_bytes
        return ClientStats(
            state=self._state,
            connects=self._connects,
            reconnects=max(0, self._connects - 1),
            messages_received=messages,
            bytes_received=size,
            messages_sent=sent,
            bytes_sent=sent_bytes,
            decode_errors=decode_errors,
            handler_errors=handler_errors,
            unhandled=unhandled,
            inbox_messages=waiting,
            inbox_bytes=waiting_bytes,
            send_queue_bytes=queued,
        )

    def __repr__(self) -> str:
        return f"<WebSocketClient {self.url} {self._state}>"
