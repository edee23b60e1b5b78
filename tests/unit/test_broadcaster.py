from typing import Any

import pytest
from tests.support.broadcasting import Feed
from tests.support.memory import Link
from tests.support.wire import TEXT, Frame

from websocket_utils import Message
from websocket_utils.exceptions import EncodeError


class Big(Message):
    n: int


def test_messages_of_one_turn_leave_in_one_write_to_each() -> None:
    feed = Feed()
    clients = [feed.client() for _ in range(3)]
    for number in range(10):
        assert feed.broadcaster.broadcast(f"{number}") == 3
    assert all(client.transport.writes == [] for client in clients)
    feed.loop.turn()
    for client in clients:
        assert len(client.transport.writes) == 1
        assert client.sent() == [Frame(TEXT, b"%d" % number) for number in range(10)]
    assert feed.loop.turn() == 0


def test_turn_that_never_ends_is_flushed() -> None:
    feed = Feed()
    client = feed.client()
    for _ in range(300):
        feed.broadcaster.broadcast(bytes(1000))
    assert len(client.sent()) >= 200


def test_message_is_encoded_for_each_codec_in_use() -> None:
    feed = Feed()
    json, msgpack, protobuf = (feed.client(format=codec) for codec in ("json", "msgpack", "protobuf"))
    assert feed.broadcaster.broadcast(Big(n=1)) == 3
    feed.loop.turn()
    assert [one.payload for one in json.sent()] == [b'{"type":"Big","n":1}']
    assert [one.payload for one in msgpack.sent()] == [b"\x82\xa4type\xa3Big\xa1n\x01"]
    assert [one.payload for one in protobuf.sent()] == [b"\xfa\x7f\x03Big\x08\x01"]


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_bytes_delivered_are_those_of_the_payload(size: int) -> None:
    feed = Feed()
    for _ in range(3):
        feed.client()
    feed.broadcaster.broadcast(bytes(size))
    assert feed.counts("published", "deliveries", "bytes") == (1, 3, 3 * size)


def test_message_that_one_codec_cannot_hold_reaches_those_who_speak_another() -> None:
    feed = Feed()
    json, msgpack, protobuf = (feed.client(format=codec) for codec in ("json", "msgpack", "protobuf"))
    assert feed.broadcaster.broadcast(Big(n=2**70)) == 1
    (fault,) = feed.faults
    assert isinstance(fault, EncodeError)
    assert fault.format == "msgpack"
    feed.broadcaster.broadcast("next")
    feed.loop.turn()
    assert [one.payload for one in json.sent()] == [b'{"type":"Big","n":%d}' % 2**70, b"next"]
    assert [one.payload for one in msgpack.sent()] == [one.payload for one in protobuf.sent()] == [b"next"]
    assert feed.counts("published", "deliveries") == (2, 4)


def test_message_that_no_codec_can_hold_reaches_nobody() -> None:
    feed = Feed()
    json, msgpack = feed.client(), feed.client(format="msgpack")
    with pytest.raises(EncodeError):
        feed.broadcaster.broadcast(object())
    feed.broadcaster.broadcast("next")
    feed.loop.turn()
    assert [one.payload for one in json.sent()] == [one.payload for one in msgpack.sent()] == [b"next"]
    assert feed.faults == []
    assert feed.counts("published", "deliveries") == (1, 2)


def test_published_messages_reach_the_subscribers_alone() -> None:
    feed = Feed()
    one, other = feed.client(), feed.client()
    assert feed.broadcaster.subscribe(one.connection, "a")[0]
    assert not feed.broadcaster.subscribe(one.connection, "a")[0]
    assert feed.publish("a", "x") == 1
    assert feed.publish("nobody", "y") == 0
    feed.loop.turn()
    assert len(one.sent()) == 1
    assert other.sent() == []
    assert feed.broadcaster.channel_sizes() == {"a": 1}
    assert feed.broadcaster.unsubscribe(one.connection, "a")
    assert not feed.broadcaster.unsubscribe(one.connection, "a")
    assert feed.publish("a", "z") == 0
    assert feed.broadcaster.channel_sizes() == {}


def test_every_subscriber_can_leave_in_any_order() -> None:
    feed = Feed()
    clients = [feed.client() for _ in range(6)]
    for client in clients:
        feed.broadcaster.subscribe(client.connection, "a")
    for count, place in ((5, 0), (4, 4), (3, 2)):
        gone = clients.pop(place)
        feed.broadcaster.remove(gone.connection, ["a"])
        assert feed.publish("a", f"{count}") == count
        assert feed.broadcaster.broadcast("b") == count
        feed.loop.turn()
        assert gone.sent() == []
        assert all(len(client.sent()) == 2 for client in clients)


def test_laggard_costs_the_others_nothing_and_gets_all_once_it_reads() -> None:
    feed = Feed()
    slow, fast = feed.client(), feed.client()
    slow.transport.room = 50
    expected = []
    for number in range(500):
        feed.broadcaster.broadcast(f"message {number}")
        expected.append(b"message %d" % number)
        feed.loop.turn()
        assert len(fast.sent()) == 1
    assert feed.lagging == 1
    slow.transport.drain(room=500)
    slow.transport.drain()
    feed.loop.turn()
    assert [one.payload for one in slow.sent()] == expected
    assert feed.lagging == 0
    assert feed.cut == []


def test_laggard_over_the_bound_is_reported_and_the_others_are_not() -> None:
    feed = Feed(max_lag=10_000)
    slow, fast = feed.client(), feed.client()
    slow.transport.room = 0
    for _ in range(100):
        feed.broadcaster.broadcast(bytes(1000))
        feed.loop.turn()
        if feed.cut:
            slow.connection.connection_lost(None)
            feed.broadcaster.remove(slow.connection, [])
            break
    ((cut, queued),) = feed.cut
    assert cut is slow.connection
    assert 10_000 < queued <= 12_000
    assert len(fast.sent()) >= 10


def subscriber_that_does_not_read(feed: Feed, size: int, **settings: Any) -> Link:
    """A client with one message on its way and one of `size` bytes that waits in the log."""
    slow = feed.client(**settings)
    feed.broadcaster.subscribe(slow.connection, "quiet")
    slow.transport.room = 0
    slow.connection.send("before")
    feed.broadcaster.publish("quiet", bytes(size))
    feed.loop.turn()
    assert feed.lagging == 1
    return slow


def test_client_that_waits_for_little_does_not_hold_what_others_are_sent() -> None:
    feed = Feed(max_lag=100_000)
    slow, fast = subscriber_that_does_not_read(feed, 1000), feed.client()
    feed.broadcaster.subscribe(fast.connection, "busy")
    for number in range(200):
        feed.broadcaster.publish("busy", bytes(50_000))
        if number % 50 == 0:
            feed.broadcaster.publish("quiet", b"%d" % number)
        feed.loop.turn()
        assert len(fast.sent()) == 1
        assert feed.log_bytes <= 1 << 20
    assert feed.cut == []
    slow.connection.close(1000, "behind them")
    slow.transport.drain()
    expected = [b"before", bytes(1000), b"0", b"50", b"100", b"150", b"\x03\xe8behind them"]
    assert [one.payload for one in slow.sent()] == expected
    feed.loop.turn()
    assert feed.lagging == 0


def test_client_that_waits_for_more_than_it_may_hold_itself_is_as_far_behind_as_the_log() -> None:
    feed = Feed(max_lag=100_000)
    slow, fast = subscriber_that_does_not_read(feed, 50_000, max_send_queue=20_000), feed.client()
    feed.broadcaster.subscribe(fast.connection, "busy")
    for _ in range(20):
        feed.broadcaster.publish("busy", bytes(10_000))
        feed.loop.turn()
        if feed.cut:
            break
    ((cut, behind),) = feed.cut
    assert cut is slow.connection
    assert 100_000 < behind <= 112_000
    assert feed.log_bytes <= 1 << 20


def test_log_is_freed_when_the_last_laggard_has_read_on() -> None:
    feed = Feed(max_lag=1 << 30)
    slow = feed.client()
    slow.transport.room = 0
    for _ in range(100):
        feed.broadcaster.broadcast(bytes(100_000))
        feed.loop.turn()
    assert feed.log_bytes >= 9_000_000
    slow.transport.drain()
    while feed.loop.turn():
        pass
    assert len(slow.sent()) == 100
    assert feed.log_bytes <= 1 << 19
    assert feed.lagging == 0


def test_log_is_freed_when_the_last_laggard_is_lost() -> None:
    feed = Feed(max_lag=1 << 30)
    slow = feed.client()
    slow.transport.room = 0
    for _ in range(100):
        feed.broadcaster.broadcast(bytes(100_000))
        feed.loop.turn()
    slow.connection.connection_lost(None)
    feed.broadcaster.remove(slow.connection, [])
    while feed.loop.turn():
        pass
    assert feed.log_bytes <= 1 << 19
    assert feed.lagging == 0


def test_one_message_over_the_bound_reaches_a_client_that_keeps_up() -> None:
    feed = Feed(max_lag=10_000)
    client = feed.client()
    client.transport.room = 100
    feed.broadcaster.broadcast(bytes(1 << 20))
    feed.loop.turn()
    assert feed.cut == []
    feed.broadcaster.broadcast("behind it")
    feed.loop.turn()
    assert feed.cut == [], "what is on its way is no lag"
    client.transport.drain()
    feed.loop.turn()
    assert [len(one.payload) for one in client.sent()] == [1 << 20, 9]


@pytest.mark.parametrize("more", [b"logged", bytes(200_000)], ids=["little", "more than waits for a flush"])
def test_transport_that_has_us_publish_while_it_writes_costs_no_byte(
    more: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Feed()
    slow, first, last = feed.client(), feed.client(), feed.client()
    slow.transport.room = 0
    feed.broadcaster.broadcast("lags")
    feed.loop.turn()

    def write(data: bytes) -> None:
        # What a handler of the log does that publishes it.
        monkeypatch.undo()
        feed.broadcaster.broadcast(more)
        first.transport.write(data)

    monkeypatch.setattr(first.transport, "write", write)
    feed.broadcaster.broadcast("said")
    while feed.loop.turn():
        pass
    slow.transport.drain()
    for client in (slow, first, last):
        assert [one.payload for one in client.sent()] == [b"lags", b"said", more]


def test_transport_that_raises_is_no_concern_of_the_others_nor_of_who_publishes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    feed = Feed()
    broken, other = feed.client(), feed.client()

    def write(_: bytes) -> None:
        raise RuntimeError("closed under our feet")

    monkeypatch.setattr(broken.transport, "write", write)
    feed.broadcaster.broadcast(bytes(200_000))
    feed.broadcaster.broadcast("next")
    feed.loop.turn()
    assert [len(one.payload) for one in other.sent()] == [200_000, 4]
    assert broken.owner.calls == ["closing"]
    assert isinstance(broken.faults[0], RuntimeError)


def test_closing_connection_gets_nothing_more_and_does_not_count() -> None:
    feed = Feed()
    closing, other = feed.client(), feed.client()
    closing.connection.close(1000)
    assert feed.broadcaster.broadcast("x") == 1
    feed.loop.turn()
    assert len(closing.sent()) == 1
    assert len(other.sent()) == 1
    assert feed.counts("deliveries") == (1,)
