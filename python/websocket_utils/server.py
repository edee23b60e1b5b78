"""The server: one call broadcasts a typed message to every strategy."""

import asyncio
import logging
import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ssl import SSLContext
from typing import Any, Literal, TypeVar, Unpack, overload
from urllib.parse import quote

from . import _core
from ._accepting import Acceptance, Acceptor, Judgement, Refusal, Request
from ._admission import Admission, is_host_listed, list_faults, normal_origin
from ._ages import AgeWatch
from ._authenticating import Authentication, AuthenticationHook, Known
from ._commands import Commands
from ._connection import ServerConnection
from ._ending import Ending
from ._faults import Faults
from ._handshake import Compression, Opened
from ._heartbeat import Heartbeat
from ._listening import Listener
from ._opening import Closing, Opening
from ._publishing import Publishing
from ._server_channels import ServerChannels
from ._server_drain import Drain
from ._side_door import SideDoor
from ._subscription_protocol import SUBPROTOCOLS
from ._transport import context_faults, listen
from ._url import parse_address
from .config import ConfigOverrides, WebSocketConfig
from .door import Door, check_libraries, checked_address
from .exceptions import ConfigError, DecodeError
from .messages import Ping, Subscribe, Unsubscribe
from .metrics import ServerStats
from .namespaces import Namespace, namespace_faults

__all__ = ["WebSocketServer"]

T = TypeVar("T")

_logger = logging.getLogger("websocket_utils.server")

# Epochs begin anywhere below this, and stay below what JavaScript counts exactly (2**53) for as long as a server lives.
_EPOCH_BITS = 52


class WebSocketServer(Publishing, SideDoor, Ending, Closing):
    """A server that publishes typed messages to its clients and takes theirs.

    Made by `WebSocketServer.bind("0.0.0.0:8080")`. A client speaks JSON unless it asks for the subprotocol
    `websocket-utils.msgpack` or `websocket-utils.protobuf`. It subscribes and unsubscribes with the messages of that
    name, and its `Ping` is answered with `Pong`. One that asked for a subprotocol, `websocket-utils.json` too, is told
    with `Subscribed` and `SubscriptionRejected` what became of its `Subscribe`. All methods belong to the thread of the
    event loop it was made on.
    """

    def __init__(
        self,
        config: WebSocketConfig,
        ssl: SSLContext | None,
        namespaces: Sequence[Namespace] = (),
        undeclared: Literal["allow", "refuse"] = "allow",
        authenticate: AuthenticationHook | None = None,
        *,
        reuse_port: bool = False,
    ) -> None:
        self._config = config
        self._ssl = ssl
        self._reuse_port = reuse_port
        self._loop = asyncio.get_running_loop()
        self._faults = Faults(_logger)
        self._inbox = _core.Inbox(
            self._loop, self._faults.report, self._faults.run, limit=config.max_inbox, pass_connection=True
        )
        self._broadcaster = _core.Broadcaster(
            self._loop,
            self._on_lag,
            self._faults.report,
            max_lag=config.max_lag,
            # Numbers of an earlier server must mean nothing to this one: clients name what they have by both.
            first_epoch=secrets.randbits(_EPOCH_BITS),
            compression_window_bits=config.compression_window_bits,
            compression_threshold=config.compression_threshold,
            threads=_fan_out_threads(config),
        )
        self._acceptor = Acceptor(
            judge=self._judge,
            take=self._take,
            admission=Admission(config.max_connections, config.max_connections_per_address),
            compression=Compression.of(config),
            open_timeout=config.open_timeout,
            is_secure=ssl is not None,
            on_refused=self._on_refused,
        )
        self._origins = None if config.origins is None else frozenset(map(normal_origin, config.origins))
        self._listener: Listener | None = None
        self._local_addr: tuple[str, int] | None = None
        # Every open connection: transports that are not read are referred to by nobody else.
        self._connections: set[ServerConnection] = set()
        self._closing: dict[ServerConnection, asyncio.TimerHandle] = {}
        self._empty = asyncio.Event()
        self._empty.set()
        self._closed = asyncio.Event()
        self._shutting_down = False
        self._drain: Drain | None = None
        self._conditions: list[Callable[[], bool]] = []
        self._heartbeat: Heartbeat[ServerConnection] | None = None
        self._accepted = 0
        self._rejected = 0
        self._lag_disconnects = 0
        self._sent_before = (0, 0)
        self._declared = {space.name for space in namespaces} if undeclared == "refuse" else None
        self._ages = AgeWatch(self._loop, namespaces, self._broadcaster.check_ages)
        self._channels = ServerChannels(
            self._broadcaster,
            _logger,
            namespaces=namespaces,
            allows_undeclared=undeclared == "allow",
            max_channels=config.max_channels_per_connection,
        )
        self._commands = Commands(self._loop, config.commands_per_second, self._channels.answer)
        self._inbox.on(Subscribe, self._commands.limited(self._channels.on_subscribe))
        self._inbox.on(Unsubscribe, self._commands.limited(self._channels.on_unsubscribe))
        self._inbox.on(Ping, self._commands.limited(self._channels.on_ping))
        self._authentication: Authentication | None = None
        if authenticate is not None:
            self._authentication = Authentication(
                authenticate,
                loop=self._loop,
                inbox=self._inbox,
                faults=self._faults,
                logger=_logger,
                commands=self._commands,
                channels=self._channels,
                timeout=config.authenticate_timeout,
                most=config.max_connections_per_identity,
                on_authenticated=self._broadcaster.add,
            )
        self._door: Door | None = None
        self._http_address: tuple[str, int] | None = None
        self._http_key: str | None = None

    @classmethod
    def bind(
        cls,
        address: str | None = None,
        *,
        config: WebSocketConfig | None = None,
        ssl: SSLContext | None = None,
        reuse_port: bool = False,
        namespaces: Iterable[Namespace] = (),
        undeclared: Literal["allow", "refuse"] = "allow",
        authenticate: AuthenticationHook | None = None,
        http: str | None = None,
        http_key: str | None = None,
        before: Callable[["WebSocketServer"], Awaitable[object]] | None = None,
        **overrides: Unpack[ConfigOverrides],
    ) -> Opening["WebSocketServer"]:
        """Listen on an address; to be awaited, or entered with `async with`, which closes it at the end.

        Args:
            address: `host:port`, such as `0.0.0.0:8080`; port 0 takes a free one, an empty host means all interfaces.
                `unix:/path` is a Unix socket, which this user alone may connect to. None takes host and port of
                `config`.
            config: Settings; None takes the defaults.
            ssl: Serves `wss` with this context's certificate; None serves `ws`.
            reuse_port: Whether other servers of this user may listen on the same address too (`SO_REUSEPORT`): the
                system gives each client to one of them. All of them have to ask for it.
            namespaces: What is known of channels beforehand: type, history, and what happens to slow clients.
            undeclared: Whether channels of other namespaces may be subscribed and published to; without history, and
                slow clients are disconnected at `max_lag`.
            authenticate: Called with the `Credentials` of each client; returns its `Identity` or raises `Unauthorized`,
                and may be `async`. A client says who it is in its opening request, or with an `Authenticate` message
                before anything else. None lets every client in.
            http: `host:port` of the HTTP side door: publishing, facts, metrics and health; port 0 takes a free one. It
                needs the extra `http`, and `http_key` where other machines can reach it. None opens none.
            http_key: What requests to the door present as `X-API-Key`, at least 16 characters.
            before: Awaited with the server before it listens: what its first client is to find is done there.
            **overrides: Single settings, in place of those of `config`.

        Returns:
            An awaitable for the server, which is also its asynchronous context manager.

        Raises:
            ValueError: If `address` is none.
            ConfigError: If a setting is wrong.
            ModuleNotFoundError: If there is to be a door, and the extra `http` is not installed.
            OSError: When awaited, if an address is in use or not this machine's.
            ValueError: When awaited, if this system can't share a port.
        """
        settings = config or WebSocketConfig()
        if address is not None:
            host, port = parse_address(address)
            settings = settings.replace(host=host, port=port)
        settings = settings.replace(**overrides)
        declared = tuple(namespaces)
        faults = context_faults(ssl) + list_faults(settings.origins, settings.hosts) + namespace_faults(declared)
        if undeclared not in {"allow", "refuse"}:
            faults.append(f"undeclared: must be 'allow' or 'refuse', not {undeclared!r}")
        if faults:
            raise ConfigError(faults)
        http_address = checked_address(http, http_key)
        if http_address is not None:
            check_libraries()
        server = cls(settings, ssl, declared, undeclared, authenticate, reuse_port=reuse_port)
        server._http_address, server._http_key = http_address, http_key
        return Opening(server, lambda: server._open(before))

    async def _open(self, before: Callable[["WebSocketServer"], Awaitable[object]] | None) -> None:
        config = self._config
        if before is not None:
            await before(self)
        try:
            self._listener = await listen(
                config.host, config.port, self._acceptor, ssl=self._ssl, reuse_port=self._reuse_port
            )
        except OSError as error:
            error.add_note(f"while binding to {config.host}:{config.port}; port 0 takes a free one")
            raise
        host, port = self._listener.address[:2]
        self._local_addr = (host, port)
        if config.ping_interval is not None:
            self._heartbeat = Heartbeat(
                self._loop,
                interval=config.ping_interval,
                timeout=config.ping_timeout,
                connections=lambda: tuple(self._connections),
                on_dead=self._on_dead,
            )
            self._heartbeat.start()
        self._ages.start()
        if self._http_address is not None:
            await self._open_door(*self._http_address)
        _logger.info("listening on %s", self.url)

    # --- receiving ---

    @overload
    def on(
        self, type_: type[T], handler: Callable[[ServerConnection, T], object]
    ) -> Callable[[ServerConnection, T], object]: ...
    @overload
    def on(
        self, type_: type[T]
    ) -> Callable[[Callable[[ServerConnection, T], object]], Callable[[ServerConnection, T], object]]: ...
    @overload
    def on(self, type_: Any, handler: Callable[..., object] | None = None) -> Any: ...
    def on(self, type_: Any, handler: Callable[..., object] | None = None) -> Any:
        """Call `handler(connection, message)` with every message of a class, inside the read that brings it.

        What it raises is logged and counted; the connection goes on. It may be a coroutine function, which runs as a
        task. Messages without a handler are dropped and counted as `unhandled`.

        Args:
            type_: A message class or a union of them; `DecodeError` for messages that no handler could be given, whose
                handler gets the error alone.
            handler: None makes this a decorator: `@server.on(Fill)`.

        Returns:
            `handler`, or a decorator.

        Raises:
            TypeError: If `type_` is nothing that messages can be told apart by.
        """
        if handler is None:

            def register(function: Callable[..., object]) -> Any:
                return self.on(type_, function)

            return register
        if type_ is DecodeError:
            self._faults.on_decode_error(handler)
        else:
            self._inbox.on(type_, handler)
        return handler

    # --- connections ---

    def _judge(self, request: Request) -> Judgement:
        if self._shutting_down or self._drain is not None:
            return Refusal(503, "the server is shutting down")
        hosts = self._config.hosts
        if hosts is not None and not is_host_listed(request.values("host")[0], hosts):
            return Refusal(403, "this host is not served")
        # Browsers name the page that opens a connection, and let any do so (RFC 6455 §10.2); other clients need not.
        for origin in request.values("origin") if self._origins is not None else ():
            normal = normal_origin(origin)
            if normal is None or normal not in (self._origins or ()):
                return Refusal(403, "this origin may not connect")
        subprotocol = next((name for name in request.subprotocols if name in SUBPROTOCOLS), None)
        if self._authentication is not None:
            return self._authentication.judge(request, subprotocol)
        return Acceptance(subprotocol)

    def _on_refused(self) -> None:
        self._rejected += 1

    def _take(self, opened: Opened) -> ServerConnection:
        connection = ServerConnection(
            path=opened.path,
            # That of a Unix socket is empty: its clients have no address.
            remote_addr=opened.transport.get_extra_info("peername") or None,
            is_client=False,
            format=SUBPROTOCOLS.get(opened.subprotocol or "", "json"),
            inbox=self._inbox,
            owner=self,
            transport=opened.transport,
            event_loop=self._loop,
            descriptor=opened.descriptor,
            watched_descriptor=opened.watched_descriptor,
            transport_busy=opened.transport_busy,
            max_message_size=self._config.max_message_size,
            max_send_queue=self._config.max_send_queue,
            broadcaster=self._broadcaster,
            sequenced=opened.subprotocol in SUBPROTOCOLS,
            deflate=opened.deflate,
            compression_threshold=self._config.compression_threshold,
            leave=opened.leave,
            subprotocol=opened.subprotocol,
        )
        self._accepted += 1
        self._connections.add(connection)
        self._empty.clear()
        # Who is not authenticated gets nothing of what is published.
        if self._authentication is None or (
            isinstance(opened.known, Known) and self._authentication.take(connection, opened.known)
        ):
            self._broadcaster.add(connection)
        if _logger.isEnabledFor(logging.DEBUG):
            _logger.debug("client %s connected", connection.remote_addr)
        return connection

    def connection_closing(self, connection: ServerConnection) -> None:
        """The closing handshake has begun: it gets `close_timeout`, then the transport is aborted."""
        self._channels.leave(connection)
        if self._authentication is not None:
            self._authentication.closing(connection)
        self._closing[connection] = self._loop.call_later(self._config.close_timeout, connection.abort)
        fault = connection.fault
        if fault is not None:
            _logger.warning(
                "client %s broke the protocol: %s (close code %d)", connection.remote_addr, fault[1], fault[0]
            )

    def connection_lost(self, connection: ServerConnection, error: BaseException | None) -> None:
        """The connection is over."""
        self._channels.leave(connection)
        if self._authentication is not None:
            self._authentication.lost(connection)
        timer = self._closing.pop(connection, None)
        if timer is not None:
            timer.cancel()
        messages, size = connection.sent_counters()
        self._sent_before = (self._sent_before[0] + messages, self._sent_before[1] + size)
        self._connections.discard(connection)
        connection.leave()
        if not self._connections:
            self._empty.set()
            if self._drain is not None:
                self._drain.stop()
        if _logger.isEnabledFor(logging.DEBUG):
            _logger.debug("client %s is gone%s", connection.remote_addr, f": {error}" if error else "")

    def _on_lag(self, connection: ServerConnection, queued: int, reason: str) -> None:
        if connection.is_open:
            self._lag_disconnects += 1
            _logger.warning(
                "client %s is %d bytes behind, %s: disconnected",
                connection.remote_addr,
                queued,
                f"over its bound (max_lag is {self._config.max_lag})" if reason == "size" else "for too long",
            )
            # A close frame would wait behind all that the client does not read: the connection is cut.
            connection.abort()

    def _on_dead(self, connection: ServerConnection) -> None:
        _logger.info("client %s did not answer a ping within %g s", connection.remote_addr, self._config.ping_timeout)
        connection.abort()

    # --- life ---

    @property
    def local_addr(self) -> tuple[str, int]:
        """Host and port it listens on; the real port where 0 was asked for. `unix:/path` and 0 of a Unix socket."""
        if self._local_addr is None:
            raise RuntimeError("the server is not bound: use `async with WebSocketServer.bind(...)` or await it")
        return self._local_addr

    @property
    def url(self) -> str:
        """A URL that reaches it from this machine."""
        host, port = self.local_addr
        if host.startswith("unix:"):
            return f"ws+unix:{quote(host.removeprefix('unix:'))}"
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # read, not bound
        scheme = "ws" if self._ssl is None else "wss"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    @property
    def connections(self) -> frozenset[ServerConnection]:
        """Clients connected now, without those that have yet to say who they are."""
        if self._authentication is None:
            return frozenset(self._connections)
        return frozenset(one for one in self._connections if not self._authentication.is_pending(one))

    def stats(self) -> ServerStats:
        """Return what this server has done so far, over all its connections."""
        messages, size, decode_errors, handler_errors, unhandled, *_ = self._inbox.counters()
        counted = self._broadcaster.counters()
        sent, sent_bytes = self._sent_before
        for connection in self._connections:
            now_sent, now_bytes = connection.sent_counters()
            sent, sent_bytes = sent + now_sent, sent_bytes + now_bytes
        return ServerStats(
            draining=self.is_draining,
            connections=len(self._connections),
            accepted=self._accepted,
            rejected=self._rejected,
            messages_received=messages,
            bytes_received=size,
            messages_sent=counted["published"] + sent,
            deliveries=counted["deliveries"] + sent,
            bytes_sent=counted["bytes"] + sent_bytes,
            channels=counted["channels"],
            subscriptions=counted["subscriptions"],
            conflated=counted["conflated"],
            dropped=counted["dropped"],
            lag_notices=counted["lag_notices"],
            recovered=counted["recovered"],
            unrecovered=counted["unrecovered"],
            history_messages=counted["history_messages"],
            history_bytes=counted["history_bytes"],
            log_bytes=counted["held_bytes"],
            lagging=counted["lagging"],
            lag_disconnects=self._lag_disconnects,
            unread_disconnects=self._channels.cut,
            unauthorized=self._authentication.refused if self._authentication is not None else 0,
            commands_refused=self._commands.refused,
            decode_errors=decode_errors,
            handler_errors=handler_errors,
            unhandled=unhandled,
        )

    def __repr__(self) -> str:
        return f"<WebSocketServer {self.url if self._local_addr else 'unbound'} {len(self._connections)} connections>"


def _fan_out_threads(config: WebSocketConfig) -> int:
    """How many threads write to clients; where it is left to us, half of the cores stay for everything else."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return config.fan_out_threads or max(1, min(4, cores // 2))
