"""The life of one link, over as many connections as it takes: a state machine without a socket, a clock or chance.

    idle -> connecting -> authenticating -> restoring -> live <-> stale
               ^   |             |              |          |        |
               |   `-------------+------ lost --+----------+--------'
               |                          |
               `------- backoff <---------+--> failed (an error), closed (the peer was done)

Rules of this file:
- One writer: nothing but the methods of `Lifecycle` moves its state, and each is one named transition. One that the
  state does not allow is a fault of the caller, and raises `IllegalTransition`.
- Each socket is an *epoch*, a number that only grows. What calls back with an old one is too late: it changes nothing.
- `closed` and `failed` are the end. Whatever was under way then and reports is too late too.
- `live` is reached through `restoring` alone, or by a successor that was live before it took over.
- Failures are forgotten once a connection was live for `stable_after` seconds and brought a message, or for twelve
  times as long without one: not when TCP is open and not with the 101, or a server that accepts and drops would be
  dialled without end.
"""

from dataclasses import dataclass
from typing import Final

from ._reconnect import ClosePolicy, ReconnectPolicy, Verdict
from .exceptions import ConnectionFlapping, ReconnectGaveUp
from .metrics import ClientState

__all__ = ["Decision", "Done", "Fail", "IllegalTransition", "Lifecycle", "Wait"]

# So many retries since the last stable connection may be at once because the peer says so. With more of them a server
# that ends each connection with such a code would set the pace.
_AT_ONCE: Final = 3
# Times `stable_after` that make a connection a stable one even if it brought no message.
_LONG: Final = 12

_OPEN: Final[frozenset[ClientState]] = frozenset({"authenticating", "restoring", "live", "stale"})
_OVER: Final[frozenset[ClientState]] = frozenset({"closed", "failed"})


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait, then dial."""

    delay: float
    """Seconds."""

    attempt: int
    """Which retry since the last stable connection that dial is, from 1."""

    refresh: bool = False
    """Whether credentials are to be fetched anew for it: the server refused those of the last."""


@dataclass(frozen=True, slots=True)
class Fail:
    """It is over, with an error."""

    error: BaseException
    """For whoever receives or sends."""


@dataclass(frozen=True, slots=True)
class Done:
    """It is over, as both sides wanted."""


Decision = Wait | Fail | Done
"""What comes after a loss, or after a dial that failed."""


class IllegalTransition(RuntimeError):
    """The state does not allow that transition: a fault of ours.

    Attributes:
        transition: Its name.
        state: Where the link is.
    """

    def __init__(self, transition: str, state: ClientState) -> None:
        super().__init__(transition, state)
        self.transition = transition
        self.state = state

    def __str__(self) -> str:
        return f"{self.transition} is no way out of the state {self.state}"


class Lifecycle:
    """Where a link is in its life, and what comes next.

    Args:
        policy: How long to wait.
        closes: What ends ask for.
        reconnect_interval: The most that one wait may be, in seconds, where the policy has no `max_delay` of its own;
            what a server asks for may be more.
        max_attempts: Retries since the last stable connection; None for any number.
        can_refresh: Whether there are credentials that can be had anew; else a refusal is final.
        stable_after: Seconds in `live` or `stale` that make a connection a stable one, if it brought a message too.
    """

    __slots__ = (
        "_attempts",
        "_can_refresh",
        "_closes",
        "_down_since",
        "_epoch",
        "_error",
        "_live_since",
        "_longest",
        "_max_attempts",
        "_policy",
        "_refreshed",
        "_stable_after",
        "_state",
        "_strikes",
        "_struck",
    )

    def __init__(
        self,
        policy: ReconnectPolicy,
        closes: ClosePolicy,
        *,
        reconnect_interval: float,
        max_attempts: int | None,
        stable_after: float,
        can_refresh: bool = True,
    ) -> None:
        self._can_refresh = can_refresh
        self._policy = policy
        self._closes = closes
        self._longest = reconnect_interval if policy.max_delay is None else policy.max_delay
        self._max_attempts = max_attempts
        self._stable_after = stable_after
        self._state: ClientState = "idle"
        self._epoch = 0
        self._error: BaseException | None = None
        self._live_since: float | None = None
        # Since when no connection was live for long; None until the first dial.
        self._down_since: float | None = None
        self._attempts = 0
        self._refreshed = False
        # The suspect code that the last connections ended with, and how many of them.
        self._struck: int | None = None
        self._strikes = 0

    @property
    def state(self) -> ClientState:
        """Where the link is."""
        return self._state

    @property
    def epoch(self) -> int:
        """Number of the newest connection, from 1; 0 before there was one."""
        return self._epoch

    @property
    def attempts(self) -> int:
        """Retries since the last stable connection."""
        return self._attempts

    @property
    def is_over(self) -> bool:
        """Whether the link has come to its end."""
        return self._state in _OVER

    @property
    def error(self) -> BaseException | None:
        """Why the link has failed; None where it has not."""
        return self._error

    def is_stable(self, now: float, *, messages: int) -> bool:
        """Tell whether the connection has lived long enough, live, to be a good one.

        Args:
            now: Monotonic seconds.
            messages: Messages that it has brought.
        """
        if messages > 0:
            return self._has_lived(now)
        # Who only sends is sent nothing: a link that was live for long is no flapping one, whatever it brought.
        return self._live_since is not None and now - self._live_since >= _LONG * self._stable_after

    def _has_lived(self, now: float) -> bool:
        return self._live_since is not None and now - self._live_since >= self._stable_after

    # --- the way up ---

    def dial(self, now: float) -> None:
        """A dial begins."""
        self._leave("dial", "idle", "backoff")
        self._state = "connecting"
        if self._down_since is None:
            self._down_since = now

    def opened(self, now: float) -> int:
        """An opening handshake is complete; return the number of the connection.

        One that completes after the end (`is_over`) is not told: its socket is closed.
        """
        del now  # Nothing is counted from here: neither TCP nor a 101 makes a connection a good one.
        self._leave("opened", "connecting")
        self._state = "authenticating"
        self._epoch += 1
        return self._epoch

    def authenticated(self, epoch: int, now: float) -> bool:
        """The server knows who we are, or doesn't ask; return whether that connection is still the one."""
        del now
        if self._is_late(epoch):
            return False
        self._leave("authenticated", "authenticating")
        self._state = "restoring"
        return True

    def restored(self, epoch: int, now: float) -> bool:
        """Subscriptions are acknowledged, or there are none; return whether that connection is still the one."""
        if self._is_late(epoch):
            return False
        self._leave("restored", "restoring")
        self._state = "live"
        self._live_since = now
        return True

    def went_stale(self, epoch: int, now: float) -> bool:
        """A channel is silent; return whether that changed the state."""
        return self._turn("went_stale", epoch, "live", "stale", now)

    def freshened(self, epoch: int, now: float) -> bool:
        """No channel is silent any more; return whether that changed the state."""
        return self._turn("freshened", epoch, "stale", "live", now)

    def _turn(self, transition: str, epoch: int, before: ClientState, after: ClientState, now: float) -> bool:
        del now
        if self._is_late(epoch) or self._state == after:
            return False
        self._leave(transition, before)
        self._state = after
        return True

    def replaced(self, now: float, *, messages: int = 0) -> int:
        """A successor that is authenticated and restored takes over; return the number of its connection.

        Args:
            now: Monotonic seconds.
            messages: Messages that the connection before has brought.
        """
        self._leave("replaced", "live", "stale", "backoff")
        self._settle(now, messages)
        self._state = "live"
        self._epoch += 1
        self._live_since = now
        return self._epoch

    # --- the way down ---

    def lost(
        self,
        epoch: int,
        error: BaseException,
        *,
        now: float,
        wall_now: float,
        unit: float,
        messages: int,
        holds_subscriptions: bool,
    ) -> Decision | None:
        """A connection is over; return what comes next, or None if that connection was not the one any more.

        Args:
            epoch: Its number.
            error: Why it ended.
            now: Monotonic seconds.
            wall_now: Seconds since 1970.
            unit: A random number from 0 to below 1.
            messages: Messages that it brought.
            holds_subscriptions: Whether there is anything to come back for when the peer says that it is done.
        """
        if self._is_late(epoch):
            return None
        self._leave("lost", *_OPEN)
        lived = self._has_lived(now)
        self._settle(now, messages)
        verdict = self._closes.judge(error, holds_subscriptions=holds_subscriptions, wall_now=wall_now)
        flapping = None if lived else self._strike(verdict, error)
        if flapping is not None:
            return self._fail(flapping)
        return self._decide(verdict, error, now=now, unit=unit, flapping=True)

    def dial_failed(self, error: BaseException, *, now: float, wall_now: float, unit: float) -> Decision | None:
        """A dial led to no connection; return what comes next, or None if the link had come to its end meanwhile.

        The arguments are those of `lost`.
        """
        if self.is_over:
            return None
        self._leave("dial_failed", "connecting")
        verdict = self._closes.judge(error, holds_subscriptions=True, wall_now=wall_now)
        return self._decide(verdict, error, now=now, unit=unit, flapping=False)

    def close(self) -> None:
        """The user is done: nothing is dialled from here on, and whatever reports is too late."""
        if not self.is_over:
            self._state = "closed"
            self._live_since = None

    # --- judgement ---

    def _settle(self, now: float, messages: int) -> None:
        """Take leave of the newest connection: a good one makes up for all before."""
        if self.is_stable(now, messages=messages):
            self._attempts = 0
        if self._has_lived(now):
            # A feed may be silent for hours: its credentials were good, and the link was not down.
            self._refreshed = False
            self._struck, self._strikes = None, 0
            self._down_since = now
        self._live_since = None

    def _strike(self, verdict: Verdict, error: BaseException) -> ConnectionFlapping | None:
        if verdict.kind != "suspect" or verdict.code is None:
            self._struck, self._strikes = None, 0
            return None
        self._strikes = self._strikes + 1 if verdict.code == self._struck else 1
        self._struck = verdict.code
        if self._strikes < self._policy.strikes:
            return None
        flapping = ConnectionFlapping(verdict.code, self._strikes)
        flapping.__cause__ = error
        return flapping

    def _decide(self, verdict: Verdict, error: BaseException, *, now: float, unit: float, flapping: bool) -> Decision:
        if verdict.kind == "done":
            self._state = "closed"
            return Done()
        refresh = verdict.kind == "refresh"
        if verdict.kind == "final" or (refresh and (self._refreshed or not self._can_refresh)):
            return self._fail(error)
        if self._max_attempts is not None and self._attempts >= self._max_attempts:
            return self._give_up(error)
        delay = self._delay(verdict, unit, flapping)
        limit = self._policy.give_up_after
        if limit is not None and self._down_since is not None and now + delay > self._down_since + limit:
            return self._give_up(error)
        self._state = "backoff"
        self._attempts += 1
        self._refreshed = self._refreshed or refresh
        return Wait(delay, self._attempts, refresh)

    def _delay(self, verdict: Verdict, unit: float, flapping: bool) -> float:
        at_once = verdict.kind in {"now", "refresh"} and self._attempts < _AT_ONCE
        failures = 0 if at_once else self._attempts
        delay = self._policy.delay(failures, unit, flapping=flapping, longest=self._longest)
        floor = max(verdict.floor, self._policy.late_floor) if verdict.kind == "late" else verdict.floor
        # A policy of the user's own is held to the bounds too; the floor is the server's word, and wins.
        return max(floor, min(self._longest, max(0.0, delay)))

    def _give_up(self, error: BaseException) -> Fail:
        gave_up = ReconnectGaveUp(self._attempts, error if self._attempts else None)
        gave_up.__cause__ = error
        return self._fail(gave_up)

    def _fail(self, error: BaseException) -> Fail:
        self._state = "failed"
        self._error = error
        return Fail(error)

    def _is_late(self, epoch: int) -> bool:
        """Whether a connection is over already; a number that none was given is a fault of ours."""
        if not 0 < epoch <= self._epoch:
            raise IllegalTransition(f"epoch {epoch}", self._state)
        return epoch < self._epoch or self._state not in _OPEN

    def _leave(self, transition: str, *allowed: ClientState) -> None:
        if self._state not in allowed:
            raise IllegalTransition(transition, self._state)
