"""What is published while a client takes nothing: what it gets of that later, and what it is told."""

from typing import Any

import msgspec
import pytest
from tests.support.broadcasting import Feed, publications
from tests.support.market import DROP_OLDEST, Market, seen
from tests.support.wire import CLOSE, PING, Inflater

from websocket_utils import Decoder
from websocket_utils.messages import LagNotice

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
