"""What comes after the end of a connection, or of a dial. What holds of every life is in tests/property."""

from collections.abc import Callable

import pytest
from tests.support.link import RESET, STABLE_AFTER, Link, failed, peer, waited

from websocket_utils import (
    AuthenticationFailed,
    Close,
    ConnectionClosedOK,
    ConnectionFlapping,
    HandshakeError,
    ReconnectGaveUp,
    ReconnectPolicy,
)
from websocket_utils._lifecycle import Decision, Done, Wait


def test_first_retry_is_at_once_and_then_the_waits_grow() -> None:
    link = Link()
    link.up()
    waits = [link.lose(lived=STABLE_AFTER), *(link.refuse() for _ in range(8))]
    assert [wait.delay for wait in waits if isinstance(wait, Wait)] == pytest.approx(
        [0.0005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.5]
    )
    assert [wait.attempt for wait in waits if isinstance(wait, Wait)] == list(range(1, 10))
    assert link.life.state == "backoff"


def test_wait_is_bounded_by_the_interval_or_by_the_policys_own_bound() -> None:
    for link, longest in [(Link(interval=0.3), 0.3), (Link(ReconnectPolicy(max_delay=0.6), interval=0.3), 0.6)]:
        link.unit = 1.0
        waits = [waited(link.refuse()) for _ in range(12)]
        assert max(waits) == waits[-1] == longest


@pytest.mark.parametrize(
    ("lived", "messages", "forgiven"),
    [
        (STABLE_AFTER, 1, True),
        (STABLE_AFTER - 0.01, 1, False),
        (STABLE_AFTER, 0, False),
        (12 * STABLE_AFTER, 0, True),
        (0.0, 9, False),
    ],
)
def test_failures_are_forgotten_after_a_connection_that_lasted_and_brought_a_message(
    lived: float, messages: int, forgiven: bool
) -> None:
    link = Link()
    link.refuse()
    link.refuse()
    link.up()
    assert link.life.is_stable(link.now + lived, messages=messages) is forgiven
    decision = link.lose(lived=lived, messages=messages)
    assert isinstance(decision, Wait)
    assert decision.attempt == (1 if forgiven else 3)
    # From half of 0.5 s on: it was open, and did not last.
    assert decision.delay == pytest.approx(0.0005 if forgiven else 0.375)


def test_time_counts_from_live_on_and_not_from_the_handshake() -> None:
    link = Link()
    link.refuse()
    link.life.dial(link.now)
    epoch = link.life.opened(link.now)
    link.now += 60.0
    link.life.authenticated(epoch, link.now)
    link.now += 60.0
    link.life.restored(epoch, link.now)
    assert isinstance(decision := link.lose(lived=1.0), Wait)
    assert decision.attempt == 2


def test_connection_that_was_never_live_did_not_last_whatever_the_one_before_did() -> None:
    link = Link()
    link.up()
    link.lose(lived=STABLE_AFTER)
    link.life.dial(link.now)
    link.life.opened(link.now)
    assert isinstance(decision := link.lose(lived=STABLE_AFTER), Wait)
    assert decision.attempt == 2


def test_time_that_a_channel_was_stale_counts_too() -> None:
    link = Link()
    link.refuse()
    epoch = link.up()
    link.life.went_stale(epoch, link.now)
    assert isinstance(decision := link.lose(lived=STABLE_AFTER), Wait)
    assert decision.attempt == 1


def test_attempts_run_out_and_the_last_error_is_told() -> None:
    link = Link(max_attempts=3)
    link.up()
    link.lose(lived=STABLE_AFTER)
    assert [type(link.refuse()) for _ in range(2)] == [Wait, Wait]
    last = ConnectionRefusedError("the last")
    error = failed(link.refuse(last))
    assert isinstance(error, ReconnectGaveUp)
    assert (error.attempts, error.last_error, error.__cause__) == (3, last, last)
    assert link.life.state == "failed"
    assert link.life.error is error


def test_without_attempts_nothing_is_retried_and_the_loss_is_the_cause() -> None:
    link = Link(max_attempts=0)
    link.up()
    error = failed(link.lose(lived=STABLE_AFTER))
    assert isinstance(error, ReconnectGaveUp)
    assert (error.attempts, error.last_error, error.__cause__) == (0, None, RESET)


def test_without_a_limit_it_never_gives_up() -> None:
    link = Link()
    assert all(isinstance(link.refuse(), Wait) for _ in range(5000))
    assert link.life.attempts == 5000


def test_gives_up_when_the_next_dial_would_be_too_late() -> None:
    link = Link(ReconnectPolicy(give_up_after=10.0))
    began = link.now
    decisions: list[Decision | None] = []
    while not decisions or isinstance(decisions[-1], Wait):
        decisions.append(link.refuse())
    assert isinstance(failed(decisions[-1]), ReconnectGaveUp)
    assert 7.0 < link.now - began <= 10.0


def test_time_to_give_up_begins_with_the_loss_of_a_connection_that_lasted() -> None:
    link = Link(ReconnectPolicy(give_up_after=10.0))
    link.up()
    assert isinstance(link.lose(lived=3600.0, messages=0), Wait)
    link.up()
    # These did not last, and don't begin it anew.
    assert isinstance(link.lose(lived=4.0), Wait)
    link.up()
    assert isinstance(link.lose(lived=4.0), Wait)
    link.up()
    assert isinstance(failed(link.lose(lived=4.0)), ReconnectGaveUp)


def test_server_that_asks_for_more_time_than_is_left_ends_it() -> None:
    link = Link(ReconnectPolicy(give_up_after=10.0))
    busy = HandshakeError("ws://feed/", reason="busy", status=503, headers={"retry-after": "60"})
    assert isinstance(failed(link.refuse(busy)), ReconnectGaveUp)


# --- classes of ends ---


def test_three_strikes_with_one_code_end_it_and_the_last_error_is_the_cause() -> None:
    link = Link()
    for _ in range(2):
        link.up()
        assert isinstance(link.lose(peer(1008)), Wait)
    link.up()
    last = peer(1008)
    error = failed(link.lose(last))
    assert isinstance(error, ConnectionFlapping)
    assert (error.code, error.times, error.__cause__) == (1008, 3, last)


@pytest.mark.parametrize(
    "between",
    [
        pytest.param(lambda link: link.lose(peer(1003)), id="another code"),
        pytest.param(lambda link: link.lose(RESET), id="no code"),
        pytest.param(lambda link: link.lose(RESET, lived=STABLE_AFTER), id="one that lasted"),
        pytest.param(lambda link: link.lose(peer(1008), lived=STABLE_AFTER), id="one that lasted, with that code"),
        pytest.param(lambda link: link.lose(RESET, lived=STABLE_AFTER, messages=0), id="one that lasted in silence"),
    ],
)
def test_strikes_are_counted_anew_after_another_end(between: Callable[[Link], object]) -> None:
    link = Link()
    for _ in range(2):
        link.up()
        link.lose(peer(1008))
    link.up()
    between(link)
    for _ in range(2):
        link.up()
        assert isinstance(link.lose(peer(1008)), Wait)
    link.up()
    assert isinstance(failed(link.lose(peer(1008))), ConnectionFlapping)


def test_dials_that_fail_in_between_excuse_nothing() -> None:
    link = Link()
    for _ in range(2):
        link.up()
        link.lose(peer(4001))
        link.refuse()
    link.up()
    assert isinstance(failed(link.lose(peer(4001))), ConnectionFlapping)


def test_number_of_strikes_is_the_policys() -> None:
    link = Link(ReconnectPolicy(strikes=1))
    link.up()
    assert isinstance(failed(link.lose(peer(1002))), ConnectionFlapping)


def test_refused_credentials_are_fetched_once_and_then_the_servers_error_is_the_end() -> None:
    link = Link()
    decision = link.refuse(HandshakeError("ws://feed/", reason="no", status=401))
    assert decision == Wait(0.0005, 1, refresh=True)
    again = HandshakeError("ws://feed/", reason="no", status=403)
    assert failed(link.refuse(again)) is again


@pytest.mark.parametrize(("lived", "again"), [(STABLE_AFTER, True), (1.0, False)])
@pytest.mark.parametrize("messages", [0, 1])
def test_credentials_are_fetched_again_after_a_connection_that_lasted(lived: float, again: bool, messages: int) -> None:
    link = Link()
    link.up()
    assert isinstance(first := link.lose(AuthenticationFailed("expired")), Wait)
    assert first.refresh
    link.up()
    link.lose(lived=lived, messages=messages)
    link.up()
    decision = link.lose(peer(4401))
    assert isinstance(decision, Wait) is again


def test_ordinary_retries_refresh_nothing() -> None:
    link = Link()
    assert isinstance(decision := link.refuse(), Wait)
    assert not decision.refresh


def test_final_error_ends_it_as_it_is() -> None:
    link = Link()
    link.up()
    error = peer(1009)
    assert failed(link.lose(error)) is error


def test_normal_closure_is_the_end_only_without_subscriptions() -> None:
    closed = ConnectionClosedOK(Close(1000), Close(1000), "peer")
    link = Link()
    link.up()
    assert isinstance(link.lose(closed), Wait)
    link.up()
    assert link.lose(closed, holds=False) == Done()
    assert link.life.state == "closed"
    assert link.life.error is None


def test_restarting_server_is_dialled_at_once_until_it_makes_a_habit_of_it() -> None:
    link = Link()
    waits = []
    for _ in range(5):
        link.up()
        waits.append(waited(link.lose(peer(1012))))
    assert waits == pytest.approx([0.0005, 0.0005, 0.0005, 0.75, 1.5])


def test_overloaded_server_gets_its_time_even_where_waits_are_shorter() -> None:
    link = Link(interval=0.1)
    link.up()
    assert waited(link.lose(peer(1013), lived=STABLE_AFTER)) == 1.0
    busy = HandshakeError("ws://feed/", reason="busy", status=429, headers={"retry-after": "0"})
    assert waited(link.refuse(busy)) == 1.0
    away = HandshakeError("ws://feed/", reason="away", status=500, headers={"retry-after": "0"})
    assert waited(link.refuse(away)) < 0.1
    asked = HandshakeError("ws://feed/", reason="away", status=502, headers={"retry-after": "9"})
    assert waited(link.refuse(asked)) == 9.0
    assert waited(Link(ReconnectPolicy(late_floor=3.0)).refuse(busy)) == 3.0


class Odd(ReconnectPolicy):
    """A user's policy that returns what no wait can be."""

    answers = (-1.0, float("nan"), float("inf"), 3.0)

    def delay(self, failures: int, unit: float, *, flapping: bool, longest: float) -> float:
        del unit, flapping, longest
        return self.answers[failures]


def test_policy_of_the_users_own_is_held_to_the_bounds() -> None:
    link = Link(Odd())
    assert [waited(link.refuse()) for _ in range(4)] == [0.0, 0.0, 5.0, 3.0]
