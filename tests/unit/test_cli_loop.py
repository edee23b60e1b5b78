import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from websocket_utils.cli import _stdin
from websocket_utils.cli._failures import Failure
from websocket_utils.cli._loop import counted, every, run_until_stopped
from websocket_utils.cli._stdin import read_lines

Written = Callable[[bytes], Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(data: bytes) -> Path:
        path = tmp_path / "lines"
        path.write_bytes(data)
        return path

    return write


async def lines_of(path: Path) -> list[tuple[int, bytes]]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return [line async for line in read_lines(descriptor)]
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"one", [(1, b"one")]),
        (b"one\r\n\ntwo\n", [(1, b"one"), (2, b""), (3, b"two")]),
        (b"x" * 200_000 + b"\nend", [(1, b"x" * 200_000), (2, b"end")]),
    ],
)
async def test_lines_of_a_file_are_numbered(data: bytes, lines: list[tuple[int, bytes]], written: Written) -> None:
    assert await lines_of(written(data)) == lines


async def test_lines_come_as_they_are_written_whatever_the_split() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        lines = read_lines(ours.fileno())
        for byte in b"ab\nc":
            theirs.send(bytes([byte]))
        assert await anext(lines) == (1, b"ab")
        theirs.shutdown(socket.SHUT_WR)
        assert await anext(lines) == (2, b"c")
        with pytest.raises(StopAsyncIteration):
            await anext(lines)


async def test_line_without_end_is_refused(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_stdin, "MAX_LINE", 100_000)
    with pytest.raises(Failure, match="line 2 is longer than 100000 bytes"):
        await lines_of(written(b"\n" + b"x" * 200_000))


async def test_every_calls_until_the_block_ends() -> None:
    thrice, calls = asyncio.Event(), list[int]()

    def call() -> None:
        calls.append(1)
        if len(calls) == 3:
            thrice.set()

    async with asyncio.timeout(5), every(0.0, call):
        await thrice.wait()
    count = len(calls)
    await asyncio.sleep(0)
    assert len(calls) == count


async def test_every_ends_the_block_with_what_its_call_raises() -> None:
    def fail() -> None:
        raise Failure("no more")

    with pytest.raises(Failure, match="no more"):
        async with every(0.0, fail):
            await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_every_lets_a_cancellation_of_the_block_pass() -> None:
    entered = asyncio.Event()

    async def block() -> None:
        async with every(60.0, entered.clear):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(block())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_being_stopped_is_a_normal_end_and_a_failure_is_not() -> None:
    async def stopped() -> None:
        raise asyncio.CancelledError

    async def failed() -> None:
        raise Failure("x")

    run_until_stopped(stopped())
    with pytest.raises(Failure):
        run_until_stopped(failed())


def test_counts_have_their_noun() -> None:
    assert [counted(n, "message") for n in (0, 1, 12345)] == ["0 messages", "1 message", "12,345 messages"]
