"""The plan of a drain: who is told, who is closed, and when."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocket_utils._draining import Timetable, drain_faults, timetable

HALF = 0.5


def planned(
    told: int = 0,
    plain: int = 0,
    *,
    deadline: float = 10.0,
    window: float = 5.0,
    batch: int = 500,
    seed: int | None = None,
) -> Timetable[str]:
    chance = random.Random(seed).random if seed is not None else lambda: HALF
    return timetable(
        [f"told {number}" for number in range(told)],
        [f"plain {number}" for number in range(plain)],
        deadline=deadline,
        window=window,
        batch=batch,
        chance=chance,
    )


def closes(table: Timetable[str]) -> dict[str, float]:
    return {peer: step.at for step in table.steps for peer in step.closes}


def notices(table: Timetable[str]) -> dict[str, tuple[float, float]]:
    return {peer: (step.at, after) for step in table.steps for peer, after in step.notices}


def test_peer_that_is_told_is_closed_a_grace_behind_its_time() -> None:
    table = planned(told=1)
    assert notices(table) == {"told 0": (0.0, 2.5)}
    assert closes(table) == {"told 0": pytest.approx(5.0)}
    assert (table.last, table.deadline) == (7.5, 10.0)


def test_plain_peer_is_closed_within_the_window_and_told_nothing() -> None:
    table = planned(plain=1)
    assert notices(table) == {}
    assert closes(table) == {"plain 0": 2.5}


def test_grace_is_at_most_five_seconds_whatever_the_deadline() -> None:
    assert planned(told=1, deadline=600.0, window=60.0).last == 65.0


def test_window_takes_at_most_half_of_the_deadline() -> None:
    table = planned(told=1, plain=1, deadline=1.0, window=5.0)
    assert notices(table)["told 0"] == (0.0, 0.25)
    assert closes(table) == {"told 0": 0.5, "plain 0": 0.25}
    assert table.last == 0.75


def test_without_a_window_all_go_at_once_in_batches() -> None:
    table = planned(plain=7, window=0.0, batch=3)
    assert [(step.at, len(step.closes)) for step in table.steps] == [(0.0, 3), (0.0, 3), (0.0, 1)]


def test_notices_of_more_than_a_batch_are_spread() -> None:
    table = planned(told=1001, batch=500)
    assert Counter(at for at, _ in notices(table).values()) == {0.0: 500, 0.05: 500, 0.1: 1}


def test_notices_of_a_crowd_are_out_by_half_of_the_window() -> None:
    # A hundred batches would take five seconds at the usual pace.
    table = planned(told=1000, batch=10, window=2.0)
    assert max(at for at, _ in notices(table).values()) == pytest.approx(0.99)


@given(
    told=st.integers(0, 60),
    plain=st.integers(0, 60),
    deadline=st.floats(0.01, 100.0),
    window=st.floats(0.0, 100.0),
    batch=st.integers(1, 40),
    seed=st.integers(0, 9),
)
def test_every_peer_is_closed_once_before_the_deadline_and_told_ones_later_than_they_may_leave(
    told: int, plain: int, deadline: float, window: float, batch: int, seed: int
) -> None:
    table = planned(told, plain, deadline=deadline, window=window, batch=batch, seed=seed)
    times = [step.at for step in table.steps]
    assert times == sorted(times)
    assert all(len(step.closes) <= batch and len(step.notices) <= batch for step in table.steps)
    counted = Counter(peer for step in table.steps for peer in step.closes)
    assert set(counted.values()) <= {1}
    assert len(counted) == told + plain
    closed, said = closes(table), notices(table)
    assert len(said) == told
    spread = min(window, deadline / 2)
    assert table.last < table.deadline
    for peer, (at, after) in said.items():
        # The wire has milliseconds, and closes stand in ticks of ten.
        assert 0 <= at <= spread
        assert at + after <= spread + 0.001
        assert closed[peer] >= at + after - 0.011
    assert all(0 <= at <= table.last for at in closed.values())


@pytest.mark.parametrize(
    ("deadline", "window", "batch", "named"),
    [
        (0.0, 1.0, 1, ["deadline"]),
        (float("inf"), 1.0, 1, ["deadline"]),
        (float("nan"), -1.0, 0, ["deadline", "window", "batch"]),
        (1.0, float("nan"), 1, ["window"]),
        (1.0, 0.0, 1, []),
    ],
)
def test_numbers_out_of_range_are_all_named(deadline: float, window: float, batch: int, named: list[str]) -> None:
    assert [fault.partition(":")[0] for fault in drain_faults(deadline, window, batch)] == named
