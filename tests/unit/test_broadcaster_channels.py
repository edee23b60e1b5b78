"""Channels: their numbers, who gets what, and what is remembered of them."""

import gc
import typing
import weakref
from typing import Any

import pytest
from tests.support.broadcasting import Feed, Publication, publication, publications
from tests.support.memory import Link
from tests.support.wire import BINARY, TEXT, Inflater

from websocket_utils import Message, PriceUpdate, _core
from websocket_utils.exceptions import EncodeError


class Tick(Message):
    n: int


class SpecialTick(Tick):
    pass


FORMATS = {
    "json": b'{"type":"Tick","n":1}',
    "msgpack": b"\x82\xa4type\xa4Tick\xa1n\x01",
    "protobuf": b"\xfa\x7f\x04Tick\x08\x01",
}


@pytest.mark.parametrize("format", FORMATS)
def test_publication_has_its_position_in_front_for_those_who_read_it_alone(format: str) -> None:
    feed = Feed(first_epoch=7)
    aware = feed.subscriber("a:b", format=format, sequenced=True)
    plain = feed.subscriber("a:b", format=format)
    feed.broadcaster.publish("a:b", Tick(n=1))
    feed.broadcaster.publish("a:b", Tick(n=1))
    feed.loop.turn()
    assert publications(aware.sent()) == [
        Publication((7, 1, 0), "a:b", FORMATS[format]),
        Publication((7, 2, 1), "a:b", FORMATS[format]),
    ]
    frames = plain.sent()
    assert [frame.payload for frame in frames] == [FORMATS[format]] * 2
    assert {frame.opcode for frame in frames} == {TEXT if format == "json" else BINARY}


@pytest.mark.parametrize("size", [60, 100, 125, 126, 65_500, 65_535, 65_536])
def test_frame_of_a_publication_is_whole_at_every_size(size: int) -> None:
    feed = Feed()
    client = feed.subscriber("a", sequenced=True)
    feed.broadcaster.publish("a", "x" * size)
    feed.loop.turn()
    (frame,) = client.sent()
    assert frame.opcode == TEXT
    assert publication(frame.payload) == Publication((1, 1, 0), "a", b"x" * size)


def test_each_channel_is_numbered_by_itself_and_in_an_epoch_of_its_own() -> None:
    feed = Feed(first_epoch=1 << 52)
    receipts = [feed.broadcaster.publish(channel, "x") for channel in ("a", "b", "a", "a", "b")]
    assert [(one.epoch - (1 << 52), one.sequence) for one in receipts] == [(0, 1), (1, 1), (0, 2), (0, 3), (1, 2)]
    assert feed.broadcaster.position("a") == (1 << 52, 3)
    assert feed.broadcaster.position("c") is None


def test_receipt_tells_position_and_subscribers_and_is_compared_by_them() -> None:
    feed = Feed()
    feed.subscriber("a")
    feed.subscriber("a", sequenced=True)
    receipt = feed.broadcaster.publish("a", "x")
    assert (receipt.epoch, receipt.sequence, receipt.subscribers) == (1, 1, 2)
    assert repr(receipt) == "Receipt(epoch=1, sequence=1, subscribers=2)"
    other = Feed()
    other.subscriber("a", "a*")
    assert receipt != other.broadcaster.publish("a", "x")
    assert len({receipt, feed.broadcaster.publish("a", "x")}) == 2


def test_broadcast_is_no_publication_and_what_looks_like_one_is_escaped() -> None:
    feed = Feed()
    aware, plain = feed.client(sequenced=True), feed.client()
    for payload in ("x", "\x1e1 2 1 a\n", b"\x1e", b"y"):
        feed.broadcaster.broadcast(payload)
    feed.loop.turn()
    assert [frame.payload for frame in plain.sent()] == [b"x", b"\x1e1 2 1 a\n", b"\x1e", b"y"]
    assert [frame.payload for frame in aware.sent()] == [b"x", b"\x1e\n\x1e1 2 1 a\n", b"\x1e\n\x1e", b"y"]


@pytest.mark.parametrize("deflate", [None, (15, False, 15, False)], ids=["plain", "compressing"])
def test_own_message_that_looks_like_a_publication_is_escaped_to_those_who_read_positions(deflate: Any) -> None:
    feed = Feed()
    aware = feed.client(sequenced=True, format="msgpack", deflate=deflate)
    plain = feed.client(format="msgpack", deflate=deflate)
    for link in (aware, plain):
        # Its MessagePack is the one byte 1E.
        for message in ("\x1ex", b"\x1e", 30, "z"):
            link.connection.send(message, compress=False if deflate is None else None)
        link.connection.end_turn()
    assert [frame.payload for frame in plain.sent()] == [b"\x1ex", b"\x1e", b"\x1e", b"z"]
    assert [frame.payload for frame in aware.sent()] == [b"\x1e\n\x1ex", b"\x1e\n\x1e", b"\x1e\n\x1e", b"z"]


def test_position_is_inside_of_a_compressed_payload() -> None:
    feed = Feed()
    aware = feed.subscriber("a", sequenced=True, deflate=(15, False, 15, False))
    plain = feed.subscriber("a", deflate=(15, False, 15, False))
    text = "x" * 5000
    feed.broadcaster.publish("a", text)
    feed.broadcaster.publish("a", "short")
    feed.loop.turn()
    first, second = aware.sent()
    assert first.is_compressed
    assert publication(Inflater().message(first)) == Publication((1, 1, 0), "a", text.encode())
    assert not second.is_compressed
    assert publication(second.payload) == Publication((1, 2, 1), "a", b"short")
    assert Inflater().message(plain.sent()[0]) == text.encode()


def test_client_is_no_connection_that_tells_positions() -> None:
    with pytest.raises(ValueError, match="server"):
        Link(is_client=True, sequenced=True)


# --- handles ---


def test_channel_handle_publishes_what_the_name_does() -> None:
    feed = Feed()
    client = feed.subscriber("a", sequenced=True)
    channel = feed.broadcaster.channel("a")
    first, second = channel.publish("x"), feed.broadcaster.publish("a", "y")
    third = channel.publish("z", compress=True)
    assert [one.sequence for one in (first, second, third)] == [1, 2, 3]
    assert (channel.name, channel.epoch, channel.sequence, channel.subscribers) == ("a", 1, 3, 1)
    feed.loop.turn()
    assert [one.payload for one in publications(client.sent())] == [b"x", b"y", b"z"]
    assert typing.get_origin(_core.Channel[PriceUpdate]) is _core.Channel


def test_handle_and_name_stay_one_channel_however_many_others_are_forgotten() -> None:
    feed = Feed()
    channel = feed.broadcaster.channel("kept")
    channel.publish("x")
    for number in range(70_000):
        feed.broadcaster.publish(f"{number}", b"")
    client = feed.subscriber("kept")
    assert channel.publish("y").subscribers == 1
    assert feed.broadcaster.position("kept") == (1, 2)
    feed.loop.turn()
    assert len(client.sent()) == 1


# --- names ---


@pytest.mark.parametrize("name", ["", "x" * 257, "a\nb", "a\x1eb", "a*", "*", "a*b", "\x85"])
def test_invalid_name_is_refused_and_nothing_is_made(name: str) -> None:
    feed = Feed()
    with pytest.raises(ValueError, match="no channel's name"):
        feed.broadcaster.publish(name, "x")
    with pytest.raises(ValueError, match="no channel's name"):
        feed.broadcaster.channel(name)
    assert feed.counts("channels", "published") == (0, 0)


def test_longest_name_of_any_language_is_a_channel() -> None:
    feed = Feed()
    name = "ж" * 256
    client = feed.subscriber(name, sequenced=True)
    feed.broadcaster.publish(name, "x")
    feed.loop.turn()
    assert publications(client.sent()) == [Publication((1, 1, 0), name, b"x")]


# --- patterns ---


def test_pattern_gets_every_channel_that_begins_so_and_those_made_later() -> None:
    feed = Feed()
    every, prices, exact = feed.subscriber("*"), feed.subscriber("prices:*"), feed.subscriber("prices:a*")
    for channel in ("prices:a", "prices:ab", "prices:b", "price", "other"):
        feed.broadcaster.publish(channel, channel)
    feed.loop.turn()
    assert [one.payload for one in every.sent()] == [b"prices:a", b"prices:ab", b"prices:b", b"price", b"other"]
    assert [one.payload for one in prices.sent()] == [b"prices:a", b"prices:ab", b"prices:b"]
    assert [one.payload for one in exact.sent()] == [b"prices:a", b"prices:ab"]


def test_pattern_that_comes_or_goes_is_heeded_by_channels_that_there_are() -> None:
    feed = Feed()
    feed.broadcaster.publish("a:b", "before")
    one, other = feed.subscriber("a:*"), feed.subscriber("a:*")
    assert feed.publish("a:b", "x") == 2
    assert feed.broadcaster.unsubscribe(one.connection, "a:*")
    assert not feed.broadcaster.unsubscribe(one.connection, "a:*")
    assert feed.publish("a:b", "y") == 1
    feed.broadcaster.remove(other.connection, ["a:*"])
    assert feed.publish("a:b", "z") == 0
    assert feed.counts("patterns", "subscriptions") == (0, 0)


def test_connection_gets_a_publication_once_however_many_of_its_subscriptions_match() -> None:
    feed = Feed()
    names = ("a:b", "a:*", "*", "a*")
    aware, plain = feed.subscriber(*names, sequenced=True), feed.subscriber(*names)
    other = feed.subscriber("a:*")
    assert feed.publish("a:b", "x") == 3
    assert feed.publish("a:b", "y") == 3
    feed.loop.turn()
    for link in (aware, plain, other):
        assert [one.payload for one in publications(link.sent())] == [b"x", b"y"]
    assert feed.counts("deliveries", "subscriptions", "patterns") == (6, 9, 3)


def test_patterns_are_not_written_into_the_channels_they_match() -> None:
    feed = Feed()
    for _ in range(200):
        feed.subscriber("a:*")
    for number in range(200):
        assert feed.publish(f"a:{number}", b"") == 200
    assert feed.broadcaster.channel_sizes() == {}
    assert feed.counts("subscriptions") == (200,)


def test_subscription_tells_where_each_channel_goes_on() -> None:
    feed = Feed()
    for channel, count in (("a:x", 3), ("a:y", 1), ("b", 2)):
        for _ in range(count):
            feed.broadcaster.publish(channel, "m")
    client = feed.client()
    subscribe = feed.broadcaster.subscribe
    assert subscribe(client.connection, "a:x") == (True, [("a:x", 1, 3, False)])
    assert subscribe(client.connection, "a:x") == (False, [("a:x", 1, 3, False)])
    assert subscribe(client.connection, "a:*") == (True, [("a:x", 1, 3, False), ("a:y", 2, 1, False)])
    assert subscribe(client.connection, "new") == (True, [("new", 4, 0, False)])


# --- types ---


def test_message_of_another_class_is_refused_and_nothing_is_numbered() -> None:
    feed = Feed()
    feed.declare("ticks", classes=(Tick, str))
    client = feed.subscriber("ticks:a", "other")
    with pytest.raises(TypeError, match=r'"ticks:a" takes Tick or str, not PriceUpdate'):
        feed.broadcaster.publish("ticks:a", PriceUpdate("a", "b", 1.0, timestamp=1))
    with pytest.raises(TypeError, match=r'"ticks" takes Tick or str, not bytes'):
        feed.broadcaster.channel("ticks").publish(b"x")
    assert feed.counts("published") == (0,)
    assert feed.publish("ticks:a", Tick(n=1)) == 1
    assert feed.publish("ticks:a", SpecialTick(n=2)) == 1
    assert feed.publish("other", b"x") == 1
    assert feed.broadcaster.position("ticks:a") == (1, 2)
    feed.loop.turn()
    assert len(client.sent()) == 3


def test_namespace_that_is_declared_late_holds_for_channels_that_there_are() -> None:
    feed = Feed()
    channel, alike = feed.broadcaster.channel("ticks:a"), feed.broadcaster.channel("ticksy:a")
    feed.declare("ticks", classes=(Tick,))
    with pytest.raises(TypeError):
        channel.publish("x")
    assert alike.publish("x").sequence == 1


def test_message_that_nobody_can_be_sent_has_no_number() -> None:
    feed = Feed()
    feed.subscriber("a")
    with pytest.raises(EncodeError):
        feed.broadcaster.publish("a", object())
    assert feed.broadcaster.publish("a", "x").sequence == 1
    # Nobody is there: it is not encoded.
    assert feed.broadcaster.publish("nobody", object()).sequence == 1


def test_message_that_one_codec_cannot_hold_is_numbered_once_for_the_others() -> None:
    feed = Feed()
    json, msgpack = feed.subscriber("a", sequenced=True), feed.subscriber("a", format="msgpack", sequenced=True)
    assert feed.publish("a", Tick(n=2**70)) == 1
    assert feed.publish("a", Tick(n=1)) == 2
    assert len(feed.faults) == 1
    feed.loop.turn()
    assert [one.position for one in publications(json.sent())] == [(1, 1, 0), (1, 2, 1)]
    # What it could not be sent is a hole in its chain, which it sees.
    assert [one.position for one in publications(msgpack.sent())] == [(1, 2, 1)]


@pytest.mark.parametrize("policy", [(), ("conflate",), ("drop_oldest", 1, 2), ("other", None)])
def test_policy_that_is_none_is_refused(policy: tuple[Any, ...]) -> None:
    with pytest.raises((ValueError, IndexError)):
        Feed().declare("a", policy=policy)


# --- numbers given elsewhere ---


def test_publication_numbered_elsewhere_keeps_its_numbers_and_the_next_goes_on_from_there() -> None:
    feed = Feed()
    client = feed.subscriber("a", sequenced=True)
    publish = feed.broadcaster.publish
    receipts = [publish("a", "1", at=(900, 5, 4)), publish("a", "2", at=(900, 9, 7)), publish("a", "3")]
    assert [(one.epoch, one.sequence) for one in receipts] == [(900, 5), (900, 9), (900, 10)]
    publish("a", "4", at=(901, 1, 0))
    feed.loop.turn()
    positions = [one.position for one in publications(client.sent())]
    assert positions == [(900, 5, 4), (900, 9, 7), (900, 10, 9), (901, 1, 0)]


@pytest.mark.parametrize("at", [(900, 5, 4), (900, 4, 3), (901, 5, 5), (901, 0, 0), (901, 1, 2), (1 << 53, 1, 0)])
def test_numbers_that_no_publication_can_have_are_refused(at: tuple[int, int, int]) -> None:
    feed = Feed()
    client = feed.subscriber("a")
    feed.broadcaster.publish("a", "x", at=(900, 5, 4))
    with pytest.raises(ValueError, match="no publication"):
        feed.broadcaster.publish("a", "y", at=at)
    assert feed.broadcaster.position("a") == (900, 5)
    feed.loop.turn()
    assert len(client.sent()) == 1


# --- taps ---


def test_tap_hears_each_publication_of_what_it_matches_and_nothing_else() -> None:
    feed = Feed()
    heard: list[tuple[Any, ...]] = []
    token = feed.broadcaster.tap("a:*", lambda *args: heard.append(args))
    exact = feed.broadcaster.tap("b", lambda *args: heard.append(args))
    feed.subscriber("a:x")
    for channel in ("a:x", "b", "bc", "a:x"):
        feed.broadcaster.publish(channel, f"in {channel}")
    feed.broadcaster.broadcast("to all")
    assert heard == [("a:x", 1, 1, 0, "in a:x"), ("b", 2, 1, 0, "in b"), ("a:x", 1, 2, 1, "in a:x")]
    assert feed.broadcaster.untap(token)
    assert not feed.broadcaster.untap(token)
    feed.broadcaster.publish("a:x", "unheard")
    assert feed.broadcaster.untap(exact)
    assert len(heard) == 3


def test_tap_may_publish_and_end_itself_and_its_error_is_reported() -> None:
    feed = Feed()
    client = feed.subscriber("a", "b")

    def callback(channel: str, *args: Any) -> None:
        feed.broadcaster.untap(token)
        feed.broadcaster.publish("b", f"heard in {channel}")
        raise RuntimeError("broken")

    token = feed.broadcaster.tap("*", callback)
    assert feed.publish("a", "x") == 1
    feed.loop.turn()
    assert [one.payload for one in client.sent()] == [b"x", b"heard in a"]
    assert [str(fault) for fault in feed.faults] == ["broken"]


# --- memory ---


def test_channels_without_subscribers_are_bounded_and_begin_anew_when_they_are_forgotten() -> None:
    feed = Feed()
    client = feed.subscriber("wanted")
    feed.broadcaster.publish("first", b"")
    feed.broadcaster.publish("wanted", b"")
    for number in range(65_600):
        feed.broadcaster.publish(f"{number}", b"")
        if number % 1000 == 0:
            feed.broadcaster.publish("busy", b"")
    (channels,) = feed.counts("channels")
    assert channels <= 65_536 + 1
    assert feed.broadcaster.position("first") is None
    assert feed.broadcaster.position("wanted") == (1, 1)
    assert feed.broadcaster.position("busy") is not None
    assert feed.broadcaster.position("65599") is not None
    receipt = feed.broadcaster.publish("first", b"")
    assert receipt.sequence == 1
    assert receipt.epoch > 65_600
    assert len(client.sent()) == 0


def test_names_that_clients_ask_for_and_leave_are_bounded() -> None:
    feed = Feed()
    client = feed.client()
    for number in range(20_000):
        feed.broadcaster.subscribe(client.connection, f"{number}")
        feed.broadcaster.unsubscribe(client.connection, f"{number}")
    assert feed.counts("channels", "subscriptions") == (8192, 0)


def test_position_outlives_the_subscribers() -> None:
    feed = Feed()
    client = feed.subscriber("a")
    feed.broadcaster.publish("a", "x")
    feed.broadcaster.remove(client.connection, ["a"])
    later = feed.client()
    assert feed.broadcaster.subscribe(later.connection, "a") == (True, [("a", 1, 1, False)])


def test_broadcaster_with_everything_in_it_is_collected() -> None:
    feed = Feed()

    class Callback:
        def __init__(self, feed: Feed) -> None:
            self.feed = feed

        def __call__(self, *_: Any) -> str:
            return "key"

    callback = Callback(feed)
    feed.declare("a", policy=("conflate", callback), classes=(Tick,))
    client = feed.client()
    feed.broadcaster.subscribe(client.connection, "a:*", policy=("conflate", callback))
    feed.broadcaster.subscribe(client.connection, "a:b", policy=("conflate", callback))
    feed.broadcaster.tap("a:*", callback)
    channel = feed.broadcaster.channel("a:b")
    channel.publish(Tick(n=1))
    gone = weakref.ref(callback)
    del feed, client, channel, callback
    gc.collect()
    assert gone() is None


# --- what there is ---


def test_table_of_channels_has_those_first_that_most_want() -> None:
    feed = Feed()
    feed.subscriber("b", "c")
    feed.subscriber("c", "c*")
    feed.broadcaster.publish("a", b"")
    feed.broadcaster.publish("c", b"")
    assert feed.broadcaster.channel_table(10) == [("c", 3, 2, 1), ("b", 1, 1, 0), ("a", 0, 3, 1)]
    assert feed.broadcaster.channel_table(2) == [("c", 3, 2, 1), ("b", 1, 1, 0)]
    assert feed.broadcaster.channel_table(0) == []
    assert feed.broadcaster.channel_sizes() == {"b": 1, "c": 2}
