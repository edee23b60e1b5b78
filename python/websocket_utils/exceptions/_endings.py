"""How connections, what is sent on them, and links over many of them end."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from websocket_utils._redaction import on_one_line
from websocket_utils.outcomes import SendOutcome

from ._faults import Close, Initiator, WebSocketError

__all__ = [
    "AuthenticationFailed",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "ConnectionFlapping",
    "HeartbeatTimeout",
    "MessageNotWritten",
    "ProviderError",
    "ReconnectGaveUp",
    "RecordingError",
    "SendQueueFull",
    "StaleData",
    "SubscribeRejected",
    "SubscribeTimeout",
    "Unauthorized",
]


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


class StaleData(ConnectionClosedError):
    """A channel was silent for longer than its `stale_after`: the connection is replaced.

    Attributes:
        channel: As it was subscribed to.
        age: Seconds since its last message.
    """

    def __init__(self, channel: str, age: float) -> None:
        super().__init__()
        self.args: tuple[Any, ...] = (channel, age)
        self.channel = channel
        self.age = age

    def __str__(self) -> str:
        return (
            f"channel {on_one_line(self.channel)} was silent for {self.age:.3g} s (stale_after) on a connection that "
            "is open: it is replaced"
        )


class SubscribeTimeout(ConnectionClosedError):
    """The server did not acknowledge subscriptions in time: the connection is replaced.

    Attributes:
        channels: Those it said nothing about.
        timeout: `subscribe_timeout` in force, in seconds.
    """

    def __init__(self, channels: Sequence[str], timeout: float) -> None:
        super().__init__()
        self.args: tuple[Any, ...] = (channels, timeout)
        self.channels: tuple[str, ...] = tuple(channels)
        self.timeout = timeout

    def __str__(self) -> str:
        first = on_one_line(self.channels[0]) if self.channels else "?"
        more = f" and {len(self.channels) - 1} more" if len(self.channels) > 1 else ""
        return f"no acknowledgement of {first}{more} within {self.timeout:g} s (subscribe_timeout)"


class MessageNotWritten(ConnectionClosedError):
    """A message that `send` had accepted was not written, or perhaps not: raised where its outcome is awaited.

    Attributes:
        outcome: How it ended: dropped, expired or unknown.
    """

    def __init__(self, outcome: SendOutcome) -> None:
        super().__init__(initiator="transport")
        self.args: tuple[Any, ...] = (outcome,)
        self.outcome = outcome

    def __str__(self) -> str:
        if self.outcome.fate == "unknown":
            return (
                f"the connection (epoch {self.outcome.epoch}) ended while the message was being written: it may have "
                "arrived; it is not sent again"
            )
        if self.outcome.fate == "expired":
            return "the message's ttl passed before there was a connection: it was not sent"
        why = {
            "overflow": "the buffer for messages sent while down was full",
            "superseded": "a newer message with the same key took its place",
            "lost": "the connection was lost before its turn came",
            "closed": "the client was closed before there was a connection",
            None: "it was dropped",
        }[self.outcome.reason]
        return f"{why}: the message was not sent"


class SubscribeRejected(WebSocketError):
    """The server refused a subscription. The connection stays open; the channel is not subscribed to.

    Attributes:
        channel: As it was asked for.
        code: The server's code; 0 where it gave none.
        reason: The server's words.
    """

    def __init__(self, channel: str, code: int, reason: str) -> None:
        super().__init__(channel, code, reason)
        self.channel = channel
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"subscription to {on_one_line(self.channel)} refused: {on_one_line(self.reason)} (code {self.code})"


class AuthenticationFailed(WebSocketError):
    """The server refused who we say we are. It is asked once more with fresh credentials, then the client ends.

    Attributes:
        reason: The server's words, or ours.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"authentication failed: {on_one_line(self.reason)}; check the credentials"


class Unauthorized(WebSocketError):
    """A server's `authenticate` does not let a client in: it raises this, and the client is told the reason.

    Attributes:
        reason: A few words for the client: nothing that it must not know, such as what a right key looks like.
    """

    def __init__(self, reason: str = "not authorized") -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"not let in: {on_one_line(self.reason)}"


class ProviderError(WebSocketError):
    """A callable that was to give the URL, the headers or the token of a dial failed; its error is the cause.

    Attributes:
        what: `url`, `headers` or `token`.
    """

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return f"the callable for {self.what} failed: {self.__cause__!r}"


class ConnectionFlapping(WebSocketError):
    """The server ended one young connection after the other with a code that says whose fault it is: the client ends.

    Attributes:
        code: That close code (RFC 6455 §7.4).
        times: How often, one after the other.
    """

    def __init__(self, code: int, times: int) -> None:
        super().__init__(code, times)
        self.code = code
        self.times = times

    def __str__(self) -> str:
        return (
            f"the server ended {self.times} connections in a row, each soon after it was opened, with close code "
            f"{self.code}: what we send or ask for is not what it wants"
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


class RecordingError(WebSocketError):
    """A recording cannot be read, replayed or written on.

    Of a file that is read, nothing of the fault's line was published. Of a file that is written, all that `count`
    counts is in it.

    Attributes:
        path: The file.
        line: Number of the line at fault, from 1; None when it is the file as a whole.
        reason: What is wrong, with the path to the field at fault where there is one.
    """

    def __init__(self, path: Path, line: int | None, reason: str) -> None:
        super().__init__(path, line, reason)
        self.path = path
        self.line = line
        self.reason = reason

    def __str__(self) -> str:
        where = f"{self.path}, line {self.line}" if self.line else str(self.path)
        return on_one_line(f"{where}: {self.reason}")
