"""How far another machine's clock is from ours, and how long the way there and back is. Pure: times are arguments."""

import math
from collections import deque

__all__ = ["ClockEstimate"]

# A sample that says more is no measurement: of a century, or of nothing.
_MOST_SECONDS = 100 * 365 * 86_400.0


class ClockEstimate:
    """Round trip time and clock offset, from the best of the last samples (RFC 5905 §8 and §10).

    The offset of one sample is wrong by half of what the way there and the way back differ in. Queues make that
    difference, and the round trip longer: the sample with the shortest round trip is the best one.

    Args:
        window: Samples that are looked back on; a route that has become longer is seen when the last shorter one is
            out of it.
    """

    __slots__ = ("_samples",)

    def __init__(self, window: int = 16) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=window)

    def add(self, sent: float, received: float, returned: float, came: float) -> bool:
        """Take one sample, in seconds: `sent` and `came` by our clock, the others by the peer's.

        Returns:
            Whether it can be one: a peer may say what it likes.
        """
        round_trip = (came - sent) - (returned - received)
        offset = ((received - sent) + (returned - came)) / 2
        is_possible = (
            all(map(math.isfinite, (round_trip, offset)))
            and round_trip >= 0
            and returned >= received
            and came >= sent
            and abs(offset) <= _MOST_SECONDS
        )
        if is_possible:
            self._samples.append((round_trip, offset))
        return is_possible

    @property
    def round_trip_time(self) -> float | None:
        """Seconds there and back, the shortest in the window; None before the first sample."""
        return min(self._samples)[0] if self._samples else None

    @property
    def offset(self) -> float | None:
        """Seconds that the peer's clock is ahead of ours; wrong by half of `round_trip_time` at most."""
        return min(self._samples)[1] if self._samples else None

    def clear(self) -> None:
        """Forget all samples: the route, or the machine behind it, is another one."""
        self._samples.clear()
