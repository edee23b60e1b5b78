"""Two transports that are each other's network behave as sockets' transports do."""

import asyncio
from typing import cast

import pytest

from websocket_utils.testing._memory import MemoryTransport, memory_pair


class Notes(asyncio.Protocol):
    def __init__(self, *, stays_open: bool = False) -> None:
        self.stays_open = stays_open
        self.reads: list[bytes] = []
        self.events: list[str] = []
        self.error: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        self.reads.append(data)

    def eof_received(self) -> bool:
        self.events.append("eof")
        return self.stays_open

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("lost")
        self.error = exc

    @property
    def data(self) -> bytes:
        return b"".join(self.reads)


class BufferedNotes(Notes, asyncio.BufferedProtocol):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.buffer = bytearray(size)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.reads.append(bytes(self.buffer[:nbytes]))


async def turns(count: int = 8) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


Both = tuple[MemoryTransport, Notes, MemoryTransport, Notes]


async def pair(*, capacity: int = 1000, latency: float = 0.0, stays_open: bool = False) -> Both:
    one, other = memory_pair(capacity=capacity, latency=latency)
    left, right = Notes(stays_open=stays_open), Notes(stays_open=stays_open)
    one.begin(left)
    other.begin(right)
    await turns()
    assert left.events == right.events == ["made"]
    return one, left, other, right


async def test_bytes_arrive_in_order_in_a_turn_of_their_own() -> None:
    one, left, other, right = await pair()
    one.write(b"a")
    one.write(bytearray(b"b"))
    other.write(memoryview(b"c"))
    assert (left.reads, right.reads) == ([], [])
    await turns()
    assert (left.data, right.data) == (b"c", b"ab")


async def test_buffered_protocol_reads_into_its_own_buffer() -> None:
    one, _, other, _ = await pair()
    protocol = BufferedNotes(3)
    other.set_protocol(protocol)
    assert other.get_protocol() is protocol
    one.write(b"12345678")
    await turns()
    assert protocol.reads == [b"123", b"456", b"78"]


async def test_writer_pauses_over_its_mark_and_resumes_when_the_other_end_reads() -> None:
    one, left, other, right = await pair(capacity=10)
    one.set_write_buffer_limits(high=5, low=0)
    assert one.get_write_buffer_limits() == (0, 5)
    other.pause_reading()
    one.write(b"x" * 15)
    assert (one.get_write_buffer_size(), left.events[1:]) == (5, [])
    one.write(b"y")
    await turns()
    assert (one.get_write_buffer_size(), left.events[1:], right.reads) == (6, ["pause"], [])
    other.resume_reading()
    await turns()
    assert (one.get_write_buffer_size(), left.events[1:]) == (0, ["pause", "resume"])
    assert right.data == b"x" * 15 + b"y"
    with pytest.raises(ValueError, match="high"):
        one.set_write_buffer_limits(high=1, low=2)


async def test_close_sends_what_waits_and_then_an_end_of_file() -> None:
    one, left, other, right = await pair(capacity=4)
    other.pause_reading()
    one.write(b"0123456789")
    one.close()
    assert one.is_closing()
    await turns()
    assert left.events == ["made"], "it is not gone before the link has taken all"
    other.resume_reading()
    await turns()
    assert right.data == b"0123456789"
    assert (left.events, right.events) == (["made", "lost"], ["made", "eof", "lost"])
    assert left.error is None is right.error


async def test_abort_loses_what_the_link_has_not_taken() -> None:
    one, left, other, right = await pair(capacity=4)
    other.pause_reading()
    for piece in (b"01", b"23", b"45", b"67"):
        one.write(piece)
    one.write(b"89")
    one.abort()
    await turns()
    assert left.events == ["made", "lost"]
    other.resume_reading()
    await turns()
    assert (right.data, right.events) == (b"0123", ["made", "eof", "lost"])


async def test_reset_loses_what_is_on_the_way_and_tells_the_other_end() -> None:
    one, left, other, right = await pair()
    one.write(b"lost")
    other.write(b"lost")
    one.reset()
    await turns()
    assert (left.data, right.data) == (b"", b"")
    assert (left.events, right.events) == (["made", "lost"], ["made", "lost"])
    assert left.error is None
    assert isinstance(right.error, ConnectionResetError)


async def test_cut_link_says_nothing_and_its_ends_can_still_be_closed() -> None:
    one, left, other, right = await pair(capacity=10)
    one.write(b"on the way")
    one.cut()
    other.write(b"x")
    await turns()
    assert (left.data, right.data) == (b"", b"")
    one.set_write_buffer_limits(high=0)
    one.write(b"no more room")
    assert left.events == ["made", "pause"]
    one.abort()
    other.close()
    await turns()
    assert (left.events, right.events) == (["made", "pause", "lost"], ["made", "lost"])


async def test_half_close_ends_one_direction() -> None:
    one, left, other, right = await pair(stays_open=True)
    one.write(b"last")
    one.write_eof()
    with pytest.raises(RuntimeError):
        one.write(b"more")
    await turns()
    assert (right.data, right.events) == (b"last", ["made", "eof"])
    other.write(b"still open this way")
    await turns()
    assert left.data == b"still open this way"
    other.close()
    await turns()
    assert left.events == ["made", "eof"]
    one.close()
    await turns()
    assert left.events == ["made", "eof", "lost"]


async def test_writer_to_a_closed_end_is_told() -> None:
    one, left, other, _ = await pair(stays_open=True)
    other.close()
    await turns()
    one.write(b"to nobody")
    await turns()
    assert left.events == ["made", "eof", "lost"]
    assert isinstance(left.error, BrokenPipeError)


async def test_writer_that_waits_is_told_when_the_other_end_closes_unread() -> None:
    one, left, other, right = await pair(capacity=2)
    one.set_write_buffer_limits(high=0)
    other.pause_reading()
    one.write(b"never read")
    other.abort()
    await turns()
    assert right.events == ["made", "lost"]
    assert left.events[:2] == ["made", "pause"]
    assert left.events[-1] == "lost"


@pytest.mark.virtual_clock
async def test_latency_is_the_time_of_the_loop() -> None:
    one, _, _, right = await pair(latency=0.5)
    loop = asyncio.get_running_loop()
    begin = loop.time()
    one.write(b"a")
    await asyncio.sleep(0.25)
    one.write(b"b")
    one.close()
    await asyncio.sleep(0.2)
    assert right.reads == []
    await asyncio.sleep(0.06)
    assert right.reads == [b"a"]
    assert loop.time() - begin == pytest.approx(0.51)
    await asyncio.sleep(0.25)
    assert right.reads == [b"a", b"b"]
    assert right.events == ["made", "eof", "lost"]


async def test_end_before_its_first_turn_is_told_behind_it() -> None:
    one, other = memory_pair()
    left = Notes()
    one.begin(left)
    one.abort()
    other.abort()
    await turns()
    assert left.events == ["made", "lost"]
    assert cast("int", one.get_extra_info("socket").fileno()) == -1
    assert one.can_write_eof()
    assert not one.is_reading()
