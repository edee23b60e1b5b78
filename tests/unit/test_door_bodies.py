"""Reading the body of a request: big, slow, compressed, or cut off."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from websocket_utils.door._bodies import Gone, read_body
from websocket_utils.door._refusals import Refusal

pytestmark = pytest.mark.one_loop

MIB = 1024 * 1024


class Sender:
    def __init__(self, chunks: Iterable[bytes], *, ends: bool = True) -> None:
        self._chunks = iter(chunks)
        self._ends = ends
        self.sent = 0

    async def __call__(self) -> dict[str, Any]:
        chunk = next(self._chunks, None)
        if chunk is None:
            return {"type": "http.request", "more_body": False} if self._ends else {"type": "http.disconnect"}
        self.sent += len(chunk)
        return {"type": "http.request", "body": chunk, "more_body": True}


async def refusal_of(sender: Sender, *headers: tuple[bytes, bytes]) -> Refusal:
    with pytest.raises(Refusal) as raised:
        await read_body(headers, sender, MIB)
    return raised.value


@pytest.mark.parametrize("size", [0, 1, MIB])
async def test_body_up_to_the_limit_is_read_from_its_pieces(size: int) -> None:
    data = bytes(size)
    pieces = [data[start : start + 1000] for start in range(0, size, 1000)]
    assert await read_body([], Sender(pieces), MIB) == data


async def test_body_one_byte_over_the_limit_is_a_413_that_its_sender_gets_to_see() -> None:
    sender = Sender([bytes(MIB), b"x"])
    refusal = await refusal_of(sender, (b"content-length", str(MIB + 1).encode()))
    assert (refusal.status, refusal.code, refusal.closes) == (413, 107, False)
    assert sender.sent == MIB + 1


async def test_body_without_end_is_cut_off() -> None:
    sender = Sender(bytes(64 * 1024) for _ in iter(int, 1))
    refusal = await refusal_of(sender)
    assert (refusal.status, refusal.closes) == (413, True)
    assert sender.sent < 20 * MIB


@pytest.mark.parametrize(
    "headers", [[(b"content-length", b"99999999999")], [(b"content-length", b"2000000"), (b"expect", b"100-continue")]]
)
async def test_body_that_is_declared_too_big_is_not_read(headers: list[tuple[bytes, bytes]]) -> None:
    sender = Sender([b"x"])
    refusal = await refusal_of(sender, *headers)
    assert (refusal.status, refusal.closes, sender.sent) == (413, True, 0)


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"br", b"identity, gzip"])
async def test_compressed_body_is_a_415_and_not_read(coding: bytes) -> None:
    sender = Sender([b"x"])
    refusal = await refusal_of(sender, (b"Content-Encoding", coding))
    assert (refusal.status, sender.sent) == (415, 0)


async def test_sender_that_leaves_is_gone() -> None:
    with pytest.raises(Gone):
        await read_body([], Sender([b"x"], ends=False), MIB)


@pytest.mark.virtual_clock
async def test_body_that_drips_is_a_408_after_its_time() -> None:
    async def drip() -> dict[str, Any]:
        await asyncio.sleep(1)
        return {"type": "http.request", "body": b"x", "more_body": True}

    started = asyncio.get_running_loop().time()
    with pytest.raises(Refusal) as raised:
        await read_body([], drip, MIB)
    assert (raised.value.status, raised.value.closes) == (408, True)
    assert asyncio.get_running_loop().time() - started == pytest.approx(10, abs=0.1)
