"""Messages that are sent while there is no connection, kept for the next one."""

import asyncio
import heapq
from collections import OrderedDict
from collections.abc import Awaitable, Generator, Hashable
from dataclasses import dataclass
from typing import Any, Literal

from . import _core
from ._connection import Connection
from .exceptions import MessageNotWritten, SendQueueFull
from .outcomes import DropReason, SendOutcome

__all__ = ["Delivery", "HeldMessages", "Overflow"]

# A client's longest frame header: 2 bytes, 8 of length, 4 of mask (RFC 6455 §5.2).
_MAX_HEADER = 14

# Deadlines of messages that are gone may be so many more than those of messages that are kept.
_SPARE_DEADLINES = 64

Overflow = Literal["raise", "drop_oldest", "drop_newest"]
"""What happens to a message that would pass a bound: it is refused, the oldest go for it, or it is dropped itself."""


class Delivery(Awaitable[SendOutcome]):
    """How one message ends that was sent while there was no connection.

    Awaiting it returns the outcome `written` once a connection's socket has taken the message, and raises
    `MessageNotWritten` if it ends otherwise.
    """

    __slots__ = ("_end", "_sent", "_waiters")

    def __init__(self) -> None:
        self._end: SendOutcome | None = None
        self._sent: _core.Sent | None = None
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def outcome(self) -> SendOutcome | None:
        """How it ended; None while that is open."""
        return self._end if self._sent is None else self._sent.outcome

    def __await__(self) -> Generator[Any, None, SendOutcome]:
        while (sent := self._sent) is None:
            if self._end is not None:
                raise MessageNotWritten(self._end)
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                yield from waiter
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        return (yield from sent.__await__())

    def hand_over(self, sent: _core.Sent) -> None:
        """A connection has accepted the message: from now on it ends as that says."""
        self._sent = sent
        self._wake()

    def end(self, outcome: SendOutcome) -> None:
        """It ends here, without a connection."""
        self._end = outcome
        self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


@dataclass(frozen=True, slots=True)
class _Held:
    """One message that is kept, encoded."""

    payload: str | bytes
    compress: bool | None
    size: int
    key: Hashable
    delivery: Delivery


class HeldMessages:
    """A queue bounded in messages and bytes.

    Messages are encoded when they are put in: a fault has a caller, and what the caller changes afterwards changes
    nothing here. Each ends in exactly one way: `accepted` is `dropped`, `expired`, `handed` and what is kept together.

    Args:
        codec: What message objects are written in.
        max_messages: Messages kept.
        max_bytes: Bytes of frames kept, which all have to fit a connection's queue at once later. One message always
            fits while nothing is kept, whatever its size.
        overflow: What happens to a message that would pass a bound.

    Attributes:
        accepted: Messages that `put` took.
        dropped: Of these, those that were dropped.
        expired: Those whose `ttl` passed.
        handed: Those that a connection took over.
    """

    __slots__ = (
        "_by_key",
        "_bytes",
        "_codec",
        "_deadlines",
        "_encoder",
        "_held",
        "_max_bytes",
        "_max_messages",
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
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._overflow: Overflow = overflow
        # By number, in the order in which they were put in.
        self._held: OrderedDict[int, _Held] = OrderedDict()
        self._number = 0
        self._bytes = 0
        self._by_key: dict[Hashable, int] = {}
        # A heap; those of messages that are gone are passed over.
        self._deadlines: list[tuple[float, int]] = []
        self.accepted: int = 0
        self.dropped: int = 0
        self.expired: int = 0
        self.handed: int = 0

    def __len__(self) -> int:
        return len(self._held)

    @property
    def next_expiry(self) -> float | None:
        """When `expire` has something to do next; None where no message has a `ttl`."""
        while self._deadlines and self._deadlines[0][1] not in self._held:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def put(
        self, message: Any, compress: bool | None, *, now: float, ttl: float | None = None, key: Hashable = None
    ) -> Delivery:
        """Keep one message, and how it is to be compressed.

        Args:
            message: As for `send`.
            compress: As for `send`.
            now: Monotonic seconds.
            ttl: Seconds after which it expires, 0 at once; None keeps it.
            key: A message that is kept with the same key is dropped, and this one goes to the end; None is no key.

        Raises:
            SendQueueFull: If it would pass a bound, with `overflow="raise"`. It is not kept, nor is anything dropped.
            EncodeError: If it has no form in the codec. It is not kept.
            ValueError: If `ttl` is negative or no number. It is not kept.
        """
        if ttl is not None and not ttl >= 0:
            raise ValueError(f"ttl must be at least 0 seconds, not {ttl!r}; None keeps the message")
        payload, size = self._encode(message)
        older = self._by_key.get(key) if key is not None else None
        self.expire(now)
        if older not in self._held:
            older = None
        if self._overflow == "raise" and not self._has_room(size, older):
            if len(self._held) - (older is not None) >= self._max_messages:
                raise SendQueueFull(len(self._held), 1, self._max_messages, unit="messages")
            raise SendQueueFull(self._bytes, size, self._max_bytes)
        delivery = Delivery()
        self.accepted += 1
        if ttl == 0:
            # Nothing that is kept has to go for it.
            self._expire(delivery)
            return delivery
        if self._overflow == "drop_newest" and not self._has_room(size, older):
            self._drop(delivery, "overflow")
            return delivery
        if older is not None:
            self._drop(self._take(older).delivery, "superseded")
        while self._held and not self._has_room(size, None):
            self._drop(self._take(next(iter(self._held))).delivery, "overflow")
        if not self._has_room(size, None):
            self._drop(delivery, "overflow")
            return delivery
        self._number += 1
        self._held[self._number] = _Held(payload, compress, size, key, delivery)
        self._bytes += size
        if key is not None:
            self._by_key[key] = self._number
        if ttl is not None:
            self._add_deadline(now + ttl)
        return delivery

    def expire(self, now: float) -> None:
        """End the messages whose `ttl` has passed."""
        while self._deadlines and self._deadlines[0][0] <= now:
            _, number = heapq.heappop(self._deadlines)
            if number in self._held:
                self._expire(self._take(number).delivery)

    def send_all(self, connection: Connection, now: float) -> None:
        """Send what is kept, in the order it came, until the connection ends; the rest stays.

        One for which the connection's queue has no room, because its subscriptions still wait there, is dropped.
        """
        self.expire(now)
        while self._held and connection.is_open:
            # Taken first, for a send may end the connection, and whoever hears of that may come here.
            one = self._take(next(iter(self._held)))
            try:
                sent = connection.send(one.payload, compress=one.compress)
            except SendQueueFull:
                self._drop(one.delivery, "overflow")
                continue
            self.handed += 1
            one.delivery.hand_over(sent)

    def drop_all(self, reason: DropReason) -> None:
        """Drop what is kept."""
        while self._held:
            self._drop(self._take(next(iter(self._held))).delivery, reason)
        self._deadlines.clear()

    def _encode(self, message: Any) -> tuple[str | bytes, int]:
        """A message as a connection takes it without a codec, and the most bytes that its frame may have."""
        if isinstance(message, str):
            # Text that has no form in UTF-8 fails here, where it has a caller.
            return message, len(message.encode()) + _MAX_HEADER
        try:
            view = memoryview(message)
        except TypeError:
            packed = self._encoder.encode(message)
            return packed.decode() if self._codec == "json" else packed, len(packed) + _MAX_HEADER
        if view.format != "B":
            raise TypeError("can't send this buffer: it must be one of bytes (format 'B')")
        return view.tobytes(), view.nbytes + _MAX_HEADER

    def _has_room(self, size: int, without: int | None) -> bool:
        """Whether a message fits, once that other one is gone."""
        kept, used = len(self._held), self._bytes
        if without is not None:
            kept, used = kept - 1, used - self._held[without].size
        return kept < self._max_messages and (kept == 0 or used + size <= self._max_bytes)

    def _take(self, number: int) -> _Held:
        one = self._held.pop(number)
        self._bytes -= one.size
        if one.key is not None:
            del self._by_key[one.key]
        return one

    def _add_deadline(self, deadline: float) -> None:
        heapq.heappush(self._deadlines, (deadline, self._number))
        # A key that gets one message after the other leaves their deadlines behind.
        if len(self._deadlines) > 2 * len(self._held) + _SPARE_DEADLINES:
            self._deadlines = [entry for entry in self._deadlines if entry[1] in self._held]
            heapq.heapify(self._deadlines)

    def _drop(self, delivery: Delivery, reason: DropReason) -> None:
        self.dropped += 1
        delivery.end(SendOutcome("dropped", reason=reason))

    def _expire(self, delivery: Delivery) -> None:
        self.expired += 1
        delivery.end(SendOutcome("expired"))
