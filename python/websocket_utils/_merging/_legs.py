"""What a race and a standby have in common."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from ..events import Gap
from ..metrics import LegStats
from ._keys import Keys, Payload
from ._seen import Seen

__all__ = ["Leads", "Leg", "Merger", "Received"]


class Received(NamedTuple):
    """A payload to deliver, and when it was read."""

    payload: Payload
    received_ns: int


class Leads(Protocol):
    """Where the lead times of a leg are recorded: a histogram."""

    @property
    def count(self) -> int: ...
    def record(self, value_ns: int, /) -> None: ...
    def quantile(self, q: float, /) -> int: ...


class Leg:
    """What one leg has done so far."""

    __slots__ = ("duplicates", "is_live", "last_ns", "leads", "messages", "source", "wins")

    def __init__(self, source: str, leads: Leads) -> None:
        self.source = source
        self.leads = leads
        self.is_live = False
        self.messages = self.wins = self.duplicates = self.last_ns = 0

    def stats(self, newest_ns: int) -> LegStats:
        """What it has done, beside the newest message of all legs."""
        has_led = self.leads.count > 0
        return LegStats(
            source=self.source,
            is_live=self.is_live,
            messages=self.messages,
            wins=self.wins,
            duplicates=self.duplicates,
            lead_p50_ns=self.leads.quantile(0.5) if has_led else 0,
            lead_p99_ns=self.leads.quantile(0.99) if has_led else 0,
            behind_ns=newest_ns - self.last_ns,
        )


class Merger:
    """What a race and a standby share: legs, and which of their messages have been there."""

    def __init__(self, keys: Keys | None, sources: Sequence[str], leads: Callable[[], Leads], *, window: int) -> None:
        self._keys = keys
        self._legs = [Leg(source, leads()) for source in sources]
        self._seen = Seen(len(self._legs), window=window)
        self.ready: list[Received | Gap] = []
        """To deliver now, before anything else; whoever does clears it."""

    def leg_stats(self) -> tuple[LegStats, ...]:
        """What each leg has done so far, in the order of the sources."""
        newest_ns = max(leg.last_ns for leg in self._legs)
        return tuple(leg.stats(newest_ns) for leg in self._legs)

    def _told(self, is_new: bool, payload: Payload, now_ns: int) -> bool:
        """Put gaps in front of the payload that showed them."""
        self.ready += self._seen.gaps
        self._seen.gaps.clear()
        if is_new:
            self.ready.append(Received(payload, now_ns))
        return False
