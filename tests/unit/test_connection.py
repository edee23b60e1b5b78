"""One connection without a network: what it reads and answers, how it closes, and when a send is done."""

import asyncio
import errno
import itertools
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.memory import BOTH_ROLES, Link, MemoryTransport
from tests.support.wire import BINARY, CLOSE, PING, PONG, TEXT, Frame, close_code, close_frame, frame

from websocket_utils.exceptions import Close, ConnectionClosedError, ConnectionClosedOK, LocalProtocolError

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


def test_bytes_that_came_with_the_handshake_join_with_those_read_after_it() -> None:
    link = Link()
    link.connection.feed_bytes(
        frame(TEXT, b"first half, ", fin=False, masked=False) + frame(PING, b"p", masked=False) + b"\x80"
    )
    link.receive(frame(0, b"second half", masked=False)[1:])
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


def test_violation_closes_the_transport_where_the_half_close_finds_the_peer_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def write_eof(_: MemoryTransport) -> None:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    monkeypatch.setattr(MemoryTransport, "write_eof", write_eof)
    link = Link(is_client=False)
    link.receive(b"\xff\x80")
    assert link.transport.is_closed
    assert link.faults == []


def test_violation_after_our_close_frame_sends_no_second_one() -> None:
    link = Link()
    link.connection.close()
    link.receive(frame(0x3, b"", masked=False))
    assert [close_code(one.payload) for one in link.sent()] == [1000]
    assert link.owner.calls == ["closing"]


# --- awaiting send ---


async def test_awaiting_send_is_done_at_once_while_the_transport_takes_bytes(link: Link) -> None:
    sending: Any = link.connection.send("x")
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
