import array
import math
import threading
from typing import Any

import pytest
from tests.support.memory import Link
from tests.support.wire import BINARY, CLOSE, PING, PONG, TEXT, Inflater, close_code, frame

from websocket_utils import PriceUpdate, _core
from websocket_utils.exceptions import ConnectionClosed, EncodeError, SendQueueFull

BOTH_ROLES = pytest.mark.parametrize("is_client", [True, False], ids=["client", "server"])
UPDATE = PriceUpdate(input_mint="SOL", output_mint="USDC", price=1.5, volume=7, timestamp=9)


def payloads(link: Link) -> list[bytes]:
    return [one.payload for one in link.sent()]


@BOTH_ROLES
def test_first_message_of_a_turn_leaves_at_once_and_the_rest_together(is_client: bool) -> None:
    link = Link(is_client=is_client)
    for number in range(5):
        link.connection.send(f"m{number}")
    assert len(link.transport.writes) == 1
    assert payloads(link) == [b"m0"]
    link.loop.turn()
    assert len(link.transport.writes) == 2
    assert payloads(link) == [b"m1", b"m2", b"m3", b"m4"]


def test_next_turn_begins_with_a_message_that_leaves_at_once() -> None:
    link = Link()
    for _ in range(3):
        link.connection.send("x")
        assert len(link.sent()) == 1
        link.loop.turn()
        assert link.loop.turn() == 0, "a turn with nothing left to do asks for no other"


def test_turn_that_never_ends_is_flushed_every_64_kib() -> None:
    link = Link()
    message = b"x" * 1000
    for _ in range(1000):
        link.connection.send(message)
        assert link.connection.send_queue_bytes < 64 * 1024 + 1010
    # 999 messages of 1 008 bytes, at 64 KiB each, less what still waits.
    assert 10 <= len(link.transport.writes) <= 17
    link.loop.turn()
    assert payloads(link) == [message] * 1000


@BOTH_ROLES
def test_frames_are_masked_by_clients_alone(is_client: bool) -> None:
    link = Link(is_client=is_client)
    link.connection.send("text")
    link.connection.send(b"binary")
    link.connection.send(UPDATE)
    link.loop.turn()
    text, binary, typed = link.sent()
    assert (text.opcode, binary.opcode, typed.opcode) == (TEXT, BINARY, TEXT)
    assert {one.masked for one in (text, binary, typed)} == {is_client}
    assert b'"price":1.5' in typed.payload


def test_nothing_is_written_past_what_the_transport_holds() -> None:
    link = Link()
    link.transport.room = 10
    messages = [f"message number {number}" for number in range(50)]
    for message in messages:
        link.connection.send(message)
        link.loop.turn()
    assert len(link.transport.writes) == 1
    # MemoryTransport.write itself refuses to be written past what it holds.
    link.transport.drain(room=100)
    link.transport.drain()
    assert payloads(link) == [message.encode() for message in messages]
    assert link.connection.send_queue_bytes == 0


def test_first_message_waits_while_the_transport_is_busy_from_the_start() -> None:
    link = Link(busy=True)
    link.connection.send("early")
    link.loop.turn()
    assert link.transport.writes == []
    link.connection.resume_writing()
    assert payloads(link) == [b"early"]


def test_handed_over_pieces_are_bounded() -> None:
    link = Link()
    link.connection.send(bytes(1 << 20))
    assert max(len(data) for data in link.transport.writes) <= 256 * 1024
    assert payloads(link) == [bytes(1 << 20)]


def test_full_queue_raises_and_keeps_nothing_of_the_message() -> None:
    link = Link(max_send_queue=1000)
    link.transport.room = 0
    link.connection.send(b"f" * 10)
    link.connection.send(b"a" * 600)
    with pytest.raises(SendQueueFull) as caught:
        link.connection.send(b"b" * 600)
    queued = link.connection.send_queue_bytes
    assert (caught.value.queued, caught.value.size, caught.value.limit) == (queued, 608, 1000)
    assert link.connection.sent_counters()[0] == 2
    link.connection.send(b"c" * 300)
    link.transport.drain()
    assert payloads(link) == [b"f" * 10, b"a" * 600, b"c" * 300]


def test_big_message_that_is_refused_or_has_left_holds_nothing_while_others_wait() -> None:
    link = Link(max_send_queue=100_000)
    link.transport.room = 0
    link.connection.send(b"held by the transport")
    link.connection.send(b"waits")
    with pytest.raises(SendQueueFull):
        link.connection.send(bytes(8 << 20))
    assert link.connection.held_bytes <= 128 << 10

    link = Link(max_send_queue=100_000)
    link.transport.room = 0
    link.connection.send(bytes(4 << 20))
    while link.connection.send_queue_bytes > 50_000:
        link.transport.drain(room=0)
    assert link.connection.send_queue_bytes > 0
    assert link.connection.held_bytes <= 512 << 10


def test_one_message_over_the_bound_passes_an_empty_queue() -> None:
    link = Link(max_send_queue=1000)
    link.transport.room = 0
    link.connection.send(b"first")
    link.connection.send(bytes(1 << 24))
    with pytest.raises(SendQueueFull):
        link.connection.send(b"x")
    link.transport.drain()
    assert payloads(link) == [b"first", bytes(1 << 24)]


def test_message_that_cannot_be_encoded_leaves_the_stream_whole() -> None:
    link = Link()
    link.connection.send("before")
    with pytest.raises(EncodeError):
        link.connection.send(object())
    link.connection.send("after")
    link.loop.turn()
    assert payloads(link) == [b"before", b"after"]


def test_sending_from_another_thread_raises_and_sends_nothing() -> None:
    link = Link()
    raised: list[BaseException] = []

    def elsewhere() -> None:
        try:
            link.connection.send("x")
        except RuntimeError as error:
            raised.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(5)
    assert "call_soon_threadsafe" in str(raised[0])
    assert link.transport.writes == []


@BOTH_ROLES
def test_handler_may_send_and_the_answers_of_one_read_leave_in_two_writes(is_client: bool) -> None:
    link = Link(is_client=is_client)
    link.inbox.on(str, lambda text: link.connection.send(f"re {text}"))
    link.receive(b"".join(frame(TEXT, f"{number}".encode(), masked=not is_client) for number in range(10)))
    assert len(link.transport.writes) == 2
    assert payloads(link) == [f"re {number}".encode() for number in range(10)]
    assert link.loop.turn() == 0


def test_close_frame_leaves_behind_all_that_is_queued() -> None:
    link = Link()
    link.transport.room = 0
    link.connection.send("a")
    link.connection.send("b")
    link.connection.close(1000, "done")
    with pytest.raises(ConnectionClosed):
        link.connection.send("c")
    link.transport.drain()
    a, b, close = link.sent()
    assert (a.payload, b.payload) == (b"a", b"b")
    assert (close.opcode, close_code(close.payload), close.payload[2:]) == (CLOSE, 1000, b"done")


def test_pong_flood_is_bounded_and_the_latest_ping_is_answered() -> None:
    link = Link(is_client=False, max_send_queue=4096)
    link.transport.room = 0
    link.connection.send("x")
    for number in range(1000):
        link.receive(frame(PING, b"%0100d" % number, masked=True))
    assert link.connection.send_queue_bytes <= 4096
    link.transport.drain()
    pongs = [one.payload for one in link.sent() if one.opcode == PONG]
    # RFC 6455 section 5.5.3: an endpoint may answer only the most recent of many pings.
    assert pongs[-1] == b"%0100d" % 999
    assert pongs[:-1] == [b"%0100d" % number for number in range(len(pongs) - 1)]


@pytest.mark.parametrize(("room", "is_kept"), [(12, True), (11, False)])
def test_pong_is_queued_if_the_bound_holds_with_it(room: int, is_kept: bool) -> None:
    link = Link(is_client=False, max_send_queue=1000)
    link.transport.room = 0
    link.connection.send("held by the transport")
    link.connection.send(b"a" * (1000 - room - 4))
    before = link.connection.send_queue_bytes
    assert before == 1000 - room
    link.receive(frame(PING, b"ten bytes.", masked=True))
    assert link.connection.send_queue_bytes == before + (12 if is_kept else 0)
    link.transport.drain()
    assert payloads(link)[2:] == [b"ten bytes."]


def test_pong_that_waits_for_room_gives_way_to_a_later_one_that_has_it() -> None:
    link = Link(is_client=False, max_send_queue=1000)
    link.transport.room = 0
    link.connection.send("held by the transport")
    link.connection.send(b"a" * 980)
    link.receive(frame(PING, b"long" * 20, masked=True))
    link.receive(frame(PING, b"short", masked=True))
    link.transport.drain()
    assert payloads(link)[2:] == [b"short"]


@BOTH_ROLES
def test_ping_is_answered_until_the_peer_closes_too(is_client: bool) -> None:
    link = Link(is_client=is_client)
    link.connection.close(1000)
    link.receive(frame(PING, b"still there?", masked=not is_client))
    link.receive(frame(CLOSE, b"", masked=not is_client) + frame(PING, b"too late", masked=not is_client))
    # A close frame ends data, not control frames (RFC 6455 sections 5.5.1 and 5.5.2).
    assert [one.opcode for one in link.sent()] == [CLOSE, PONG]


@BOTH_ROLES
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 100_000])
def test_bytes_sent_are_those_of_the_payload(is_client: bool, size: int) -> None:
    link = Link(is_client=is_client)
    link.connection.send(bytes(size))
    assert link.connection.sent_counters() == (1, size)


def test_sends_and_broadcasts_on_one_connection_keep_their_order() -> None:
    link, broadcaster = _with_broadcaster()
    expected: list[bytes] = []
    for number in range(300):
        text = f"{number} " + "x" * (number % 50)
        if number % 3:
            link.connection.send(text)
        else:
            broadcaster.broadcast(text)
        expected.append(text.encode())
        if number % 70 == 69:
            link.loop.turn()
        if number == 100:
            link.transport.room = 0
        if number == 200:
            link.transport.drain(room=77)
    link.transport.drain()
    link.loop.turn()
    assert payloads(link) == expected


def _with_broadcaster(max_lag: int = 1 << 20) -> tuple[Link, Any]:
    probe = Link()
    laggards: list[tuple[Any, int]] = []
    broadcaster = _core.Broadcaster(
        probe.loop, lambda *lag: laggards.append(lag), lambda error: pytest.fail(str(error)), max_lag=max_lag
    )
    link = Link(is_client=False, event_loop=probe.loop, broadcaster=broadcaster)
    broadcaster.add(link.connection)
    return link, broadcaster


# --- payloads of every kind of memory ---

DOUBLES = array.array("d", [1.5, -0.0, math.inf] * 100)
GRID = memoryview(bytes(range(240))).cast("B", (20, 12))
BUFFERS: dict[str, tuple[Any, bytes]] = {
    "bytes": (b"plain" * 50, b"plain" * 50),
    "bytearray": (bytearray(b"plain" * 50), b"plain" * 50),
    "view into the middle": (memoryview(b"x" * 100 + b"middle" + b"y" * 100)[100:106], b"middle"),
    "every second byte": (memoryview(bytes(range(256)))[::2], bytes(range(0, 256, 2))),
    "backwards": (memoryview(bytes(range(256)))[::-1], bytes(reversed(range(256)))),
    "two dimensions": (GRID, bytes(range(240))),
    "doubles as bytes": (memoryview(DOUBLES).cast("B"), DOUBLES.tobytes()),
    "array of bytes": (array.array("B", range(200)), bytes(range(200))),
    "nothing": (memoryview(b""), b""),
}


@BOTH_ROLES
@pytest.mark.parametrize("deflate", [None, (15, True, 15, True)], ids=["plain", "compressed"])
@pytest.mark.parametrize("case", BUFFERS)
def test_payload_of_any_memory_is_sent_byte_for_byte(case: str, is_client: bool, deflate: Any) -> None:
    buffer, expected = BUFFERS[case]
    link = Link(is_client=is_client, deflate=deflate)
    link.connection.send(buffer, compress=deflate is not None)
    (sent,) = link.sent()
    assert sent.opcode == BINARY
    assert Inflater().message(sent) == expected


@BOTH_ROLES
@pytest.mark.parametrize(
    "wrong",
    [DOUBLES, memoryview(DOUBLES), memoryview(DOUBLES)[::2], array.array("H", [1, 2])],
    ids=["doubles", "a view of doubles", "each other double", "shorts"],
)
def test_buffer_of_anything_but_bytes_is_refused_and_nothing_is_sent(wrong: Any, is_client: bool) -> None:
    link = Link(is_client=is_client)
    with pytest.raises(TypeError, match="format 'B'"):
        link.connection.send(wrong)
    link.loop.turn()
    assert link.sent() == []
