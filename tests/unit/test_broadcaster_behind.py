"""Clients that are behind for long, change what they asked for, leave, or are many."""

import gc
import weakref
from collections import defaultdict

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.broadcasting import DISCONNECT, publications
from tests.support.market import CONFLATE, DROP_OLDEST, Market, Tick, wait

from websocket_utils.messages import LagNotice


def test_client_that_takes_nothing_for_too_long_is_reported_by_its_age() -> None:
    market = Market(("disconnect", None, 0.02))
    feed = market.feed
    client, fast, idle = market.stalled(), feed.subscriber("m:a"), market.stalled("other")
    feed.broadcaster.publish("other", "x")
    market.publish()
    feed.loop.turn()
    feed.broadcaster.check_ages()
    assert feed.aged == []
    wait(0.03)
    feed.broadcaster.check_ages()
    ((cut, behind),) = feed.aged
    assert cut is client.connection
    assert behind > 0
    assert len(fast.sent()) == 1
    assert idle.connection.is_open


def test_client_that_reads_on_in_time_has_no_age() -> None:
    market = Market(("disconnect", None, 0.02))
    client = market.stalled()
    market.publish()
    market.feed.loop.turn()
    assert market.resume(client) == [1]
    market.publish()
    wait(0.03)
    market.feed.broadcaster.check_ages()
    market.feed.loop.turn()
    market.feed.broadcaster.check_ages()
    assert market.feed.aged == []


def test_slowest_are_those_for_whom_most_waits() -> None:
    market = Market(DROP_OLDEST)
    first, second = market.stalled("m:a"), market.stalled("m:*")
    market.feed.subscriber("m:a")
    market.publish(pad=1000)
    market.publish(channel="m:b", pad=1000)
    market.feed.loop.turn()
    (one, bytes_one, age_one), (two, bytes_two, age_two) = market.feed.broadcaster.slowest(10)
    assert (one, two) == (second.connection, first.connection)
    assert bytes_one > bytes_two > 1000
    assert age_one > 0 < age_two
    assert [one for one, _, _ in market.feed.broadcaster.slowest(1)] == [second.connection]
    assert market.feed.broadcaster.slowest(0) == []


# --- subscriptions ---


def test_subscription_may_have_a_policy_of_its_own() -> None:
    market = Market(DISCONNECT)
    feed = market.feed
    conflating, all_ = feed.client(sequenced=True), market.stalled()
    feed.broadcaster.subscribe(conflating.connection, "m:a", policy=CONFLATE)
    market.stall(conflating)
    for _ in range(3):
        market.publish()
    assert market.resume(conflating) == [("m:a", 1, 2, 2), 3]
    assert market.resume(all_) == [1, 2, 3]


def test_subscriber_that_asks_for_conflation_gets_the_namespaces_key() -> None:
    market = Market(("conflate", "symbol"))
    client = market.feed.client(sequenced=True)
    market.feed.broadcaster.subscribe(client.connection, "m:a", policy=CONFLATE)
    market.stall(client)
    for symbol in ("SOL", "BTC", "SOL"):
        market.publish(symbol)
    assert market.resume(client) == [("m:a", 1, 1, 1), 2, 3]


def test_policy_that_changes_while_something_waits_lets_nothing_overtake() -> None:
    market = Market(DROP_OLDEST)
    client = market.stalled()
    market.publish()
    market.feed.broadcaster.subscribe(client.connection, "m:a", policy=DISCONNECT)
    market.publish()
    market.publish()
    assert market.resume(client) == [1, 2, 3]


def test_channel_that_is_left_leaves_the_backlog_and_the_others_stay() -> None:
    market = Market(("conflate", "symbol"))
    client = market.stalled("m:a", "m:b")
    for _ in range(2):
        market.publish()
        market.publish(channel="m:b")
    market.feed.broadcaster.unsubscribe(client.connection, "m:a")
    assert market.resume(client) == [("m:b", 1, 1, 1), 4]


def test_channel_that_is_left_by_one_of_two_subscriptions_stays() -> None:
    market = Market()
    client = market.stalled("m:a", "m:*")
    market.publish()
    market.publish(channel="m:b")
    market.feed.broadcaster.unsubscribe(client.connection, "m:a")
    market.publish(channel="m:b")
    market.feed.broadcaster.unsubscribe(client.connection, "m:b")
    assert market.resume(client) == [1, ("m:b", 1, 1, 1), 3]


def test_pattern_that_is_left_takes_its_channels_along() -> None:
    market = Market()
    client = market.stalled("m:a", "m:*")
    market.publish()
    market.publish(channel="m:b")
    market.feed.broadcaster.unsubscribe(client.connection, "m:*")
    assert market.resume(client) == [1]


def test_new_epoch_waits_behind_the_old_one() -> None:
    market = Market()
    client = market.stalled()
    market.publish()
    market.publish()
    market.feed.broadcaster.publish("m:a", Tick(symbol="SOL", n=100), at=(900, 1, 0))
    market.feed.broadcaster.publish("m:a", Tick(symbol="SOL", n=101), at=(900, 2, 1))
    assert market.resume(client) == [("m:a", 1, 1, 1), 2, ("m:a", 1, 1, 1), 101]


# --- memory ---


def test_one_stalled_client_among_many_costs_no_more_than_its_bound() -> None:
    market = Market(("conflate", "symbol"), max_lag=100_000)
    fast = [market.feed.subscriber("m:*") for _ in range(50)]
    market.stalled("m:*")
    for number in range(5000):
        market.publish(f"{number % 10}", f"m:{number % 20}", pad=200)
        if number % 10 == 0:
            market.feed.loop.turn()
    assert market.feed.cut == []
    held = market.feed.counts("held_bytes")[0]
    assert held <= 100_000 + (256 << 10)
    market.feed.loop.turn()
    assert all(len(link.sent()) == 5000 for link in fast)


@pytest.mark.parametrize("end", ["lost", "abort", "remove"])
def test_connection_that_ends_frees_what_waited(end: str) -> None:
    market = Market(("conflate", lambda message: message))
    client = market.stalled()
    message = Key()
    gone = weakref.ref(message)
    market.feed.broadcaster.publish("m:a", message)
    del message
    gc.collect()
    assert gone() is not None, "it is a key"
    if end == "lost":
        client.connection.connection_lost(None)
    elif end == "abort":
        client.connection.abort()
    else:
        market.feed.broadcaster.remove(client.connection, ["m:a"])
    gc.collect()
    assert gone() is None
    market.feed.loop.turn()
    assert market.feed.counts("held_bytes")[0] <= 256 << 10


class Key(msgspec.Struct, weakref=True, frozen=True):
    n: int = 0


def test_keys_are_forgotten_when_what_waited_is_sent() -> None:
    market = Market(("conflate", lambda message: message))
    client = market.stalled()
    message = Key()
    gone = weakref.ref(message)
    market.feed.broadcaster.publish("m:a", message)
    del message
    market.resume(client)
    gc.collect()
    assert gone() is None


# --- the books ---


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_each_client_gets_or_is_told_of_each_publication_once(data: st.DataObject) -> None:
    policy = data.draw(st.sampled_from([CONFLATE, ("conflate", "symbol"), DROP_OLDEST, ("drop_oldest", 2), DISCONNECT]))
    market = Market(policy, max_lag=data.draw(st.sampled_from([1 << 20, 30_000])))
    feed = market.feed
    links = [feed.subscriber(*names, sequenced=True) for names in (("m:a", "m:b"), ("m:*",), ("m:a", "m:*"))]
    published: dict[str, int] = defaultdict(int)
    channels = st.sampled_from(["m:a", "m:b"])
    for step in data.draw(
        st.lists(st.sampled_from(["publish"] * 4 + ["burst", "stall", "drain", "turn", "send"]), max_size=60)
    ):
        if step in ("publish", "burst"):
            for _ in range(1 if step == "publish" else 30):
                channel = data.draw(channels) if step == "publish" else "m:a"
                published[channel] += 1
                symbol = f"{published[channel] % 3}"
                feed.broadcaster.publish(channel, Tick(symbol=symbol, n=published[channel], pad="x" * 500))
        elif step == "turn":
            feed.loop.turn()
        else:
            link = data.draw(st.sampled_from(links))
            if step == "stall":
                link.transport.room = data.draw(st.sampled_from([0, 700]))
            elif step == "drain":
                link.transport.drain(data.draw(st.sampled_from([None, 0, 3000])))
            else:
                link.connection.send("own")
    for link in links:
        link.transport.drain()
    while feed.loop.turn():
        pass
    assert feed.lagging == 0
    left_out_in_all = 0
    for link in links:
        if any(cut is link.connection for cut, _ in feed.cut):
            continue
        delivered: dict[str, list[int]] = defaultdict(list)
        left_out: dict[str, int] = defaultdict(int)
        told: dict[str, int] = defaultdict(int)
        for one in publications(link.sent()):
            if one.position is not None:
                # A chain is whole, or was said to be broken up to here.
                last = delivered[one.channel][-1] if delivered[one.channel] else 0
                assert one.position[2] == last or one.position[2] <= told[one.channel]
                delivered[one.channel].append(one.position[1])
            elif b"LagNotice" in one.payload:
                notice = msgspec.json.decode(one.payload, type=LagNotice)
                left_out[notice.channel] += notice.count
                told[notice.channel] = notice.last
        for channel, count in published.items():
            assert delivered[channel] == sorted(set(delivered[channel]))
            assert len(delivered[channel]) + left_out[channel] == count
            assert not count or delivered[channel][-1] == count
        left_out_in_all += sum(left_out.values())
    if not feed.cut:
        assert left_out_in_all == sum(feed.counts("conflated", "dropped"))
