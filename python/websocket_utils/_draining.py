"""What a server that is about to end does for each of its clients, and when: a plan, without a clock or chance.

    0                      window                     last                deadline
    |-- notices, in batches --|                        |                      |
    |-- plain peers close ----|                        |                      |
       |-- peers that were told close, a grace later --|-- for the stragglers |-- what is left is cut

A peer that was told has its grace to be connected elsewhere before it is closed; one that is gone by then is left out.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

__all__ = ["Step", "Timetable", "drain_faults", "timetable"]

T = TypeVar("T")

# Between batches of notices; closes are put together to multiples of the other.
_BETWEEN_BATCHES: Final = 0.05
_TICK: Final = 0.01
# The longest that a peer is left alone behind the time it was told: a dial, a handshake and its subscriptions.
_MOST_GRACE: Final = 5.0


@dataclass(frozen=True, slots=True)
class Step(Generic[T]):
    """What is done in one turn of the event loop."""

    at: float
    """Seconds since the drain began."""

    notices: Sequence[tuple[T, float]] = ()
    """Peers to be told to go away, each with the seconds it is asked to wait."""

    closes: Sequence[T] = ()
    """Peers to be closed."""


@dataclass(frozen=True, slots=True)
class Timetable(Generic[T]):
    """The course of a drain."""

    steps: Sequence[Step[T]]
    """In the order of their times."""

    last: float
    """From here on also those are closed that have not yet taken what was sent to them."""

    deadline: float
    """Here it ends."""


def drain_faults(deadline: float, window: float, batch: int) -> list[str]:
    """What is wrong with the numbers of a drain."""
    faults: list[str] = []
    if not 0 < deadline < math.inf:
        faults.append(f"deadline: must be a finite number of seconds above 0, not {deadline!r}")
    if not 0 <= window < math.inf:
        faults.append(f"window: must be a finite number of seconds of at least 0, not {window!r}")
    if batch < 1:
        faults.append(f"batch: must be at least 1, not {batch!r}")
    return faults


def timetable(
    told: Sequence[T],
    plain: Sequence[T],
    *,
    deadline: float,
    window: float,
    batch: int,
    chance: Callable[[], float],
) -> Timetable[T]:
    """Plan a drain.

    Args:
        told: Peers that understand a notice.
        plain: Peers that get nothing but their close.
        deadline: Seconds until it ends.
        window: Seconds over which the peers are to leave; at most half of `deadline` is used.
        batch: The most peers of one step.
        chance: Returns random numbers from 0 to below 1.
    """
    spread = min(window, deadline / 2)
    grace = min(_MOST_GRACE, (deadline - spread) / 2)
    between = min(_BETWEEN_BATCHES, spread * batch / (2 * len(told))) if told else 0.0
    steps: list[Step[T]] = []
    closes = [(chance() * spread, peer) for peer in plain]
    for first in range(0, len(told), batch):
        at = first // batch * between
        notices: list[tuple[T, float]] = []
        for peer in told[first : first + batch]:
            after = chance() * (spread - at)
            notices.append((peer, round(after, 3)))
            closes.append((at + after + grace, peer))
        steps.append(Step(at, notices=notices))
    steps += _together(closes, batch)
    steps.sort(key=lambda step: step.at)
    return Timetable(steps, spread + grace, deadline)


def _together(closes: Iterable[tuple[float, T]], batch: int) -> list[Step[T]]:
    """Close in one turn whoever is due in one tick, but for those that are too many."""
    ticks: dict[int, list[T]] = {}
    for at, peer in closes:
        ticks.setdefault(math.floor(at / _TICK), []).append(peer)
    return [
        Step(tick * _TICK, closes=peers[first : first + batch])
        for tick, peers in sorted(ticks.items())
        for first in range(0, len(peers), batch)
    ]
