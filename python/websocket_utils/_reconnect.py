"""When to dial again: pure arithmetic, time and randomness are arguments."""

from dataclasses import dataclass, replace

__all__ = ["Backoff", "is_final"]

# The first retry is at once: most drops are a restarted peer or a lost route that is back. The jitter only keeps a
# crowd of clients from dialling in the same millisecond.
_FIRST_JITTER = 0.01
_BASE = 0.1
# A connection that lived this long was a good one; a server that accepts and drops at once must not reset the backoff.
_STABLE_AFTER = 5.0
_MAX_EXPONENT = 30


@dataclass(frozen=True, slots=True)
class Backoff:
    """Consecutive failures and the wait they ask for.

    Attributes:
        longest: Most seconds one wait may be (`reconnect_interval`).
        failures: Failures since the last good connection.
    """

    longest: float
    failures: int = 0

    def delay(self, unit: float) -> float:
        """Seconds to wait before the next dial; `unit` is a random number from 0 to 1.

        Full jitter: uniform from 0 to the exponential bound, which spreads a crowd of clients best.
        """
        if self.failures == 0:
            return unit * min(_FIRST_JITTER, self.longest)
        exponent = min(self.failures - 1, _MAX_EXPONENT)
        return float(unit * min(self.longest, _BASE * 2**exponent))

    def failed(self) -> "Backoff":
        """A dial failed."""
        return replace(self, failures=self.failures + 1)

    def dropped(self, lived: float) -> "Backoff":
        """A connection that lived this many seconds was lost."""
        return replace(self, failures=0) if lived >= _STABLE_AFTER else self.failed()


def is_final(status: int | None) -> bool:
    """Whether an HTTP status says that dialling again is of no use.

    4xx means that the request itself is wrong, except for those that speak of time: 408 Request Timeout, 425 Too Early,
    429 Too Many Requests (RFC 9110 §15.5, RFC 8470, RFC 6585).
    """
    return status is not None and 400 <= status < 500 and status not in {408, 425, 429}  # noqa: PLR2004  # the 4xx class
