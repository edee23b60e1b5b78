"""What the door remembers of the last minutes: counters once a second, and how late the event loop was."""

import math
from collections import deque
from collections.abc import Sequence

from ._facts import Counted, Quantiles, Rates, Sample

__all__ = ["Samples", "quantiles"]

_INTERVAL = 1.0
_KEPT = 120
_RATE_SECONDS = 5.0
_LAG_SECONDS = 60.0


def quantiles(durations: Sequence[float]) -> Quantiles | None:
    """Tell what parts of some durations, in seconds, do not exceed; None where there are none."""
    if not durations:
        return None
    ordered = sorted(durations)

    def at(part: float) -> float:
        return ordered[max(0, math.ceil(part * len(ordered)) - 1)]

    return Quantiles(count=len(ordered), p50=at(0.5), p90=at(0.9), p99=at(0.99), p999=at(0.999), max=ordered[-1])


class Samples:
    """Keeps two minutes of samples, and one of the event loop's lag.

    Args:
        counted: Counters at the beginning.
        now: That time; all others come from the same clock.
    """

    def __init__(self, counted: Counted, now: float) -> None:
        self._began = now
        self._counted: deque[tuple[float, Counted]] = deque([(now, counted)], maxlen=_KEPT + 1)
        self._samples: deque[Sample] = deque(maxlen=_KEPT)
        self._lags: deque[tuple[float, float]] = deque()
        self._worst = 0.0

    def age(self, now: float) -> float:
        """Seconds since the beginning."""
        return now - self._began

    def is_due(self, now: float) -> bool:
        """Whether the next sample is to be taken."""
        return now - self._counted[-1][0] >= _INTERVAL

    def beat(self, lag: float, now: float) -> None:
        """The event loop ran a timer `lag` seconds late."""
        self._lags.append((now, lag))
        self._worst = max(self._worst, lag)
        while self._lags[0][0] < now - _LAG_SECONDS:
            self._lags.popleft()

    def take(self, counted: Counted, now: float) -> None:
        """Remember the counters as they are."""
        then, before = self._counted[-1]
        if now <= then:
            return
        seconds = now - then
        self._counted.append((now, counted))
        lost = counted.dropped + counted.conflated - before.dropped - before.conflated
        self._samples.append(
            Sample(
                at=now - self._began,
                connections=counted.connections,
                lagging=counted.lagging,
                published=(counted.published - before.published) / seconds,
                deliveries=(counted.deliveries - before.deliveries) / seconds,
                bytes_sent=(counted.bytes_sent - before.bytes_sent) / seconds,
                lost=lost / seconds,
                behind=counted.behind,
                loop_lag=self._worst,
            )
        )
        self._worst = 0.0

    @property
    def samples(self) -> list[Sample]:
        """One for each second, oldest first."""
        return list(self._samples)

    def rates(self, counted: Counted, now: float) -> Rates:
        """Return averages from some seconds ago until now, at which the counters are `counted`."""
        old = (entry for entry in reversed(self._counted) if now - entry[0] >= _RATE_SECONDS)
        then, before = next(old, self._counted[0])
        seconds = now - then

        def rate(end: int, start: int) -> float:
            return (end - start) / seconds if seconds > 0 else 0.0

        return Rates(
            seconds=seconds,
            published=rate(counted.published, before.published),
            deliveries=rate(counted.deliveries, before.deliveries),
            bytes_sent=rate(counted.bytes_sent, before.bytes_sent),
            messages_received=rate(counted.messages_received, before.messages_received),
            dropped=rate(counted.dropped, before.dropped),
            conflated=rate(counted.conflated, before.conflated),
        )

    def loop_lag(self) -> Quantiles | None:
        """How late timers were over the last minute."""
        return quantiles([lag for _, lag in self._lags])

    def worst_lag(self, seconds: float, now: float) -> float:
        """The longest lag of the last `seconds`."""
        return max((lag for at, lag in self._lags if at >= now - seconds), default=0.0)
