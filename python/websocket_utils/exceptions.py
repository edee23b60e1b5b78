"""Every exception this package raises on its own account.

    WebSocketError
    ├─ ConfigError (ValueError)       .faults                       all bad settings at once
    ├─ InvalidURL (ValueError)        .url .reason                  nothing was connected
    ├─ HandshakeError                 .url .status .headers .body .reason
    ├─ ProtocolError                  .close_code .reason           the connection is over
    │  ├─ LocalProtocolError          we, or our caller, broke RFC 6455
    │  └─ RemoteProtocolError         the peer broke RFC 6455
    ├─ MessageTooBig                  .size .limit                  close code 1009
    ├─ CodecError                     .format                       the connection stays open
    │  ├─ EncodeError
    │  └─ DecodeError                 .offset .path .expected .got .raw
    ├─ SendQueueFull                  .queued .size .limit .unit    nothing of the message was queued
    ├─ ConnectionClosed               .received .sent .initiator
    │  ├─ ConnectionClosedOK          both sides were done: 1000 or 1001
    │  └─ ConnectionClosedError       anything else
    │     └─ HeartbeatTimeout         .timeout
    └─ ReconnectGaveUp                .attempts .last_error

`OSError` (refused, name not resolved, address in use), `TimeoutError` and `asyncio.CancelledError` pass through
unwrapped: a caller who handles them already need not learn new names.

Rules of this file: it imports nothing of ours, so that everyone (the Rust binding too) can import it; an exception
carries data and `__str__` makes the text (what, where, limit, what now); every exception survives pickling, because
strategies run in process pools; no user, password or query of a URL gets into any attribute or text, and nothing that
a peer chose gets into a text unescaped, where a line break would begin another line of a log. Attributes hold a peer's
words as they came.
"""

import copyreg
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = [
    "Close",
    "CodecError",
    "ConfigError",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "DecodeError",
    "EncodeError",
    "HandshakeError",
    "HeartbeatTimeout",
    "Initiator",
    "InvalidURL",
    "LocalProtocolError",
    "MessageTooBig",
    "ProtocolError",
    "ReconnectGaveUp",
    "RemoteProtocolError",
    "SendQueueFull",
    "WebSocketError",
    "WireFormat",
    "on_one_line",
    "without_credentials",
]

Initiator = Literal["local", "peer", "transport"]
"""Who ended a connection: this side, the peer, or the transport (reset, end of file without a close frame)."""

WireFormat = Literal["json", "msgpack", "protobuf", "raw"]
"""How a message is written on the wire; `raw` is text or bytes that no codec has looked at."""

# Long enough to recognise a message in a log, short enough that a 16 MiB message does not fill it.
_EXCERPT_BYTES = 80

_SCHEME_AND_SLASHES = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:(?!\d))?/*")
_HOST_AND_PORT = re.compile(r"[^:@\[\]]*(:\d*)?|\[[^\]@]*\](:\d*)?")


def without_credentials(url: str) -> str:
    """Return `url` without its user, password and query, for attributes, logs and messages.

    Exchanges take tokens in the query, under any name, so `?...` is all that is shown of it (and `#...` of a fragment,
    which makes a URL invalid). Works on broken URLs too,
    where it rather removes too much than too little: a password with an unescaped `/` makes the URL invalid, and the
    error about it must not print the password.
    """
    prefix = _SCHEME_AND_SLASHES.match(url)
    start = prefix.end() if prefix else 0
    rest = url[start:]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        rest = authority.rpartition("@")[2] + rest[len(authority) :]
    elif not _HOST_AND_PORT.fullmatch(authority):
        rest = rest.rpartition("@")[2]
    hidden = re.search(r"[?#]", rest)
    return url[:start] + (f"{rest[: hidden.end()]}..." if hidden else rest)


def on_one_line(text: str) -> str:
    """Return `text` with all that is not printable escaped: a peer's words must not look like a log's next line."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


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


class SendQueueFull(WebSocketError):
    """More is sent than the peer takes, or than is kept while disconnected. Nothing of this message was queued.

    Attributes:
        queued: What waits to be sent, in `unit`.
        size: The message that did not fit, in `unit`; bytes include the frame header.
        limit: `max_send_queue` (bytes) or `message_buffer_size` (messages) in force.
        unit: Bytes on an open connection, messages while disconnected.
    """

    def __init__(self, queued: int, size: int, limit: int, unit: Literal["bytes", "messages"] = "bytes") -> None:
        super().__init__(queued, size, limit, unit)
        self.queued = queued
        self.size = size
        self.limit = limit
        self.unit: Literal["bytes", "messages"] = unit

    def __str__(self) -> str:
        if self.unit == "messages":
            return (
                f"send queue full: {self.queued} messages wait for the connection to come back, and the limit is "
                f"{self.limit}; drop what is stale, or raise message_buffer_size"
            )
        return (
            f"send queue full: {self.queued} bytes wait and {self.size} more would pass the limit of {self.limit}; "
            "await what send() returns to keep pace with the peer, or raise max_send_queue"
        )


class ConnectionClosed(WebSocketError):
    """The connection is closed or closing; nothing more can be sent or received on it.

    Attributes:
        received: The peer's close frame; None if none came.
        sent: Our close frame; None if none left.
        initiator: Who ended it.
    """

    def __init__(
        self, received: Close | None = None, sent: Close | None = None, initiator: Initiator = "local"
    ) -> None:
        super().__init__(received, sent, initiator)
        self.received = received
        self.sent = sent
        self.initiator = initiator

    def __str__(self) -> str:
        received = f"received close frame {self.received}" if self.received else "received no close frame"
        sent = f"sent {self.sent}" if self.sent else "sent none"
        by = {
            "local": "closed by this side",
            "peer": "closed by the peer",
            "transport": "the transport was lost without a close frame: reset, or end of file",
        }[self.initiator]
        return f"connection closed: {by}; {received}, {sent}"


class ConnectionClosedOK(ConnectionClosed):
    """The connection ended normally: 1000 (normal closure) or 1001 (going away)."""


class ConnectionClosedError(ConnectionClosed):
    """The connection ended with an error code, or without a close frame (1006, RFC 6455 §7.1.5)."""


class HeartbeatTimeout(ConnectionClosedError):
    """The peer did not answer a ping in time and is taken for dead.

    Attributes:
        timeout: `ping_timeout` in force, in seconds.
    """

    def __init__(
        self,
        timeout: float,
        received: Close | None = None,
        sent: Close | None = None,
        initiator: Initiator = "local",
    ) -> None:
        super().__init__(received, sent, initiator)
        self.timeout = timeout

    def __str__(self) -> str:
        return (
            f"no pong within {self.timeout:g} s (ping_timeout): the peer or the way to it is dead, or the peer's event "
            "loop was blocked that long"
        )


class ReconnectGaveUp(WebSocketError):
    """The client stopped trying to reconnect and is closed.

    Attributes:
        attempts: Consecutive attempts that failed.
        last_error: Why the last one failed; None when no attempt was allowed.
    """

    def __init__(self, attempts: int, last_error: BaseException | None = None) -> None:
        super().__init__(attempts, last_error)
        self.attempts = attempts
        self.last_error = last_error

    def __str__(self) -> str:
        last = f", the last with {type(self.last_error).__name__}: {self.last_error}" if self.last_error else ""
        return f"gave up after {self.attempts} failed attempts{last}; max_reconnect_attempts=None never gives up"
