"""All legs are listened to: the first of equal messages is delivered."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Final, Literal

from ..events import Gap
from ._keys import Keys, Payload
from ._legs import Leads, Leg, Merger, Received
from ._seen import Channel, is_numbered

__all__ = ["Race"]

# Held back in strict order before a channel goes on, for how long, and how many bytes.
_HOLD: Final = 256
_HOLD_NS: Final = 5_000_000
_HOLD_BYTES: Final = 1 << 20


class _Line:
    """What is held back of one channel, in strict order."""

    __slots__ = ("delivered", "held")

    def __init__(self, delivered: int) -> None:
        self.delivered = delivered
        self.held: dict[int, Received] = {}


class Race(Merger):
    """All legs are listened to; of equal messages the first is delivered.

    Args:
        keys: Reads what tells messages apart.
        sources: Names of the legs; the first is preferred. Messages without a key are delivered from the leg that is
            preferred among those that are live.
        leads: Makes what a leg's lead times are recorded in: from the first to the second arrival of a message.
        order: `arrival` delivers each message when it comes, so what another leg fills in comes late and out of order:
            latency first. `strict` holds numbered messages back until what is missing in front of them has come, for
            `hold_ns` or `hold` messages at most; then a `Gap` is told, and what comes later is dropped.
        window: How far below the newest a missing number is still taken, see `Seen`; also how many messages wait for
            their second arrival to be timed.
        hold: Messages that are held back at most, of all channels; 1 MiB at most, too.
        hold_ns: How long a message is held back at most.
    """

    def __init__(
        self,
        keys: Keys,
        sources: Sequence[str],
        leads: Callable[[], Leads],
        *,
        order: Literal["arrival", "strict"] = "arrival",
        window: int = 4096,
        hold: int = _HOLD,
        hold_ns: int = _HOLD_NS,
    ) -> None:
        super().__init__(keys, sources, leads, window=window)
        self._key_of = keys.of
        self._window = window
        self._count = len(sources)
        self._is_strict = order == "strict"
        self._hold = hold
        self._hold_ns = hold_ns
        self._preferred = 0
        # Keys that came from one leg so far: when, and from which, in one number.
        self._firsts: OrderedDict[Hashable, int] = OrderedDict()
        self._held = self._held_bytes = 0
        self._holding: dict[Hashable, _Line] = {}

    @property
    def preferred(self) -> int:
        """The leg whose messages without a key are delivered."""
        return self._preferred

    def begin(self, leg: int) -> None:
        """A connection of this leg is complete."""
        self._legs[leg].is_live = True
        self._seen.forget(leg)
        self._follow()

    def lost(self, leg: int) -> None:
        """The connection of this leg is over."""
        self._legs[leg].is_live = False
        self._seen.forget(leg)
        self._follow()
        if not self._seen.following:
            self._seen.outage()

    def _follow(self) -> None:
        live = [number for number, leg in enumerate(self._legs) if leg.is_live]
        self._seen.follow(live)
        self._preferred = live[0] if live else 0

    def take(self, leg: int, payload: Payload, now_ns: int) -> bool:
        """Take a payload from a leg: True delivers it now; False does not, but `ready` may hold what to deliver.

        Args:
            leg: Number of its source.
            payload: As it came: text is `str`.
            now_ns: When, monotonic.
        """
        from_leg = self._legs[leg]
        from_leg.messages += 1
        from_leg.last_ns = now_ns
        key = self._key_of(payload)
        if key is None:
            if leg != self._preferred:
                return False
            from_leg.wins += 1
            return True
        is_new = self._seen.take(leg, key, now_ns)
        if is_new:
            from_leg.wins += 1
            if len(self._seen.following) > 1:
                firsts = self._firsts
                firsts[key] = now_ns * self._count + leg
                if len(firsts) > self._window:
                    firsts.popitem(last=False)
        else:
            from_leg.duplicates += 1
            first = self._firsts.get(key)
            # What a leg brings twice says nothing of the other.
            if first is not None and first % self._count != leg:
                del self._firsts[key]
                since_ns, winner = divmod(first, self._count)
                self._legs[winner].leads.record(max(0, now_ns - since_ns))
        if self._is_strict and is_numbered(key):
            is_delivered = is_new and self._in_order(from_leg, key, self._seen.channel(key[0]), payload, now_ns)
            # Whatever is missing, the line tells itself, when it goes on without.
            self._seen.gaps.clear()
            return is_delivered
        return self._told(is_new, payload, now_ns) if self._seen.gaps else is_new

    # --- strict order ---

    def _in_order(self, leg: Leg, key: tuple[Hashable, int], channel: Channel, payload: Payload, now_ns: int) -> bool:
        """Deliver, or hold back, a numbered message that is new, and deliver what waited for it."""
        name, sequence = key
        line = channel.line
        if line is None:
            line = channel.line = _Line(sequence)
            return self._begin(name, Received(payload, now_ns))
        if sequence <= line.delivered:
            # The channel went on without it.
            leg.wins -= 1
            leg.duplicates += 1
            return False
        if sequence == line.delivered + 1 and not line.held:
            line.delivered = sequence
            return True
        line.held[sequence] = Received(payload, now_ns)
        self._holding[name] = line
        self._held += 1
        self._held_bytes += len(payload)
        self._release(name, line)
        while self._held > self._hold or self._held_bytes > _HOLD_BYTES:
            self._go_on(*next(iter(self._holding.items())))
        return False

    def _begin(self, name: Hashable, received: Received) -> bool:
        """Deliver the first message of a channel, or of a new count of it."""
        before = self._holding.get(name)
        while before is not None and before.held:
            self._go_on(name, before)
        if self._seen.restarted:
            self._seen.restarted = False
            # The last of them is the one between the counts.
            self.ready.append(self._seen.gaps[-1])
        if not self.ready:
            return True
        self.ready.append(received)
        return False

    def _release(self, name: Hashable, line: _Line) -> None:
        """Move to `ready` what follows without a gap."""
        while (following := line.held.pop(line.delivered + 1, None)) is not None:
            self._held -= 1
            self._held_bytes -= len(following.payload)
            line.delivered += 1
            self.ready.append(following)
        if not line.held:
            self._holding.pop(name, None)

    def _go_on(self, name: Hashable, line: _Line) -> None:
        """Give up waiting for what is missing in front of the first that is held."""
        following = min(line.held)
        self.ready.append(Gap(str(name), line.delivered, following))
        line.delivered = following - 1
        self._release(name, line)

    @property
    def expires_ns(self) -> int | None:
        """When `expire` is to be called; None while nothing is held back."""
        oldest = [received.received_ns for line in self._holding.values() for received in line.held.values()]
        return min(oldest) + self._hold_ns if oldest else None

    def expire(self, now_ns: int) -> None:
        """Put what has been held back for `hold_ns` into `ready`, with the gaps in front of it."""
        for name, line in list(self._holding.items()):
            while any(received.received_ns + self._hold_ns <= now_ns for received in line.held.values()):
                self._go_on(name, line)
