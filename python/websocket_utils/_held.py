"""Messages that are sent while there is no connection, kept for the next one."""

import asyncio
from collections import OrderedDict
from collections.abc import Generator, Hashable
from typing import Any, Literal, Protocol, cast

from . import _core
from .exceptions import MessageNotWritten, SendQueueFull
from .outcomes import DropReason, SendOutcome

__all__ = ["Delivery", "HeldMessages", "Overflow"]

Overflow = Literal["raise", "drop_oldest", "drop_newest"]

# A client's longest frame header: 2 bytes, 8 of length, 4 of mask (RFC 6455 §5.2).
_MAX_HEADER = 14


class _Sent(Protocol):
    """What a connection's `send` returns."""

    @property
    def outcome(self) -> SendOutcome | None: ...
    def __await__(self) -> Generator[Any, None, SendOutcome]: ...


class _Sender(Protocol):
    """The connection that kept messages are handed to."""

    @property
    def is_open(self) -> bool: ...
    def send(self, message: Any, /, *, compress: bool | None = None) -> Any: ...


class Delivery:
    """One kept message on its way: awaitable, as what a connection's `send` returns."""

    __slots__ = ("_outcome", "_sent", "_waiters", "compress", "expires", "key", "payload", "size")

    def __init__(
        self, payload: str | bytes, size: int, compress: bool | None, expires: float | None, key: Hashable
    ) -> None:
        self.payload = payload
        self.size = size
        self.compress = compress
        self.expires = expires
        self.key = key
        self._outcome: SendOutcome | None = None
        self._sent: _Sent | None = None
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def outcome(self) -> SendOutcome | None:
        """How it ended; None while that is open."""
        return self._outcome if self._sent is None else self._sent.outcome

    def __await__(self) -> Generator[Any, None, SendOutcome]:
        while self._sent is None:
            if self._outcome is not None:
                raise MessageNotWritten(self._outcome)
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                yield from waiter
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        return (yield from self._sent.__await__())

    def hand_over(self, sent: _Sent) -> None:
        """A connection has it: it ends as it ends there."""
        self._sent = sent
        self._wake()

    def end(self, outcome: SendOutcome) -> None:
        """It never gets to a connection."""
        self._outcome = outcome
        self._wake()

    def _wake(self) -> None:
        # What was to be sent is not needed any more; the caller may keep this object.
        self.payload = b""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class HeldMessages:
    """A queue bounded in messages and bytes.

    Messages are encoded when they are put in: a fault has a caller, and what the caller changes afterwards changes
    nothing here.

    Args:
        codec: How messages are encoded.
        max_messages: Most that are kept.
        max_bytes: Most that they may take on the wire together: all has to fit a connection's queue at once later.
        overflow: What is done about one too many: refuse it, or drop the oldest or the newest (the one that is put in).
    """

    __slots__ = (
        "_bytes",
        "_codec",
        "_encoder",
        "_keys",
        "_max_bytes",
        "_max_messages",
        "_messages",
        "_number",
        "_overflow",
        "accepted",
        "dropped",
        "expired",
        "handed",
    )

    def __init__(
        self,
        codec: Literal["json", "msgpack", "protobuf"],
        *,
        max_messages: int,
        max_bytes: int,
        overflow: Overflow = "raise",
    ) -> None:
        self._codec = codec
        self._encoder = _core.Encoder(codec)
        self._messages: OrderedDict[int, Delivery] = OrderedDict()
        self._keys: dict[Hashable, int] = {}
        self._number = 0
        self._bytes = 0
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._overflow = overflow
        self.accepted = 0
        self.dropped = 0
        self.expired = 0
        self.handed = 0

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def nbytes(self) -> int:
        """What those that are kept take on the wire, at most."""
        return self._bytes

    @property
    def next_expiry(self) -> float | None:
        """When the first of them expires; None if none does."""
        return min((one.expires for one in self._messages.values() if one.expires is not None), default=None)

    def put(
        self, message: Any, compress: bool | None, *, now: float, ttl: float | None = None, key: Hashable = None
    ) -> Delivery:
        """Keep one message, and how it is to be compressed.

        Args:
            message: A message object, text or bytes.
            compress: As for `send`.
            now: Monotonic seconds.
            ttl: Seconds from now after which it is not sent any more; None keeps it.
            key: One that is kept with the same key is dropped for this one; None is no key.

        Raises:
            SendQueueFull: If it would pass a bound and `overflow` is `raise`, or if it alone is over the bound. It is
                not kept.
            EncodeError: If it has no form in the codec. It is not kept.
            ValueError: If `ttl` is negative or no number. It is not kept.
        """
        if ttl is not None and not ttl >= 0:
            raise ValueError(f"ttl must be at least 0 seconds, not {ttl!r}; None keeps the message")
        encoded = self._encoded(message)
        # At most 4 bytes in UTF-8 for a character: the bound need not be exact.
        size = len(encoded) * (4 if isinstance(encoded, str) and not encoded.isascii() else 1) + _MAX_HEADER
        self.expire(now)
        delivery = Delivery(encoded, size, compress, None if ttl is None else now + ttl, key)
        superseded = None if key is None else self._keys.get(key)
        if not self._make_room(size, superseded):
            self.accepted += 1
            self._drop(delivery, "overflow")
            return delivery
        self.accepted += 1
        if superseded is not None and superseded in self._messages:
            self._drop(self._take(superseded), "superseded")
        self._number += 1
        self._messages[self._number] = delivery
        self._bytes += size
        if key is not None:
            self._keys[key] = self._number
        return delivery

    def _encoded(self, message: Any) -> str | bytes:
        if isinstance(message, (bytes, bytearray, memoryview)):
            return bytes(cast("bytes | bytearray | memoryview[int]", message))
        if isinstance(message, str):
            return message
        packed = self._encoder.encode(message)
        return packed.decode() if self._codec == "json" else packed

    def _make_room(self, size: int, superseded: int | None) -> bool:
        """Make room for one more; False if it is the one to go.

        Raises:
            SendQueueFull: If there is none, and none is to be made.
        """
        while True:
            leaving = None if superseded is None else self._messages.get(superseded)
            count = len(self._messages) - (leaving is not None)
            held = self._bytes - (0 if leaving is None else leaving.size)
            too_many = count >= self._max_messages
            if not too_many and (count == 0 or held + size <= self._max_bytes):
                return True
            if self._overflow == "drop_newest" or (self._overflow == "drop_oldest" and count == 0):
                return False
            if self._overflow == "raise":
                if too_many:
                    raise SendQueueFull(count, 1, self._max_messages, unit="messages")
                raise SendQueueFull(held, size, self._max_bytes)
            oldest = next(number for number in self._messages if number != superseded or leaving is None)
            self._drop(self._take(oldest), "overflow")

    def _take(self, number: int) -> Delivery:
        delivery = self._messages.pop(number)
        self._bytes -= delivery.size
        if delivery.key is not None and self._keys.get(delivery.key) == number:
            del self._keys[delivery.key]
        return delivery

    def _drop(self, delivery: Delivery, reason: DropReason) -> None:
        self.dropped += 1
        delivery.end(SendOutcome("dropped", None, reason))

    def expire(self, now: float) -> None:
        """End all whose time has passed."""
        late = [number for number, one in self._messages.items() if one.expires is not None and one.expires <= now]
        for number in late:
            self.expired += 1
            self._take(number).end(SendOutcome("expired"))

    def send_all(self, connection: _Sender, now: float) -> None:
        """Send what is kept and has not expired, in the order it came, until the connection ends; the rest stays."""
        self.expire(now)
        while self._messages and connection.is_open:
            number, delivery = next(iter(self._messages.items()))
            try:
                sent = connection.send(delivery.payload, compress=delivery.compress)
            except SendQueueFull:
                # Bytes of the subscriptions are ahead of it, and the peer does not read.
                self._drop(self._take(number), "overflow")
                continue
            self._take(number)
            self.handed += 1
            delivery.hand_over(sent)

    def drop_all(self, reason: DropReason) -> None:
        """End all of them."""
        while self._messages:
            self._drop(self._take(next(iter(self._messages))), reason)
