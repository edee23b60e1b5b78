"""What holds of every life that a link can have, whatever ends its connections and whoever calls too late."""

from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.property.scale import BOUNDED, scaled

from websocket_utils import (
    AuthenticationFailed,
    Close,
    ClosePolicy,
    ConnectionClosedError,
    ConnectionFlapping,
    HandshakeError,
    HeartbeatTimeout,
    MessageTooBig,
    ReconnectGaveUp,
    ReconnectPolicy,
    RemoteProtocolError,
)
from websocket_utils._lifecycle import Decision, Done, Fail, IllegalTransition, Lifecycle, Wait
from websocket_utils.metrics import ClientState

pytestmark = BOUNDED

STABLE_AFTER: Final = 5.0
WALL: Final = 1_790_000_000.0
UP: Final[frozenset[ClientState]] = frozenset({"authenticating", "restoring", "live", "stale"})
# Every way there is.
WAYS: Final[frozenset[tuple[ClientState, ClientState]]] = frozenset(
    {
        ("idle", "connecting"),
        ("backoff", "connecting"),
        ("connecting", "authenticating"),
        ("authenticating", "restoring"),
        ("restoring", "live"),
        ("live", "stale"),
        ("stale", "live"),
        ("backoff", "live"),  # a successor
        ("connecting", "backoff"),
        ("connecting", "failed"),
        ("idle", "closed"),
        ("connecting", "closed"),
        ("backoff", "closed"),
        *((state, "backoff") for state in UP),
        *((state, "failed") for state in UP),
        *((state, "closed") for state in UP),
    }
)


def caused(cause: Exception) -> ConnectionClosedError:
    error = ConnectionClosedError(None, None, "local")
    error.__cause__ = cause
    return error


OTHER_LOSSES: Final[tuple[Callable[[], Exception], ...]] = (
    lambda: ConnectionClosedError(initiator="transport"),
    lambda: HeartbeatTimeout(20.0),
    lambda: caused(RemoteProtocolError(1002, "no")),
    lambda: caused(MessageTooBig(None, 1)),
    lambda: AuthenticationFailed("no"),
)
losses = st.one_of(
    # What ends a life at once comes seldom, or none would last.
    st.sampled_from([1001, 1002, 1002, 1008, 1008, 1008, 1012, 1013, 4000, 4150, 4250, 4401, *range(1000, 1015)]).map(
        lambda code: ConnectionClosedError(Close(code), None, "peer")
    ),
    st.sampled_from(OTHER_LOSSES).map(lambda make: make()),
)
refusals = st.one_of(
    st.builds(ConnectionRefusedError),
    st.builds(TimeoutError),
    st.builds(
        lambda status, after: HandshakeError("ws://f/", reason="no", status=status, headers={"retry-after": after}),
        st.sampled_from([200, 302, 401, 403, 404, 408, 425, 429, 429, 500, 500, 503, 503]),
        st.sampled_from(["0", "2", "60", "100000", "soon", "Thu, 28 Nov 2999 01:02:03 GMT"]),
    ),
)
units = st.floats(0.0, 1.0, exclude_max=True)


class Lives(RuleBasedStateMachine):
    """Calls in any order that a client could make, and a plain account of what was promised."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.epochs: list[int] = []
        self.seen: ClientState = "idle"
        self.live_since: float | None = None
        self.struck: tuple[int | None, int] = (None, 0)
        self.refreshes = 0

    @initialize(
        interval=st.sampled_from([0.05, 5.0]),
        max_attempts=st.sampled_from([None, None, None, 0, 4]),
        max_delay=st.sampled_from([None, 0.5]),
        strikes=st.integers(1, 3),
        give_up_after=st.sampled_from([None, None, None, 20.0]),
    )
    def begin(
        self,
        interval: float,
        max_attempts: int | None,
        max_delay: float | None,
        strikes: int,
        give_up_after: float | None,
    ) -> None:
        self.longest = interval if max_delay is None else max_delay
        self.max_attempts = max_attempts
        self.policy = ReconnectPolicy(max_delay=max_delay, strikes=strikes, give_up_after=give_up_after)
        self.life = Lifecycle(
            self.policy,
            ClosePolicy(),
            reconnect_interval=interval,
            max_attempts=max_attempts,
            stable_after=STABLE_AFTER,
        )

    def everything(self) -> list[object]:
        return [getattr(self.life, name) for name in Lifecycle.__slots__]

    # --- what a client does ---

    @rule(seconds=st.sampled_from([0.01, 1.0, STABLE_AFTER, 30.0]))
    def time_goes_by(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.life.state in {"idle", "backoff"})
    @rule()
    def dial(self) -> None:
        self.life.dial(self.now)
        assert self.life.state == "connecting"

    @precondition(lambda self: self.life.state == "connecting")
    @rule()
    def opened(self) -> None:
        self.begin_epoch(self.life.opened(self.now))
        assert self.life.state == "authenticating"

    def begin_epoch(self, epoch: int) -> None:
        assert epoch > max(self.epochs, default=0)
        assert epoch == self.life.epoch
        self.epochs.append(epoch)
        self.live_since = None

    @precondition(lambda self: self.life.state == "authenticating")
    @rule()
    def authenticated(self) -> None:
        assert self.life.authenticated(self.life.epoch, self.now)
        assert self.life.state == "restoring"

    @precondition(lambda self: self.life.state == "restoring")
    @rule()
    def restored(self) -> None:
        assert self.life.restored(self.life.epoch, self.now)
        assert self.life.state == "live"
        self.live_since = self.now

    @precondition(lambda self: self.life.state in {"live", "stale"})
    @rule()
    def turns_stale_or_fresh(self) -> None:
        turn = self.life.went_stale if self.life.state == "live" else self.life.freshened
        assert turn(self.life.epoch, self.now)
        assert not turn(self.life.epoch, self.now)

    @precondition(lambda self: self.life.state in {"live", "stale", "backoff"})
    @rule(messages=st.integers(0, 1))
    def replaced(self, messages: int) -> None:
        if self.has_lived():
            self.struck, self.refreshes = (None, 0), 0
        self.begin_epoch(self.life.replaced(self.now, messages=messages))
        assert self.life.state == "live"
        # The one way to live that is not through restoring, in this life.
        self.seen = "live"
        self.live_since = self.now

    @precondition(lambda self: self.life.state in UP)
    @rule(error=losses, unit=units, messages=st.integers(0, 1), holds=st.booleans())
    def lost(self, error: BaseException, unit: float, messages: int, holds: bool) -> None:
        lived, before = self.has_lived(), self.life.attempts
        # Quiet, but not for having been cut off at once.
        lived_long = self.has_lived(times=12)
        self.live_since = None
        decision = self.life.lost(
            self.life.epoch,
            error,
            now=self.now,
            wall_now=WALL,
            unit=unit,
            messages=messages,
            holds_subscriptions=holds,
        )
        verdict = ClosePolicy().judge(error, holds_subscriptions=holds, wall_now=WALL)
        if lived:
            self.struck, self.refreshes = (None, 0), 0
        elif verdict.kind == "suspect":
            self.struck = (verdict.code, self.struck[1] + 1 if self.struck[0] == verdict.code else 1)
        else:
            self.struck = (None, 0)
        is_third = self.struck[1] == self.policy.strikes
        assert (isinstance(decision, Fail) and isinstance(decision.error, ConnectionFlapping)) is is_third
        assert (decision == Done()) is (verdict.kind == "done")
        began_anew = lived_long or (lived and messages > 0)
        self.check(decision, error, 0 if began_anew else before)

    @precondition(lambda self: self.life.state == "connecting")
    @rule(error=refusals, unit=units)
    def dial_failed(self, error: BaseException, unit: float) -> None:
        before = self.life.attempts
        self.live_since = None
        self.check(self.life.dial_failed(error, now=self.now, wall_now=WALL, unit=unit), error, before)

    @precondition(lambda self: self.life.state in {"idle", "backoff"})
    @rule(seconds=st.sampled_from([0.0, 1.0, STABLE_AFTER, STABLE_AFTER]))
    def comes_up_and_lives(self, seconds: float) -> None:
        self.dial()
        self.promises_hold()
        self.opened()
        self.promises_hold()
        self.authenticated()
        self.promises_hold()
        self.restored()
        self.now += seconds

    @precondition(lambda self: self.life.state in {"idle", "backoff"})
    @rule(code=st.sampled_from([1002, 1008, 4401]), seconds=st.sampled_from([0.0, 0.0, STABLE_AFTER]), unit=units)
    def comes_up_and_is_thrown_out(self, code: int, seconds: float, unit: float) -> None:
        self.comes_up_and_lives(seconds)
        self.promises_hold()
        self.lost(ConnectionClosedError(Close(code), None, "peer"), unit, 0, True)

    @precondition(lambda self: self.life.state in {"idle", "backoff"})
    @rule(error=refusals, unit=units)
    def dials_in_vain(self, error: BaseException, unit: float) -> None:
        self.dial()
        self.promises_hold()
        self.dial_failed(error, unit)

    @rule(chance=st.integers(0, 9))
    def close(self, chance: int) -> None:
        # Seldom before the end: most lives shall go on.
        if chance and not self.life.is_over:
            return
        over = self.life.is_over
        was = self.life.state
        self.life.close()
        assert self.life.state == (was if over else "closed")

    # --- who calls too late ---

    @precondition(lambda self: self.epochs)
    @rule(data=st.data(), error=losses, unit=units)
    def late_call_changes_nothing(self, data: st.DataObject, error: BaseException, unit: float) -> None:
        epoch = data.draw(st.sampled_from(self.epochs))
        if epoch == self.life.epoch and self.life.state in UP:
            return
        before = self.everything()
        decision = self.life.lost(
            epoch, error, now=self.now, wall_now=WALL, unit=unit, messages=1, holds_subscriptions=False
        )
        assert decision is None
        assert not self.life.authenticated(epoch, self.now)
        assert not self.life.restored(epoch, self.now)
        assert not self.life.went_stale(epoch, self.now)
        assert not self.life.freshened(epoch, self.now)
        assert self.everything() == before

    @precondition(lambda self: self.life.is_over)
    @rule(error=refusals, unit=units)
    def nothing_asks_for_a_dial_after_the_end(self, error: BaseException, unit: float) -> None:
        before = self.everything()
        assert self.life.dial_failed(error, now=self.now, wall_now=WALL, unit=unit) is None
        refused: list[Callable[[float], object]] = [self.life.dial, self.life.opened, self.life.replaced]
        for transition in refused:
            with pytest.raises(IllegalTransition):
                transition(self.now)
        assert self.everything() == before

    # --- what was promised ---

    def has_lived(self, times: int = 1) -> bool:
        return self.live_since is not None and self.now - self.live_since >= times * STABLE_AFTER

    def check(self, decision: Decision | None, error: BaseException, attempts_before: int) -> None:
        verdict = ClosePolicy().judge(error, holds_subscriptions=True, wall_now=WALL)
        if isinstance(decision, Wait):
            assert self.life.state == "backoff"
            floor = max(verdict.floor, self.policy.late_floor if verdict.kind == "late" else 0.0)
            assert floor <= decision.delay <= max(self.longest, floor)
            assert decision.attempt == self.life.attempts == attempts_before + 1
            assert decision.refresh is (verdict.kind == "refresh")
            self.refreshes += decision.refresh
            assert verdict.kind != "final"
        elif isinstance(decision, Fail):
            assert self.life.state == "failed"
            assert self.life.error is decision.error
            if verdict.kind == "refresh":
                # Not without having asked for fresh ones, but where no retry is left.
                assert self.refreshes == 1 or isinstance(decision.error, ReconnectGaveUp)
            own = isinstance(decision.error, ConnectionFlapping | ReconnectGaveUp)
            assert decision.error.__cause__ is error if own else decision.error is error
            if isinstance(decision.error, ReconnectGaveUp):
                assert decision.error.attempts == attempts_before
                limited = self.max_attempts is not None and attempts_before >= self.max_attempts
                assert limited or self.policy.give_up_after is not None
        else:
            assert decision == Done()
            assert self.life.state == "closed"

    @invariant()
    def promises_hold(self) -> None:
        if self.life.state != self.seen:
            assert (self.seen, self.life.state) in WAYS
            # To live through restoring; back from stale; or a successor, which says so itself.
            if self.life.state == "live":
                assert self.seen in {"restoring", "stale"}
            self.seen = self.life.state
        assert self.max_attempts is None or self.life.attempts <= self.max_attempts
        assert self.refreshes <= 1
        assert self.life.is_over is (self.life.state in {"closed", "failed"})
        assert (self.life.error is not None) is (self.life.state == "failed")


Lives.TestCase.settings = settings(max_examples=scaled(300), stateful_step_count=40, deadline=None)
test_every_life_keeps_what_was_promised = Lives.TestCase
