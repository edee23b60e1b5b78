import pytest

from websocket_utils import Restored, Stale
from websocket_utils._freshness import Freshness

# What of 64 seconds are a step and the second look: whole numbers of seconds.
STALE_AFTER = 64.0
STEP = 7.0
SECOND_LOOK = 1.0


def watching(*channels: str, now: float = 0.0) -> Freshness:
    freshness = Freshness()
    for channel in channels:
        freshness.watch(channel, STALE_AFTER, now)
    return freshness


def run_until(freshness: Freshness, now: float, end: float) -> list[tuple[float, Stale | Restored]]:
    """Check whenever it wants to be checked, until `end`."""
    told: list[tuple[float, Stale | Restored]] = []
    while (due := freshness.next_check(now)) is not None and due <= end:
        now = due
        told += [(now, event) for event in freshness.check(now)]
    return told


def test_channel_that_stays_silent_is_told_once_at_the_second_look() -> None:
    freshness = watching("a", now=100.0)
    assert run_until(freshness, 100.0, 1000.0) == [(165.0, Stale("a", 65.0))]
    assert freshness.stale == freshness.silent == ("a",)
    # Looked at as often as before, to notice data, and not more often.
    for now in (1000.0, 1007.0, 1014.0):
        assert freshness.check(now) == []
        assert freshness.next_check(now) == now + STEP


def test_channel_whose_data_comes_is_never_told() -> None:
    freshness = watching("a")
    told = []
    for second in range(60, 1000, 60):
        told += run_until(freshness, second - 60.0, float(second))
        freshness.seen("a", float(second))
    assert told == []


def test_data_of_another_channel_resets_nothing() -> None:
    freshness = watching("quiet", "busy")
    told = []
    for second in range(1, 100):
        freshness.seen("busy", float(second))
        told += [(float(second), event) for event in freshness.check(float(second))]
    assert told == [(65.0, Stale("quiet", 65.0))]


def test_last_message_counts_from_the_check_that_takes_it() -> None:
    freshness = watching("a")
    freshness.check(7.0)
    freshness.seen("a", 8.0)
    # Others may have followed it until here.
    freshness.check(14.0)
    assert run_until(freshness, 14.0, 78.0) == []
    assert run_until(freshness, 78.0, 1000.0) == [(79.0, Stale("a", 65.0))]


def test_restored_says_from_the_last_message_to_the_first_behind() -> None:
    freshness = watching("a")
    run_until(freshness, 0.0, 100.0)
    freshness.seen("a", 101.0)
    freshness.seen("a", 103.0)
    assert freshness.check(105.0) == [Restored("a", 101.0)]
    assert freshness.stale == freshness.silent == ()


def test_stale_is_told_again_only_after_restored() -> None:
    freshness = watching("a")
    kinds = []
    now = 0.0
    for _ in range(3):
        kinds += [type(event) for _, event in run_until(freshness, now, now + 1000)]
        now += 1000
        freshness.seen("a", now)
        kinds += [type(event) for event in freshness.check(now)]
    assert kinds == [Stale, Restored] * 3


def test_new_connection_has_its_own_time_and_the_age_goes_on() -> None:
    freshness = watching("a")
    run_until(freshness, 0.0, 60.0)
    freshness.resumed(60.0)
    assert run_until(freshness, 60.0, 124.0) == []
    assert run_until(freshness, 124.0, 1000.0) == [(125.0, Stale("a", 125.0))]


def test_new_connection_that_is_silent_too_is_noticed_and_not_told() -> None:
    freshness = watching("a")
    run_until(freshness, 0.0, 100.0)
    freshness.resumed(100.0)
    assert (freshness.stale, freshness.silent) == (("a",), ())
    assert run_until(freshness, 100.0, 200.0) == []
    assert freshness.silent == ("a",)
    assert freshness.age("a", 200.0) == 200.0


def test_timer_that_runs_before_the_socket_is_read_makes_nothing_stale() -> None:
    freshness = watching("a")
    freshness.check(7.0)
    # The loop is blocked for long; the timer comes first, then what waited in the socket.
    assert freshness.check(500.0) == []
    assert freshness.next_check(500.0) == 500.0 + SECOND_LOOK
    freshness.seen("a", 500.5)
    assert freshness.check(501.0) == []
    assert freshness.next_check(501.0) == 501.0 + STEP
    assert run_until(freshness, 501.0, 564.0) == []


def test_checks_in_between_do_not_count_as_the_second_look() -> None:
    freshness = watching("a")
    assert [freshness.check(now) for now in (64.0, 64.25, 64.5, 64.75)] == [[]] * 4
    assert freshness.check(65.0) == [Stale("a", 65.0)]


def test_checks_are_wanted_every_step_and_when_silence_is_due() -> None:
    freshness = watching("a")
    assert Freshness().next_check(0.0) is None
    assert freshness.next_check(0.0) == STEP
    freshness.check(STEP)
    assert freshness.next_check(STEP) == 2 * STEP
    freshness.check(60.0)
    assert freshness.next_check(60.0) == STALE_AFTER
    assert freshness.next_check(90.0) == 90.0


def test_shortest_time_wants_the_next_check() -> None:
    freshness = watching("a")
    freshness.watch("b", 6.4, 0.0)
    assert freshness.next_check(0.0) == pytest.approx(0.7)


def test_channel_that_is_no_longer_watched_is_not_told_of() -> None:
    freshness = watching("a", "b")
    freshness.unwatch("a")
    freshness.unwatch("never watched")
    freshness.seen("a", 1.0)
    assert len(freshness) == 1
    assert [event.channel for _, event in run_until(freshness, 0.0, 1000.0)] == ["b"]
    assert freshness.age("a", 1000.0) == 0.0


def test_watching_again_keeps_the_silence_and_the_shorter_time() -> None:
    freshness = watching("a")
    freshness.check(30.0)
    freshness.watch("a", 1000.0, 30.0)
    freshness.watch("a", 32.0, 31.0)
    assert run_until(freshness, 31.0, 1000.0) == [(32.5, Stale("a", 32.5))]


def test_read_behind_the_time_of_its_check_counts_from_the_read() -> None:
    freshness = watching("a")
    freshness.seen("a", 10.0)
    assert freshness.check(9.0) == []
    assert run_until(freshness, 9.0, 74.0) == []
    assert run_until(freshness, 74.0, 76.0) == [(75.0, Stale("a", 65.0))]


@pytest.mark.parametrize("stale_after", [0, -1, 0.0009, float("nan"), float("inf")])
def test_time_that_is_none_is_refused(stale_after: float) -> None:
    freshness = Freshness()
    with pytest.raises(ValueError, match="stale_after"):
        freshness.watch("a", stale_after, 0.0)
    assert len(freshness) == 0
