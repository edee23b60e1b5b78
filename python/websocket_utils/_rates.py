"""How often somebody may do something: pure judgement, time is an argument."""

from typing import Literal

__all__ = ["BURST_SECONDS", "EXCESS_SECONDS", "CommandRate", "CommandVerdict", "TokenBucket"]

BURST_SECONDS = 2.0
"""What may be done at once, as seconds of the rate."""
EXCESS_SECONDS = 8.0
"""What may be refused at once before it is too much, as seconds of the rate."""

CommandVerdict = Literal["allowed", "refused", "excessive"]
"""What becomes of a command: `excessive` ends the connection."""


class TokenBucket:
    """Allows `rate` in a second, and `burst` at once.

    In any time of `seconds` no more than `burst + rate * seconds` are allowed, and whoever asks for no more than `rate`
    is never refused.

    Args:
        rate: In a second, above 0.
        burst: At once, at least 1.
        now: Monotonic seconds.
    """

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = max(1.0, burst)
        self._left = self._burst
        self._at = now

    def take(self, now: float) -> bool:
        """Take one if there is one; a time before the last one adds nothing."""
        if now > self._at:
            self._left = min(self._burst, self._left + (now - self._at) * self._rate)
            self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class CommandRate:
    """Judges the commands of one client.

    Those over the rate are refused, and cost no more than saying so. Refusals have a rate of their own, the same one:
    who keeps asking more than twice as fast as it may is cut, at ten times the rate within a second.

    Args:
        rate: Commands in a second.
        now: Monotonic seconds.
    """

    __slots__ = ("_allowed", "_refused")

    def __init__(self, rate: float, now: float) -> None:
        self._allowed = TokenBucket(rate, BURST_SECONDS * rate, now)
        self._refused = TokenBucket(rate, EXCESS_SECONDS * rate, now)

    def judge(self, now: float) -> CommandVerdict:
        """Judge one command."""
        if self._allowed.take(now):
            return "allowed"
        return "refused" if self._refused.take(now) else "excessive"
