"""When to dial again, and whether: pure judgement; time and randomness are arguments."""

import math
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, Literal, Self, get_args

from .exceptions import (
    AuthenticationFailed,
    ConfigError,
    ConnectionClosed,
    HandshakeError,
    HeartbeatTimeout,
    MessageTooBig,
    ProviderError,
    RemoteProtocolError,
    StaleData,
    SubscribeTimeout,
)

__all__ = ["ClosePolicy", "ReconnectPolicy", "Verdict", "VerdictKind"]

VerdictKind = Literal["retry", "now", "late", "suspect", "refresh", "final", "done"]
"""What the end of a connection, or of a dial, asks for:

- `retry`: dial again, after the wait that the policy says.
- `now`: dial again at once: the peer says that it, or another, is there already.
- `late`: dial again, but not before `late_floor` seconds have passed: the peer is overloaded.
- `suspect`: dial again, but it may be our own fault: so many in a row with one code, and the client ends.
- `refresh`: dial again with fresh credentials, once; then the client ends.
- `final`: dialling again is of no use: the client ends with this error.
- `done`: the peer was done, and so are we: the client ends without an error.
"""

# A server may ask for more time than any strategy should be blind for on its word alone.
_MOST_RETRY_AFTER: Final = 300.0


@dataclass(frozen=True, slots=True)
class ReconnectPolicy:
    """How long to wait before a dial. Subclass it and override `delay` for a policy of your own.

    Attributes:
        base: Longest wait, in seconds, before the second retry; the first is at once.
        factor: What that bound grows by with each further failure.
        max_delay: What it grows to, in seconds; None takes `reconnect_interval`.
        first_jitter: Longest wait before the first retry, in seconds; up to a millisecond is not waited. A crowd of
            clients of one server is spread by 0.01.
        flapping_base: The same as `base` where the connection was opened and soon lost; at least half of it is waited.
        strikes: So many connections in a row that end soon and with the same suspect code end the client.
        late_floor: Least wait, in seconds, where the peer says that it is overloaded.
        give_up_after: Seconds without a stable connection, after which the client ends; None never ends it for that.

    Raises:
        ConfigError: If a value is wrong; it names all that are.
    """

    base: float = 0.05
    factor: float = 2.0
    max_delay: float | None = None
    # A millisecond keeps a clean drop from being felt; a crowd that must be spread wants up to ten.
    first_jitter: float = 0.001
    flapping_base: float = 0.25
    strikes: int = 3
    late_floor: float = 1.0
    give_up_after: float | None = None

    def __post_init__(self) -> None:
        """Check all values at once."""
        faults = [
            f"{name}: must be a finite number above 0, not {value!r}"
            for name, value in (
                ("base", self.base),
                ("max_delay", self.max_delay),
                ("flapping_base", self.flapping_base),
                ("give_up_after", self.give_up_after),
            )
            if value is not None and not 0 < value < math.inf
        ]
        faults += [
            f"{name}: must be a finite number of at least {least}, not {value!r}"
            for name, value, least in (
                ("factor", self.factor, 1),
                ("first_jitter", self.first_jitter, 0),
                ("strikes", self.strikes, 1),
                ("late_floor", self.late_floor, 0),
            )
            if not least <= value < math.inf
        ]
        if faults:
            raise ConfigError(faults)

    def delay(self, failures: int, unit: float, *, flapping: bool, longest: float) -> float:
        """Seconds to wait before the next dial.

        Args:
            failures: Retries since the last stable connection, none of which led to another.
            unit: A random number from 0 to below 1.
            flapping: The connection was opened, and lost before it was stable; False where the dial itself failed.
            longest: The most that it may be, in seconds: `max_delay`, or `reconnect_interval`.
        """
        if failures == 0:
            # Most drops are a restarted peer, or a lost route that is back.
            return unit * min(self.first_jitter, longest)
        if flapping:
            # Full jitter may be no wait at all, and a server that accepts and drops would be dialled without end.
            return (0.5 + unit / 2) * self._bound(self.flapping_base, failures, longest)
        # Full jitter spreads a crowd best.
        return unit * self._bound(self.base, failures, longest)

    def _bound(self, first: float, failures: int, longest: float) -> float:
        try:
            return min(longest, first * self.factor ** (failures - 1))
        except OverflowError:
            return longest


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the end of a connection, or of a dial, asks for."""

    kind: VerdictKind
    """What to do."""

    floor: float = 0.0
    """Seconds that the peer asks us to stay away for (`Retry-After`), at most five minutes."""

    code: int | None = None
    """The close code, where it is suspect."""


# RFC 6455 §7.4.1 and IANA's registry of close codes; the ranges are Pusher's, whose words many feeds speak.
_CODES: Final[tuple[tuple[range, VerdictKind], ...]] = (
    (range(1002, 1004), "suspect"),
    (range(1007, 1009), "suspect"),
    (range(1009, 1010), "final"),  # what we send is too big for it, and would be again
    (range(1010, 1011), "suspect"),
    (range(1012, 1013), "now"),  # service restart
    (range(1013, 1014), "late"),  # try again later
    (range(4100, 4200), "late"),
    (range(4200, 4300), "now"),
    (range(4401, 4402), "refresh"),
    (range(4403, 4404), "refresh"),
    (range(4000, 5000), "suspect"),
)
_STATUSES: Final[tuple[tuple[range, VerdictKind], ...]] = (
    (range(401, 402), "refresh"),
    (range(403, 404), "refresh"),
    # Those of 4xx that speak of time, not of the request: RFC 9110 §15.5.9, RFC 8470, RFC 6585.
    (range(408, 409), "retry"),
    (range(425, 426), "retry"),
    (range(429, 430), "late"),
    (range(503, 504), "late"),
    (range(300, 500), "final"),
)
_GRAPHQL_FATAL: Final = (
    *(range(1002, 1005), range(1007, 1012), range(1015, 2000)),
    *(4004, 4005, 4400, 4401, 4406, 4409, 4429, 4500),
)


@dataclass(frozen=True, slots=True)
class ClosePolicy:
    """Whether to dial again after the end of a connection, or of a dial.

    Close codes from 3000 on mean what a service says they mean, and services disagree: `codes` says it for yours. For
    all else, subclass it and override `judge_close`, `judge_status` or `judge`.

    Attributes:
        codes: Close codes of the peer, or ranges of them, and what they ask for, in front of the table of this class.
            Where several hold a code, the first one counts.

    Raises:
        ConfigError: If `codes` names what is no verdict.
    """

    codes: Mapping[int | range, VerdictKind] = field(default_factory=dict[int | range, VerdictKind], hash=False)

    def __post_init__(self) -> None:
        """Check the table."""
        faults = [
            f"codes: {codes!r} can't be {kind!r}: {', '.join(get_args(VerdictKind))} can be"
            for codes, kind in self.codes.items()
            if kind not in get_args(VerdictKind)
        ]
        if faults:
            raise ConfigError(faults)

    @classmethod
    def centrifugo(cls) -> Self:
        """The codes of Centrifugo: from 3500 and from 4500 on it is over, the other ones are retried."""
        return cls(
            {
                range(3500, 4000): "final",
                range(4500, 5000): "final",
                range(3000, 3500): "retry",
                range(4000, 4500): "retry",
            }
        )

    @classmethod
    def pusher(cls) -> Self:
        """The codes of Pusher: 4000 to 4099 is over; 4100 to 4199 waits, 4200 to 4299 doesn't, as without a profile."""
        return cls({range(4000, 4100): "final"})

    @classmethod
    def graphql_ws(cls) -> Self:
        """The codes of the GraphQL protocol `graphql-transport-ws`, as its JavaScript client takes them."""
        return cls(dict.fromkeys(_GRAPHQL_FATAL, "final"))

    def judge(self, error: BaseException, *, holds_subscriptions: bool, wall_now: float) -> Verdict:
        """Judge an end.

        Args:
            error: Why the connection ended, or why the dial failed.
            holds_subscriptions: Whether there is anything to come back for when the peer says that it is done.
            wall_now: Seconds since 1970, which a date in `Retry-After` is compared with.
        """
        if isinstance(error, ConnectionClosed):
            return self._judge_closed(error, holds_subscriptions)
        if isinstance(error, AuthenticationFailed):
            return Verdict("refresh")
        if isinstance(error, ProviderError):
            return Verdict("retry")
        if isinstance(error, RemoteProtocolError):
            return Verdict("suspect", code=error.close_code)
        if isinstance(error, ssl.SSLCertVerificationError) or isinstance(error.__cause__, ssl.SSLCertVerificationError):
            return Verdict("final")
        if isinstance(error, HandshakeError):
            kind = "retry" if error.status is None else self.judge_status(error.status)
            return Verdict(kind, floor=_retry_after(error.headers.get("retry-after"), wall_now))
        # A `TimeoutError` and what TLS fails with are among them. What is left is a wrong URL or setting, or a fault
        # of ours: it would come again.
        return Verdict("retry" if isinstance(error, OSError | EOFError) else "final")

    def judge_close(self, code: int, *, holds_subscriptions: bool) -> VerdictKind:
        """Say what a close code of the peer asks for; 1005 where its close frame had none (RFC 6455 §7.1.5)."""
        for codes, kind in self.codes.items():
            if code == codes if isinstance(codes, int) else code in codes:
                return kind
        if code == 1000 and not holds_subscriptions:  # noqa: PLR2004  # normal closure, RFC 6455 §7.4.1
            return "done"
        return _look_up(_CODES, code)

    def judge_status(self, status: int) -> VerdictKind:
        """Say what the status of an answer that is no 101 asks for."""
        return _look_up(_STATUSES, status)

    def _judge_closed(self, error: ConnectionClosed, holds_subscriptions: bool) -> Verdict:
        if isinstance(error, HeartbeatTimeout | StaleData | SubscribeTimeout):
            return Verdict("retry")
        if isinstance(error.__cause__, MessageTooBig):
            return Verdict("final")
        if isinstance(error.__cause__, RemoteProtocolError):
            return Verdict("suspect", code=error.__cause__.close_code)
        # With 1006, without a close frame (RFC 6455 §7.1.5), and where it was us: that was no fault of the peer.
        if error.received is None or error.initiator == "local":
            return Verdict("retry")
        code = error.received.code
        kind = self.judge_close(code, holds_subscriptions=holds_subscriptions)
        return Verdict(kind, code=code if kind == "suspect" else None)


def _look_up(table: tuple[tuple[range, VerdictKind], ...], code: int) -> VerdictKind:
    for codes, kind in table:
        if code in codes:
            return kind
    return "retry"


def _retry_after(value: str | None, wall_now: float) -> float:
    """Seconds that a `Retry-After` asks for: itself, or a date (RFC 9110 §10.2.3); 0 if it is neither."""
    if value is None:
        return 0.0
    value = value.strip()
    if value.isascii() and value.isdigit():
        # `float` takes any number of digits.
        return min(_MOST_RETRY_AFTER, float(value))
    try:
        moment = parsedate_to_datetime(value)
        # A date without a zone is in UTC too: HTTP knows no other.
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - wall_now
    except (ValueError, OverflowError):
        return 0.0
    return min(_MOST_RETRY_AFTER, max(0.0, seconds))
