"""One leg is delivered: others are ready to take its place."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

from ..events import Gap
from ._keys import Keys, Payload
from ._legs import Leads, Merger, Received
from ._seen import channel_of

__all__ = ["Standby"]


class Standby(Merger):
    """One leg is delivered; what another one brings is kept for the moment in which it is promoted.

    With keys, that is every message of it that the active leg has not delivered, so that `promote` can deliver exactly
    those, in order. Without, nothing is kept: the promoted leg is delivered from its next message on.

    Args:
        keys: Reads what tells messages apart; None knows nothing of them.
        sources: Names of the legs; the first is active at the beginning.
        leads: Makes what a leg's lead times would be recorded in; nothing is raced here.
        window: Messages of each spare that are kept at most; see also `Seen`.
        max_bytes: Bytes of each spare that are kept at most.
    """

    def __init__(
        self,
        keys: Keys | None,
        sources: Sequence[str],
        leads: Callable[[], Leads],
        *,
        window: int = 4096,
        max_bytes: int = 1 << 20,
    ) -> None:
        super().__init__(keys, sources, leads, window=window)
        self._window = window
        self._max_bytes = max_bytes
        self._active = 0
        self._seen.follow((0,))
        self._pending: list[OrderedDict[Hashable, Received]] = [OrderedDict() for _ in sources]
        self._pending_bytes = [0] * len(sources)

    @property
    def active(self) -> int:
        """The leg that is delivered."""
        return self._active

    def begin(self, leg: int) -> None:
        """A connection of this leg is complete."""
        self._legs[leg].is_live = True
        self._seen.forget(leg)

    def lost(self, leg: int) -> None:
        """The connection of this leg is over."""
        self._legs[leg].is_live = False
        self._seen.forget(leg)
        if not any(leg.is_live for leg in self._legs):
            self._seen.outage()

    def take(self, leg: int, payload: Payload, now_ns: int) -> bool:
        """Take a payload from a leg, as `Race.take`."""
        from_leg = self._legs[leg]
        from_leg.messages += 1
        from_leg.last_ns = now_ns
        is_active = leg == self._active
        key = None if self._keys is None else self._keys.of(payload)
        if key is None:
            from_leg.wins += is_active
            return is_active
        if not is_active:
            self._keep(leg, key, Received(payload, now_ns))
            return False
        is_new = self._seen.take(leg, key, now_ns)
        if is_new:
            from_leg.wins += 1
            self._drop(key)
        else:
            from_leg.duplicates += 1
        if self._seen.restarted:
            self._seen.restarted = False
            self._drop_channel(key[0])
        return self._told(is_new, payload, now_ns) if self._seen.gaps else is_new

    def promote(self, leg: int, now_ns: int) -> list[Received | Gap]:
        """Make another leg the active one.

        Returns:
            What the leg before did not deliver of what this one has brought, with gaps where it doesn't join.
        """
        seen = self._seen
        self._active = leg
        seen.follow((leg,))
        pending, self._pending[leg] = self._pending[leg], OrderedDict()
        self._pending_bytes[leg] = 0
        deliver: list[Received | Gap] = []
        for key, received in pending.items():
            # What the leg before jumped over would come behind what it delivered: a gap was told there.
            if not seen.is_above(key) or not seen.take(leg, key, now_ns):
                continue
            self._legs[leg].wins += 1
            self._drop(key)
            deliver += seen.gaps
            seen.gaps.clear()
            deliver.append(received)
        return deliver

    def _keep(self, leg: int, key: Hashable, received: Received) -> None:
        if self._seen.has(leg, key):
            self._legs[leg].duplicates += 1
            return
        pending = self._pending[leg]
        if key in pending:
            self._legs[leg].duplicates += 1
            return
        pending[key] = received
        self._pending_bytes[leg] += len(received.payload)
        while len(pending) > self._window or self._pending_bytes[leg] > self._max_bytes:
            _, oldest = pending.popitem(last=False)
            self._pending_bytes[leg] -= len(oldest.payload)

    def _drop(self, key: Hashable) -> None:
        """It has been delivered: no leg need keep it."""
        for leg, pending in enumerate(self._pending):
            if pending and (received := pending.pop(key, None)) is not None:
                self._pending_bytes[leg] -= len(received.payload)

    def _drop_channel(self, name: Hashable) -> None:
        """It is counted anew: what was kept of the old count would be taken for news."""
        for pending in self._pending:
            for key in [key for key in pending if channel_of(key) == name]:
                self._drop(key)
