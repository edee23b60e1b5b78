"""A leg that is delivered, and spares that take its place."""

import msgspec
from tests.support.merging import PING, Course, Lines, Trade, keys, race, standby, tick

from websocket_utils import Gap
from websocket_utils._merging import Standby
from websocket_utils._merging._seen import PATIENCE_NS


def test_standby_delivers_the_active_leg_alone() -> None:
    course = standby()
    course.bring(0, 1, PING)
    course.bring(1, 1, 2, PING)
    assert course.delivered == [1, PING]
    assert [(leg.messages, leg.wins, leg.duplicates) for leg in course.merger.leg_stats()] == [(2, 2, 0), (3, 0, 1)]


def test_promotion_delivers_what_the_active_leg_had_not() -> None:
    course = standby()
    course.bring(1, 1, 2)
    course.bring(0, 1, 2, 3)
    course.bring(1, 3, 4, 5)
    course.merger.lost(0)
    course.promote(1)
    course.bring(1, 6)
    assert course.delivered == [1, 2, 3, 4, 5, 6]


def test_promoted_leg_that_lags_repeats_nothing() -> None:
    course = standby()
    course.bring(0, *range(1, 11))
    course.bring(1, *range(1, 5))
    course.merger.lost(0)
    course.promote(1)
    course.bring(1, *range(5, 12))
    assert course.delivered == list(range(1, 12))


def test_leg_that_is_lost_before_the_promotion_and_comes_back_is_the_spare() -> None:
    course = standby()
    course.bring(0, 1, 2)
    course.merger.lost(0)
    course.promote(1)
    course.bring(1, 1, 2, 3)
    course.merger.begin(0)
    course.bring(0, 3, 4)
    assert course.delivered == [1, 2, 3]
    course.promote(0)
    course.bring(0, 5)
    assert course.delivered == [1, 2, 3, 4, 5]


def test_promotion_tells_the_gap_where_the_legs_do_not_join() -> None:
    course = standby(window=2)
    course.bring(0, 1)
    course.bring(1, 2, 3, 4)
    course.promote(1)
    assert course.delivered == [1, Gap("SOL", 1, 3), 3, 4]


def test_spare_keeps_no_more_bytes_than_it_may() -> None:
    course = standby(max_bytes=3 * len(tick(1)))
    course.bring(1, 1, 2, 3, 4, 5)
    course.promote(1)
    assert course.delivered == [3, 4, 5]


def test_what_the_active_leg_jumped_over_is_not_delivered_late() -> None:
    course = standby()
    course.bring(1, 1, 2, 3)
    course.bring(0, 1, 3)
    course.promote(1)
    assert course.delivered == [1, Gap("SOL", 1, 3), 3]


def test_spare_of_an_old_count_is_forgotten_when_the_active_counts_anew() -> None:
    course = standby()
    course.bring(0, 100)
    course.bring(1, 101, 102)
    course.merger.lost(0)
    course.merger.lost(1)
    course.merger.begin(0)
    course.bring(0, 1)
    course.promote(1)
    assert course.delivered == [100, Gap("SOL", 100, 1), 1]


def test_spare_that_had_been_ahead_and_lags_is_not_taken_for_a_new_count() -> None:
    course = standby()
    course.bring(0, 4)
    course.bring(1, 5)
    course.bring(0, *range(5, 11))
    course.promote(1)
    course.bring(1, 6)
    course.wait(PATIENCE_NS + 1)
    course.bring(1, *range(7, 12))
    assert course.delivered == list(range(4, 12))


def test_what_the_active_leg_delivers_is_not_kept_for_the_promotion() -> None:
    course = standby()
    course.bring(1, *range(100))
    course.bring(0, *range(100))
    assert isinstance(course.merger, Standby)
    assert [len(pending) for pending in course.merger._pending] == [0, 0]
    assert course.merger._pending_bytes == [0, 0]


def test_standby_by_any_key_delivers_what_is_new_in_order() -> None:
    course = Course(Standby(keys("identity", Trade), ["first", "second"], Lines))
    trades = [msgspec.json.encode(Trade(f"t{number}")).decode() for number in range(4)]
    course.bring(1, trades[0], trades[0])
    course.bring(0, *trades[:2])
    course.bring(1, *trades[1:])
    course.promote(1)
    course.bring(1, trades[3])
    assert course.delivered == trades
    assert [leg.duplicates for leg in course.merger.leg_stats()] == [0, 3]


def test_standby_without_keys_delivers_only_what_comes_after_the_promotion() -> None:
    course = Course(Standby(None, ["first", "second"], Lines))
    course.bring(0, 1)
    course.bring(1, 1, 2)
    course.promote(1)
    course.bring(1, 3)
    assert course.delivered == [1, 3]


def test_channels_that_are_remembered_are_bounded() -> None:
    course = race()
    merger = course.merger
    for number in range(16_400):
        merger.take(0, tick(1, f"c{number}"), course.now)
    assert len(merger._seen._channels) == 16_384
    assert merger.take(1, tick(1, "c0"), course.now), "the oldest made room"
    assert not merger.take(1, tick(1, "c16399"), course.now)
