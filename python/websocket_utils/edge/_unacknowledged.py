"""Updates from `publish` until the edge has acknowledged them: pure bookkeeping, time is an argument.

    put -> waiting -> take -> in flight -> acknowledge -> gone
             |          ^         |
             v          '- again <'  resume: a new connection, which said what the edge has
          dropped

An update has a number from the moment it is put in, and a sequence, which is what stands on the wire, from the moment
it is first sent: what is dropped before leaves no hole there. What was sent once is never dropped or renumbered within
its epoch, for the edge may have it.
"""

import math
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final, Literal

from websocket_utils.exceptions import PublisherBufferFull, RemoteProtocolError

__all__ = [
    "HEAD",
    "MAX_BATCH",
    "MAX_BATCH_UPDATES",
    "OVERHEAD",
    "Acknowledged",
    "Batch",
    "Resumption",
    "Unacknowledged",
    "WhenFull",
]

MAX_BATCH: Final = 256 * 1024
"""Bytes of one batch, its own line included: what the edge takes."""
MAX_BATCH_UPDATES: Final = 1024
"""Updates in one batch: what the edge takes."""
# Of a batch: the mark, an epoch and a sequence of 16 digits (below 2**53), a space and a line break.
HEAD: Final = 1 + 16 + 1 + 16 + 1
# What a batch costs beside its updates: that, and a client's longest frame header (RFC 6455 §5.2).
OVERHEAD: Final = HEAD + 14
_MAX_NUMBER: Final = 2**53 - 1
_PROTOCOL_ERROR: Final = 1002

WhenFull = Literal["raise", "drop_oldest", "conflate"]
"""What happens to an update that finds the buffer full: it is refused; the oldest that were never sent go for it; those
of them go of which their channel has a newer one. Where there are none it is refused, too."""

# Number, channel, its lines in a batch, their bytes, and when it was put in. A tuple: there may be 10 000 in a second.
Update = tuple[int, str, str, int, float]


@dataclass(frozen=True, slots=True)
class Batch:
    """One message to the edge."""

    text: str
    """As it stands on the wire."""

    first: int
    """Sequence of its first update."""

    count: int
    """Updates in it."""

    resent: int
    """Of these, those that were sent before, on another connection."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What one acknowledgement settles."""

    count: int
    """Updates."""

    since_sent: tuple[float, ...] = ()
    """Of each batch that is complete with it: seconds since it was sent."""

    since_put: tuple[float, ...] = ()
    """The same since its first update was put in."""


@dataclass(frozen=True, slots=True)
class Resumption:
    """What a new connection begins with."""

    acknowledged: int
    """Updates that the edge turned out to have."""

    resent: int
    """Updates to be sent again."""

    forgotten: int
    """Updates that the edge had acknowledged and lacks: numbering begins anew."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """A batch in flight."""

    last: int
    sent_at: float
    put_at: float


class Unacknowledged:
    """The updates of one publisher that the edge has not acknowledged, in their order and within bounds.

    `published == acknowledged + dropped + len(self)` at any time.

    Args:
        epoch: Of this publisher: milliseconds since 1970.
        interval: Seconds from the first update that waits to its batch.
        buffer: Bytes of updates held, those in flight included.
        window: Bytes in flight beyond which nothing new is sent; one batch always may be.
        max_batch: Bytes of a batch.
        max_batch_updates: Updates in a batch.
        when_full: What happens to an update that the buffer has no room for.
        acknowledge_timeout: Seconds after which updates in flight count as stalled.

    Attributes:
        epoch: As it stands on the wire.
        is_new: Whether no connection has begun yet.
        published: Updates put in; the number of the last one.
        acknowledged: Of these, those that the edge has acknowledged.
        dropped: Of these, those that were dropped.
        drops: Of the last `put` that dropped any, the least and the greatest number dropped.
        rejected: Of the acknowledged ones, those that the edge has refused.
        resent: How often an update was sent again.
        batches: Batches taken.
        size: Bytes held.
        in_flight: Bytes in flight, with the heads of their batches and frames.
    """

    __slots__ = (
        "_again",
        "_batches",
        "_buffer",
        "_flight",
        "_had",
        "_hurried",
        "_interval",
        "_latest",
        "_max_batch",
        "_max_batch_updates",
        "_progress_at",
        "_refused",
        "_superseded",
        "_timeout",
        "_waiting",
        "_waiting_size",
        "_when_full",
        "_window",
        "acknowledged",
        "batches",
        "dropped",
        "drops",
        "epoch",
        "in_flight",
        "is_new",
        "published",
        "rejected",
        "resent",
        "size",
    )

    def __init__(
        self,
        *,
        epoch: int,
        interval: float,
        buffer: int,
        window: int,
        max_batch: int = MAX_BATCH,
        max_batch_updates: int = MAX_BATCH_UPDATES,
        when_full: WhenFull = "raise",
        acknowledge_timeout: float = 5.0,
    ) -> None:
        self._interval = interval
        self._buffer = buffer
        self._window = window
        self._max_batch = max_batch
        self._max_batch_updates = max_batch_updates
        self._when_full: WhenFull = when_full
        self._timeout = acknowledge_timeout
        self._flight: deque[Update] = deque()
        self._again: deque[Update] = deque()
        self._waiting: OrderedDict[int, Update] = OrderedDict()
        self._waiting_size = 0
        # With "conflate": the latest number that waits of each channel, and those of which there is a later one.
        self._latest: dict[str, int] = {}
        self._superseded: deque[int] = deque()
        self._batches: deque[_Sent] = deque()
        # The last sequence of this epoch that the edge is known to have.
        self._had = 0
        self._refused: set[int] = set()
        self._hurried = 0
        self._progress_at = -math.inf
        self.epoch: int = epoch
        self.is_new: bool = True
        self.published: int = 0
        self.acknowledged: int = 0
        self.dropped: int = 0
        self.drops: tuple[int, int] = (0, 0)
        self.rejected: int = 0
        self.resent: int = 0
        self.batches: int = 0
        self.size: int = 0
        self.in_flight: int = 0

    def __len__(self) -> int:
        return len(self._flight) + len(self._again) + len(self._waiting)

    def __iter__(self) -> Iterator[Update]:
        return chain(self._flight, self._again, self._waiting.values())

    @property
    def oldest(self) -> int | None:
        """Number of the oldest update that is held: all before it are settled. None if none is."""
        return next(iter(self), (None,))[0]

    @property
    def sent(self) -> int:
        """Updates that were sent and are not acknowledged."""
        return len(self._flight) + len(self._again)

    # --- in ---

    def put(self, channel: str, lines: str, size: int, now: float) -> int:
        """Hold an update.

        Args:
            channel: Its channel.
            lines: What stands for it in a batch: channel and payload, each with a line break.
            size: Bytes of that; with the head of a batch at most `max_batch`.
            now: Monotonic seconds.

        Returns:
            Its number.

        Raises:
            PublisherBufferFull: If there is no room, and none is made for it. It is not held, nor is anything dropped.
        """
        if self.size + size > self._buffer:
            self._make_room(channel, size)
        self.published = number = self.published + 1
        self._waiting[number] = (number, channel, lines, size, now)
        self._waiting_size += size
        self.size += size
        if self._when_full == "conflate":
            older = self._latest.get(channel)
            if older is not None:
                self._superseded.append(older)
                self._forget_sent()
            self._latest[channel] = number
        return number

    def _make_room(self, channel: str, size: int) -> None:
        """Drop updates that were never sent until one of `size` bytes fits.

        Raises:
            PublisherBufferFull: If it can't; nothing is dropped then.
        """
        room = self._buffer - self.size
        victims: list[int] = []
        for number in self._candidates(channel):
            room += self._waiting[number][3]
            victims.append(number)
            if room >= size:
                break
        if room < size:
            raise PublisherBufferFull(self.size, size, self._buffer)
        for number in victims:
            self._leave(number)
        self.dropped += len(victims)
        self.drops = (min(victims), max(victims))

    def _candidates(self, channel: str) -> Iterator[int]:
        """Numbers of those that may be dropped for a newer one of a channel, in the order they go."""
        if self._when_full == "drop_oldest":
            yield from self._waiting
        elif self._when_full == "conflate":
            self._forget_sent()
            yield from (number for number in self._superseded if number in self._waiting)
            if channel in self._latest:
                yield self._latest[channel]

    def _forget_sent(self) -> None:
        """What is behind one that still waits does so too: there is never more here than waits."""
        while self._superseded and self._superseded[0] not in self._waiting:
            self._superseded.popleft()

    def _leave(self, number: int) -> Update:
        """Take one out of those that wait."""
        update = self._waiting.pop(number)
        self._waiting_size -= update[3]
        self.size -= update[3]
        if self._latest.get(update[1]) == number:
            del self._latest[update[1]]
        return update

    # --- out ---

    @property
    def is_full_batch(self) -> bool:
        """Whether what waits fills a batch."""
        return len(self._waiting) >= self._max_batch_updates or self._waiting_size + HEAD >= self._max_batch

    @property
    def due_at(self) -> float | None:
        """When the next batch is to leave, `-inf` for at once; None while there is none or the window is full."""
        if self._again:
            return None if self._is_blocked(self._again[0][3]) else -math.inf
        if not self._waiting:
            return None
        first = next(iter(self._waiting.values()))
        if self._is_blocked(first[3]):
            return None
        if self.is_full_batch or first[0] <= self._hurried:
            return -math.inf
        return first[4] + self._interval

    def _is_blocked(self, size: int) -> bool:
        return bool(self._flight) and self.in_flight + OVERHEAD + size > self._window

    def hurry(self) -> None:
        """All that waits is due at once."""
        self._hurried = self.published

    def take(self, now: float) -> Batch | None:
        """Take the next batch, due or not; None if there is none, or the window is full."""
        lines: list[str] = []
        room = self._max_batch - HEAD
        resent = 0
        first = self._had + len(self._flight) + 1
        put_at = math.inf
        while len(lines) < self._max_batch_updates:
            if self._again:
                update = self._again[0]
            elif self._waiting:
                update = next(iter(self._waiting.values()))
            else:
                break
            size = update[3]
            if size > room or self._is_blocked(size):
                break
            if self._again:
                self._again.popleft()
                resent += 1
            else:
                self._leave(update[0])
                self.size += size
            if not self._flight:
                self._progress_at = now
            self._flight.append(update)
            self.in_flight += size
            room -= size
            put_at = min(put_at, update[4])
            lines.append(update[2])
        if not lines:
            return None
        self.batches += 1
        self.in_flight += OVERHEAD
        self.resent += resent
        self._batches.append(_Sent(first + len(lines) - 1, now, put_at))
        return Batch(f"\x1e{self.epoch} {first}\n{''.join(lines)}", first, len(lines), resent)

    # --- what the edge says ---

    def acknowledge(self, epoch: int, sequence: int, now: float) -> Acknowledged:
        """The edge has all updates of an epoch up to a sequence.

        Raises:
            RemoteProtocolError: If that one was never sent. Nothing is changed.
        """
        if epoch != self.epoch or sequence <= self._had:
            # The late word of an old connection.
            return Acknowledged(0)
        count = sequence - self._had
        if count > self.sent:
            raise RemoteProtocolError(
                _PROTOCOL_ERROR, f"it acknowledges update {sequence}, and {self._had + self.sent} is the last one sent"
            )
        for _ in range(count):
            if self._flight:
                size = self._flight.popleft()[3]
                self.in_flight -= size
            else:
                size = self._again.popleft()[3]
            self.size -= size
        self._had = sequence
        self.acknowledged += count
        self._progress_at = now
        if self._refused:
            self._refused = {refused for refused in self._refused if refused > sequence}
        since_sent: list[float] = []
        since_put: list[float] = []
        while self._batches and self._batches[0].last <= sequence:
            batch = self._batches.popleft()
            self.in_flight -= OVERHEAD
            since_sent.append(now - batch.sent_at)
            since_put.append(now - batch.put_at)
        return Acknowledged(count, tuple(since_sent), tuple(since_put))

    def reject(self, epoch: int, sequence: int) -> tuple[bool, int | None]:
        """The edge has refused one update; its acknowledgement comes as that of any other.

        Returns:
            Whether that is new, and the update's number; None where it is not known any more.
        """
        if epoch == self.epoch and sequence > self._had:
            place = sequence - self._had - 1
            if sequence in self._refused or place >= self.sent:
                return False, None
            self._refused.add(sequence)
            self.rejected += 1
            return True, (self._flight[place] if place < len(self._flight) else self._again[place - len(self._flight)])[
                0
            ]
        self.rejected += 1
        return True, None

    def is_superseded_by(self, epoch: int, sequence: int) -> bool:
        """Whether what a new connection says the edge has is another publisher's, which is newer than this one."""
        if self.is_new:
            # Whoever was there before: this is the newer one, as long as there is a greater epoch.
            return epoch >= _MAX_NUMBER
        return epoch > self.epoch or (epoch == self.epoch and sequence > self._had + self.sent)

    def resume(self, epoch: int, sequence: int, now: float, *, now_ms: int) -> Resumption:
        """Begin a connection: what the edge has is acknowledged, and the rest of what was sent is sent again.

        Args:
            epoch: The epoch that the edge knows; not one that this publisher `is_superseded_by`.
            sequence: The last update that it has of it.
            now: Monotonic seconds.
            now_ms: Milliseconds since 1970: the next epoch, if there has to be one.
        """
        self._again.extendleft(reversed(self._flight))
        self._flight.clear()
        self._batches.clear()
        self.in_flight = 0
        if self.is_new:
            self.is_new = False
            # A clock that was set back, or another process that began in this very millisecond.
            self.epoch = max(self.epoch, epoch + 1)
            return Resumption(0, 0, 0)
        if epoch == self.epoch and sequence >= self._had:
            count = self.acknowledge(epoch, sequence, now).count
            return Resumption(count, len(self._again), 0)
        forgotten = self._had - (sequence if epoch == self.epoch else 0)
        if forgotten:
            self.epoch = min(max(self.epoch + 1, now_ms), _MAX_NUMBER)
            self._had = 0
            self._refused.clear()
        return Resumption(0, len(self._again), forgotten)

    @property
    def stalls_at(self) -> float | None:
        """When what is in flight has waited too long for an acknowledgement; None while nothing is in flight."""
        return self._progress_at + self._timeout if self._flight else None

    def silence(self, now: float) -> float:
        """Seconds since the last acknowledgement, or since the first update in flight was sent."""
        return now - self._progress_at
