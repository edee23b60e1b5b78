"""What is kept of a channel, and where a subscription goes on."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.broadcasting import Feed, publications
from tests.support.memory import Link

from websocket_utils import Message


class Tick(Message):
    n: int


def feed_with(count: int, *, history: int = 100, **options: Any) -> Feed:
    """A feed whose channel `h:a` has had so many publications, numbered by what they say."""
    feed = Feed(**{name: options.pop(name) for name in ("max_lag",) if name in options})
    feed.declare("h", history=history, **options)
    for number in range(1, count + 1):
        feed.broadcaster.publish("h:a", f"{number}")
    return feed


def resume(feed: Feed, *positions: tuple[str, int, int], name: str = "h:a", **settings: Any) -> tuple[Link, Any]:
    link = feed.client(sequenced=True, **settings)
    _, going_on = feed.broadcaster.subscribe(link.connection, name, positions=list(positions) or None)
    return link, going_on


def received(feed: Feed, link: Link) -> list[int]:
    feed.broadcaster.replay(link.connection)
    feed.loop.turn()
    return [int(one.payload) for one in publications(link.sent())]


def test_history_keeps_the_latest_publications() -> None:
    feed = feed_with(5, history=3)
    assert feed.broadcaster.history("h:a") == [(3, "3"), (4, "4"), (5, "5")]
    assert feed.broadcaster.history("h:none") == []
    assert feed.counts("history_messages") == (3,)


def test_history_is_bounded_by_its_bytes_but_for_the_latest() -> None:
    feed = Feed()
    feed.declare("h", history=1000, history_size=10_000)
    for _ in range(100):
        feed.broadcaster.publish("h:a", bytes(1000))
    (kept, size) = feed.counts("history_messages", "history_bytes")
    assert kept < 10
    assert size <= 10_000
    feed.broadcaster.publish("h:a", bytes(50_000))
    assert [sequence for sequence, _ in feed.broadcaster.history("h:a")] == [101]


def test_history_is_bounded_by_its_age() -> None:
    feed = Feed()
    feed.declare("h", history=10, history_age=0.02)
    feed.broadcaster.publish("h:a", "old")
    end = time.monotonic() + 0.03
    while time.monotonic() < end:
        pass
    assert feed.broadcaster.history("h:a") == []
    assert feed.counts("history_messages", "history_bytes") == (0, 0)


def test_resumed_subscription_gets_exactly_what_it_missed_in_front_of_what_follows() -> None:
    feed = feed_with(10)
    link, going_on = resume(feed, ("h:a", 1, 7))
    assert going_on == [("h:a", 1, 7, True)]
    link.connection.send("acknowledged")
    assert feed.broadcaster.replay(link.connection) == 3
    feed.broadcaster.publish("h:a", "11")
    feed.loop.turn()
    sent = publications(link.sent())
    assert [one.payload for one in sent] == [b"acknowledged", b"8", b"9", b"10", b"11"]
    assert [one.position for one in sent[1:]] == [(1, 8, 7), (1, 9, 8), (1, 10, 9), (1, 11, 10)]
    assert feed.counts("recovered", "unrecovered") == (1, 0)
    assert link.connection.fate_counters()[0] == 1, "what is replayed is none of the connection's own messages"


@pytest.mark.parametrize("format", ["json", "msgpack", "protobuf"])
def test_what_nobody_read_in_a_format_is_encoded_when_it_is_asked_for(format: str) -> None:
    feed = Feed()
    feed.declare("h", history=10)
    feed.broadcaster.publish("h:a", Tick(n=1))
    links = [resume(feed, ("h:a", 1, 0), format=format)[0] for _ in range(2)]
    for link in links:
        feed.broadcaster.replay(link.connection)
    feed.loop.turn()
    expected = {"json": b'{"type":"Tick","n":1}', "msgpack": b"\x82\xa4type\xa4Tick\xa1n\x01"}
    expected["protobuf"] = b"\xfa\x7f\x04Tick\x08\x01"
    for link in links:
        assert [one.payload for one in publications(link.sent())] == [expected[format]]


@pytest.mark.parametrize("history", [0, 100])
def test_position_that_is_the_channels_own_is_recovered_with_nothing(history: int) -> None:
    feed = feed_with(10, history=history)
    link, going_on = resume(feed, ("h:a", 1, 10))
    assert going_on == [("h:a", 1, 10, True)]
    assert received(feed, link) == []


@pytest.mark.parametrize(
    ("position", "history"),
    [((2, 7), 100), ((1, 11), 100), ((1, 5), 4), ((1, 7), 0), ((0, 0), 100)],
    ids=["another epoch", "in the future", "history too short", "no history", "unknown epoch"],
)
def test_position_that_cannot_be_gone_on_from_gets_the_latest_alone(position: tuple[int, int], history: int) -> None:
    feed = feed_with(10, history=history)
    link, going_on = resume(feed, ("h:a", *position))
    if history:
        assert going_on == [("h:a", 1, 9, False)]
        assert received(feed, link) == [10]
    else:
        assert going_on == [("h:a", 1, 10, False)]
        assert received(feed, link) == []
    assert feed.counts("recovered", "unrecovered") == (0, 1)


def test_first_subscription_gets_the_latest_publication_where_the_namespace_says_so() -> None:
    feed = feed_with(10)
    link, going_on = resume(feed)
    assert going_on == [("h:a", 1, 9, False)]
    assert received(feed, link) == [10]
    silent = feed_with(10, snapshot=False)
    link, going_on = resume(silent)
    assert going_on == [("h:a", 1, 10, False)]
    assert received(silent, link) == []
    assert feed.counts("recovered", "unrecovered") == (0, 0)


def test_plain_peer_gets_the_latest_publication_bare() -> None:
    feed = feed_with(3)
    link = feed.subscriber("h:a")
    feed.broadcaster.replay(link.connection)
    feed.loop.turn()
    assert [one.payload for one in link.sent()] == [b"3"]


def test_subscription_that_there_is_gets_nothing_again() -> None:
    feed = feed_with(3)
    link, _ = resume(feed)
    assert received(feed, link) == [3]
    assert feed.broadcaster.subscribe(link.connection, "h:a") == (False, [("h:a", 1, 3, False)])
    assert feed.broadcaster.subscribe(link.connection, "h:*") == (True, [("h:a", 1, 3, False)])
    assert received(feed, link) == []


def test_channel_that_two_subscriptions_of_one_request_match_comes_once() -> None:
    feed = feed_with(5)
    link, going_on = resume(feed, ("h:a", 1, 3))
    also = feed.broadcaster.subscribe(link.connection, "h:*", positions=[("h:a", 1, 3)])
    assert also == (True, going_on)
    assert received(feed, link) == [4, 5]


def test_chain_with_a_hole_is_not_recovered() -> None:
    feed = Feed()
    feed.declare("h", history=10)
    for at in ((900, 5, 4), (900, 6, 5), (900, 9, 8), (900, 10, 9)):
        feed.broadcaster.publish("h:a", f"{at[1]}", at=at)
    link, going_on = resume(feed, ("h:a", 900, 5))
    assert going_on == [("h:a", 900, 9, False)]
    assert received(feed, link) == [10]
    link, going_on = resume(feed, ("h:a", 900, 8))
    assert going_on == [("h:a", 900, 8, True)]
    assert received(feed, link) == [9, 10]


def test_new_epoch_forgets_what_was_kept() -> None:
    feed = feed_with(5)
    feed.broadcaster.publish("h:a", "1", at=(900, 1, 0))
    assert feed.broadcaster.history("h:a") == [(1, "1")]
    assert feed.counts("history_messages") == (1,)
    link, going_on = resume(feed, ("h:a", 1, 3))
    assert going_on == [("h:a", 900, 0, False)]
    assert received(feed, link) == [1]


def test_more_than_a_client_may_be_behind_is_not_sent() -> None:
    feed = Feed(max_lag=10_000)
    feed.declare("h", history=100)
    for number in range(1, 21):
        feed.broadcaster.publish("h:a", str(number).rjust(1000))
    link, going_on = resume(feed, ("h:a", 1, 0))
    assert going_on == [("h:a", 1, 19, False)]
    assert received(feed, link) == [20]
    link, going_on = resume(feed, ("h:a", 1, 12))
    assert going_on == [("h:a", 1, 12, True)]
    assert received(feed, link) == [13, 14, 15, 16, 17, 18, 19, 20]


def test_client_that_asks_again_and_again_and_reads_nothing_is_sent_no_more_than_it_may_be_behind() -> None:
    feed = Feed(max_lag=10_000)
    feed.declare("h", history=100)
    for number in range(1, 9):
        feed.broadcaster.publish("h:a", str(number).rjust(1000))
    link = feed.client(sequenced=True)
    link.transport.room = 0
    link.connection.send("x")
    for _ in range(50):
        feed.broadcaster.subscribe(link.connection, "h:a", positions=[("h:a", 1, 0)])
        feed.broadcaster.replay(link.connection)
        feed.broadcaster.unsubscribe(link.connection, "h:a")
        feed.loop.turn()
    assert 8000 < link.connection.send_queue_bytes <= 10_000
    assert feed.cut == []


def test_latest_publication_comes_whatever_its_size() -> None:
    feed = Feed(max_lag=1000)
    feed.declare("h", history=100)
    feed.broadcaster.publish("h:a", "7".rjust(50_000))
    link, _ = resume(feed)
    assert received(feed, link) == [7]


def test_pattern_goes_on_in_each_of_its_channels() -> None:
    feed = feed_with(3)
    for channel, numbers in (("h:b", (1, 2)), ("h:c", (1,)), ("other", (1,))):
        for number in numbers:
            feed.broadcaster.publish(channel, f"{number}0")
    link, going_on = resume(feed, ("h:a", 1, 2), ("h:b", 2, 2), ("other", 4, 0), name="h:*")
    assert going_on == [("h:a", 1, 2, True), ("h:b", 2, 2, True), ("h:c", 3, 0, True)]
    assert received(feed, link) == [3, 10]


def test_pattern_gets_the_latest_of_each_of_its_channels_as_far_as_a_client_may_be_behind() -> None:
    feed = Feed(max_lag=5000)
    feed.declare("h", history=1)
    for number in range(20):
        feed.broadcaster.publish(f"h:{number:02}", f"{number}".rjust(1000))
    link, going_on = resume(feed, name="h:*")
    assert received(feed, link) == [0, 1, 2, 3]
    assert [sequence for _, _, sequence, _ in going_on] == [0] * 4 + [1] * 16


def test_what_is_aside_for_a_connection_that_closes_is_not_sent() -> None:
    feed = feed_with(3)
    link, _ = resume(feed, ("h:a", 1, 0))
    link.connection.close(1000)
    assert feed.broadcaster.replay(link.connection) == 0
    feed.loop.turn()
    assert len(link.sent()) == 1


def test_message_that_a_format_cannot_hold_is_not_recovered_in_it() -> None:
    feed = Feed()
    feed.declare("h", history=10)
    feed.broadcaster.publish("h:a", Tick(n=1))
    feed.broadcaster.publish("h:a", Tick(n=2**70))
    link, going_on = resume(feed, ("h:a", 1, 0), format="msgpack")
    assert going_on == [("h:a", 1, 2, False)]
    feed.broadcaster.replay(link.connection)
    feed.loop.turn()
    assert link.sent() == []
    assert len(feed.faults) == 2, "of the missing ones, and of the latest"


def test_namespace_that_keeps_less_from_now_on_forgets_at_once() -> None:
    feed = feed_with(10)
    feed.declare("h", history=2)
    assert [sequence for sequence, _ in feed.broadcaster.history("h:a")] == [9, 10]
    feed.declare("h", history=0)
    assert feed.broadcaster.history("h:a") == []
    assert feed.counts("history_messages", "history_bytes") == (0, 0)


def test_channel_with_history_is_not_forgotten() -> None:
    feed = feed_with(3)
    for number in range(66_000):
        feed.broadcaster.publish(f"{number}", b"")
    assert [sequence for sequence, _ in feed.broadcaster.history("h:a")] == [1, 2, 3]


def test_answers_are_not_refused_for_what_is_published() -> None:
    feed = feed_with(0)
    link = feed.client(sequenced=True, max_send_queue=1000)
    feed.broadcaster.subscribe(link.connection, "h:a")
    link.transport.room = 0
    link.connection.send("x")
    for _ in range(10):
        feed.broadcaster.publish("h:a", bytes(1000))
    feed.loop.turn()
    link.connection.send("an answer")
    link.transport.drain()
    feed.loop.turn()
    assert [len(one.payload) for one in publications(link.sent())] == [1] + [1000] * 10 + [9]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_client_that_comes_and_goes_gets_all_in_order_or_is_told_that_it_does_not(data: st.DataObject) -> None:
    history = data.draw(st.integers(0, 6))
    feed = Feed()
    feed.declare("h", history=history, snapshot=data.draw(st.booleans()))
    published = 0
    position = (1, 0)
    link: Link | None = None
    feed.broadcaster.channel("h:a")
    for step in data.draw(st.lists(st.sampled_from(["publish", "publish", "turn", "leave", "come"]), max_size=40)):
        if step == "publish":
            published += 1
            feed.broadcaster.publish("h:a", f"{published}")
        elif step == "turn":
            feed.loop.turn()
        elif step == "come" and link is None:
            link, ((_, epoch, sequence, recovered),) = resume(feed, ("h:a", *position))
            missed = published - position[1]
            assert recovered == (missed == 0 or missed <= history)
            assert sequence == position[1] if recovered else sequence >= position[1]
            position = (epoch, sequence)
            feed.broadcaster.replay(link.connection)
        elif step == "leave" and link is not None:
            feed.loop.turn()
            feed.broadcaster.remove(link.connection, ["h:a"])
            for one in publications(link.sent()):
                assert one.position is not None
                assert (one.position[0], one.position[2]) == position
                assert one.payload == b"%d" % one.position[1]
                position = one.position[:2]
            assert position == (1, published)
            link = None
