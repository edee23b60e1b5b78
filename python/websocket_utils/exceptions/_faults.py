"""What is wrong before there is a connection, with the protocol, and with messages."""

import copyreg
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from websocket_utils._redaction import on_one_line, without_credentials

__all__ = [
    "Close",
    "CodecError",
    "ConfigError",
    "DecodeError",
    "EncodeError",
    "HandshakeError",
    "Initiator",
    "InvalidURL",
    "LocalProtocolError",
    "MessageTooBig",
    "ProtocolError",
    "RemoteProtocolError",
    "WebSocketError",
    "WireFormat",
]

Initiator = Literal["local", "peer", "transport"]
"""Who ended a connection: this side, the peer, or the transport (reset, end of file without a close frame)."""

WireFormat = Literal["json", "msgpack", "protobuf", "raw"]
"""How a message is written on the wire; `raw` is text or bytes that no codec has looked at."""

# Long enough to recognise a message in a log, short enough that a 16 MiB message does not fill it.
_EXCERPT_BYTES = 80


def _excerpt(raw: bytes) -> str:
    shown = repr(raw[:_EXCERPT_BYTES])
    return shown if len(raw) <= _EXCERPT_BYTES else f"{shown}... ({len(raw)} bytes)"


@dataclass(frozen=True, slots=True)
class Close:
    """The code and reason of a close frame (RFC 6455 §5.5.1)."""

    code: int
    """Close code; 1005 when the frame carried none (RFC 6455 §7.1.5)."""

    reason: str = ""
    """Close reason, at most 123 bytes in UTF-8; may be empty."""

    def __str__(self) -> str:
        return f"{self.code} ({on_one_line(self.reason)})" if self.reason else str(self.code)


class WebSocketError(Exception):
    """Base of every exception of this package."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own way calls the class with `args` again, which fails where arguments are keyword-only.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]  # typeshed hides it


class ConfigError(WebSocketError, ValueError):
    """Settings are wrong. Nothing was opened.

    Attributes:
        faults: One sentence for each bad setting, in the order of the settings; never empty.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__(faults)
        self.faults: list[str] = list(faults)

    def __str__(self) -> str:
        if len(self.faults) == 1:
            return f"invalid configuration: {self.faults[0]}"
        return f"invalid configuration, {len(self.faults)} faults:" + "".join(f"\n  - {fault}" for fault in self.faults)


class InvalidURL(WebSocketError, ValueError):
    """A URL cannot be connected to. Nothing was opened.

    Attributes:
        url: The URL without user and password, and with `?...` for its query.
        reason: What is wrong with it.
    """

    def __init__(self, url: str, reason: str) -> None:
        self.url: str = without_credentials(url)
        super().__init__(self.url, reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"invalid WebSocket URL {self.url!r}: {self.reason}; expected ws://host[:port]/path or wss://..."


class HandshakeError(WebSocketError):
    """The peer did not complete the opening handshake (RFC 6455 §4). The transport is closed.

    Attributes:
        url: Where we connected to, without user and password, and with `?...` for its query.
        status: HTTP status of the answer; None when no complete answer came.
        headers: Header fields of the answer, names in lower case; empty when no complete answer came.
        body: The first bytes of the answer's body; often the server's own explanation.
        reason: What is wrong.
    """

    def __init__(
        self,
        url: str,
        *,
        reason: str,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> None:
        self.url: str = without_credentials(url)
        super().__init__(self.url, reason)
        self.reason = reason
        self.status = status
        self.headers: dict[str, str] = dict(headers or {})
        self.body = body

    def __str__(self) -> str:
        text = f"opening handshake with {self.url} failed: {self.reason}"
        if self.status is not None:
            text += f" (HTTP {self.status})"
        if self.body:
            text += f"; the peer said {_excerpt(self.body)}"
        return f"{text}; {self._advice()}"

    def _advice(self) -> str:
        status = self.status
        if status is None:
            return "check that a WebSocket server listens there, and ws:// against wss://"
        if status in {401, 403}:
            return "check the credentials and the Origin"
        if 300 <= status < 400:  # noqa: PLR2004  # the 3xx class of RFC 9110 §15.4
            location = self.headers.get("location")
            where = f" to {on_one_line(without_credentials(location))}" if location else ""
            return f"it redirects{where}: connect there, or allow it with follow_redirects"
        if status == 404:  # noqa: PLR2004  # Not Found, RFC 9110 §15.5.5
            return "check the path of the URL"
        return "check the URL and the server's log"


class ProtocolError(WebSocketError):
    """RFC 6455 was broken; the connection is failed with `close_code` and is over (RFC 6455 §7.1.7).

    Attributes:
        close_code: Close code sent to the peer, such as 1002 (protocol error) or 1007 (invalid payload).
        reason: Which rule was broken.
    """

    _who = "the WebSocket protocol was violated"

    def __init__(self, close_code: int, reason: str) -> None:
        super().__init__(close_code, reason)
        self.close_code = close_code
        self.reason = reason

    def __str__(self) -> str:
        return f"{self._who}: {self.reason} (close code {self.close_code}); the connection is over"


class LocalProtocolError(ProtocolError):
    """This side tried something that RFC 6455 forbids; nothing of it was sent."""

    _who = "this side would violate the WebSocket protocol"


class RemoteProtocolError(ProtocolError):
    """The peer sent something that RFC 6455 forbids."""

    _who = "the peer violated the WebSocket protocol"


class MessageTooBig(WebSocketError):
    """A message is over `max_message_size`; an incoming one fails the connection with 1009 (RFC 6455 §7.4.1).

    Attributes:
        size: Bytes of the message as far as they are known; None when the peer had not finished it.
        limit: `max_message_size` in force, in bytes.
    """

    def __init__(self, size: int | None, limit: int) -> None:
        super().__init__(size, limit)
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        what = "a message" if self.size is None else f"a message of {self.size} bytes"
        return f"{what} is over the limit of {self.limit} bytes; raise max_message_size or split the message"


class CodecError(WebSocketError):
    """A message and its bytes do not fit together. The connection stays open.

    Attributes:
        format: Wire format in use.
    """

    def __init__(self, message: str, *, format: WireFormat) -> None:
        super().__init__(message)
        self.format = format


class EncodeError(CodecError):
    """A message cannot be written. Nothing was sent."""

    def __str__(self) -> str:
        return f"cannot encode the message as {self.format}: {self.args[0]}; nothing was sent"


class DecodeError(CodecError):
    """A received message is not what was asked for. It is skipped; the next call goes on with the next message.

    Attributes:
        format: Wire format it was read as.
        offset: Byte of `raw` at which reading failed; None when the message as a whole is at fault.
        path: Where in the message, such as `$.price`; `$` is the message itself, empty when it has no structure.
        expected: What should stand there, such as `float` or `field price`; None where no one thing would do.
        got: What stands there, such as `str`; None where `raw` at `offset` says it best.
        raw: The message as it came.
    """

    def __init__(
        self,
        message: str,
        *,
        format: WireFormat,
        offset: int | None = None,
        path: str = "",
        expected: str | None = None,
        got: str | None = None,
        raw: bytes = b"",
    ) -> None:
        super().__init__(message, format=format)
        self.offset = offset
        self.path = path
        self.expected = expected
        self.got = got
        self.raw = raw

    def __str__(self) -> str:
        at = f" - at `{on_one_line(self.path)}`" if self.path else ""
        byte = "" if self.offset is None else f" (byte {self.offset})"
        what = on_one_line(self.args[0])
        return f"cannot decode the {self.format} message: {what}{at}{byte}; it was {_excerpt(self.raw)}"
