"""The client's side of the opening handshake: from the request to the 101, or to a `HandshakeError`."""

import asyncio
import base64
import os
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus

from . import _core
from ._handshake import Agreement, Compression, Opened, OpeningProtocol, Taker, accept_value, values_of
from .exceptions import HandshakeError

__all__ = ["ClientOpening", "opening_request"]

# Of the body of an answer that is no 101: enough for an error page's message, bounded since nobody asked for it.
_MAX_BODY_BYTES = 16 * 1024
# How long the body of an answer that is no 101 is waited for.
_BODY_SECONDS = 0.5


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


class ClientOpening(OpeningProtocol):
    """Our own opening handshake.

    Args:
        url: For errors; without credentials.
        make_request: Makes the request's bytes for a key.
        subprotocols: What the request offers.
        compression: What the request offers of permessage-deflate; None where it does not.
        take: Called once, when the handshake is complete.
        is_secure: Whether the transport is TLS.
        watches_errors: The connection looks for errors of its socket itself.

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
        watches_errors: bool,
    ) -> None:
        super().__init__(is_secure=is_secure, watches_errors=watches_errors)
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
        self._successor: Taker | None = None
        self.done: asyncio.Future[Taker] = asyncio.get_running_loop().create_future()
        # A dial that was given up does not come to look what became of it: that is no error of the loop.
        self.done.add_done_callback(lambda done: done.cancelled() or done.exception())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # Not from in here: a transport begins to watch its socket behind this call, also when a write has failed in it.
        # The loop would be left with the number of a closed socket, which the next dial's has too.
        asyncio.get_running_loop().call_soon(self._ask)

    def _ask(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._request)

    def buffer_updated(self, nbytes: int) -> None:
        transport = self._transport
        if self._taker is not None:
            self._rest += self._buffer[:nbytes]
            return
        # Done without a taker: refused, or nobody waits any more.
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
                    self._look_for_error()
                    return
                rest = rest[end:]
                status, _, headers = self._head.response(accept_value(self._key), self._subprotocols)
                if status == HTTPStatus.SWITCHING_PROTOCOLS or status >= HTTPStatus.OK:
                    break
                # An interim answer (RFC 9110 §15.2): the final one follows.
                self._head = _core.HeadReader()
            if status != HTTPStatus.SWITCHING_PROTOCOLS:
                self._begin_body(status, headers, rest)
                return
            deflate = self._confirm(values_of(headers, "sec-websocket-extensions"))
        except _core.HandshakeRefusal as refusal:
            status, reason = refusal.args
            switched = status == HTTPStatus.SWITCHING_PROTOCOLS
            self._fail(HandshakeError(self._url, reason=reason, status=int(status) if switched else None))
            return
        chosen = values_of(headers, "sec-websocket-protocol")
        try:
            taker = self._found_taker(
                transport, self._take, bytes(rest), subprotocol=chosen[0] if chosen else None, path="", deflate=deflate
            )
        except BaseException as error:  # noqa: BLE001  # it belongs to who dials
            self._taker = None
            transport.abort()
            self.done.set_exception(error)
            return
        self._successor = taker
        self.done.set_result(taker)
        # Messages that came with the answer wait for this turn's end: who awaits the connection registers its handlers.
        asyncio.get_running_loop().call_soon(self._hand_over)

    def _confirm(self, extensions: Sequence[str]) -> Agreement | None:
        """Read what the server chose of the extensions (RFC 6455 section 4.1: nothing that was not offered)."""
        if self._compression is not None:
            return _core.deflate_confirm(self._compression.window_bits, self._compression.context_takeover, extensions)
        if extensions:
            raise _core.HandshakeRefusal(
                HTTPStatus.SWITCHING_PROTOCOLS, "the server chose an extension that was not offered"
            )
        return None

    def _begin_body(self, status: int, headers: Sequence[tuple[str, str]], body: bytearray) -> None:
        self._answer = (status, dict(reversed(headers)))
        self._body_timer = asyncio.get_running_loop().call_later(_BODY_SECONDS, self._end_body)
        self._take_body(body)

    def _take_body(self, body: bytearray) -> None:
        """Gather the body of an answer that is no 101; it is for the error alone."""
        self._body += body[: _MAX_BODY_BYTES - len(self._body)]
        length = self._answer[1].get("content-length", "") if self._answer is not None else ""
        expected = (
            int(length) if length.isdecimal() and len(length) < len(str(_MAX_BODY_BYTES)) + 1 else _MAX_BODY_BYTES
        )
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

    def abort(self) -> None:
        """End it now, whoever has the transport; inside TLS nobody has one yet."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._successor is not None:
            self._hand_over()
            # Also behind the handover: a TLS transport may have chosen before it whom to tell.
            self._successor.connection_lost(exc)
            return
        if self._answer is not None:
            self._end_body()
            return
        error = HandshakeError(self._url, reason="the server closed the connection during the handshake")
        error.__cause__ = exc
        self._fail(error)
