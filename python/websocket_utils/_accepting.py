"""The server's side of the opening handshake: from the accept to the 101, or to a refusal."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from . import _core
from ._admission import Admission
from ._handshake import Agreement, Compression, Opened, OpeningProtocol, Taker, accept_value, values_of

__all__ = ["Acceptance", "Acceptor", "Judgement", "Refusal", "Request"]

_logger = logging.getLogger("websocket_utils.server")

# How long a refused peer may take to read its answer and go; closing with its bytes unread would destroy the answer.
_LINGER_SECONDS = 1.0
# How often a server that ends looks whether they have gone.
_SETTLE_SECONDS = 0.005
# Refused peers that get time to read their answer; more are cut at once, so that refusing costs no descriptors.
_MAX_LINGERING = 256
# What is kept of a client that does not wait for its answer: as much as of its head.
_MAX_EARLY_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """A client's opening request, in order as RFC 6455 section 4.2.1 has it."""

    path: str = field(repr=False)
    headers: Sequence[tuple[str, str]] = field(repr=False)
    """Names in lower case, in the order of the wire."""
    address: str | None
    """The client's; None where the transport does not know it."""
    peer_certificate: Mapping[str, Any] | None = field(default=None, repr=False)
    """The client's, checked by TLS; None without one."""

    def values(self, name: str) -> tuple[str, ...]:
        """The values of all headers of this name, which is in lower case."""
        return values_of(self.headers, name)

    @property
    def subprotocols(self) -> tuple[str, ...]:
        """What the client offers, in its order of preference."""
        lines = self.values("sec-websocket-protocol")
        return tuple(member.strip() for line in lines for member in line.split(",") if member.strip())


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A server's 101."""

    subprotocol: str | None = None
    known: object = None
    """What was found out about the client, for who takes the connection over."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A server's answer that is no 101. The reason is fixed text: nothing of the peer's, nothing of ours."""

    status: int
    reason: str


Judgement = Acceptance | Refusal | Awaitable[Acceptance | Refusal]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that is judged, and what its 101 would say."""

    request: Request
    key: str
    extensions: tuple[Agreement, str] | None


@dataclass(eq=False)
class Acceptor:
    """Makes the protocol of each connection that a listener accepts, and knows those that are still opening.

    Attributes:
        judge: Accepts or refuses a request that is in order, or returns what comes to it: the opening waits for that.
        take: Makes what takes an opened transport over.
        admission: Counts connections.
        compression: What is agreed to; None declines every extension.
        open_timeout: Seconds from the accept to the end of the 101, TLS included.
        is_secure: Whether the transports are TLS.
        watches_errors: Connections look for errors of their socket themselves; set by the listener.
        on_refused: Told of every connection that ends before its 101.
    """

    judge: Callable[[Request], Judgement]
    take: Callable[[Opened], Taker]
    admission: Admission
    compression: Compression | None
    open_timeout: float
    is_secure: bool
    on_refused: Callable[[], None]
    watches_errors: bool = False
    lingering: int = 0
    _openings: "set[ServerOpening]" = field(default_factory=set["ServerOpening"])

    def __call__(self, address: str | None) -> "ServerOpening":
        """Make the protocol of a connection that was accepted from `address` just now."""
        opening = ServerOpening(self, address)
        self._openings.add(opening)
        return opening

    def forget(self, opening: "ServerOpening") -> None:
        """An opening has ended, in one way or the other."""
        self._openings.discard(opening)

    async def settle(self, within: float) -> None:
        """Wait until nothing is opening any more, for so many seconds at most."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + within
        while self._openings and loop.time() < ends:  # noqa: ASYNC110  # only at a server's end: no event is worth it
            await asyncio.sleep(_SETTLE_SECONDS)

    def close(self) -> None:
        """End what is still opening."""
        for opening in tuple(self._openings):
            opening.abort()


class ServerOpening(OpeningProtocol):
    """One client's opening handshake.

    Attributes:
        address: The client's; None where it has none.
    """

    def __init__(self, acceptor: Acceptor, address: str | None) -> None:
        super().__init__(is_secure=acceptor.is_secure, watches_errors=acceptor.watches_errors)
        self._acceptor = acceptor
        self.address = address
        # Counted at the accept, so that TLS counts. What no room is left for is told behind TLS.
        self._has_entered = acceptor.admission.enter()
        self._is_identified = self._has_entered and address is not None and acceptor.admission.identify(address)
        self._no_room: Refusal | None = None
        if not self._has_entered:
            self._no_room = Refusal(503, "too many connections")
        elif address is not None and not self._is_identified:
            self._no_room = Refusal(503, "too many connections from this address")
        self._is_lingering = False
        self._is_done = False
        # A judgement that takes time, and what a client that does not wait for it sends meanwhile.
        self._judging: asyncio.Future[Acceptance | Refusal] | None = None
        self._early = bytearray()
        # Begins at the accept, so that TLS counts.
        self._deadline = asyncio.get_running_loop().call_later(acceptor.open_timeout, self._on_deadline)

    @property
    def is_refused(self) -> bool:
        """Whether there was no room for it at its accept."""
        return self._no_room is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # Not from in here: a transport begins to read behind this call, whatever became of it meanwhile, and the loop
        # would watch a descriptor that is closed.
        if self._is_done:
            asyncio.get_running_loop().call_soon(self.abort)
        elif self._no_room is not None:
            asyncio.get_running_loop().call_soon(self._refuse, self._no_room)

    def buffer_updated(self, nbytes: int) -> None:
        transport = self._transport
        # After any answer but 101 nothing more is parsed: what a proxy may take for another request is none
        # (RFC 9112 §11.2).
        if transport is None or self._is_done or self._no_room is not None:
            return
        if self._judging is not None:
            self._take_early(self._view[:nbytes])
            return
        try:
            end = self._head.feed(self._view[:nbytes])
            if end is None:
                self._look_for_error()
                return
            path, key, headers = self._head.request()
            request = Request(path, headers, self.address, self._peer_certificate(transport))
            compression, extensions = self._acceptor.compression, None
            if compression is not None:
                offered = request.values("sec-websocket-extensions")
                extensions = _core.deflate_accept(compression.window_bits, compression.context_takeover, offered)
        except _core.HandshakeRefusal as refusal:
            self._refuse(Refusal(*refusal.args))
            return
        asked = _Asked(request, key, extensions)
        self._early += self._view[end:nbytes]
        try:
            judgement = self._acceptor.judge(request)
        except Exception as error:  # noqa: BLE001  # whatever it is, it ends this opening and no other
            self._decide(asked, transport, self._failed(error))
            return
        if isinstance(judgement, Acceptance | Refusal):
            self._decide(asked, transport, judgement)
            return
        self._judging = asyncio.ensure_future(judgement)
        self._judging.add_done_callback(lambda judging: self._judged(asked, transport, judging))
        self._look_for_error()

    def _peer_certificate(self, transport: asyncio.Transport) -> Mapping[str, Any] | None:
        tls = transport.get_extra_info("ssl_object") if self._acceptor.is_secure else None
        # Empty where none was asked for.
        return (tls.getpeercert() or None) if tls is not None else None

    def _take_early(self, data: memoryview) -> None:
        """Keep what a client sends before it has its answer (RFC 6455 §4.1 has it wait), up to a bound."""
        self._early += data
        if len(self._early) > _MAX_EARLY_BYTES:
            self._refuse(Refusal(400, "data before the answer"))
        else:
            self._look_for_error()

    def _failed(self, error: BaseException) -> Refusal:
        # Its text is for us alone: it may hold what no client shall read.
        _logger.error("judging a request from %s failed", self.address, exc_info=error)
        return Refusal(500, "internal error")

    def _judged(
        self, asked: _Asked, transport: asyncio.Transport, judging: "asyncio.Future[Acceptance | Refusal]"
    ) -> None:
        # Its end, if it was not this opening that gave it up.
        error = asyncio.CancelledError() if judging.cancelled() else judging.exception()
        if self._is_done:
            return
        try:
            self._decide(asked, transport, judging.result() if error is None else self._failed(error))
        except Exception:
            # Inside a read the transport would see to it.
            _logger.exception("taking a connection from %s failed", self.address)
            transport.abort()

    def _decide(self, asked: _Asked, transport: asyncio.Transport, verdict: Acceptance | Refusal) -> None:
        if isinstance(verdict, Refusal):
            self._refuse(verdict)
            return
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {accept_value(asked.key)}",
        ]
        if verdict.subprotocol is not None:
            lines.append(f"Sec-WebSocket-Protocol: {verdict.subprotocol}")
        if asked.extensions is not None:
            lines.append(f"Sec-WebSocket-Extensions: {asked.extensions[1]}")
        transport.write("\r\n".join([*lines, "", ""]).encode("ascii"))
        self._finish()
        admission, counted = self._acceptor.admission, self._counted_address
        self._found_taker(
            transport,
            self._acceptor.take,
            bytes(self._early),
            subprotocol=verdict.subprotocol,
            path=asked.request.path,
            deflate=asked.extensions[0] if asked.extensions is not None else None,
            known=verdict.known,
            leave=lambda: admission.leave(counted),
        )
        # Its place is the taker's now.
        self._has_entered = False
        self._hand_over()

    @property
    def _counted_address(self) -> str | None:
        return self.address if self._is_identified else None

    def _finish(self) -> None:
        self._end()
        self._acceptor.forget(self)

    def _end(self) -> None:
        self._is_done = True
        self._deadline.cancel()
        if self._judging is not None:
            self._judging.cancel()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer and end: half-close, then drop what still comes until the peer ends or its time is over."""
        transport = self._transport
        # It may have been lost, or its time be over, since it was made.
        if transport is None or self._is_done:
            return
        self._end()
        self._acceptor.on_refused()
        _logger.debug("refused %s: %d %s", self.address, refusal.status, refusal.reason)
        transport.write(_refusal_bytes(refusal))
        # Closing takes its time too: TLS waits for the peer's answer to its end.
        self._deadline = asyncio.get_running_loop().call_later(_LINGER_SECONDS, transport.abort)
        may_linger = self._has_entered and self._acceptor.lingering < _MAX_LINGERING and transport.can_write_eof()
        if not may_linger:
            transport.close()
            return
        self._acceptor.lingering += 1
        self._is_lingering = True
        try:
            transport.write_eof()
        except OSError:
            # The peer reset the connection since the write.
            transport.close()

    def _on_deadline(self) -> None:
        _logger.debug("%s sent no opening request within %g s", self.address, self._acceptor.open_timeout)
        self._acceptor.on_refused()
        self.abort()

    def abort(self) -> None:
        """End it now."""
        self._end()
        if self._transport is not None:
            self._transport.abort()
        else:
            # Inside TLS, which has a deadline of its own.
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
            self._acceptor.admission.leave(self._counted_address)


_REFUSAL_HEADERS: Mapping[int, str] = {
    # RFC 6750 §3.
    401: "WWW-Authenticate: Bearer\r\n",
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
