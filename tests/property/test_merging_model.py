"""Two legs carry one stream, each with a lag of its own, cut and connected at random: the stream comes out."""

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.property.scale import BOUNDED, examples
from tests.support.merging import Lines

from websocket_utils import Gap, Message
from websocket_utils._merging import Keys, Race, Received, Standby

pytestmark = BOUNDED

CHANNELS = 3


class Item(Message):
    channel: str
    sequence: int
    identity: str


KEYS: list[Any] = [("channel", "sequence"), "identity"]


def payload(number: int) -> str:
    fields = {"channel": str(number % CHANNELS), "sequence": number // CHANNELS, "identity": str(number)}
    return json.dumps({"type": "Item", **fields})


class Feed:
    """A server that numbers what it sends, and two connections to it, that bring what was sent since they were made."""

    def __init__(self, merger: Race | Standby) -> None:
        self.merger = merger
        self.sent = 0
        self.places: list[int | None] = [None, None]
        self.brought: set[int] = set()
        self.delivered: list[int] = []
        self.gaps: list[Gap] = []

    def bring(self, leg: int, count: int) -> None:
        place = self.places[leg]
        if place is None:
            return
        last = min(place + count, self.sent)
        for number in range(place, last):
            self.brought.add(number)
            if self.merger.take(leg, payload(number), 0):
                self.delivered.append(number)
            else:
                self.deliver(self.merger.ready)
                self.merger.ready.clear()
        self.places[leg] = last

    def deliver(self, items: list[Received | Gap]) -> None:
        for item in items:
            if isinstance(item, Gap):
                self.gaps.append(item)
            else:
                self.delivered.append(int(json.loads(item.payload)["identity"]))

    def connect(self, leg: int) -> None:
        if self.places[leg] is None:
            self.places[leg] = self.sent
            self.merger.begin(leg)

    def cut(self, leg: int) -> None:
        if self.places[leg] is not None:
            self.places[leg] = None
            self.merger.lost(leg)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.just(0), st.integers(1, 12)),
        st.tuples(st.just("bring"), st.integers(0, 1), st.integers(1, 12)),
        st.tuples(st.sampled_from(["cut", "connect"]), st.integers(0, 1), st.just(0)),
    ),
    max_size=60,
)
Steps = list[tuple[str, int, int]]


def run(feed: Feed, steps: Steps, on_cut: Callable[[int], None]) -> None:
    # Each channel has begun: before its first message, there is nothing that could be behind it.
    for leg in (0, 1):
        feed.connect(leg)
    feed.sent = CHANNELS
    for leg in (0, 1):
        feed.bring(leg, CHANNELS)
    for step, leg, count in steps:
        match step:
            case "send":
                feed.sent += count
            case "bring":
                feed.bring(leg, count)
            case "cut":
                feed.cut(leg)
                on_cut(leg)
            case _:
                feed.connect(leg)


def holes(delivered: set[int], sent: int) -> set[tuple[str, int]]:
    """Numbers that were not delivered, in front of one that was."""
    missing = set()
    for channel in range(CHANNELS):
        numbers = {number // CHANNELS for number in delivered if number % CHANNELS == channel}
        missing |= {(str(channel), number) for number in range(max(numbers)) if number not in numbers}
    return missing


def told(gaps: list[Gap]) -> list[tuple[str, int]]:
    return [(gap.channel, number) for gap in gaps for number in range((gap.last or 0) + 1, gap.next or 0)]


@given(key=st.sampled_from(KEYS), steps=STEPS)
@examples(400)
def test_race_delivers_whatever_any_leg_brings_exactly_once(key: Any, steps: Steps) -> None:
    feed = Feed(Race(Keys(key, Item, on_fault=print), ["a", "b"], Lines))
    run(feed, steps, lambda leg: None)
    assert sorted(feed.delivered) == sorted(feed.brought)
    stats = feed.merger.leg_stats()
    assert sum(leg.wins for leg in stats) == len(feed.brought)
    assert all(leg.messages == leg.wins + leg.duplicates for leg in stats)
    assert len(told(feed.gaps)) == len(set(told(feed.gaps)))
    if key == "identity":
        assert feed.gaps == []


@given(steps=STEPS)
@examples(400)
def test_race_in_strict_order_delivers_each_channel_in_order_and_tells_its_holes(steps: Steps) -> None:
    merger = Race(Keys(KEYS[0], Item, on_fault=print), ["a", "b"], Lines, order="strict", hold=1 << 30)
    feed = Feed(merger)
    run(feed, steps, lambda leg: None)
    if (expires_ns := merger.expires_ns) is not None:
        merger.expire(expires_ns)
        feed.deliver(merger.ready)
    assert merger.expires_ns is None
    assert sorted(feed.delivered) == sorted(feed.brought)
    for channel in range(CHANNELS):
        numbers = [number for number in feed.delivered if number % CHANNELS == channel]
        assert numbers == sorted(numbers)
    assert sorted(told(feed.gaps)) == sorted(holes(set(feed.delivered), feed.sent))


@given(key=st.sampled_from(KEYS), steps=STEPS)
@examples(400)
def test_standby_delivers_the_stream_once_and_in_order_over_any_promotions(key: Any, steps: Steps) -> None:
    merger = Standby(Keys(key, Item, on_fault=print), ["a", "b"], Lines)
    feed = Feed(merger)

    def promote(leg: int) -> None:
        if leg == merger.active and feed.places[1 - leg] is not None:
            feed.deliver(merger.promote(1 - leg, 0))

    run(feed, steps, promote)
    assert feed.delivered == sorted(set(feed.delivered))
    # Lost is only what no leg brought, or what the spare alone brought and nobody took from it; both have a gap.
    if key == KEYS[0]:
        assert sorted(told(feed.gaps)) == sorted(holes(set(feed.delivered), feed.sent))


@given(
    key=st.sampled_from(KEYS),
    turns=st.lists(st.tuples(st.integers(0, 1), st.integers(1, 20)), max_size=40),
    behind=st.integers(1, 50),
)
@examples(400)
def test_one_promotion_at_any_moment_loses_and_repeats_nothing(
    key: Any, turns: list[tuple[int, int]], behind: int
) -> None:
    merger = Standby(Keys(key, Item, on_fault=print), ["a", "b"], Lines)
    feed = Feed(merger)
    for leg in (0, 1):
        feed.connect(leg)
    feed.sent = 300
    for leg, count in turns:
        feed.bring(leg, count)
    feed.cut(0)
    feed.deliver(merger.promote(1, 0))
    while feed.places[1] != feed.sent:
        feed.bring(1, behind)
    assert feed.delivered == list(range(300))
    assert feed.gaps == []
