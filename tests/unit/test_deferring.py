"""A read that inflates to much: it is looked at in parts, one a turn, and nothing is lost or out of order for it."""

import itertools
from typing import Any

import pytest
from tests.support.memory import BOTH_ROLES, Link
from tests.support.wire import BINARY, COMPRESSED, PING, Deflater, close_frame, frame

AGREEMENT = (15, True, 15, True)
MIB = 1 << 20
# In each of them: what a turn may inflate.
SIZES = [MIB - 3, 400_000, 400_000, 400_000, MIB, 10, 20, 30]


def stream(*, is_client: bool, deflater: Deflater | None = None) -> bytes:
    compressor = deflater or Deflater()
    return b"".join(
        frame(
            BINARY,
            compressor.payload(bytes([number]) * size),
            masked=not is_client,
            reserved_bits=COMPRESSED,
        )
        for number, size in enumerate(SIZES)
    )


def sizes(link: Link) -> list[int]:
    return [len(message) for message in link.queued()]


@BOTH_ROLES
def test_much_that_is_inflated_is_taken_in_parts_in_order_and_reading_stops_meanwhile(is_client: bool) -> None:
    link = Link(is_client=is_client, deflate=AGREEMENT, max_inbox=1 << 24)
    data = stream(is_client=is_client)
    assert len(data) < 1 << 14
    link.receive(data)
    assert sizes(link) == SIZES[:2]
    link.loop.turn()
    assert not link.transport.reads()
    parts = [sizes(link)]
    while not link.transport.reads():
        link.loop.turn()
        parts.append(sizes(link))
    assert [*itertools.chain(*parts)] == SIZES[2:]
    assert len(parts) == 2
    assert link.loop.turn() == 0


def test_what_is_read_before_reading_stops_comes_behind() -> None:
    link = Link(deflate=AGREEMENT, max_inbox=1 << 24)
    deflater = Deflater()
    link.receive(stream(is_client=True, deflater=deflater))
    late = frame(BINARY, deflater.payload(b"late" * 100), masked=False, reserved_bits=COMPRESSED)
    for at in range(len(late)):
        link.receive(late[at : at + 1])
    link.receive(frame(PING, b"later", masked=False))
    assert sizes(link) == SIZES[:2]
    assert link.sent() == []
    for _ in range(5):
        link.loop.turn()
    assert sizes(link) == [*SIZES[2:], 400]
    assert [one.payload for one in link.sent()] == [b"later"]


@pytest.mark.parametrize("turns", range(5))
def test_end_of_the_connection_is_told_behind_all_that_came(turns: int) -> None:
    link = Link(deflate=AGREEMENT, max_inbox=1 << 24)
    link.receive(stream(is_client=True) + close_frame(1001, masked=False))
    for _ in range(turns):
        link.loop.turn()
    error = ConnectionResetError()
    link.connection.connection_lost(error)
    for _ in range(5):
        link.loop.turn()
    assert sizes(link) == SIZES
    assert link.owner.calls in (["closing", "lost"], ["lost"])
    assert link.owner.error is error
    ended: Any = link.connection.closed_error()
    assert ended.received.code == 1001
    assert link.faults == []


def test_violation_behind_a_part_ends_what_waits() -> None:
    link = Link(deflate=AGREEMENT, max_inbox=1 << 24)
    link.receive(stream(is_client=True) + frame(3, b"", masked=False) + frame(BINARY, b"never", masked=False))
    for _ in range(5):
        link.loop.turn()
    assert sizes(link) == SIZES
    assert [one.close_code for one in link.sent()] == [1002]


def test_aborted_connection_looks_at_no_more() -> None:
    link = Link(deflate=AGREEMENT, max_inbox=1 << 24)
    link.receive(stream(is_client=True))
    link.connection.abort()
    link.connection.connection_lost(None)
    for _ in range(3):
        link.loop.turn()
    assert sizes(link) == SIZES[:2]
    assert link.owner.calls == ["lost"]


def test_messages_that_nobody_wants_count_too() -> None:
    link = Link(deflate=AGREEMENT)
    link.connection.stop_delivering()
    link.receive(stream(is_client=True) + frame(PING, b"behind", masked=False))
    assert link.sent() == []
    for _ in range(5):
        link.loop.turn()
    assert [one.payload for one in link.sent()] == [b"behind"]


def test_full_inbox_and_a_read_in_parts_hold_reading_together() -> None:
    link = Link(deflate=AGREEMENT, max_inbox=100)
    link.receive(stream(is_client=True))
    for _ in range(6):
        link.loop.turn()
    assert not link.transport.reads(), "the inbox is full"
    assert sizes(link) == SIZES
    assert link.transport.reads()


def test_without_compression_a_read_is_taken_whole() -> None:
    link = Link(max_inbox=1 << 24)
    link.receive(frame(BINARY, bytes(60_000), masked=False))
    assert sizes(link) == [60_000]
    assert link.loop.turn() == 0
