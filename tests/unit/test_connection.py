import asyncio
import gc
import itertools
import weakref
from collections.abc import Callable
from typing import Any, cast

import pytest
from tests.support.memory import Link
from tests.support.wire import BINARY, CLOSE, PING, PONG, TEXT, Frame, close_code, close_frame, frame

from websocket_utils import Message, Pong, PriceUpdate
from websocket_utils.exceptions import Close, ConnectionClosedError, ConnectionClosedOK, DecodeError, LocalProtocolError

BOTH_ROLES = pytest.mark.parametrize("is_client", [True, False], ids=["client", "server"])


class Tick(Message):
    n: int


def tick(number: int, *, masked: bool = False) -> bytes:
    return frame(TEXT, b'{"type":"Tick","n":%d}' % number, masked=masked)


# --- reading ---


def conversation(*, masked: bool) -> bytes:
    """Messages of all length forms, in fragments, with control frames between and inside them."""
    return b"".join(
        [
            frame(TEXT, "grüße".encode(), masked=masked),
            frame(PING, b"p1", masked=masked),
            frame(BINARY, b"", masked=masked),
            frame(BINARY, bytes(range(130)), masked=masked),
            frame(TEXT, b"frag", masked=masked, fin=False),
            frame(PING, b"", masked=masked),
            frame(0, b"ment", masked=masked),
            frame(PONG, b"unasked", masked=masked),
            close_frame(1000, "bye", masked=masked),
        ]
    )


CONVERSATION_MESSAGES = ["grüße".encode(), b"", bytes(range(130)), b"fragment"]


@BOTH_ROLES
def test_every_split_of_the_input_gives_the_same_messages_and_answers(is_client: bool) -> None:
    data = conversation(masked=not is_client)
    for split in range(len(data) + 1):
        link = Link(is_client=is_client)
        link.receive(data[:split])
        link.receive(data[split:])
        assert link.queued() == CONVERSATION_MESSAGES, split
        assert [(one.opcode, one.payload) for one in link.sent()] == [
            (PONG, b"p1"),
            (PONG, b""),
            (CLOSE, (1000).to_bytes(2, "big")),
        ], split
        assert link.owner.calls == ["closing"]
        assert link.faults == []


@BOTH_ROLES
def test_one_byte_a_read_gives_the_same_messages(is_client: bool) -> None:
    link = Link(is_client=is_client)
    for byte in conversation(masked=not is_client):
        link.receive(bytes([byte]))
    assert link.queued() == CONVERSATION_MESSAGES


@BOTH_ROLES
def test_pings_are_answered_in_the_read_that_brings_them_in_one_write(is_client: bool) -> None:
    link = Link(is_client=is_client)
    link.receive(b"".join(frame(PING, b"%d" % number, masked=not is_client) for number in range(20)))
    assert len(link.transport.writes) == 1
    assert [(one.opcode, one.payload, one.masked) for one in link.sent()] == [
        (PONG, b"%d" % number, is_client) for number in range(20)
    ]


def test_frames_fed_before_the_handover_join_with_those_read_after_it() -> None:
    link = Link()
    link.connection.feed_frame(False, 0, TEXT, b"first half, ")
    link.connection.feed_frame(True, 0, PING, b"p")
    link.receive(frame(0, b"second half", masked=False))
    assert link.queued() == [b"first half, second half"]
    assert link.sent() == [Frame(PONG, b"p", True, True)]


# --- the closing handshake ---


@pytest.mark.parametrize(
    ("payload", "echoed"),
    [(b"", b""), (b"\x03\xe8", b"\x03\xe8"), (b"\x0f\xa0why", b"\x0f\xa0")],
    ids=["empty", "1000", "4000 with a reason"],
)
@BOTH_ROLES
def test_close_is_echoed_once_and_the_server_ends_the_transport(is_client: bool, payload: bytes, echoed: bytes) -> None:
    link = Link(is_client=is_client)
    link.receive(frame(CLOSE, payload, masked=not is_client) + frame(TEXT, b"too late", masked=not is_client))
    link.receive(frame(CLOSE, payload, masked=not is_client))
    assert [(one.opcode, one.payload) for one in link.sent()] == [(CLOSE, echoed)]
    assert link.transport.is_closed is not is_client
    assert not link.transport.has_eof
    assert link.queued() == []
    link.connection.connection_lost(None)
    link.connection.connection_lost(None)
    assert link.owner.calls == ["closing", "lost"]
    error = link.connection.closed_error()
    assert error.received.code == (int.from_bytes(payload[:2], "big") or 1005)
    assert error.initiator == "peer"


def test_close_is_echoed_behind_what_the_transport_holds_and_ends_it_only_then() -> None:
    link = Link(is_client=False)
    link.transport.room = 0
    link.connection.send("held")
    link.connection.send("queued")
    link.receive(close_frame(1000, masked=True))
    assert not link.transport.is_closed
    link.transport.drain()
    assert [one.opcode for one in link.sent()] == [TEXT, TEXT, CLOSE]
    assert link.transport.is_closed


@BOTH_ROLES
def test_own_close_is_sent_once_and_messages_still_arrive_until_the_answer(is_client: bool) -> None:
    link = Link(is_client=is_client)
    link.connection.close(1001, "going")
    link.connection.close(1000, "again")
    link.receive(frame(TEXT, b"on its way", masked=not is_client) + close_frame(1001, masked=not is_client))
    (close,) = link.sent()
    assert (close.opcode, close_code(close.payload), close.payload[2:]) == (CLOSE, 1001, b"going")
    assert link.queued() == [b"on its way"]
    link.connection.connection_lost(None)
    assert link.owner.calls == ["closing", "lost"]
    error = link.connection.closed_error()
    assert type(error) is ConnectionClosedOK
    assert (error.sent, error.received, error.initiator) == (Close(1001, "going"), Close(1001), "local")


def test_close_with_a_code_that_must_not_travel_raises_and_sends_nothing() -> None:
    link = Link()
    with pytest.raises(LocalProtocolError):
        link.connection.close(1005)
    assert link.sent() == []
    assert link.connection.is_open
    link.connection.send("still open")
    assert [one.payload for one in link.sent()] == [b"still open"]


def test_transport_that_is_lost_without_a_close_frame_is_an_error() -> None:
    link = Link()
    reset = ConnectionResetError("reset by peer")
    link.connection.connection_lost(reset)
    assert link.owner.calls == ["lost"]
    assert link.owner.error is reset
    with pytest.raises(ConnectionClosedError) as caught:
        link.connection.send("x")
    assert caught.value.initiator == "transport"


# --- violations of the protocol ---

VIOLATIONS = {
    "reserved bit": (lambda masked: frame(TEXT, b"x", masked=masked, reserved_bits=4), 1002),
    "reserved opcode": (lambda masked: frame(0x3, b"x", masked=masked), 1002),
    "wrong mask bit": (lambda masked: frame(TEXT, b"x", masked=not masked), 1002),
    "continuation of nothing": (lambda masked: frame(0, b"x", masked=masked), 1002),
    "fragmented ping": (lambda masked: frame(PING, b"x", masked=masked, fin=False), 1002),
    "text that is no UTF-8": (lambda masked: frame(TEXT, b"\xff", masked=masked), 1007),
    "close reason that is no UTF-8": (lambda masked: frame(CLOSE, b"\x03\xe8\xff", masked=masked), 1007),
    "message too big": (lambda masked: frame(BINARY, bytes(5000), masked=masked), 1009),
    "close code that must not travel": (lambda masked: close_frame(1005, masked=masked), 1002),
}


@pytest.mark.parametrize(("broken", "code"), VIOLATIONS.values(), ids=VIOLATIONS)
@BOTH_ROLES
def test_violation_is_answered_with_its_close_code_and_a_half_close(
    is_client: bool, broken: Callable[[bool], bytes], code: int
) -> None:
    link = Link(is_client=is_client, max_message_size=4096)
    masked = not is_client
    link.receive(frame(TEXT, b"before", masked=masked) + broken(masked) + frame(TEXT, b"behind", masked=masked))
    link.receive(frame(PING, b"dropped too", masked=masked))
    (close,) = link.sent()
    assert (close.opcode, close_code(close.payload)) == (CLOSE, code)
    assert link.queued() == [b"before"]
    # Closing with unread bytes would reset the connection and could overtake the close frame.
    assert link.transport.has_eof
    assert not link.transport.is_closed
    assert link.connection.fault is not None
    assert link.connection.fault[0] == code
    assert link.owner.calls == ["closing"]
    link.connection.connection_lost(None)
    assert link.owner.calls == ["closing", "lost"]


def test_violation_over_tls_closes_the_transport_which_has_no_half_close() -> None:
    link = Link()
    link.transport.has_half_close = False
    link.receive(frame(0x3, b"", masked=False))
    assert link.transport.is_closed


def test_violation_after_our_close_frame_sends_no_second_one() -> None:
    link = Link()
    link.connection.close()
    link.receive(frame(0x3, b"", masked=False))
    assert [close_code(one.payload) for one in link.sent()] == [1000]
    assert link.owner.calls == ["closing"]


# --- handlers ---


def test_handler_that_raises_is_reported_and_the_read_goes_on() -> None:
    link = Link()
    seen: list[int] = []

    def handler(message: Tick) -> None:
        seen.append(message.n)
        raise ValueError(message.n)

    link.inbox.on(Tick, handler)
    link.receive(tick(1) + tick(2))
    assert seen == [1, 2]
    assert [str(fault) for fault in link.faults] == ["1", "2"]
    assert link.inbox.counters()[3] == 2
    assert link.connection.is_open


def test_handler_that_ends_the_program_ends_it() -> None:
    link = Link()

    def handler(_message: Tick) -> None:
        raise KeyboardInterrupt

    link.inbox.on(Tick, handler)
    with pytest.raises(KeyboardInterrupt):
        link.receive(tick(1))
    assert link.faults == []


def test_message_that_a_handler_cannot_be_given_is_reported_and_the_read_goes_on() -> None:
    link = Link()
    seen: list[int] = []
    link.inbox.on(Tick, lambda message: seen.append(message.n))
    link.receive(tick(1) + frame(TEXT, b'{"type":"Tick","n":"two"}', masked=False) + tick(3))
    assert seen == [1, 3]
    (fault,) = link.faults
    assert isinstance(fault, DecodeError)
    assert fault.raw == b'{"type":"Tick","n":"two"}'
    assert link.inbox.counters()[2:4] == (1, 0)


def test_all_handlers_of_a_class_are_called_and_each_message_goes_to_its_own() -> None:
    link = Link()
    seen: list[object] = []
    link.inbox.on(Tick, lambda message: seen.append(("a", message.n)))
    link.inbox.on(Tick, lambda message: seen.append(("b", message.n)))
    link.inbox.on(Pong, lambda _: seen.append("pong"))
    link.receive(
        tick(1) + frame(TEXT, b'{"type":"Pong"}', masked=False) + frame(TEXT, b'{"type":"Other"}', masked=False)
    )
    assert seen == [("a", 1), ("b", 1), "pong"]
    assert link.inbox.counters()[4] == 1, "nobody asked for the last"


def test_message_without_a_handler_waits_for_who_has_pulled() -> None:
    link = Link()
    link.inbox.on(Tick, lambda _: None)
    link.inbox.messages(str)
    link.receive(tick(1) + frame(TEXT, b"other", masked=False))
    assert link.queued() == [b"other"]


def test_what_a_handler_returns_is_handed_on() -> None:
    link = Link()

    async def handler(message: Tick) -> int:
        return message.n

    link.inbox.on(Tick, handler)
    link.receive(tick(5))
    (coroutine,) = link.awaitables
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    assert stop.value.value == 5


def test_server_handler_is_told_the_connection() -> None:
    link = Link(is_client=False, pass_connection=True)
    seen: list[object] = []
    link.inbox.on(Tick, lambda connection, message: seen.append((connection, message.n)))
    link.receive(tick(1, masked=True))
    assert seen == [(link.connection, 1)]


@BOTH_ROLES
def test_handler_may_close_the_connection_and_nothing_is_delivered_after_stop(is_client: bool) -> None:
    link = Link(is_client=is_client)
    seen: list[int] = []

    def handler(message: Tick) -> None:
        seen.append(message.n)
        link.connection.stop_delivering()
        link.connection.close(1000)

    link.inbox.on(Tick, handler)
    link.receive(tick(1, masked=not is_client) + tick(2, masked=not is_client))
    assert seen == [1]
    assert [one.opcode for one in link.sent()] == [CLOSE]


def test_handler_may_lose_the_connection() -> None:
    link = Link()
    link.inbox.on(Tick, lambda _: link.connection.connection_lost(None))
    link.receive(tick(1) + frame(PING, b"", masked=False))
    assert link.owner.calls == ["lost"]
    assert link.faults == []
    assert link.sent() == []


# --- the bound of the inbox ---


def reads(link: Link) -> bool:
    """Whether the transport reads once the turn is over: inside a read it is never told to stop."""
    link.loop.turn()
    return link.transport.reads()


def test_transport_is_not_told_to_stop_from_inside_a_read() -> None:
    link = Link(max_inbox=10)
    link.receive(frame(BINARY, bytes(100), masked=False))
    link.receive(frame(BINARY, bytes(100), masked=False))
    assert link.transport.reads()
    assert not reads(link)


def test_inbox_that_is_emptied_in_the_same_turn_does_not_stop_reading() -> None:
    link = Link(max_inbox=10)
    for _ in range(2):
        link.receive(frame(BINARY, bytes(100), masked=False))
        link.queued()
    assert reads(link)
    link.receive(frame(BINARY, bytes(100), masked=False))
    assert not reads(link)
    link.queued()
    assert reads(link)


def test_reading_pauses_over_the_bound_and_resumes_under_half_of_it() -> None:
    link = Link(max_inbox=1000)
    message = frame(BINARY, bytes(100), masked=False)
    link.receive(message * 10)
    assert reads(link), "the bound itself is allowed"
    link.receive(message)
    assert not reads(link)
    link.receive(message)
    pull = link.inbox.receive(bytes)
    for taken in range(1, 8):
        with pytest.raises(StopIteration):
            pull.send(None)
        assert reads(link) is (12 - taken <= 5)


def test_batch_resumes_reading() -> None:
    link = Link(max_inbox=10)
    link.receive(frame(BINARY, bytes(100), masked=False))
    assert not reads(link)
    with pytest.raises(StopIteration) as stop:
        cast("Any", anext(link.inbox.batches(bytes))).send(None)
    assert stop.value.value == [bytes(100)]
    assert reads(link)


def test_transport_that_closes_meanwhile_is_not_told_to_read() -> None:
    link = Link(max_inbox=10)
    link.receive(frame(BINARY, bytes(100), masked=False))
    assert not reads(link)
    link.transport.close()
    assert link.queued() == [bytes(100)]
    assert not reads(link)


def test_paused_connection_counts_as_alive() -> None:
    # We do not read, so its silence says nothing: a slow reader must not be taken for a dead peer.
    link = Link(max_inbox=10)
    link.receive(frame(BINARY, bytes(100), masked=False))
    assert link.connection.take_activity()
    assert link.connection.take_activity()
    link.queued()
    link.connection.take_activity()
    assert not link.connection.take_activity()


def test_closing_reads_on_so_that_the_peers_answer_can_come() -> None:
    link = Link(max_inbox=10)
    link.receive(frame(BINARY, bytes(100), masked=False))
    assert not reads(link)
    link.connection.stop_delivering()
    link.connection.close()
    assert reads(link)
    link.receive(frame(BINARY, bytes(100), masked=False) * 3 + close_frame(1000, masked=False))
    assert reads(link)
    assert link.queued() == [bytes(100)], "what had come before is kept"


# --- pulling ---


@pytest.fixture
async def link() -> Link:
    return Link(event_loop=asyncio.get_running_loop())


async def test_receive_waits_for_a_message_and_takes_one(link: Link) -> None:
    task = asyncio.create_task(link.inbox.receive(Tick))
    await asyncio.sleep(0)
    link.receive(tick(1) + tick(2))
    assert (await task).n == 1
    assert (await link.inbox.receive(Tick)).n == 2


async def test_every_receiver_gets_one_message(link: Link) -> None:
    tasks = [asyncio.create_task(link.inbox.receive(Tick)) for _ in range(3)]
    await asyncio.sleep(0)
    link.receive(tick(1) + tick(2) + tick(3))
    assert sorted([(await task).n for task in tasks]) == [1, 2, 3]


async def test_cancelled_receive_loses_no_message(link: Link) -> None:
    for cancel_first in (True, False):
        task = asyncio.create_task(link.inbox.receive(Tick))
        await asyncio.sleep(0)
        steps: list[Callable[[], object]] = [task.cancel, lambda: link.receive(tick(1))]
        for step in steps if cancel_first else reversed(steps):
            step()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await link.inbox.receive(Tick)).n == 1


async def test_receiver_cancelled_after_it_was_woken_wakes_the_next(link: Link) -> None:
    first = asyncio.create_task(link.inbox.receive(Tick))
    second = asyncio.create_task(link.inbox.receive(Tick))
    await asyncio.sleep(0)
    link.receive(tick(1))
    first.cancel()
    assert (await asyncio.wait_for(second, 1)).n == 1
    assert first.cancelled()


async def test_waiting_in_vain_again_and_again_keeps_nothing(link: Link) -> None:
    waiting = asyncio.create_task(link.inbox.receive(Tick))
    await asyncio.sleep(0)

    def futures() -> int:
        return sum(type(one) is asyncio.Future for one in gc.get_referents(link.inbox))

    for _ in range(100):
        task = asyncio.create_task(link.inbox.receive(Tick))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    assert futures() <= 3
    link.receive(tick(1))
    assert (await asyncio.wait_for(waiting, 1)).n == 1


async def test_wait_for_and_timeout_work_with_receive(link: Link) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(link.inbox.receive(Tick), 0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await link.inbox.receive(Tick)
    link.receive(tick(1))
    assert (await asyncio.wait_for(link.inbox.receive(Tick), 1)).n == 1


async def test_message_that_does_not_decode_is_consumed_and_the_next_goes_on(link: Link) -> None:
    link.receive(tick(1) + frame(TEXT, b"{", masked=False) + frame(TEXT, b'{"n":"x"}', masked=False) + tick(2))
    assert (await link.inbox.receive(Tick)).n == 1
    with pytest.raises(DecodeError) as broken:
        await link.inbox.receive(Tick)
    assert broken.value.raw == b"{"
    with pytest.raises(DecodeError) as wrong:
        await link.inbox.receive(Tick)
    assert wrong.value.path == "$.n"
    assert (await link.inbox.receive(Tick)).n == 2
    assert link.inbox.counters()[2] == 2


async def test_batch_ends_before_a_message_that_does_not_decode(link: Link) -> None:
    link.receive(tick(1) + tick(2) + frame(TEXT, b"{", masked=False) + tick(3))
    batches = link.inbox.batches(Tick)
    assert [one.n for one in await anext(batches)] == [1, 2]
    with pytest.raises(DecodeError):
        await anext(batches)
    assert [one.n for one in await anext(batches)] == [3]


async def test_messages_yields_each_and_ends_when_the_inbox_is_closed(link: Link) -> None:
    link.receive(tick(1) + tick(2))
    link.inbox.close()
    assert [one.n async for one in link.inbox.messages(Tick)] == [1, 2]
    assert [batch async for batch in link.inbox.batches(Tick)] == []
    assert await link.inbox.receive(Tick) is None


async def test_error_at_the_end_is_raised_once_behind_the_messages(link: Link) -> None:
    waiting = asyncio.create_task(link.inbox.receive(Tick))
    await asyncio.sleep(0)
    link.receive(tick(1))
    link.inbox.close(ConnectionClosedError(initiator="transport"))
    assert (await waiting).n == 1
    with pytest.raises(ConnectionClosedError):
        await link.inbox.receive(Tick)
    assert await link.inbox.receive(Tick) is None


async def test_receive_as_text_or_bytes_gives_the_message_as_it_came(link: Link) -> None:
    link.receive(frame(TEXT, "ü".encode(), masked=False) * 2 + frame(BINARY, b"\x00", masked=False))
    assert await link.inbox.receive(str) == "ü"
    assert [await link.inbox.receive(str | bytes) for _ in range(2)] == ["ü", b"\x00"]


async def test_messages_is_one_object_for_the_whole_loop(link: Link) -> None:
    stream = link.inbox.messages(PriceUpdate)
    assert aiter(stream) is stream


# --- awaiting send ---


async def test_awaiting_send_is_done_at_once_while_the_transport_takes_bytes(link: Link) -> None:
    sending = cast("Any", link.connection.send("x"))
    with pytest.raises(StopIteration):
        sending.send(None)


async def test_awaiting_send_blocks_until_the_transport_has_drained(link: Link) -> None:
    link.transport.room = 0
    link.connection.send("held")
    tasks = [asyncio.ensure_future(link.connection.send("queued")) for _ in range(3)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    link.transport.drain(room=1)
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks), "it holds bytes again"
    link.transport.drain()
    await asyncio.wait_for(asyncio.gather(*tasks), 1)
    assert len(link.sent()) == 4


async def test_awaiting_send_raises_when_the_connection_is_lost(link: Link) -> None:
    link.transport.room = 0
    task = asyncio.ensure_future(link.connection.send("held"))
    await asyncio.sleep(0)
    link.connection.connection_lost(None)
    with pytest.raises(ConnectionClosedError):
        await asyncio.wait_for(task, 1)


async def test_awaiting_send_may_be_cancelled_and_the_message_still_leaves(link: Link) -> None:
    link.transport.room = 0
    link.connection.send("held")
    task = asyncio.ensure_future(link.connection.send("queued"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    link.transport.drain()
    assert [one.payload for one in link.sent()] == [b"held", b"queued"]


async def test_lost_connection_holds_nothing() -> None:
    link = Link(event_loop=asyncio.get_running_loop())
    link.connection.send("x")
    link.connection.send("y")
    task = asyncio.ensure_future(link.connection.send("z"))
    await asyncio.wait_for(task, 1)
    link.connection.connection_lost(None)
    transport, owner = weakref.ref(link.transport), weakref.ref(link.owner)
    connection: Any = link.connection
    link.transport.protocol = None
    del link, task
    assert transport() is None
    assert owner() is None
    assert not connection.is_open


def test_every_split_of_three_reads_keeps_control_frames_in_order() -> None:
    data = frame(TEXT, b"ab", masked=False, fin=False) + frame(PING, b"!", masked=False) + frame(0, b"c", masked=False)
    for first, second in itertools.combinations(range(len(data) + 1), 2):
        link = Link()
        for part in (data[:first], data[first:second], data[second:]):
            link.receive(part)
        assert link.queued() == [b"abc"]
        assert [one.payload for one in link.sent()] == [b"!"]
