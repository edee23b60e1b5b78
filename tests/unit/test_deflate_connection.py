"""permessage-deflate on one connection (RFC 7692), judged by the standard library's zlib."""

from typing import Any

import pytest
from tests.support.memory import BOTH_ROLES, Link
from tests.support.wire import BINARY, CLOSE, COMPRESSED, PING, PONG, TEXT, Deflater, Inflater, close_code, frame

from websocket_utils import Message
from websocket_utils.exceptions import EncodeError, SendQueueFull

TAKEOVER = (15, True, 15, True)
ALONE = (15, False, 15, False)
BOTH_AGREEMENTS = pytest.mark.parametrize("agreement", [TAKEOVER, ALONE], ids=["takeover", "no takeover"])
WORDS = "the quick brown fox jumps over the lazy dog "


class Note(Message):
    text: str


def text(number: int, size: int = 2000) -> str:
    return (f"{number} " + WORDS * (size // len(WORDS) + 1))[:size]


# --- sending ---


@BOTH_ROLES
@BOTH_AGREEMENTS
def test_message_is_compressed_from_the_threshold_on(is_client: bool, agreement: Any) -> None:
    link = Link(is_client=is_client, deflate=agreement, compression_threshold=100)
    for size in (0, 99, 100, 5000):
        link.connection.send("x" * size)
    link.connection.send(b"y" * 100)
    link.connection.send(Note(text="z" * 200))
    link.loop.turn()
    frames = link.sent()
    peer = Inflater(takeover=agreement[1])
    assert [one.is_compressed for one in frames] == [False, False, True, True, True, True]
    assert {one.masked for one in frames} == {is_client}
    assert [(one.opcode, peer.message(one)) for one in frames] == [
        (TEXT, b""),
        (TEXT, b"x" * 99),
        (TEXT, b"x" * 100),
        (TEXT, b"x" * 5000),
        (BINARY, b"y" * 100),
        (TEXT, b'{"type":"Note","text":"%s"}' % (b"z" * 200)),
    ]


def test_flag_decides_before_the_threshold_does() -> None:
    link = Link(deflate=TAKEOVER)
    link.connection.send("x" * 200, compress=True)
    link.connection.send("x" * 2000, compress=False)
    link.connection.send(memoryview(b"x" * 200), compress=True)
    link.loop.turn()
    frames = link.sent()
    peer = Inflater()
    assert [one.is_compressed for one in frames] == [True, False, True]
    assert [peer.message(one) for one in frames] == [b"x" * 200, b"x" * 2000, b"x" * 200]


@pytest.mark.parametrize("compress", [None, True, False])
def test_without_an_agreement_nothing_is_compressed(compress: bool | None) -> None:
    link = Link()
    link.connection.send("x" * 5000, compress=compress)
    # Its reader refuses reserved bits.
    assert [one.payload for one in link.sent()] == [b"x" * 5000]


def test_message_that_gets_no_smaller_leaves_as_it_is_and_the_next_ones_decode() -> None:
    link = Link(deflate=TAKEOVER)
    link.connection.send(text(1))
    link.connection.send(bytes(range(64)), compress=True)
    link.connection.send("", compress=True)
    link.connection.send(text(2))
    link.loop.turn()
    frames = link.sent()
    peer = Inflater()
    assert [one.is_compressed for one in frames] == [True, False, False, True]
    assert [peer.message(one) for one in frames] == [text(1).encode(), bytes(range(64)), b"", text(2).encode()]


@pytest.mark.parametrize("bits", range(8, 16))
@pytest.mark.parametrize("takeover", [True, False], ids=["takeover", "no takeover"])
def test_every_window_is_kept_to(bits: int, takeover: bool) -> None:
    link = Link(deflate=(bits, takeover, 15, True), compression_threshold=0)
    sent = [text(number, 700 * number) for number in range(1, 30)]
    for one in sent:
        link.connection.send(one)
        link.loop.turn()
    peer = Inflater(bits, takeover=takeover)
    assert [peer.message(one) for one in link.sent()] == [one.encode() for one in sent]


def test_history_makes_messages_smaller_than_they_are_alone() -> None:
    sizes = []
    for agreement in (TAKEOVER, ALONE):
        link = Link(deflate=agreement)
        for _ in range(3):
            link.connection.send(text(1))
        link.loop.turn()
        sizes.append([len(one.payload) for one in link.sent()])
    (first, second, third), alone = sizes
    assert second <= third + 2 < first
    assert len(set(alone)) == 1


def test_connections_without_takeover_take_turns_with_one_compressor() -> None:
    links = [Link(deflate=ALONE) for _ in range(3)]
    for number in range(5):
        for link in links:
            link.connection.send(text(number))
    for link in links:
        link.loop.turn()
        peer = Inflater(takeover=False)
        assert [peer.message(one) for one in link.sent()] == [text(number).encode() for number in range(5)]


@BOTH_AGREEMENTS
def test_full_queue_keeps_nothing_of_the_message_and_the_stream_decodes(agreement: Any) -> None:
    link = Link(deflate=agreement, max_send_queue=200)
    link.transport.room = 0
    expected = []
    refused = 0
    for number in range(60):
        message = text(number) if number % 5 else text(number, 100_000)
        try:
            link.connection.send(message)
            expected.append(message.encode())
        except SendQueueFull:
            refused += 1
            if refused % 2:
                link.transport.drain(room=0)
    assert refused >= 10
    assert len(expected) >= 10
    assert link.connection.sent_counters() == (len(expected), sum(map(len, expected)))
    link.transport.drain()
    link.loop.turn()
    peer = Inflater(takeover=agreement[1])
    frames = link.sent()
    assert all(one.is_compressed for one in frames)
    assert [peer.message(one) for one in frames] == expected


def test_message_that_cannot_be_encoded_leaves_the_stream_whole() -> None:
    link = Link(deflate=TAKEOVER)
    link.connection.send(text(1))
    with pytest.raises(EncodeError):
        link.connection.send(object(), compress=True)
    with pytest.raises(UnicodeEncodeError):
        link.connection.send("\ud800" * 2000)
    link.connection.send(text(2))
    link.loop.turn()
    peer = Inflater()
    assert [peer.message(one) for one in link.sent()] == [text(1).encode(), text(2).encode()]


def test_bytes_sent_are_those_before_compression() -> None:
    link = Link(deflate=TAKEOVER)
    link.connection.send(text(1, 5000))
    link.connection.send(b"x")
    assert link.connection.sent_counters() == (2, 5001)
    assert link.connection.send_queue_bytes < 100


@pytest.mark.parametrize("agreement", [(7, True, 15, True), (15, True, 16, True)])
def test_window_that_no_compressor_has_is_refused(agreement: Any) -> None:
    with pytest.raises(ValueError, match="8 to 15"):
        Link(deflate=agreement)


# --- receiving ---


@BOTH_ROLES
@BOTH_AGREEMENTS
def test_compressed_fragments_with_control_frames_between_give_the_message(is_client: bool, agreement: Any) -> None:
    masked = not is_client
    sender = Deflater(takeover=agreement[3])
    messages = [text(number, 3000).encode() for number in range(3)]
    data = b""
    for message in messages:
        payload = sender.payload(message)
        data += frame(TEXT, payload[:9], masked=masked, fin=False, reserved_bits=COMPRESSED)
        data += frame(PING, b"p", masked=masked)
        data += frame(0, payload[9:20], masked=masked, fin=False)
        data += frame(0, payload[20:], masked=masked)
        data += frame(BINARY, b"plain", masked=masked)
    expected = [part for message in messages for part in (message, b"plain")]
    for step in (len(data), 1, 7):
        link = Link(is_client=is_client, deflate=agreement)
        for at in range(0, len(data), step):
            link.receive(data[at : at + step])
        assert link.queued() == expected
        assert [(one.opcode, one.payload) for one in link.sent()] == [(PONG, b"p")] * 3
        assert link.faults == []


@pytest.mark.parametrize("bits", range(8, 16))
def test_every_window_is_read(bits: int) -> None:
    link = Link(deflate=(15, True, bits, True))
    sender = Deflater(max(bits, 9))
    messages = [text(number, 200 if bits == 8 else 3000).encode() for number in range(10 if bits > 8 else 1)]
    for message in messages:
        link.receive(frame(TEXT, sender.payload(message), masked=False, reserved_bits=COMPRESSED))
    assert link.queued() == messages


@pytest.mark.parametrize(
    ("payload", "code"),
    [(b"\xff\xff\xff", 1007), (Deflater().payload(b"\xff" * 100), 1007), (Deflater().payload(bytes(5000)), 1009)],
    ids=["no deflate stream", "text that is no UTF-8", "too big once inflated"],
)
def test_violation_inside_a_compressed_message_has_its_close_code(payload: bytes, code: int) -> None:
    link = Link(deflate=TAKEOVER, max_message_size=4096)
    link.receive(frame(TEXT, payload, masked=False, reserved_bits=COMPRESSED))
    (close,) = link.sent()
    assert (close.opcode, close_code(close.payload)) == (CLOSE, code)
    assert link.queued() == []


def test_compressed_message_without_an_agreement_is_a_violation() -> None:
    link = Link()
    link.receive(frame(TEXT, Deflater().payload(b"x"), masked=False, reserved_bits=COMPRESSED))
    assert [close_code(one.payload) for one in link.sent()] == [1002]


def test_bytes_fed_before_the_first_read_join_with_those_read_after_it() -> None:
    message = text(1).encode()
    data = frame(TEXT, Deflater().payload(message), masked=False, reserved_bits=COMPRESSED)
    for split in range(len(data) + 1):
        link = Link(deflate=TAKEOVER)
        given = bytes(data[:split])
        link.connection.feed_bytes(given)
        assert given == data[:split]
        link.receive(data[split:])
        assert link.queued() == [message]


# --- memory ---


@pytest.mark.parametrize("agreement", [None, TAKEOVER], ids=["plain", "compressed"])
def test_memory_of_a_big_message_is_given_back_in_the_read_that_ends_it(agreement: Any) -> None:
    link = Link(deflate=agreement, max_inbox=1 << 24)
    message = bytes(1 << 20)
    payload, bits = (Deflater().payload(message), COMPRESSED) if agreement else (message, 0)
    data = frame(BINARY, payload, masked=False, reserved_bits=bits)
    link.connection.feed_bytes(data[:-1])
    assert link.connection.held_bytes >= 1 << 19
    link.connection.feed_bytes(data[-1:])
    assert link.connection.held_bytes <= 8 << 10
    assert link.queued() == [message]


@pytest.mark.parametrize("agreement", [None, TAKEOVER], ids=["plain", "compressed"])
def test_memory_of_big_sends_is_given_back_once_they_have_left(agreement: Any) -> None:
    link = Link(deflate=agreement)
    for _ in range(2):
        link.connection.send(bytes(1 << 20), compress=False)
    link.loop.turn()
    assert link.connection.send_queue_bytes == 0
    assert link.connection.held_bytes <= 8 << 10
