"""Broadcasts to compressed and plain connections at once, judged by the standard library's zlib."""

import random
from typing import Any, cast

import msgspec
import pytest
from tests.support.memory import Link, VirtualLoop
from tests.support.wire import Inflater

from websocket_utils import Message, _core
from websocket_utils.exceptions import EncodeError

TAKEOVER = (15, True, 15, True)
ALONE = (15, False, 15, False)


class Big(Message):
    n: int
    note: str = ""


class Feed:
    """A broadcaster with clients of every kind, in memory."""

    def __init__(self, *, max_lag: int = 1 << 20, **settings: int) -> None:
        self.loop = VirtualLoop()
        self.cut: list[Any] = []
        self.faults: list[Exception] = []
        self.broadcaster = _core.Broadcaster(
            cast("Any", self.loop), lambda *lag: self.cut.append(lag), self.faults.append, max_lag=max_lag, **settings
        )

    def client(self, **settings: Any) -> Link:
        link = Link(is_client=False, event_loop=self.loop, broadcaster=self.broadcaster, **settings)
        self.broadcaster.add(link.connection)
        return link


def test_who_agreed_is_sent_compressed_frames_and_the_others_plain_ones() -> None:
    feed = Feed()
    plain, compressed, small = feed.client(), feed.client(deflate=TAKEOVER), feed.client(deflate=(12, True, 15, True))
    assert feed.broadcaster.broadcast("x" * 5000) == 3
    feed.loop.turn()
    for link, is_compressed in ((plain, False), (compressed, True), (small, False)):
        (one,) = link.sent()
        assert one.is_compressed is is_compressed
        assert Inflater().message(one) == b"x" * 5000
    assert list(feed.broadcaster.counters().values())[:3] == [1, 3, 15_000]


@pytest.mark.parametrize("bits", [9, 12, 15])
def test_window_of_the_broadcaster_is_read_by_all_who_agreed_to_it_or_more(bits: int) -> None:
    feed = Feed(compression_window_bits=bits)
    clients = [(own, feed.client(deflate=(own, True, 15, True))) for own in range(8, 16)]
    text = "".join(f"{number} and so on, " for number in range(4000))
    feed.broadcaster.broadcast(text)
    feed.loop.turn()
    for own, client in clients:
        (one,) = client.sent()
        assert one.is_compressed is (own >= bits)
        assert Inflater(own).message(one) == text.encode()


@pytest.mark.parametrize(
    ("size", "compress", "expected"),
    [(99, None, False), (100, None, True), (50, True, True), (5000, False, False), (0, True, False)],
)
def test_threshold_and_flag_decide(size: int, compress: bool | None, expected: bool) -> None:
    feed = Feed(compression_threshold=100)
    client, other = feed.client(deflate=TAKEOVER), feed.client(deflate=ALONE)
    feed.broadcaster.subscribe(client.connection, "a")
    feed.broadcaster.publish("a", "x" * size, compress=compress)
    feed.broadcaster.broadcast("y" * size, compress=compress)
    feed.loop.turn()
    peer = Inflater()
    frames = client.sent()
    assert [one.is_compressed for one in frames] == [expected, expected]
    assert [peer.message(one) for one in frames] == [b"x" * size, b"y" * size]
    assert [Inflater().message(one) for one in other.sent()] == [b"y" * size]


def test_message_that_gets_no_smaller_is_sent_plain_to_all() -> None:
    feed = Feed()
    clients = [feed.client(deflate=TAKEOVER), feed.client()]
    noise = random.Random(7).randbytes(5000)
    feed.broadcaster.broadcast(noise)
    feed.loop.turn()
    for client in clients:
        (one,) = client.sent()
        assert not one.is_compressed
        assert one.payload == noise


def test_message_is_encoded_for_each_codec_and_compressed_for_each() -> None:
    feed = Feed()
    formats = ["json", "json", "msgpack", "msgpack"]
    clients = [
        feed.client(format=codec, deflate=deflate)
        for codec, deflate in zip(formats, [None, TAKEOVER, None, ALONE], strict=True)
    ]
    message = Big(n=1, note="x" * 2000)
    assert feed.broadcaster.broadcast(message) == 4
    feed.loop.turn()
    for codec, client in zip(formats, clients, strict=True):
        (one,) = client.sent()
        assert Inflater().message(one) == _core.Encoder(cast("Any", codec)).encode(message)


def test_message_that_one_codec_cannot_hold_reaches_the_others_and_spoils_no_window() -> None:
    feed = Feed(compression_threshold=0)
    clients = [feed.client(deflate=TAKEOVER), feed.client(format="msgpack", deflate=TAKEOVER), feed.client()]
    peers = [Inflater() for _ in clients]
    big = Big(n=2**70, note="x" * 2000)
    feed.broadcaster.broadcast("before " * 100)
    assert feed.broadcaster.broadcast(big) == 2
    with pytest.raises(EncodeError):
        feed.broadcaster.broadcast(object())
    feed.broadcaster.broadcast("behind " * 100)
    feed.loop.turn()
    held = msgspec.json.encode(big)
    for client, peer, between in zip(clients, peers, ([held], [], [held]), strict=True):
        assert [peer.message(one) for one in client.sent()] == [b"before " * 100, *between, b"behind " * 100]


@pytest.mark.parametrize("agreement", [TAKEOVER, ALONE, (15, True, 9, False)])
def test_own_sends_between_broadcasts_decode_with_one_window(agreement: Any) -> None:
    feed = Feed()
    client = feed.client(deflate=agreement)
    rng = random.Random(5)
    peer = Inflater(takeover=agreement[1])
    expected: list[bytes] = []
    received: list[bytes] = []
    for number in range(400):
        text = f"{number} " + "some text that comes again " * rng.randrange(1, 200)
        compress = rng.choice([None, None, True, False])
        if rng.random() < 0.5:
            client.connection.send(text, compress=compress)
        else:
            feed.broadcaster.broadcast(text, compress=compress)
        expected.append(text.encode())
        if number % 60 == 59:
            client.transport.room = 0
            client.connection.send("held")
            expected.append(b"held")
        if number % 60 == 29:
            client.transport.drain()
        if rng.random() < 0.2:
            feed.loop.turn()
            received += [peer.message(one) for one in client.sent()]
    client.transport.drain()
    while feed.loop.turn():
        pass
    received += [peer.message(one) for one in client.sent()]
    assert received == expected


def test_plain_broadcast_leaves_the_history_of_own_messages() -> None:
    feed = Feed()
    client = feed.client(deflate=TAKEOVER)
    text = "".join(f"{number} " for number in range(800))
    sizes = []
    for between in ("short", "long " * 1000):
        client.connection.send(text)
        feed.broadcaster.broadcast(between)
        client.connection.send(text)
        feed.loop.turn()
        first, _, second = client.sent()
        sizes.append((len(first.payload), len(second.payload)))
    (first_size, behind_plain), (_, behind_compressed) = sizes
    assert behind_plain < first_size / 10
    assert behind_compressed == pytest.approx(first_size, rel=0.1)


def test_laggards_of_every_kind_get_all_and_the_logs_are_freed() -> None:
    feed = Feed(max_lag=1 << 30)
    links = [feed.client(), feed.client(deflate=TAKEOVER), feed.client(format="msgpack", deflate=ALONE)]
    for link in links:
        link.transport.room = 50
    rng = random.Random(3)
    expected = [rng.randbytes(20_000).hex().encode() for _ in range(60)]
    for message in expected:
        feed.broadcaster.broadcast(message.decode())
        feed.loop.turn()
    assert feed.broadcaster.counters()["lagging"] == 3
    for link in links:
        link.transport.drain()
    while feed.loop.turn():
        pass
    for link in links:
        peer = Inflater()
        assert [peer.message(one) for one in link.sent()] == expected
    assert feed.broadcaster.counters()["lagging"] == 0
    assert feed.broadcaster.counters()["held_bytes"] <= 4 * (256 << 10)
    assert feed.cut == []


@pytest.mark.parametrize("bits", [7, 16])
def test_window_that_no_compressor_has_is_refused(bits: int) -> None:
    with pytest.raises(ValueError, match="8 to 15"):
        Feed(compression_window_bits=bits)
