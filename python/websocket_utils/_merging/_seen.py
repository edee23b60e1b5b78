"""Which messages of several legs have been there already, by key. Pure: time is an argument, nothing waits.

A key `(channel, sequence)` with an integer sequence is *numbered*: each channel has a mark, its highest number so far,
and the runs of numbers below it that are missing. Every other key is looked for among the last ones.

Rules for numbered keys:

- Above the mark: new. What it jumps over is missing, and new when it comes later, from whichever leg.
- At or below the mark and not missing: there already.
- A leg whose numbers begin anew below the mark (on a new connection, or by going back farther than reordering explains)
  is *behind* until it has reached the mark of that moment. That is a leg that lags, or one that repeats what it sent;
  as long as a leg that follows isn't behind, its numbers are the truth.
- If all that follow are behind, the server may have begun to count anew, and a strategy must not be blind until it has
  counted up to the old mark: after an outage of all legs that is believed at once, else when it has lasted for
  `PATIENCE_NS`. The mark then goes back, and a `Gap` is told.
"""

import bisect
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Any, Final

from ..events import Gap

__all__ = ["PATIENCE_NS", "Channel", "Seen", "channel_of", "is_numbered"]

# How long all legs have to be below the mark. A leg that lags catches up sooner; until then its messages are lost if
# the server did count anew, which is why it is no more.
PATIENCE_NS: Final = 1_000_000_000
# Steps back within one connection that are reordering or a repetition, not a new count.
_REORDERED: Final = 64
# Runs of missing numbers that are remembered for a channel, and channels; 16 384 channels hold some 20 MiB.
_MOST_RUNS: Final = 64
_MOST_CHANNELS: Final = 16_384
# What isn't numbered has one ring for all channels: of this many times the window, so that a busy channel doesn't push
# out what a quiet one brought a moment ago.
_RINGS: Final = 16
# Doubted since ever.
_LONG_AGO: Final = -(1 << 62)


class Channel:
    """What has been there of one channel whose messages are numbered."""

    __slots__ = ("doubted_ns", "goal", "highest", "last", "line", "missing", "told")

    def __init__(self, sequence: int, legs: int) -> None:
        self.highest = sequence
        # Runs `[first, end)` below the mark that no leg has brought, ascending.
        self.missing: list[tuple[int, int]] = []
        # Runs that end at or below this have been told.
        self.told = sequence
        # The number that each leg brought last, on its present connection.
        self.last: list[int | None] = [None] * legs
        # What a leg has to reach, before it isn't behind any more.
        self.goal: list[int | None] = [None] * legs
        self.doubted_ns: int | None = None
        # What the owner of `Seen` keeps with the channel.
        self.line: Any = None

    def is_behind(self, leg: int) -> bool:
        """Whether the leg doesn't say where the channel is."""
        last, goal = self.last[leg], self.goal[leg]
        return last is None or (goal is not None and last < goal)

    def is_missing(self, sequence: int) -> bool:
        """Whether it is below the mark and nobody has brought it."""
        at = bisect.bisect_right(self.missing, sequence, key=_first) - 1
        return at >= 0 and sequence < self.missing[at][1]

    def fill(self, sequence: int) -> bool:
        """Take it out of what is missing; False where it isn't."""
        at = bisect.bisect_right(self.missing, sequence, key=_first) - 1
        if at < 0 or sequence >= self.missing[at][1]:
            return False
        first, end = self.missing[at]
        parts = [run for run in ((first, sequence), (sequence + 1, end)) if run[0] < run[1]]
        self.missing[at : at + 1] = parts
        return True

    def forget(self, leg: int) -> None:
        """The leg's connection is over: the next one begins anew."""
        self.last[leg] = self.goal[leg] = None


def _first(run: tuple[int, int]) -> int:
    return run[0]


class Seen:
    """Keys that have been there, by the rules above.

    Args:
        legs: How many there are; they are numbered from 0.
        window: How far below its channel's mark a missing number is still waited for; a sixteenth of how many other
            keys are remembered.
    """

    def __init__(self, legs: int, *, window: int) -> None:
        self._legs = legs
        self._window = window
        self.following: frozenset[int] = frozenset()
        """Legs whose numbers count."""
        self.gaps: list[Gap] = []
        """What nobody will bring any more; whoever passes them on clears the list."""
        self.restarted = False
        """Whether a call of `take` believed that a channel is counted anew; whoever heeds it puts it back."""
        self._channels: dict[Hashable, Channel] = {}
        self._ring: OrderedDict[Hashable, None] = OrderedDict()

    def channel(self, name: Hashable) -> Channel:
        """The numbered channel of that name, of which a key has been taken."""
        return self._channels[name]

    def is_above(self, key: Any) -> bool:
        """Whether a key is behind all that has been there of its channel; True where it isn't numbered."""
        channel = self._channels.get(key[0]) if is_numbered(key) else None
        return channel is None or key[1] > channel.highest

    def follow(self, legs: Iterable[int]) -> None:
        """Count the numbers of these legs from now on."""
        self.following = frozenset(legs)

    def forget(self, leg: int) -> None:
        """The leg's connection is over: the next one begins anew."""
        for channel in self._channels.values():
            channel.forget(leg)

    def outage(self) -> None:
        """No leg is left: what comes next is believed, wherever it counts from."""
        for channel in self._channels.values():
            channel.doubted_ns = _LONG_AGO

    def take(self, leg: int, key: Any, now_ns: int) -> bool:
        """Remember a key that a leg brought; True if it was not there before."""
        # As `is_numbered`, whose call would cost as much as all the rest.
        if not (key.__class__ is tuple and len(key) == 2 and type(key[1]) is int):  # noqa: PLR2004  # channel and sequence
            return self._take_other(key)
        name, sequence = key
        channel = self._channels.get(name)
        if channel is None:
            self._add(name, sequence).last[leg] = sequence
            return True
        highest = channel.highest
        is_new: bool = sequence > highest
        if is_new:
            channel.highest = channel.last[leg] = sequence
            if sequence != highest + 1:
                channel.missing.append((highest + 1, sequence))
            if channel.doubted_ns is not None:
                channel.doubted_ns = None
        else:
            is_new = self._take_below(leg, name, channel, sequence, now_ns)
        if channel.missing:
            self._settle(name, channel)
        return is_new

    def _take_other(self, key: Hashable) -> bool:
        if key in self._ring:
            return False
        self._ring[key] = None
        if len(self._ring) > self._window * _RINGS:
            self._ring.popitem(last=False)
        return True

    def has(self, leg: int, key: Any) -> bool:
        """Whether a key that a leg brought was there before; remembers how far the leg is, but not the key."""
        if not is_numbered(key):
            return key in self._ring
        name, sequence = key
        channel = self._channels.get(name)
        if channel is None:
            return False
        if sequence > channel.highest:
            channel.last[leg] = sequence
            return False
        self._place(leg, channel, sequence)
        return not channel.is_missing(sequence)

    def _add(self, name: Hashable, sequence: int) -> Channel:
        if len(self._channels) >= _MOST_CHANNELS:
            del self._channels[next(iter(self._channels))]
        channel = self._channels[name] = Channel(sequence, self._legs)
        return channel

    def _place(self, leg: int, channel: Channel, sequence: int) -> None:
        """Remember where a leg is that brings something at or below the mark."""
        last = channel.last[leg]
        if last is None or last - sequence > _REORDERED:
            channel.goal[leg] = channel.highest
        channel.last[leg] = sequence

    def _take_below(self, leg: int, name: Hashable, channel: Channel, sequence: int, now_ns: int) -> bool:
        self._place(leg, channel, sequence)
        if channel.missing and channel.fill(sequence):
            return True
        if not channel.is_behind(leg) or not all(channel.is_behind(other) for other in self.following):
            return False
        if channel.doubted_ns is None:
            channel.doubted_ns = now_ns
        if now_ns - channel.doubted_ns <= PATIENCE_NS:
            return False
        self.gaps.append(Gap(str(name), channel.highest, sequence))
        self.restarted = True
        channel.missing.clear()
        anew = self._channels[name] = Channel(sequence, self._legs)
        anew.last[leg] = sequence
        return True

    def _settle(self, name: Hashable, channel: Channel) -> None:
        """Tell what all have passed and none has brought, and forget what is too far behind."""
        if channel.missing[-1][1] > channel.told:
            passed = self._passed(channel)
            for first, end in channel.missing:
                if channel.told < end <= passed:
                    self.gaps.append(Gap(str(name), first - 1, end))
                    channel.told = end
        while channel.missing and (
            channel.missing[0][1] <= channel.highest - self._window or len(channel.missing) > _MOST_RUNS
        ):
            first, end = channel.missing.pop(0)
            if end > channel.told:
                self.gaps.append(Gap(str(name), first - 1, end))
                channel.told = end

    def _passed(self, channel: Channel) -> int:
        """The number that all who are followed have brought, or passed."""
        passed = channel.highest
        for leg in self.following:
            last = channel.last[leg]
            if last is None:
                return _LONG_AGO
            passed = min(passed, last)
        return passed


def is_numbered(key: Any) -> bool:
    """Whether a key is a channel and an integer sequence."""
    # `type() is`: True and False are integers too, and no numbers of messages.
    return key.__class__ is tuple and len(key) == 2 and type(key[1]) is int  # noqa: PLR2004  # a channel and a sequence


def channel_of(key: Any) -> Hashable:
    """Return the channel of a numbered key; None for others."""
    return key[0] if is_numbered(key) else None
