"""What is published while a client takes nothing: what it gets of that later, and what it is told."""

import gc
import itertools
import time
import weakref
from collections import defaultdict
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.broadcasting import DISCONNECT, Feed, publications
from tests.support.memory import Link
from tests.support.wire import CLOSE, PING, Frame, Inflater

from websocket_utils import Decoder, Message
from websocket_utils.messages import LagNotice

CONFLATE = ("conflate", None)
DROP_OLDEST = ("drop_oldest", None)


class Tick(Message):
    symbol: str
    n: int
    pad: str = ""


class Market:
    """A feed with a namespace `m` of this policy, and a client that stalls."""

    def __init__(self, policy: tuple[Any, ...] = CONFLATE, **options: Any) -> None:
        self.feed = Feed(**options)
        self.feed.declare("m", policy=policy)
        self.numbers = itertools.count(1)

    def publish(self, symbol: str = "SOL", channel: str = "m:a", pad: int = 0) -> int:
        number = next(self.numbers)
        self.feed.broadcaster.publish(channel, Tick(symbol=symbol, n=number, pad="x" * pad))
        return number

    def stalled(self, *names: str, sequenced: bool = True, **settings: Any) -> Link:
        """A subscriber whose socket takes nothing from now on; what it got before is read off."""
        link = self.feed.subscriber(*(names or ("m:a",)), sequenced=sequenced, **settings)
        self.stall(link)
        return link

    def stall(self, link: Link) -> None:
        link.transport.room = 0
        link.connection.send("stall")
        self.feed.loop.turn()
        link.sent()

    def resume(self, link: Link) -> list[Any]:
        """What a client gets that reads on."""
        link.transport.drain()
        while self.feed.loop.turn():
            pass
        return seen(link.sent())


def seen(frames: list[Frame]) -> list[Any]:
    """Numbers of ticks, and notices as (channel, first, last, count)."""
    all_: list[Any] = []
    for one in publications(frames):
        if one.position is None and b"LagNotice" in one.payload:
            notice = msgspec.json.decode(one.payload, type=LagNotice)
            all_.append((notice.channel, notice.first, notice.last, notice.count))
        else:
            all_.append(msgspec.json.decode(one.payload)["n"])
    return all_


# --- conflation ---


def test_fast_client_gets_every_tick_at_once() -> None:
    market = Market()
    fast, _ = market.feed.subscriber("m:a", sequenced=True), market.stalled()
    for _ in range(20):
        number = market.publish()
        market.feed.loop.turn()
        assert seen(fast.sent()) == [number]
    assert market.feed.counts("conflated", "dropped") == (19, 0)


def test_stalled_client_gets_the_latest_and_is_told_what_it_does_not_get() -> None:
    market = Market()
    client = market.stalled()
    for _ in range(10):
        market.publish()
        market.feed.loop.turn()
    assert market.resume(client) == [("m:a", 1, 9, 9), 10]
    assert market.feed.counts("conflated", "lag_notices", "lagging") == (9, 1, 0)
    assert market.publish() == 11
    market.feed.loop.turn()
    assert seen(client.sent()) == [11]


def test_conflated_publication_says_what_came_before_it() -> None:
    market = Market()
    client = market.stalled()
    for _ in range(3):
        market.publish()
    client.transport.drain()
    while market.feed.loop.turn():
        pass
    assert [one.position for one in publications(client.sent())] == [None, (1, 3, 2)]


@pytest.mark.parametrize(
    "key",
    ["symbol", ("symbol",), ("symbol", "pad"), lambda message: message.symbol],
    ids=["name", "one", "two", "call"],
)
def test_latest_of_each_key_waits_in_the_order_of_the_sequences(key: Any) -> None:
    market = Market(("conflate", key))
    client = market.stalled()
    for symbol in ("SOL", "BTC", "SOL", "ETH", "BTC", "JUP"):
        market.publish(symbol)
    assert market.resume(client) == [("m:a", 1, 2, 2), 3, 4, 5, 6]


def test_pattern_conflates_each_channel_by_itself() -> None:
    market = Market(("conflate", "symbol"))
    client = market.stalled("m:*")
    for channel in ("m:a", "m:b", "m:a", "m:c", "m:b"):
        market.publish("SOL", channel)
    assert market.resume(client) == [("m:a", 1, 1, 1), 3, ("m:b", 1, 1, 1), 5, 4]


def test_key_is_what_python_says_is_equal() -> None:
    values = iter([1, 1.0, True, "1", (1, "a"), (1.0, "a"), 2])
    market = Market(("conflate", lambda message: next(values)))
    client = market.stalled()
    for _ in range(7):
        market.publish()
    assert market.resume(client) == [("m:a", 1, 5, 3), 3, 4, 6, 7]


def test_key_is_asked_for_once_and_only_if_somebody_is_behind() -> None:
    asked: list[int] = []
    market = Market(("conflate", lambda message: asked.append(message.n)))
    clients = [market.feed.subscriber("m:a") for _ in range(3)]
    market.publish()
    market.feed.loop.turn()
    assert asked == []
    for client in clients:
        market.stall(client)
    market.publish()
    market.publish()
    assert asked == [2, 3]


@pytest.mark.parametrize(
    "key", ["nothing", lambda message: 1 / 0, lambda message: []], ids=["name", "raises", "unhashable"]
)
def test_message_whose_key_is_not_to_be_had_waits_by_itself(key: Any) -> None:
    market = Market(("conflate", key))
    clients = [market.stalled(), market.stalled()]
    for _ in range(3):
        market.publish()
    assert len(market.feed.faults) == 3
    for client in clients:
        assert market.resume(client) == [1, 2, 3]


def test_key_that_publishes_is_refused_and_breaks_nothing() -> None:
    feed: Feed

    def publish(message: Any) -> object:
        return feed.broadcaster.publish("m:a", message)

    market = Market(("conflate", publish))
    feed = market.feed
    client = market.stalled()
    market.publish()
    (fault,) = market.feed.faults
    assert isinstance(fault, RuntimeError)
    assert market.resume(client) == [1]


def test_what_was_on_its_way_when_the_client_stalled_comes_first() -> None:
    market = Market()
    client = market.feed.subscriber("m:a", sequenced=True)
    client.transport.room = 30
    for _ in range(3):
        market.publish()
    market.feed.loop.turn()
    for _ in range(3):
        market.publish()
        market.feed.loop.turn()
    assert market.resume(client) == [1, 2, 3, ("m:a", 4, 5, 2), 6]


def test_client_that_takes_a_little_at_a_time_gets_newer_values_each_time() -> None:
    market = Market(("conflate", "symbol"))
    client = market.stalled("m:*")
    got: list[Any] = []
    for round_ in range(5):
        for number in range(200):
            market.publish(f"{number}", f"m:{number % 3}", pad=1000)
        client.transport.drain(room=0 if round_ < 4 else None)
        while market.feed.loop.turn():
            pass
        got += seen(client.sent())
        assert client.transport.held < 200_000, "what is handed on can't be replaced any more"
    left_out = sum(one[3] for one in got if isinstance(one, tuple))
    delivered = [one for one in got if isinstance(one, int)]
    assert len(delivered) + left_out == 1000
    assert left_out == market.feed.counts("conflated")[0]
    assert set(range(801, 1001)) <= set(delivered)


def test_plain_peer_is_told_nothing() -> None:
    market = Market()
    client = market.stalled(sequenced=False)
    for _ in range(3):
        market.publish()
    assert market.resume(client) == [3]
    assert market.feed.counts("conflated", "lag_notices") == (2, 0)


@pytest.mark.parametrize("format", ["json", "msgpack", "protobuf"])
def test_notice_is_written_in_the_format_of_the_connection(format: str) -> None:
    market = Market()
    client = market.stalled(format=format)
    for _ in range(3):
        market.publish()
    client.transport.drain()
    while market.feed.loop.turn():
        pass
    notice, last = publications(client.sent())
    assert Decoder(LagNotice, format=format).decode(notice.payload) == LagNotice("m:a", 1, 2, 2)  # type: ignore[call-overload]  # parametrized
    assert last.position == (1, 3, 2)


def test_compressed_publications_wait_as_they_are() -> None:
    market = Market()
    client = market.stalled(sequenced=False, deflate=(15, True, 15, False))
    for _ in range(2):
        market.publish(pad=5000)
    client.transport.drain()
    while market.feed.loop.turn():
        pass
    (frame,) = client.sent()
    assert frame.is_compressed
    assert msgspec.json.decode(Inflater().message(frame))["n"] == 2


# --- the other lane ---


def test_own_messages_and_control_frames_pass_what_waits() -> None:
    market = Market()
    client = market.stalled()
    for _ in range(5):
        market.publish(pad=1000)
    client.connection.send("answer")
    client.connection.ping(b"ping")
    client.transport.drain()
    while market.feed.loop.turn():
        pass
    answer, ping, notice, last = client.sent()
    assert (answer.payload, ping.opcode, ping.payload) == (b"answer", PING, b"ping")
    assert seen([notice, last]) == [("m:a", 1, 4, 4), 5]


def test_close_waits_for_no_backlog() -> None:
    market = Market()
    client = market.stalled()
    for _ in range(5):
        market.publish()
    client.connection.close(1001, "bye")
    client.transport.drain()
    while market.feed.loop.turn():
        pass
    assert [frame.opcode for frame in client.sent()] == [CLOSE]
    assert market.feed.counts("lagging", "lag_notices") == (0, 0)


def test_broadcast_has_no_policy_and_all_of_it_waits() -> None:
    market = Market()
    client = market.stalled("m:a")
    for number in range(3):
        market.publish()
        market.feed.broadcaster.broadcast(f'{{"n":"all {number}"}}')
    assert market.resume(client) == ["all 0", "all 1", "all 2", ("m:a", 1, 2, 2), 3]


# --- dropping ---


def test_oldest_are_dropped_from_a_number_on() -> None:
    market = Market(("drop_oldest", 3))
    client = market.stalled("m:*")
    for _ in range(10):
        market.publish()
    market.publish(channel="m:b")
    assert market.resume(client) == [("m:a", 1, 7, 7), 8, 9, 10, 11]
    assert market.feed.counts("conflated", "dropped") == (0, 7)


def test_oldest_are_dropped_where_they_are_too_many_bytes() -> None:
    market = Market(DROP_OLDEST, max_lag=20_000)
    client = market.stalled()
    for _ in range(100):
        market.publish(pad=1000)
        market.feed.loop.turn()
    assert market.feed.counts("held_bytes")[0] <= 20_000 + (256 << 10)
    (_, first, last, count), *kept = market.resume(client)
    assert (first, last) == (1, count)
    assert kept == list(range(count + 1, 101))
    assert 10 <= len(kept) <= 20
    assert market.feed.cut == []
    assert market.feed.counts("dropped") == (count,)


def test_backlog_goes_out_in_parts_and_what_is_published_meanwhile_goes_behind_it() -> None:
    market = Market(DROP_OLDEST)
    client = market.stalled()
    for _ in range(300):
        market.publish(pad=1000)
    got: list[Any] = []
    for _ in range(3):
        client.transport.drain(room=0)
        market.feed.loop.turn()
        market.publish(pad=1000)
        market.feed.loop.turn()
        got += seen(client.sent())
    assert len(got) < 250
    got += market.resume(client)
    assert got == list(range(1, 304))


# --- ending the connection ---


def test_conflation_of_too_many_keys_is_reported_after_the_turn() -> None:
    market = Market(("conflate", "symbol"), max_lag=20_000)
    client = market.stalled()
    for number in range(300):
        market.publish(f"{number}")
    assert market.feed.cut == []
    market.feed.loop.turn()
    ((cut, behind),) = market.feed.cut
    assert cut is client.connection
    assert behind > 20_000
    client.connection.connection_lost(None)
    market.feed.broadcaster.remove(client.connection, ["m:a"])
    market.feed.loop.turn()
    assert market.feed.lagging == 0


def test_one_message_over_the_bound_waits_and_comes() -> None:
    market = Market(max_lag=1000)
    client = market.stalled()
    market.publish(pad=5000)
    market.publish(pad=5000)
    market.feed.loop.turn()
    assert market.feed.cut == []
    assert market.resume(client) == [("m:a", 1, 1, 1), 2]


def test_namespace_may_allow_less_than_the_server() -> None:
    market = Market(("disconnect", 5000, None))
    client, other = market.stalled(), market.feed.subscriber("m:a")
    for _ in range(10):
        market.publish(pad=1000)
        market.feed.loop.turn()
        if market.feed.cut:
            break
    ((cut, behind),) = market.feed.cut
    assert cut is client.connection
    assert 5000 < behind < 7000
    assert len(other.sent()) >= 4


def test_client_that_has_drained_is_as_good_as_new() -> None:
    market = Market(("disconnect", 5000, None))
    client = market.stalled("m:a", "other")
    market.publish(pad=1000)
    market.feed.loop.turn()
    assert market.resume(client) == [1]
    market.stall(client)
    for _ in range(20):
        market.feed.broadcaster.publish("other", bytes(1000))
        market.feed.loop.turn()
    assert market.feed.cut == []


def wait(seconds: float) -> None:
    """Let the clock of the core pass: it is the machine's."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


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
