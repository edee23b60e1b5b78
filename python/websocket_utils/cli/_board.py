"""What the demo's strategy knows of each market: its price, how old updates are on arrival, how many come."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from websocket_utils._feed import Market
from websocket_utils._pacing import NANOSECONDS
from websocket_utils.messages import PriceUpdate

# Of one market; more updates a second than this are judged by the newest.
_MOST_AGES = 4096


@dataclass(frozen=True, slots=True)
class Row:
    """One market as it is now; ages and rate are those of the last second."""

    name: str
    price: float | None
    """None until the first update."""
    change: float
    """Of the price since the first update: 0.01 is one percent."""
    age_p50: float | None
    """Microseconds from the server's clock to our callback, median; None when nothing came."""
    age_p99: float | None
    """As `age_p50`, 99th percentile."""
    rate: float
    """Updates a second."""


class _Tape:
    """Updates of one market."""

    __slots__ = ("_ages", "count", "counted", "first", "last")

    def __init__(self) -> None:
        self.first: float | None = None
        self.last: float | None = None
        self.count = 0
        self.counted = 0
        self._ages: deque[tuple[int, int]] = deque(maxlen=_MOST_AGES)

    def take(self, price: float, now: int, age: int) -> None:
        if self.first is None:
            self.first = price
        self.last = price
        self.count += 1
        self._ages.append((now, age))

    def sorted_ages(self, since: int) -> list[int]:
        ages = self._ages
        while ages and ages[0][0] < since:
            ages.popleft()
        return sorted(age for _, age in ages)


class Board:
    """Takes updates and says how each market stands."""

    def __init__(self, markets: Sequence[Market], *, wall_clock: Callable[[], int]) -> None:
        """Begin with no price of any market.

        Args:
            markets: What to watch; updates of others count in the total alone.
            wall_clock: Nanoseconds since 1970: the clock that the server stamps updates with.
        """
        self._names = [market.name for market in markets]
        self._tapes = {(market.input_mint, market.output_mint): _Tape() for market in markets}
        self._wall_clock = wall_clock
        self._begun = self._looked = wall_clock()
        self.total = 0

    def take(self, update: PriceUpdate) -> None:
        """Take one update, as it arrives."""
        now = self._wall_clock()
        self.total += 1
        tape = self._tapes.get((update.input_mint, update.output_mint))
        if tape is not None:
            tape.take(update.price, now, now - update.timestamp)

    def rows(self) -> list[Row]:
        """How the markets stand; rates are over the time since the last look."""
        now = self._wall_clock()
        seconds = max(now - self._looked, 1) / NANOSECONDS
        self._looked = now
        return [
            _row(name, tape, now - NANOSECONDS, seconds)
            for name, tape in zip(self._names, self._tapes.values(), strict=True)
        ]

    def seconds(self) -> float:
        """How long the board has been there."""
        return (self._wall_clock() - self._begun) / NANOSECONDS


def _row(name: str, tape: _Tape, since: int, seconds: float) -> Row:
    ages = tape.sorted_ages(since)
    came = tape.count - tape.counted
    tape.counted = tape.count
    return Row(
        name=name,
        price=tape.last,
        change=tape.last / tape.first - 1.0 if tape.first and tape.last is not None else 0.0,
        age_p50=percentile(ages, 0.50),
        age_p99=percentile(ages, 0.99),
        rate=came / seconds,
    )


def percentile(ordered: Sequence[int], share: float) -> float | None:
    """The nearest-rank percentile of nanoseconds in order, as microseconds; None of nothing."""
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1000
