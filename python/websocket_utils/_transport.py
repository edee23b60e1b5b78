"""The seam to the network: picows opens connections, then the Rust core takes them over.

The only file that names picows and uvloop. picows does TCP, TLS and the opening handshake in both roles; at its end
the transport's protocol is exchanged for our own (the handover), picows' object is completed and let go, and every
further byte goes straight from the transport to Rust.

    socket -> transport -> picows WSProtocol      opening handshake
                  |
                  `- set_protocol(Connection) ->  frames, from the first byte behind the handshake

Early data: bytes that arrived together with the handshake are in picows' buffer already. picows then parses them, frame
by frame, and we feed each to the same state machine until its buffer is empty.
"""

import asyncio
import contextlib
import importlib
import logging
import socket
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from ssl import SSLContext
from typing import Any, Protocol, TypeVar, cast

import picows

from ._url import Target
from .exceptions import HandshakeError

__all__ = ["Opened", "Refusal", "Request", "Taker", "dial", "listen", "run"]

T = TypeVar("T")

# Bytes of picows' buffer for the opening handshake: most requests fit, and it grows to picows' own bound of 16 KiB.
_OPENING_BUFFER = 4096
# picows keeps this many bytes of its buffer back for its vector code, so an empty buffer offers that much less.
_OPENING_RESERVE = 256

# picows leaves its `**kwargs` untyped, which strict checkers refuse; and its client may return None for a listener,
# against its stub.
_ws_connect: Any = cast("Any", picows).ws_connect
_ws_create_server: Any = cast("Any", picows).ws_create_server

# picows logs every connection at INFO and makes a logger object for each; our own loggers say what users need.
_SILENT = logging.LoggerAdapter(logging.Logger("picows", logging.CRITICAL + 1), {})  # noqa: LOG001  # registered nowhere: nobody can turn it on by accident


@dataclass(frozen=True, slots=True)
class Opened:
    """What a completed opening handshake leaves to its taker."""

    transport: asyncio.Transport
    descriptor: int
    """For `send(2)`; -1 where only the transport may write (TLS)."""
    transport_busy: bool
    """The transport still holds bytes: those of the handshake."""
    subprotocol: str | None
    path: str
    """Client: empty. Server: the path asked for."""


@dataclass(frozen=True, slots=True)
class Request:
    """A client's opening request."""

    path: str
    headers: Mapping[str, str]
    subprotocols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A server's answer that is no 101."""

    status: int
    body: bytes


class Taker(Protocol):
    """A protocol object that takes over an opened transport (`_core.Connection`)."""

    def feed_frame(self, fin: bool, reserved_bits: int, opcode: int, payload: bytes, /) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, exc: BaseException | None = None, /) -> None: ...
    def abort(self) -> None: ...


class _Opening(picows.WSListener):
    """picows' listener until the handover."""

    def __init__(self, take: Callable[[Opened], Taker], subprotocol: str | None, path: str) -> None:
        super().__init__()
        self._take = take
        self._subprotocol = subprotocol
        self._path = path
        self._raw: asyncio.Transport | None = None
        self.taker: Taker | None = None
        self._handed_over = False
        self._ending: asyncio.Future[None] | None = None

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        raw = transport.underlying_transport
        self._raw = raw
        descriptor = -1 if transport.is_secure else raw.get_extra_info("socket").fileno()
        # The transport says `pause_writing` with the first byte it has to hold and `resume_writing` when it holds
        # none: what decides whether `send(2)` may be used. TLS transports compare with >=: 0 would pause them for ever.
        raw.set_write_buffer_limits(high=1 if transport.is_secure else 0, low=0)
        busy = raw.get_write_buffer_size() > 0
        self.taker = self._take(Opened(raw, descriptor, busy, self._subprotocol, self._path))
        opening = cast("Any", raw.get_protocol())
        if len(opening.get_buffer(-1)) == _OPENING_BUFFER - _OPENING_RESERVE:
            self._hand_over()
        if busy:
            self._watch_handshake_bytes(raw)

    def _hand_over(self) -> None:
        raw = self._raw
        if raw is None or self.taker is None or self._handed_over:
            return
        self._handed_over = True
        opening = raw.get_protocol()
        raw.set_protocol(cast("asyncio.BaseProtocol", self.taker))
        # Completes picows' futures and frees its buffers; `on_ws_disconnected` below ignores it.
        cast("Any", opening).connection_lost(None)

    def _watch_handshake_bytes(self, raw: asyncio.Transport) -> None:
        """Say `resume_writing` when the 101 answer has left: it was written before there was a limit to cross."""
        loop = asyncio.get_running_loop()
        taker = self.taker

        def look() -> None:
            if taker is None or raw.is_closing():
                return
            if raw.get_write_buffer_size() == 0:
                taker.resume_writing()
            else:
                loop.call_later(0.001, look)

        loop.call_soon(look)

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        # picows runs one frame ahead: once it has found a fault itself, nothing more counts.
        if transport.is_close_frame_sent or self.taker is None or self._handed_over:
            return
        reserved_bits = frame.rsv1 << 2 | frame.rsv2 << 1 | frame.rsv3
        self.taker.feed_frame(
            bool(frame.fin), reserved_bits, int(cast("Any", frame.msg_type)), frame.get_payload_as_bytes()
        )
        if frame.last_in_buffer and frame.tail_size == 0:
            self._hand_over()

    def pause_writing(self) -> None:
        if self.taker is not None:
            self.taker.pause_writing()

    def resume_writing(self) -> None:
        if self.taker is not None:
            self.taker.resume_writing()

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        if self._handed_over or self.taker is None:
            return
        # The end came before the handover. A fault that picows found in early data itself, and has answered with its
        # close code, is known to a future alone, which complains when nobody looks at it.
        self._ending = asyncio.ensure_future(transport.wait_disconnected())
        self._ending.add_done_callback(self._on_end)

    def _on_end(self, ending: "asyncio.Future[None]") -> None:
        if self.taker is not None:
            self.taker.connection_lost(None if ending.cancelled() else ending.exception())


def _members(headers: Any, name: str) -> tuple[str, ...]:
    """The members of a header that is a list, in their order, over all its lines (RFC 9110 §5.6.1)."""
    lines = headers.getall(name, ())
    return tuple(member.strip() for line in lines for member in line.split(",") if member.strip())


def _refusal(headers: Any) -> Any:
    """The answer to an opening request that picows would judge wrongly; None leaves the judgement to it."""
    # picows compares these two with one word. They are lists: every Firefox says `keep-alive, Upgrade`.
    for name, token in (("Connection", "upgrade"), ("Upgrade", "websocket")):
        if token not in map(str.lower, _members(headers, name)):
            return None
        headers[name] = token
    for name in ("Host", "Sec-WebSocket-Key"):
        # Twice: each proxy on the way may have believed another one (RFC 9112 §3.2).
        if len(headers.getall(name, ())) != 1:
            return picows.WSUpgradeResponse.create_error_response(400, f"expected one {name} header".encode())
    if headers.getall("Sec-WebSocket-Version", ()) != ["13"]:
        # RFC 6455 §4.2.2: say which version it would have to be.
        return picows.WSUpgradeResponse.create_error_response(
            426, b"expected Sec-WebSocket-Version: 13", {"Sec-WebSocket-Version": "13"}
        )
    return None


async def _connect(host: str, port: int) -> socket.socket:
    """Open a TCP connection to the first address of `host` that takes it."""
    loop = asyncio.get_running_loop()
    failure: OSError | None = None
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        made = socket.socket(family, kind, protocol)
        try:
            made.setblocking(False)
            await loop.sock_connect(made, address)
        except OSError as error:
            made.close()
            failure = failure or error
        except BaseException:
            made.close()
            raise
        else:
            return made
    raise failure or OSError(f"no address is known for {host}")


async def dial(
    target: Target,
    take: Callable[[Opened], Taker],
    *,
    headers: Mapping[str, str],
    subprotocols: tuple[str, ...],
    ssl: SSLContext | None,
    open_timeout: float,
    max_message_size: int,
    use_aiofastnet: bool | None = None,
) -> Taker:
    """Open one connection and hand it to what `take` makes of it.

    Args:
        target: Where to; its credentials become a header.
        take: Called once, when the handshake is complete.
        headers: Additional request headers.
        subprotocols: Offered to the server, in this order.
        ssl: For `wss`; None checks certificates against the system's.
        open_timeout: Seconds for name resolution, TCP, TLS and handshake together.
        max_message_size: Bytes; bounds frames that come with the handshake.
        use_aiofastnet: None uses it where it is installed.

    Raises:
        HandshakeError: If the server's answer is no valid 101, or none.
        TimeoutError: If it takes longer than `open_timeout`.
        OSError: If the name does not resolve or nobody listens.
    """
    request = dict(headers)
    if target.authorization is not None:
        request["Authorization"] = target.authorization
    if subprotocols:
        request["Sec-WebSocket-Protocol"] = ", ".join(subprotocols)

    sockets: list[socket.socket] = []
    given_up = False

    async def connect(parsed: Any) -> socket.socket:
        sockets.append(await _connect(parsed.host, parsed.port))
        return sockets[0]

    def opened(_request: object, response: Any) -> _Opening:
        if given_up:
            raise ConnectionAbortedError("nobody waits for this connection any more")
        # RFC 6455 §4.1: a subprotocol or an extension that was not offered fails the connection.
        chosen = response.headers.get("Sec-WebSocket-Protocol")
        if chosen is not None and chosen not in subprotocols:
            raise HandshakeError(target.url, reason=f"the server chose subprotocol {chosen!r}, which was not offered")
        extensions = response.headers.get("Sec-WebSocket-Extensions")
        if extensions is not None:
            raise HandshakeError(target.url, reason=f"the server chose extension {extensions!r}, which was not offered")
        return _Opening(take, chosen, "")

    try:
        async with asyncio.timeout(open_timeout):
            try:
                transport, listener = await _ws_connect(
                    opened,
                    target.url,
                    ssl_context=ssl,
                    websocket_handshake_timeout=open_timeout,
                    logger_name=_SILENT,
                    enable_auto_ping=False,
                    enable_auto_pong=False,
                    max_frame_size=max_message_size,
                    extra_headers=request,
                    max_redirects=0,
                    socket_factory=connect,
                    read_buffer_init_size=_OPENING_BUFFER,
                    use_aiofastnet=use_aiofastnet,
                )
            except BaseException:
                # picows would go on with a dial that was given up until its own timeout. The socket is the transport's,
                # so it is not closed here: at the end of the stream the transport closes itself.
                given_up = True
                with contextlib.suppress(OSError):
                    for tcp in sockets:
                        tcp.shutdown(socket.SHUT_RDWR)
                raise
    except picows.WSHandshakeError as error:
        raise _handshake_error(target, error) from error
    except TimeoutError as error:
        raise TimeoutError(f"no connection to {target.url} within {open_timeout:g} s (open_timeout)") from error
    # picows reports a socket that was closed in the middle of the handshake as a success without a listener.
    if listener is None or listener.taker is None:
        transport.disconnect(graceful=False)
        raise HandshakeError(target.url, reason="the server closed the connection during the handshake")
    taker: Taker = listener.taker
    return taker


def _handshake_error(target: Target, error: picows.WSHandshakeError) -> HandshakeError:
    response = error.response
    if response is None:
        return HandshakeError(target.url, reason=str(error), body=error.raw_body or b"")
    status = int(response.status)
    headers = {name.lower(): value for name, value in response.headers.items()}
    reason = str(error) if status == HTTPStatus.SWITCHING_PROTOCOLS else f"the server answered {status}, not 101"
    body = error.raw_body or response.body or b""
    return HandshakeError(target.url, reason=reason, status=status, headers=headers, body=body)


async def listen(
    host: str,
    port: int,
    accept: Callable[[Request], str | Refusal | None],
    take: Callable[[Opened], Taker],
    *,
    ssl: SSLContext | None,
    open_timeout: float,
    max_message_size: int,
    use_aiofastnet: bool | None = None,
) -> asyncio.Server:
    """Listen and hand every client that completes its handshake to what `take` makes of it.

    Args:
        host: Address to bind to.
        port: 0 takes a free one.
        accept: Answers a request with the subprotocol to choose, None for none, or a refusal.
        take: Called once for each connection.
        ssl: None serves plain TCP.
        open_timeout: Seconds a client has from TCP accept to the end of TLS, and again to the end of the handshake.
        max_message_size: Bytes; bounds frames that come with the handshake.
        use_aiofastnet: None uses it where it is installed.

    Raises:
        OSError: If the address is in use or is not this machine's.
    """

    def opening(upgrade: picows.WSUpgradeRequest) -> Any:
        refusal = _refusal(upgrade.headers)
        if refusal is not None:
            return picows.WSUpgradeResponseWithListener(refusal, None)
        path = upgrade.path.decode("ascii", "replace")
        offered = _members(upgrade.headers, "Sec-WebSocket-Protocol")
        answer = accept(Request(path, upgrade.headers, offered))
        if isinstance(answer, Refusal):
            response = picows.WSUpgradeResponse.create_error_response(answer.status, answer.body)
            return picows.WSUpgradeResponseWithListener(response, None)
        headers = {"Sec-WebSocket-Protocol": answer} if answer is not None else None
        response = picows.WSUpgradeResponse.create_101_response(headers)
        return picows.WSUpgradeResponseWithListener(response, _Opening(take, answer, path))

    tls: dict[str, Any] = {} if ssl is None else {"ssl": ssl, "ssl_handshake_timeout": open_timeout}
    server: asyncio.Server = await _ws_create_server(
        opening,
        host,
        port,
        websocket_handshake_timeout=open_timeout,
        logger_name=_SILENT,
        enable_auto_ping=False,
        enable_auto_pong=False,
        max_frame_size=max_message_size,
        read_buffer_init_size=_OPENING_BUFFER,
        use_aiofastnet=use_aiofastnet,
        **tls,
    )
    return server


def run(main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
    """Run `main` to its end on uvloop, the event loop this package is fastest on; on asyncio's where uvloop is missing.

    Ctrl-C cancels `main`, so its `async with` blocks close what they opened, and then raises `KeyboardInterrupt`.

    Args:
        main: A coroutine, as for `asyncio.run`.
        debug: asyncio's debug mode; None leaves it to `PYTHONASYNCIODEBUG`.

    Returns:
        What `main` returns.
    """
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    # No uvloop on Windows.
    with contextlib.suppress(ImportError):
        loop_factory = importlib.import_module("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=loop_factory, debug=debug) as runner:
        return runner.run(main)
