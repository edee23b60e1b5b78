"""The opening handshake in both roles (RFC 6455 section 4): what a transport carries until the core takes it over.

    server: accept -> ServerOpening -> request judged -> 101 -> set_protocol(taker)
                                    `-> refusal with a fixed body; no further byte is looked at
    client: ClientOpening -> request -> response judged -> set_protocol(taker)
                                                       `-> HandshakeError

The head is collected, parsed and judged by the core (`_core.HeadReader`); bytes behind it go to the taker unseen.
"""

import asyncio
import base64
import hashlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol, cast

from . import _core
from ._admission import Admission
from .config import WebSocketConfig
from .exceptions import HandshakeError

__all__ = ["Acceptance", "Acceptor", "ClientOpening", "Compression", "Opened", "Refusal", "Request", "Taker", "opening_request"]

# (send_window_bits, send_takeover, receive_window_bits, receive_takeover), seen from this end.
Agreement = tuple[int, bool, int, bool]

_logger = logging.getLogger("websocket_utils.handshake")

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# Most heads fit one read of this size.
_READ_BYTES = 4096
# Of the body of an answer that is no 101: enough for an error page's message, bounded since nobody asked for it.
_MAX_BODY_BYTES = 16 * 1024
# How long a refused peer may take to read its answer and go; closing with its bytes unread would destroy the answer.
_LINGER_SECONDS = 1.0
# How long the body of an answer that is no 101 is waited for.
_BODY_SECONDS = 0.5
# Refused peers that get time to read their answer; more are cut at once, so that refusing costs no descriptors.
_MAX_LINGERING = 256


@dataclass(frozen=True, slots=True)
class Compression:
    """What one end is willing to do of permessage-deflate (RFC 7692)."""

    window_bits: int
    context_takeover: bool

    @classmethod
    def of(cls, config: WebSocketConfig) -> "Compression | None":
        """What the settings say; None where compression is off."""
        if not config.compression:
            return None
        return cls(config.compression_window_bits, config.compression_context_takeover)


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
    """Client: empty. Server: the target asked for."""
    deflate: Agreement | None = None
    """Parameters of permessage-deflate; None where messages are not compressed."""
    leave: Callable[[], None] = lambda: None
    """To be called once, when the connection is gone."""


@dataclass(frozen=True, slots=True)
class Request:
    """A client's opening request, in order as RFC 6455 section 4.2.1 has it."""

    path: str
    headers: Sequence[tuple[str, str]]
    """Names in lower case, in the order of the wire."""
    address: str | None
    """The client's; None where the transport does not know it."""

    def values(self, name: str) -> tuple[str, ...]:
        """The values of all headers of this name, which is in lower case."""
        return _values(self.headers, name)

    @property
    def subprotocols(self) -> tuple[str, ...]:
        """What the client offers, in its order of preference."""
        lines = self.values("sec-websocket-protocol")
        return tuple(member.strip() for line in lines for member in line.split(",") if member.strip())


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A server's 101."""

    subprotocol: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A server's answer that is no 101. The reason is fixed text: nothing of the peer's, nothing of ours."""

    status: int
    reason: str


class Taker(Protocol):
    """A protocol object that takes over an opened transport (`_core.Connection`)."""

    def feed_bytes(self, data: bytes, /) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, exc: BaseException | None = None, /) -> None: ...
    def abort(self) -> None: ...


def _values(headers: Sequence[tuple[str, str]], name: str) -> tuple[str, ...]:
    return tuple(value for known, value in headers if known == name)


def _accept_value(key: str) -> str:
    """The value of `Sec-WebSocket-Accept` for a key (RFC 6455 section 4.2.2)."""
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


class _Opening(asyncio.BufferedProtocol):
    """Reads a head. A buffered protocol, as its successor is: not every transport can change between the kinds."""

    def __init__(self, *, is_secure: bool) -> None:
        self._is_secure = is_secure
        self._transport: asyncio.Transport | None = None
        self._head = _core.HeadReader()
        self._buffer = bytearray(_READ_BYTES)
        self._is_busy = False

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def pause_writing(self) -> None:
        self._is_busy = True

    def resume_writing(self) -> None:
        self._is_busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        opened = cast("asyncio.Transport", transport)
        self._transport = opened
        # The transport says `pause_writing` with the first byte it has to hold and `resume_writing` when it holds
        # none: what decides whether `send(2)` may be used. TLS transports compare with >=: 0 would pause them for ever.
        opened.set_write_buffer_limits(high=1 if self._is_secure else 0, low=0)

    def _hand_over(
        self,
        transport: asyncio.Transport,
        take: Callable[[Opened], Taker],
        rest: bytes,
        **known: Any,
    ) -> Taker:
        """Let the taker have the transport, and the bytes that came behind the head."""
        descriptor = -1 if self._is_secure else transport.get_extra_info("socket").fileno()
        taker = take(Opened(transport=transport, descriptor=descriptor, transport_busy=self._is_busy, **known))
        transport.set_protocol(cast("asyncio.BaseProtocol", taker))
        if rest:
            taker.feed_bytes(rest)
        return taker


@dataclass(eq=False)
class Acceptor:
    """Makes the protocol of each connection that a listener accepts, and knows those that are still opening.

    Attributes:
        judge: Accepts or refuses a request that is in order.
        take: Makes what takes an opened transport over.
        admission: Counts connections.
        compression: What is agreed to; None declines every extension.
        open_timeout: Seconds from the accept to the end of the 101, TLS included.
        is_secure: Whether the transports are TLS.
        on_refused: Told of every connection that ends before its 101.
    """

    judge: Callable[[Request], Acceptance | Refusal]
    take: Callable[[Opened], Taker]
    admission: Admission
    compression: Compression | None
    open_timeout: float
    is_secure: bool
    on_refused: Callable[[], None]
    lingering: int = 0
    _openings: "set[ServerOpening]" = field(default_factory=set)

    def __call__(self) -> "ServerOpening":
        opening = ServerOpening(self)
        self._openings.add(opening)
        return opening

    def forget(self, opening: "ServerOpening") -> None:
        """An opening has ended, in one way or the other."""
        self._openings.discard(opening)

    def close(self) -> None:
        """End what is still opening."""
        for opening in tuple(self._openings):
            opening.abort()


class ServerOpening(_Opening):
    """One client's opening handshake."""

    def __init__(self, acceptor: Acceptor) -> None:
        super().__init__(is_secure=acceptor.is_secure)
        self._acceptor = acceptor
        self._address: str | None = None
        self._has_entered = acceptor.admission.enter()
        self._is_lingering = False
        self._is_done = False
        # Made at the accept, so that TLS counts: its own timeout ends the transport that we do not know yet.
        self._deadline = asyncio.get_running_loop().call_later(acceptor.open_timeout, self._on_deadline)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._is_done:
            self.abort()
            return
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else None
        if not self._has_entered:
            self._refuse(Refusal(503, "too many connections"))
        elif address is not None:
            if self._acceptor.admission.identify(address):
                self._address = address
            else:
                self._refuse(Refusal(503, "too many connections from this address"))

    def buffer_updated(self, nbytes: int) -> None:
        transport = self._transport
        # After any answer but 101 nothing more is parsed: what a proxy takes for another request is not one (RFC 9112 §11.2).
        if transport is None or self._is_done:
            return
        try:
            end = self._head.feed(memoryview(self._buffer)[:nbytes])
            if end is None:
                return
            path, key, headers = self._head.request()
            request = Request(path, headers, self._address)
            compression, answer = self._acceptor.compression, None
            if compression is not None:
                extensions = request.values("sec-websocket-extensions")
                answer = _core.deflate_accept(compression.window_bits, compression.context_takeover, extensions)
        except _core.HandshakeRefusal as refusal:
            self._refuse(Refusal(*refusal.args))
            return
        try:
            verdict = self._acceptor.judge(request)
        except Exception:
            # Its text is for us alone: it may hold what no client shall read.
            _logger.exception("judging a request from %s failed", self._address)
            verdict = Refusal(500, "internal error")
        if isinstance(verdict, Refusal):
            self._refuse(verdict)
            return
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {_accept_value(key)}",
        ]
        if verdict.subprotocol is not None:
            lines.append(f"Sec-WebSocket-Protocol: {verdict.subprotocol}")
        if answer is not None:
            lines.append(f"Sec-WebSocket-Extensions: {answer[1]}")
        transport.write("\r\n".join([*lines, "", ""]).encode("ascii"))
        self._finish()
        admission, address = self._acceptor.admission, self._address
        self._has_entered = False
        self._hand_over(
            transport,
            self._acceptor.take,
            bytes(self._buffer[end:nbytes]),
            subprotocol=verdict.subprotocol,
            path=path,
            deflate=answer[0] if answer is not None else None,
            leave=lambda: admission.leave(address),
        )

    def _finish(self) -> None:
        self._is_done = True
        self._deadline.cancel()
        self._acceptor.forget(self)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer and end: half-close, then drop what still comes until the peer ends or its time is over."""
        transport = self._transport
        if transport is None:
            return
        self._is_done = True
        self._deadline.cancel()
        self._acceptor.on_refused()
        _logger.debug("refused %s: %d %s", self._address, refusal.status, refusal.reason)
        transport.write(_refusal_bytes(refusal))
        may_linger = self._has_entered and self._acceptor.lingering < _MAX_LINGERING and transport.can_write_eof()
        if not may_linger:
            transport.close()
            return
        self._acceptor.lingering += 1
        self._is_lingering = True
        self._deadline = asyncio.get_running_loop().call_later(_LINGER_SECONDS, transport.abort)
        transport.write_eof()

    def _on_deadline(self) -> None:
        _logger.debug("%s sent no opening request within %g s", self._address, self._acceptor.open_timeout)
        self._acceptor.on_refused()
        self.abort()

    def abort(self) -> None:
        """End it now."""
        self._is_done = True
        self._deadline.cancel()
        if self._transport is not None:
            self._transport.abort()
        else:
            # Inside TLS, which has a deadline of its own and does not tell of its failure.
            self._leave()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._is_done:
            self._acceptor.on_refused()
        self._leave()

    def _leave(self) -> None:
        self._finish()
        if self._is_lingering:
            self._is_lingering = False
            self._acceptor.lingering -= 1
        if self._has_entered:
            self._has_entered = False
            self._acceptor.admission.leave(self._address)


_REFUSAL_HEADERS: Mapping[int, str] = {
    # RFC 9110 §15.5.6.
    405: "Allow: GET\r\n",
    # RFC 9110 §15.5.22 and RFC 6455 §4.4: what it would have to be.
    426: "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    # Room may be there as soon as one client leaves.
    503: "Retry-After: 1\r\n",
}


def _refusal_bytes(refusal: Refusal) -> bytes:
    body = refusal.reason + "\n"
    return (
        f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}\r\n{_REFUSAL_HEADERS.get(refusal.status, '')}"
        f"Connection: close\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode("ascii")


def opening_request(
    resource: str,
    host: str,
    key: str,
    headers: Mapping[str, str],
    subprotocols: Sequence[str],
    compression: Compression | None,
) -> bytes:
    """The bytes of a client's request (RFC 6455 section 4.1); what goes into it has been checked."""
    lines = [f"GET {resource} HTTP/1.1"]
    if not any(name.lower() == "host" for name in headers):
        lines.append(f"Host: {host}")
    lines += ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
    if subprotocols:
        lines.append(f"Sec-WebSocket-Protocol: {', '.join(subprotocols)}")
    if compression is not None:
        offer = _core.deflate_offer(compression.window_bits, compression.context_takeover)
        lines.append(f"Sec-WebSocket-Extensions: {offer}")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class ClientOpening(_Opening):
    """Our own opening handshake.

    Args:
        url: For errors; without credentials.
        make_request: Makes the request's bytes for a key.
        subprotocols: What the request offers.
        compression: What the request offers of permessage-deflate; None where it does not.
        take: Called once, when the handshake is complete.
        is_secure: Whether the transport is TLS.

    Attributes:
        done: The taker, or the error that the handshake ended with.
    """

    def __init__(
        self,
        url: str,
        make_request: Callable[[str], bytes],
        *,
        subprotocols: Sequence[str],
        compression: Compression | None,
        take: Callable[[Opened], Taker],
        is_secure: bool,
    ) -> None:
        super().__init__(is_secure=is_secure)
        self._url = url
        self._subprotocols = subprotocols
        self._compression = compression
        self._take = take
        # RFC 6455 §4.1: 16 bytes that nobody can foresee, new for each connection.
        self._key = base64.b64encode(os.urandom(16)).decode()
        self._request = make_request(self._key)
        self._body = bytearray()
        self._answer: tuple[int, dict[str, str]] | None = None
        self._body_timer: asyncio.TimerHandle | None = None
        self.done: asyncio.Future[Taker] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        cast("asyncio.Transport", transport).write(self._request)

    def buffer_updated(self, nbytes: int) -> None:
        transport = self._transport
        # Done without a hand-over: refused, or nobody waits any more.
        if transport is None or self.done.done():
            return
        if self._answer is not None:
            self._take_body(self._buffer[:nbytes])
            return
        rest = self._buffer[:nbytes]
        try:
            while True:
                end = self._head.feed(rest)
                if end is None:
                    return
                rest = rest[end:]
                status, _, headers = self._head.response(_accept_value(self._key), self._subprotocols)
                if status == HTTPStatus.SWITCHING_PROTOCOLS or status >= HTTPStatus.OK:
                    break
                # An interim answer (RFC 9110 §15.2): the final one follows.
                self._head = _core.HeadReader()
            if status != HTTPStatus.SWITCHING_PROTOCOLS:
                self._begin_body(status, headers, rest)
                return
            deflate = self._confirm(_values(headers, "sec-websocket-extensions"))
        except _core.HandshakeRefusal as refusal:
            status, reason = refusal.args
            switched = status == HTTPStatus.SWITCHING_PROTOCOLS
            self._fail(HandshakeError(self._url, reason=reason, status=int(status) if switched else None))
            return
        chosen = _values(headers, "sec-websocket-protocol")
        try:
            taker = self._hand_over(
                transport, self._take, bytes(rest), subprotocol=chosen[0] if chosen else None, path="", deflate=deflate
            )
        except BaseException as error:  # noqa: BLE001  # it belongs to who dials
            transport.abort()
            self.done.set_exception(error)
            return
        self.done.set_result(taker)

    def _confirm(self, extensions: Sequence[str]) -> Agreement | None:
        """Read what the server chose of the extensions (RFC 6455 section 4.1: nothing that was not offered)."""
        if self._compression is not None:
            return _core.deflate_confirm(self._compression.window_bits, self._compression.context_takeover, extensions)
        if extensions:
            raise _core.HandshakeRefusal(HTTPStatus.SWITCHING_PROTOCOLS, "the server chose an extension that was not offered")
        return None

    def _begin_body(self, status: int, headers: Sequence[tuple[str, str]], body: bytearray) -> None:
        self._answer = (status, {name: value for name, value in reversed(headers)})
        self._body_timer = asyncio.get_running_loop().call_later(_BODY_SECONDS, self._end_body)
        self._take_body(body)

    def _take_body(self, body: bytearray) -> None:
        """Gather the body of an answer that is no 101; it is for the error alone."""
        self._body += body[: _MAX_BODY_BYTES - len(self._body)]
        length = self._answer[1].get("content-length", "") if self._answer is not None else ""
        expected = int(length) if length.isdecimal() and len(length) < len(str(_MAX_BODY_BYTES)) + 1 else _MAX_BODY_BYTES
        if len(self._body) >= min(expected, _MAX_BODY_BYTES):
            self._end_body()

    def _end_body(self) -> None:
        if self._answer is None:
            return
        status, headers = self._answer
        reason = f"the server answered {status}, not 101"
        self._fail(HandshakeError(self._url, reason=reason, status=status, headers=headers, body=bytes(self._body)))

    def _fail(self, error: Exception) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()
        if not self.done.done():
            self.done.set_exception(error)
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None:
            self._end_body()
            return
        error = HandshakeError(self._url, reason="the server closed the connection during the handshake")
        error.__cause__ = exc
        self._fail(error)
