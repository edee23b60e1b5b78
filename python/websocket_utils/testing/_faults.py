"""What a server can do to its clients, one small class each: the words of a `FaultServer`'s script."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ._frames import TEXT, frame

__all__ = [
    "AckThenSilence",
    "ByteByByte",
    "CloseAfter",
    "Drop",
    "Duplicate",
    "FailTls",
    "Fault",
    "HalfOpen",
    "HttpAnswer",
    "Malformed",
    "NeverAck",
    "NoCloseReply",
    "NoPong",
    "RejectSubscriptions",
    "Reorder",
    "Reset",
    "Serve",
    "SlowHandshake",
    "SlowReader",
    "Stage",
    "Strike",
    "Struck",
    "TooBig",
]

Stage = Literal["accept", "request", "answer", "open", "subscribe", "acknowledged", "message"]
"""Moments in the life of a connection, in their order.

`accept`: TCP (and TLS) is there, nothing was read. `request`: the opening request was read, nothing answered. `answer`:
half of the 101 was sent. `open`: all of it was. `subscribe`: a `Subscribe` was read, and not acknowledged.
`acknowledged`: it was, if the client speaks a subprotocol of ours. `message`: a message was sent to the client.
"""


class Struck(Protocol):
    """What a strike can do to the connection it hits."""

    def drop(self) -> None:
        """End the stream, without a close frame."""

    def reset(self) -> None:
        """Reset the connection (RST)."""

    def go_silent(self) -> None:
        """Stop reading and writing, and keep the socket."""

    def hush(self) -> None:
        """Send no more messages; go on with pongs and closing."""

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Begin the closing handshake."""

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""


class Fault:
    """Base of what a script is made of."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Serve(Fault):
    """Does nothing wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike(Fault):
    """Base of faults that happen once, when a connection comes to the stage `at` for the `nth` time.

    Subclass it for a fault of your own; `strike` is called at that moment.
    """

    at: Stage = "open"
    nth: int = 1

    def strike(self, connection: Struck) -> None:
        """Do it to `connection`."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Drop(Strike):
    """Ends the stream (FIN) without a close frame."""

    def strike(self, connection: Struck) -> None:
        """Do it to `connection`."""
        connection.drop()


@dataclass(frozen=True, slots=True)
class Reset(Strike):
    """Resets the connection (RST), as a killed process or a firewall does."""

    def strike(self, connection: Struck) -> None:
        """Do it to `connection`."""
        connection.reset()


@dataclass(frozen=True, slots=True)
class HalfOpen(Strike):
    """Stops reading and writing and keeps the socket, as a host that has lost its power does."""

    def strike(self, connection: Struck) -> None:
        """Do it to `connection`."""
        connection.go_silent()


@dataclass(frozen=True, slots=True)
class CloseAfter(Strike):
    """Closes with this code: right after the 101, unless `at` says otherwise."""

    code: int = 1000
    reason: str = ""

    def strike(self, connection: Struck) -> None:
        """Do it to `connection`."""
        connection.close(self.code, self.reason)


@dataclass(frozen=True, slots=True)
class Malformed(Strike):
    """Sends bytes that are no frame: all reserved bits, and an opcode that there is none of."""

    data: bytes = b"\xff\xff"

    def strike(self, connection: Struck) -> None:
        """Do it to `connection`."""
        connection.write(self.data)


@dataclass(frozen=True, slots=True)
class TooBig(Strike):
    """Sends one text message of `size` bytes."""

    size: int = (1 << 20) + 1

    def strike(self, connection: Struck) -> None:
        """Do it to `connection`."""
        connection.write(frame(TEXT, b"x" * self.size))


@dataclass(frozen=True, slots=True)
class AckThenSilence(Strike):
    """Acknowledges the first subscription and then sends nothing but pongs."""

    at: Stage = field(default="acknowledged", kw_only=True)

    def strike(self, connection: Struck) -> None:
        """Do it to `connection`."""
        connection.hush()


@dataclass(frozen=True, slots=True)
class RejectSubscriptions(Fault):
    """Answers `Subscribe` with `SubscriptionRejected`; `channels` None rejects all, else those alone."""

    code: int = 1008
    reason: str = "not allowed"
    channels: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class NeverAck(Fault):
    """Subscribes, and acknowledges nothing."""


@dataclass(frozen=True, slots=True)
class SlowReader(Fault):
    """Reads so many bytes a second from the 101 on; 0 reads nothing at all."""

    bytes_per_second: float = 0


@dataclass(frozen=True, slots=True)
class Duplicate(Fault):
    """Sends every n-th message twice."""

    every: int = 1


@dataclass(frozen=True, slots=True)
class Reorder(Fault):
    """Sends every n-th message behind the one that follows it."""

    every: int = 2


@dataclass(frozen=True, slots=True)
class HttpAnswer(Fault):
    """Answers the request with this status in place of 101, and closes."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class SlowHandshake(Fault):
    """Answers the request after `delay` seconds; with `stops_after`, with so many bytes of the 101 and then no more."""

    delay: float = 0.0
    stops_after: int | None = None


@dataclass(frozen=True, slots=True)
class ByteByByte(Fault):
    """Sends every byte in a segment of its own."""


@dataclass(frozen=True, slots=True)
class NoPong(Fault):
    """Answers no ping."""


@dataclass(frozen=True, slots=True)
class NoCloseReply(Fault):
    """Answers no close frame, and keeps the connection open behind it."""


@dataclass(frozen=True, slots=True)
class FailTls(Fault):
    """Breaks the TLS handshake off with an alert."""
