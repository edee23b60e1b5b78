"""The opening handshake (RFC 6455 section 4), as far as it is the same in both roles.

    server: accept -> ServerOpening -> request judged -> 101 -> set_protocol(taker)         `_accepting.py`
                                    `-> refusal with a fixed body; no further byte is looked at
    client: ClientOpening -> request -> response judged -> set_protocol(taker)              `_requesting.py`
                                                       `-> HandshakeError

The head is collected, parsed and judged by the core (`_core.HeadReader`); bytes behind it go to the taker unseen.
"""

import asyncio
import base64
import hashlib
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from . import _core
from .config import WebSocketConfig

__all__ = ["Agreement", "Compression", "Opened", "OpeningProtocol", "Taker", "accept_value", "values_of"]

# (send_window_bits, send_takeover, receive_window_bits, receive_takeover), seen from this end.
Agreement = tuple[int, bool, int, bool]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# Most heads fit one read of this size.
_READ_BYTES = 4096


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
    watched_descriptor: int
    """Whose errors the taker looks for after each read; -1 where the transport tells of all of them."""
    transport_busy: bool
    """The transport still holds bytes: those of the handshake."""
    subprotocol: str | None
    path: str = field(repr=False)
    """Client: empty. Server: the target asked for, whose query may hold a token."""
    deflate: Agreement | None = None
    """Parameters of permessage-deflate; None where messages are not compressed."""
    known: object = None
    """Server: what judging the request has found out about the client."""
    leave: Callable[[], None] = lambda: None
    """To be called once, when the connection is gone."""
    announce: "Callable[[Taker], None]" = lambda taker: None
    """To be called with the taker before it sends anything: from then on it is told of `pause_writing`."""


class Taker(Protocol):
    """A protocol object that takes over an opened transport (`_core.Connection`)."""

    def feed_bytes(self, data: bytes, /) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, exc: BaseException | None = None, /) -> None: ...
    def abort(self) -> None: ...


def values_of(headers: Sequence[tuple[str, str]], name: str) -> tuple[str, ...]:
    """The values of all headers of this name, which is in lower case."""
    return tuple(value for known, value in headers if known == name)


def accept_value(key: str) -> str:
    """The value of `Sec-WebSocket-Accept` for a key (RFC 6455 section 4.2.2)."""
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


class OpeningProtocol(asyncio.BufferedProtocol):
    """Reads a head. A buffered protocol, as its successor is: not every transport can change between the kinds."""

    def __init__(self, *, is_secure: bool, watches_errors: bool) -> None:
        self._is_secure = is_secure
        self._watches_errors = watches_errors
        self._transport: asyncio.Transport | None = None
        self._head = _core.HeadReader()
        self._buffer = bytearray(_READ_BYTES)
        # Transports read a second TLS record into a slice of what they get: of a bytearray that would be a copy.
        self._view = memoryview(self._buffer)
        self._is_busy = False
        self._taker: Taker | None = None
        self._rest = b""

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def pause_writing(self) -> None:
        self._is_busy = True
        if self._taker is not None:
            self._taker.pause_writing()

    def resume_writing(self) -> None:
        self._is_busy = False
        if self._taker is not None:
            self._taker.resume_writing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        opened = cast("asyncio.Transport", transport)
        self._transport = opened
        # The transport says `pause_writing` with the first byte it has to hold and `resume_writing` when it holds
        # none: what decides whether `send(2)` may be used. TLS transports compare with >=: 0 would pause them for ever.
        opened.set_write_buffer_limits(high=1 if self._is_secure else 0, low=0)

    def _look_for_error(self) -> None:
        """End the connection if an error came together with bytes that complete nothing: nobody tells of it again."""
        transport = self._transport
        if transport is None or not self._watches_errors:
            return
        tcp: socket.socket = transport.get_extra_info("socket")
        if tcp.fileno() != -1 and tcp.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            # Not from inside its read.
            asyncio.get_running_loop().call_soon(transport.abort)

    def _found_taker(
        self, transport: asyncio.Transport, take: Callable[[Opened], Taker], rest: bytes, **known: Any
    ) -> Taker:
        """Make what takes the transport over; `rest` are the bytes behind the head."""
        descriptor: int = transport.get_extra_info("socket").fileno()
        taker = take(
            Opened(
                transport=transport,
                descriptor=-1 if self._is_secure else descriptor,
                watched_descriptor=descriptor if self._watches_errors else -1,
                transport_busy=self._is_busy,
                announce=self._announced,
                **known,
            )
        )
        self._taker = taker
        self._rest = rest
        return taker

    def _announced(self, taker: Taker) -> None:
        self._taker = taker

    def _hand_over(self) -> None:
        """Let the taker have the transport, and the bytes that came behind the head."""
        taker, self._taker = self._taker, None
        if taker is None or self._transport is None:
            return
        self._transport.set_protocol(cast("asyncio.BaseProtocol", taker))
        # Also without any: it looks for an error that came with the head.
        taker.feed_bytes(self._rest)
