"""Columns of what waits in an inbox: batches, their bounds, errors and ends."""

import asyncio
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from tests.support.memory import Link
from tests.support.wire import BINARY, TEXT, frame

from websocket_utils import Columns, Decoder, Message, PriceUpdate
from websocket_utils.exceptions import ConnectionClosedError, DecodeError


class Tick(Message):
    n: int
    name: str = ""


def tick(number: int, name: str = "a") -> bytes:
    return frame(TEXT, b'{"type":"Tick","n":%d,"name":"%b"}' % (number, name.encode()), masked=False)


def receive(link: Link, data: bytes) -> None:
    """As many reads as the read buffer needs."""
    for start in range(0, len(data), 60_000):
        link.receive(data[start : start + 60_000])


def numbers(columns: Columns) -> list[int]:
    return columns["n"].tolist()


async def test_columns_hold_all_messages_that_wait_in_text_and_binary_frames(link: Link) -> None:
    packed = frame(BINARY, msgspec.msgpack.encode(Tick(2, "b")), masked=False)
    link.receive(tick(1) + packed + tick(3))
    columns = await anext(link.inbox.columns(Tick))
    assert numbers(columns) == [1, 2, 3]
    assert columns["name"].tolist() == ["a", "b", "a"]


async def test_columns_wait_for_the_first_message_and_stay_as_they_were(link: Link) -> None:
    stream = link.inbox.columns(Tick)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    link.receive(tick(1))
    first = await asyncio.wait_for(waiting, 1)
    link.receive(tick(2, "b") + tick(3, "a"))
    second = await anext(stream)
    assert (numbers(first), first["name"].categories) == ([1], ("a",))
    assert (numbers(second), second["name"].categories) == ([2, 3], ("a", "b"))
    assert second["name"].codes.tolist() == [1, 0]


async def test_cancelled_wait_loses_no_message(link: Link) -> None:
    stream = link.inbox.columns(Tick)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    link.receive(tick(1))
    assert numbers(await asyncio.wait_for(anext(stream), 1)) == [1]


async def test_batch_of_columns_ends_before_a_message_that_does_not_decode(link: Link) -> None:
    too_big = frame(TEXT, b'{"type":"Tick","n":%d}' % 2**63, masked=False)
    link.receive(tick(1) + tick(2) + frame(TEXT, b"{", masked=False) + too_big + tick(3))
    stream = link.inbox.columns(Tick)
    assert numbers(await anext(stream)) == [1, 2]
    with pytest.raises(DecodeError) as broken:
        await anext(stream)
    assert broken.value.raw == b"{"
    with pytest.raises(DecodeError, match="UInt64"):
        await anext(stream)
    assert numbers(await anext(stream)) == [3]
    assert link.inbox.counters()[2] == 2


async def test_batch_of_columns_has_at_most_4096_rows(link: Link) -> None:
    receive(link, b"".join(map(tick, range(5000))))
    batches = link.inbox.columns(Tick)
    first, second = await anext(batches), await anext(batches)
    assert (len(first), len(second)) == (4096, 904)
    assert numbers(first) + numbers(second) == list(range(5000))


async def test_big_messages_are_rows_like_others(link: Link) -> None:
    names = ["a", "x" * 20_000, "b"]
    receive(link, b"".join(tick(number, name) for number, name in enumerate(names)))
    assert (await anext(link.inbox.columns(Tick)))["name"].tolist() == names


async def test_texts_that_never_come_again_end_a_batch_at_their_bound_and_begin_a_new_table() -> None:
    link = Link(event_loop=asyncio.get_running_loop(), max_inbox=64 << 20)
    stream = link.inbox.columns(Tick)
    sizes, rows = [], 0
    for start in range(0, 100_000, 4000):
        receive(link, b"".join(tick(number, f"order {number}") for number in range(start, start + 4000)))
        while rows < start + 4000:
            columns = await anext(stream)
            assert columns["name"].tolist() == [f"order {number}" for number in range(rows, rows + len(columns))]
            rows += len(columns)
            sizes.append(len(columns["name"].categories))
    assert max(sizes) <= 65_536 + 64
    assert any(later < earlier for earlier, later in pairwise(sizes))


async def test_columns_end_when_the_inbox_is_closed(link: Link) -> None:
    link.receive(tick(1))
    link.inbox.close()
    assert [numbers(columns) async for columns in link.inbox.columns(Tick)] == [[1]]


async def test_error_at_the_end_is_raised_once_behind_the_columns(link: Link) -> None:
    link.receive(tick(1))
    link.inbox.close(ConnectionClosedError(None, None, initiator="transport"))
    stream = link.inbox.columns(Tick)
    assert numbers(await anext(stream)) == [1]
    with pytest.raises(ConnectionClosedError):
        await anext(stream)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_columns_resume_reading() -> None:
    link = Link(event_loop=asyncio.get_running_loop(), max_inbox=10)
    link.receive(tick(1))
    await asyncio.sleep(0)
    assert not link.transport.reads()
    assert numbers(await anext(link.inbox.columns(Tick))) == [1]
    await asyncio.sleep(0)
    assert link.transport.reads()


async def test_decoder_says_how_columns_are_read(link: Link) -> None:
    link.receive(frame(TEXT, b'{"type":"Tick","n":"1"}', masked=False))
    lenient: Any = Decoder(Tick, strict=False)
    assert numbers(await anext(link.inbox.columns(lenient))) == [1]


async def test_class_that_has_no_columns_is_refused_at_once(link: Link) -> None:
    class Book(Message):
        bids: list[float]

    with pytest.raises(TypeError, match="'bids' of Book"):
        link.inbox.columns(Book)
    with pytest.raises(TypeError, match="one message class"):
        link.inbox.columns(PriceUpdate | Tick)
