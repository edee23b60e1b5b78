"""Freshness: whether each channel that promised to bring data brings it, whatever the connection says.

What a channel brings is noticed where it is read, at no cost for a strategy that is fast: the inbox notes the time of
the *first* matching read since it was last asked, and looks at no further message of that channel until then. So at a
check the last message came somewhere between that first read and the check. `Freshness` assumes the latest: the check
itself. That makes it late by what lies between two checks, and never early; checks every 7/64 of `stale_after` and a
second look 1/64 later keep what is late within 1/8.

```
 messages       x  x          |          silent for stale_after               |
 checks      |      |   take: seen at the first x     |      |      |      |  |  || told
                    ^ counts as the last message      <- each 7/64 ->      due^  ^ second look, 1/64 later
```

Why the second look: an event loop that was busy calls timers that are overdue before it reads what waits in the
socket. What makes a channel fresh may be there already. A loop reads between two timers, so who is silent at the second
look too has brought nothing.

Nothing here sleeps or reads a clock: times are monotonic seconds, and arguments. `now` is the clock's, not an event
loop's: that may lag behind the reads of its turn.
"""

import math

from .events import Restored, Stale

__all__ = ["Freshness"]

# Parts of `stale_after`; together the 1/8 that telling may be late.
_STEP = 7 / 64
_SECOND_LOOK = 1 / 64
# What timers of event loops can tell apart.
_LEAST_STALE_AFTER = 0.001


class _Watched:
    __slots__ = ("channel", "checked", "first", "is_silent", "is_told", "last", "looked", "since", "stale_after")

    def __init__(self, channel: str, stale_after: float, now: float) -> None:
        self.channel = channel
        self.stale_after = stale_after
        # The last message, or the subscription: not after it, and at most a step before.
        self.last = now
        # From when on its silence counts: the last message, or the connection's first moment if that is later.
        self.since = now
        self.checked = now
        # The first read since the last check.
        self.first: float | None = None
        # When the first look found it silent for too long.
        self.looked: float | None = None
        # The second look found so too.
        self.is_silent = False
        # `Stale` was told, and `Restored` was not.
        self.is_told = False

    def due(self) -> float:
        """When to look next."""
        if self.looked is not None:
            return self.looked + self.stale_after * _SECOND_LOOK
        step = self.checked + self.stale_after * _STEP
        return step if self.is_silent else min(step, self.since + self.stale_after)


class Freshness:
    """The channels that are to bring data at least every so often, and which of them don't."""

    __slots__ = ("_watched",)

    def __init__(self) -> None:
        self._watched: dict[str, _Watched] = {}

    def __len__(self) -> int:
        return len(self._watched)

    def watch(self, channel: str, stale_after: float, now: float) -> None:
        """Expect data of a channel at least every `stale_after` seconds, from now on.

        If it is expected already, the shorter time holds and its silence goes on.

        Raises:
            ValueError: If `stale_after` is less than a millisecond, or no number.
        """
        if not _LEAST_STALE_AFTER <= stale_after < math.inf:
            raise ValueError(f"stale_after must be at least {_LEAST_STALE_AFTER} seconds, not {stale_after!r}")
        watched = self._watched.get(channel)
        if watched is None:
            self._watched[channel] = _Watched(channel, stale_after, now)
        elif stale_after < watched.stale_after:
            watched.stale_after = stale_after

    def unwatch(self, channel: str) -> None:
        """Expect nothing of a channel any more; one that is not watched is ignored."""
        self._watched.pop(channel, None)

    def seen(self, channel: str, at: float) -> None:
        """The first message of a channel since the last check was read at `at`; further ones may have followed.

        To be told before the check that follows. A channel that is not watched is ignored.
        """
        watched = self._watched.get(channel)
        if watched is not None and (watched.first is None or at < watched.first):
            watched.first = at

    def resumed(self, now: float) -> None:
        """Silence counts from now: a new connection, or one that is read again after reading was held.

        What is stale stays so until its data comes, and its `age` goes on from its last message.
        """
        for watched in self._watched.values():
            watched.since = max(watched.since, now)
            watched.looked = None
            watched.is_silent = False

    def check(self, now: float) -> list[Stale | Restored]:
        """Return what has changed since the last check. All that was seen until now has been told by `seen`."""
        events: list[Stale | Restored] = []
        for watched in self._watched.values():
            watched.checked = now
            if watched.first is not None:
                if watched.is_told:
                    events.append(Restored(watched.channel, max(0.0, watched.first - watched.last)))
                # A read may lie behind the check that takes it, where `now` is an event loop's after all.
                watched.last = watched.since = max(watched.first, now)
                watched.first = watched.looked = None
                watched.is_silent = watched.is_told = False
            elif watched.is_silent or now < watched.since + watched.stale_after:
                watched.looked = None
            elif watched.looked is None:
                watched.looked = now
            elif now >= watched.due():
                watched.looked = None
                watched.is_silent = True
                if not watched.is_told:
                    watched.is_told = True
                    events.append(Stale(watched.channel, now - watched.last))
        return events

    def next_check(self, now: float) -> float | None:
        """When to check next; not before `now`, and None where nothing is watched."""
        if not self._watched:
            return None
        return max(now, min(watched.due() for watched in self._watched.values()))

    @property
    def stale(self) -> tuple[str, ...]:
        """Channels that are stale: `Stale` was told, and no `Restored` since."""
        return tuple(watched.channel for watched in self._watched.values() if watched.is_told)

    @property
    def silent(self) -> tuple[str, ...]:
        """Channels that brought nothing for `stale_after` on this connection, which so is to be replaced.

        A channel that was stale before the connection was made is among them once the new one has had its time.
        """
        return tuple(watched.channel for watched in self._watched.values() if watched.is_silent)

    def age(self, channel: str, now: float) -> float:
        """Seconds since a channel's last message, at least; 0 if it is not watched."""
        watched = self._watched.get(channel)
        return 0.0 if watched is None else max(0.0, now - watched.last)
