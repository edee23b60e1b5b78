"""Legs that race: which messages are delivered, in what order, and what each leg is told to have done."""

from typing import Any

import msgspec
import pytest
from tests.support.merging import PING, Course, Lines, Tick, Trade, keys, race, tick

from websocket_utils import Decoder, Gap
from websocket_utils._merging import Keys, Race
from websocket_utils._merging._seen import PATIENCE_NS

# --- keys ---


def test_key_of_fields_is_their_values() -> None:
    assert keys().of(tick(7)) == ("SOL", 7)
    assert keys("sequence").of(tick(7)) == 7
    assert keys(lambda message: message.sequence * 2).of(tick(7)) == 14


def test_key_of_binary_payload_is_read_in_its_format() -> None:
    payload = msgspec.msgpack.encode(Tick("SOL", 7))
    assert keys().of(payload) == ("SOL", 7)
    assert Keys("identity", Trade, binary="protobuf", on_fault=print).of(b"") is None


def test_key_is_read_by_the_decoder_that_is_given() -> None:
    payload = '{"type":"Tick","channel":"SOL","sequence":"7"}'
    assert keys(type_=Decoder(Tick, strict=False)).of(payload) == ("SOL", 7)
    assert keys(type_=Tick).of(payload) is None


@pytest.mark.parametrize(
    "payload", [PING, "no message", "", '{"type":"Tick"}'], ids=["class", "garbage", "empty", "field"]
)
def test_message_without_key_has_none(payload: str) -> None:
    assert keys().of(payload) is None


def test_field_that_is_none_tells_nothing() -> None:
    assert keys("identity", Trade).of('{"type":"Trade"}') is None
    assert keys(("identity", "note"), Trade).of('{"type":"Trade","note":"n"}') is None


@pytest.mark.parametrize("key", [lambda message: message.price, lambda message: 1 // 0, lambda message: [message]])
def test_key_function_that_fails_is_told_and_tells_nothing(key: Any) -> None:
    faults: list[BaseException] = []
    assert keys(key, faults=faults).of(tick(7)) is None
    assert len(faults) == 1


def test_key_of_long_payload_is_kept_short() -> None:
    long = "x" * 100_000
    trades = [msgspec.json.encode(Trade(long + end)).decode() for end in "ab"]
    first, second = (keys("identity", Trade).of(trade) for trade in trades)
    assert isinstance(first, int)
    assert first != second
    assert keys().of(tick(7, long)) == (hash(long), 7)
    assert keys("identity", Trade).of(msgspec.json.encode(Trade("short", long)).decode()) == "short"
    assert keys("identity", Trade).of(msgspec.json.encode(Trade(None, long)).decode()) is None


# --- race ---


def test_race_delivers_the_first_of_equal_messages() -> None:
    course = race()
    course.bring(0, 1, 2)
    course.bring(1, 1, 2, 3)
    course.bring(0, 3, 4)
    assert course.delivered == [1, 2, 3, 4]


def test_race_tells_channels_apart() -> None:
    course = race()
    course.bring(0, 1, channel="SOL")
    course.bring(1, 1, channel="BTC")
    assert course.delivered == [1, 1]


def test_race_by_any_key_remembers_the_last_ones() -> None:
    course = Course(Race(keys("identity", Trade), ["first", "second"], Lines, window=2))
    trades = [msgspec.json.encode(Trade(f"t{number}")).decode() for number in range(33)]
    course.bring(0, *trades[:32])
    course.bring(1, *trades[:32])
    assert len(course.delivered) == 32
    course.bring(0, trades[32])
    course.bring(1, trades[0])
    assert course.delivered[-1] == trades[0], "the 33rd key took the place of the first"


def test_message_without_key_passes_from_the_preferred_live_leg() -> None:
    course = race()
    course.bring(1, PING)
    assert course.delivered == []
    course.bring(0, PING)
    assert course.delivered == [PING]
    course.merger.lost(0)
    course.bring(1, PING)
    assert course.delivered == [PING, PING]


def test_arrival_order_fills_a_gap_from_the_other_leg_late() -> None:
    course = race()
    course.bring(0, 1, 4)
    course.bring(1, 1, 2, 3, 4)
    course.bring(0, 2, 3)
    assert course.delivered == [1, 4, 2, 3]


def test_gap_that_all_legs_have_passed_is_told_once() -> None:
    course = race()
    course.bring(0, 1, 4)
    course.bring(1, 1)
    assert course.delivered == [1, 4]
    course.bring(1, 4, 5)
    course.bring(0, 5)
    assert course.delivered == [1, 4, Gap("SOL", 1, 4), 5]


def test_gap_of_the_only_leg_is_told_in_front_of_the_message_that_shows_it() -> None:
    course = race()
    course.merger.lost(1)
    course.bring(0, 1, 4)
    assert course.delivered == [1, Gap("SOL", 1, 4), 4]


def test_reordered_messages_are_all_delivered() -> None:
    course = race()
    course.bring(0, 1, 3, 2, 4)
    course.bring(1, 1, 3, 2, 4)
    assert course.delivered == [1, 3, 2, 4]


def test_missing_number_below_the_window_is_a_duplicate_and_told() -> None:
    course = race(window=10)
    course.bring(0, 1, 3, *range(4, 13))
    course.bring(0, 13)
    assert course.delivered[-2:] == [Gap("SOL", 1, 3), 13]
    course.bring(1, 2)
    assert course.delivered[-1] == 13


def test_runs_of_missing_numbers_are_bounded() -> None:
    course = race(window=1 << 30)
    course.bring(0, *range(0, 2_000_000, 10_000))
    gaps = [item for item in course.delivered if isinstance(item, Gap)]
    assert len(gaps) == 199 - 64


def test_leads_are_recorded_for_the_leg_that_won() -> None:
    course = race()
    course.bring(0, 1)
    course.wait(700)
    course.bring(1, 1, 2)
    course.wait(300)
    course.bring(0, 2)
    course.bring(0, 2)
    course.bring(1, 3)
    first, second = course.merger.leg_stats()
    assert (first.lead_p50_ns, second.lead_p50_ns, second.lead_p99_ns) == (700, 300, 300)
    assert (first.wins, first.duplicates, first.messages, first.is_live) == (1, 2, 3, True)
    assert (second.wins, second.duplicates, second.messages, second.source) == (2, 1, 3, "second")


def test_leg_that_is_silent_while_the_other_brings_is_seen_behind() -> None:
    course = race()
    course.bring(0, 1)
    course.bring(1, 1)
    course.wait(3_000_000_000)
    course.bring(0, 2)
    first, second = course.merger.leg_stats()
    assert (first.behind_ns, second.behind_ns, second.is_live) == (0, 3_000_000_000, True)
    course.merger.lost(1)
    assert not course.merger.leg_stats()[1].is_live


def test_message_that_one_leg_repeats_is_no_lead() -> None:
    course = race()
    course.bring(0, 1)
    course.wait(100)
    course.bring(0, 1)
    assert course.merger.leg_stats()[0].lead_p50_ns == 0
    course.wait(100)
    course.bring(1, 1, 1)
    assert course.merger.leg_stats()[0].lead_p50_ns == 200
    assert course.delivered == [1]


# --- numbers that begin anew ---


def test_lagging_leg_that_connects_again_brings_only_duplicates() -> None:
    course = race()
    course.bring(0, *range(1, 101))
    course.merger.lost(1)
    course.merger.begin(1)
    course.wait(PATIENCE_NS * 3)
    course.bring(1, *range(50, 102))
    assert course.delivered == list(range(1, 102))


def test_count_that_begins_anew_after_an_outage_is_believed_at_once() -> None:
    course = race()
    course.bring(0, *range(1, 101))
    course.merger.lost(0)
    course.merger.lost(1)
    course.merger.begin(0)
    course.merger.begin(1)
    course.bring(1, 1, 2)
    course.bring(0, 1, 2, 3)
    assert course.delivered[100:] == [Gap("SOL", 100, 1), 1, 2, 3]


def test_last_message_repeated_after_an_outage_is_a_duplicate() -> None:
    course = race()
    course.bring(0, 99, 100)
    course.merger.lost(0)
    course.merger.lost(1)
    course.merger.begin(0)
    course.bring(0, 100, 101)
    assert course.delivered == [99, 100, 101]


def test_count_that_begins_anew_on_one_leg_after_the_other_waits_for_patience() -> None:
    course = race()
    course.bring(0, *range(1, 101))
    course.bring(1, *range(1, 101))
    for leg in (0, 1):
        course.merger.lost(leg)
        course.merger.begin(leg)
        course.bring(leg, 1, 2)
    assert course.delivered == list(range(1, 101))
    course.wait(PATIENCE_NS + 1)
    course.bring(0, 3)
    course.bring(1, 3, 4)
    assert course.delivered[100:] == [Gap("SOL", 100, 3), 3, 4]


def test_doubt_ends_with_the_first_message_above_the_mark() -> None:
    course = race()
    course.merger.lost(1)
    course.bring(0, *range(1, 101))
    course.bring(0, 1)
    course.bring(0, *range(2, 102))
    course.wait(PATIENCE_NS + 1)
    course.bring(0, 1)
    assert course.delivered == list(range(1, 102))


def test_leg_that_lags_for_long_is_not_believed_while_the_other_follows() -> None:
    course = race()
    course.bring(0, *range(1, 101))
    course.bring(1, 50)
    course.wait(PATIENCE_NS + 1)
    course.bring(1, 51)
    assert course.delivered == list(range(1, 101))


def test_count_that_begins_anew_within_a_connection_is_believed_after_patience() -> None:
    course = race()
    course.bring(0, *range(1, 201))
    course.bring(0, 190)
    course.wait(PATIENCE_NS + 1)
    course.bring(0, 191)
    assert course.delivered == list(range(1, 201)), "a short way back is a repetition"
    course.bring(0, 1)
    course.wait(PATIENCE_NS + 1)
    course.bring(0, 2, 3)
    assert course.delivered[200:] == [Gap("SOL", 200, 2), 2, 3]


def test_numbers_missing_of_the_old_count_are_not_told_with_the_new_one() -> None:
    course = race()
    course.bring(0, 49, *range(60, 201))
    course.merger.lost(0)
    course.merger.lost(1)
    course.merger.begin(0)
    course.bring(0, 100)
    assert course.delivered[-3:] == [200, Gap("SOL", 200, 100), 100]


# --- strict order ---


def test_strict_order_holds_back_until_the_missing_one_comes() -> None:
    course = race(order="strict")
    course.bring(0, 1, 3, 4)
    assert course.delivered == [1]
    course.bring(1, 1, 2, 3)
    course.bring(0, 5)
    assert course.delivered == [1, 2, 3, 4, 5]
    assert course.merger.expires_ns is None  # type: ignore[union-attr]  # a race


def test_strict_order_goes_on_after_its_time_and_drops_what_comes_later() -> None:
    course = race(order="strict", hold_ns=5_000_000)
    merger = course.merger
    assert isinstance(merger, Race)
    course.bring(0, 1, 4)
    course.wait(1_000_000)
    course.bring(0, 5, 8)
    assert merger.expires_ns == course.now + 4_000_000
    course.wait(3_999_999)
    merger.expire(course.now)
    course.drain()
    assert course.delivered == [1]
    course.wait(1)
    merger.expire(course.now)
    course.drain()
    assert course.delivered == [1, Gap("SOL", 1, 4), 4, 5]
    assert merger.expires_ns == course.now + 1_000_000
    course.bring(1, 2, 3, 6, 7)
    assert course.delivered[4:] == [6, 7, 8]
    assert [(leg.wins, leg.duplicates) for leg in merger.leg_stats()] == [(4, 0), (2, 2)]


def test_strict_order_holds_no_more_messages_than_it_may() -> None:
    course = race(order="strict", hold=2)
    course.bring(0, 1, 3, 5)
    assert course.delivered == [1]
    course.bring(0, 7)
    assert course.delivered == [1, Gap("SOL", 1, 3), 3]


def test_strict_order_holds_no_more_bytes_than_it_may() -> None:
    course = race(order="strict")
    big = '{"type":"Tick","channel":"SOL","sequence":%d,"x":"' + "x" * 600_000 + '"}'
    course.bring(0, 1, big % 3, big % 5)
    assert course.delivered == [1, Gap("SOL", 1, 3), 3]


def test_strict_order_delivers_what_it_holds_before_a_new_count() -> None:
    course = race(order="strict")
    course.bring(0, 100, 102)
    course.merger.lost(0)
    course.merger.lost(1)
    course.merger.begin(0)
    course.bring(0, 1, 2)
    assert course.delivered == [100, Gap("SOL", 100, 102), 102, Gap("SOL", 102, 1), 1, 2]


def test_strict_order_lets_other_keys_pass() -> None:
    course = Course(Race(keys("identity", Trade), ["first", "second"], Lines, order="strict"))
    trade = msgspec.json.encode(Trade("t")).decode()
    course.bring(0, trade)
    course.bring(1, trade, PING)
    assert course.delivered == [trade]
