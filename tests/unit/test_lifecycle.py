"""The states of a link and the ways between them. What comes after an end is in test_lifecycle_decisions.py."""

from collections.abc import Callable

import pytest
from tests.support.link import RESET, STABLE_AFTER, Link, failed, peer

from websocket_utils import HandshakeError
from websocket_utils._lifecycle import IllegalTransition, Wait


def test_way_up_goes_through_every_state() -> None:
    life = Link().life
    states = [life.state]
    life.dial(0.0)
    states.append(life.state)
    epoch = life.opened(0.1)
    states.append(life.state)
    assert life.authenticated(epoch, 0.2)
    states.append(life.state)
    assert life.restored(epoch, 0.3)
    states.append(life.state)
    assert life.went_stale(epoch, 0.4)
    states.append(life.state)
    assert life.freshened(epoch, 0.5)
    states.append(life.state)
    assert states == ["idle", "connecting", "authenticating", "restoring", "live", "stale", "live"]


@pytest.mark.parametrize("state", ["authenticating", "restoring", "live", "stale"])
def test_connection_is_lost_in_any_state_that_has_one(state: str) -> None:
    link = Link()
    link.life.dial(0.0)
    epoch = link.life.opened(0.0)
    steps: list[Callable[[int, float], bool]] = [link.life.authenticated, link.life.restored, link.life.went_stale]
    for step in steps:
        if link.life.state != state:
            step(epoch, 0.0)
    assert link.life.state == state
    assert isinstance(link.lose(), Wait)


# --- too late ---


def test_late_loss_of_an_old_connection_changes_nothing() -> None:
    link = Link()
    old = link.up()
    link.lose()
    for _ in range(2):
        assert link.lose(peer(1009), epoch=old) is None
        assert link.life.state == "backoff"
    link.up()
    assert link.lose(peer(1009), epoch=old) is None
    assert not link.life.authenticated(old, link.now)
    assert not link.life.restored(old, link.now)
    assert not link.life.went_stale(old, link.now)
    assert not link.life.freshened(old, link.now)
    assert link.life.state == "live"
    assert link.life.attempts == 1


def test_nothing_wakes_a_closed_link() -> None:
    link = Link()
    epoch = link.up()
    link.life.close()
    assert link.lose() is None
    assert not link.life.went_stale(epoch, link.now)
    link.life.close()
    assert (link.life.state, link.life.is_over) == ("closed", True)
    with pytest.raises(IllegalTransition, match="dial is no way out of the state closed"):
        link.life.dial(link.now)


@pytest.mark.parametrize("dialling", [True, False])
def test_close_ends_a_dial_and_a_wait(dialling: bool) -> None:
    link = Link()
    link.refuse()
    if dialling:
        link.life.dial(link.now)
    link.life.close()
    assert link.life.dial_failed(TimeoutError(), now=link.now, wall_now=0.0, unit=0.0) is None
    assert link.life.state == "closed"


def test_failed_link_stays_failed_when_it_is_closed() -> None:
    link = Link()
    error = failed(link.refuse(HandshakeError("ws://feed/", reason="no", status=404)))
    link.life.close()
    assert (link.life.state, link.life.error) == ("failed", error)


# --- successors ---


@pytest.mark.parametrize("before", ["live", "stale", "backoff"])
def test_successor_takes_over_and_the_end_of_the_one_before_changes_nothing(before: str) -> None:
    link = Link()
    old = link.up()
    if before == "stale":
        link.life.went_stale(old, link.now)
    elif before == "backoff":
        link.lose()
    assert link.life.state == before
    assert link.life.replaced(link.now) == old + 1 == link.life.epoch
    assert link.life.state == "live"
    assert link.lose(peer(1009), epoch=old) is None
    assert link.life.state == "live"


def test_successor_inherits_a_clean_slate_from_a_connection_that_lasted() -> None:
    link = Link()
    link.refuse()
    link.up()
    link.now += STABLE_AFTER
    link.life.replaced(link.now, messages=1)
    assert link.life.attempts == 0
    # It has to last itself.
    assert not link.life.is_stable(link.now + STABLE_AFTER - 0.1, messages=1)
    assert isinstance(decision := link.lose(), Wait)
    assert decision.attempt == 1


def test_successor_that_lasts_makes_up_for_all_before_it() -> None:
    link = Link()
    link.refuse()
    link.refuse()
    link.life.replaced(link.now)
    assert isinstance(decision := link.lose(lived=STABLE_AFTER), Wait)
    assert decision.attempt == 1


# --- faults of the caller ---


@pytest.mark.parametrize("state", ["idle", "connecting", "authenticating", "restoring", "live", "backoff", "failed"])
def test_transition_that_the_state_does_not_allow_is_refused_and_changes_nothing(state: str) -> None:
    allowed = {
        "idle": {"dial"},
        "connecting": {"opened", "dial_failed"},
        "authenticating": {"authenticated"},
        "restoring": {"restored"},
        "live": {"replaced", "went_stale", "freshened"},
        "backoff": {"dial", "replaced", "authenticated", "restored", "went_stale", "freshened"},
        "failed": {"dial_failed", "authenticated", "restored", "went_stale", "freshened"},
    }[state]

    def reach() -> Link:
        link = Link()
        if state == "idle":
            return link
        link.life.dial(link.now)
        if state == "connecting":
            return link
        epoch = link.life.opened(link.now)
        steps: list[Callable[[int, float], bool]] = [link.life.authenticated, link.life.restored]
        for step in steps:
            if link.life.state != state:
                step(epoch, link.now)
        if state in {"backoff", "failed"}:
            link.lose(peer(1009) if state == "failed" else RESET)
        return link

    transitions: dict[str, Callable[[Link], object]] = {
        "dial": lambda link: link.life.dial(link.now),
        "opened": lambda link: link.life.opened(link.now),
        "authenticated": lambda link: link.life.authenticated(link.life.epoch, link.now),
        "restored": lambda link: link.life.restored(link.life.epoch, link.now),
        "went_stale": lambda link: link.life.went_stale(link.life.epoch, link.now),
        "freshened": lambda link: link.life.freshened(link.life.epoch, link.now),
        "replaced": lambda link: link.life.replaced(link.now),
        "dial_failed": lambda link: link.life.dial_failed(TimeoutError(), now=link.now, wall_now=0.0, unit=0.0),
    }
    for name in set(transitions) - allowed:
        link = reach()
        assert link.life.state == state
        with pytest.raises(IllegalTransition):
            transitions[name](link)
        assert link.life.state == state
    for name in allowed:
        transitions[name](reach())


@pytest.mark.parametrize("epoch", [0, 2, -1])
def test_number_that_no_connection_had_is_refused(epoch: int) -> None:
    link = Link()
    link.up()
    with pytest.raises(IllegalTransition, match=f"epoch {epoch}"):
        link.lose(epoch=epoch)
    assert link.life.state == "live"
