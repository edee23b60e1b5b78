"""Recording: what is written when, what happens when the disk does not keep up or fails, and how it ends."""

import asyncio
import errno
import json
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from io import FileIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.waiting import until

from websocket_utils import Message, Ping, PriceUpdate, Raw, Recording, RecordingError, read_recording
from websocket_utils import recording as module
from websocket_utils._opening import Opening
from websocket_utils._recorded import MAX_LINE, part_of
from websocket_utils.recording import Tap

PRICE = PriceUpdate("SOL", "USDC", 187.25, 12, 5)


class Wrapped(Message):
    raw: Raw


class Publisher:
    """What a server gives a recording: publications of channels that fit, until it is told to stop."""

    def __init__(self) -> None:
        self.taps: dict[int, tuple[str, Tap]] = {}
        self.sequence = 0

    def tap(self, pattern: str, callback: Tap) -> int:
        self.taps[len(self.taps) + 1] = (pattern, callback)
        return len(self.taps)

    def untap(self, token: int) -> None:
        del self.taps[token]

    def publish(self, channel: str, message: Any) -> None:
        self.sequence += 1
        for _, callback in tuple(self.taps.values()):
            callback(channel, 7, self.sequence, self.sequence - 1, message)


@asynccontextmanager
async def recorded(path: Path, **options: Any) -> AsyncIterator[tuple[Publisher, Recording]]:
    publisher = Publisher()
    recording = Recording(path, tap=publisher.tap, untap=publisher.untap, **options)
    async with asyncio.timeout(10), Opening(recording, recording.open):
        yield publisher, recording


class HeldDisk:
    """Writes wait until they are let go; made by the fixture `held`."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.is_waiting = threading.Event()
        # Raised by one write.
        self.error: OSError | None = None
        # Bytes that are written of what a failing write was given.
        self.part = 0


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> HeldDisk:
    disk = HeldDisk()

    class HeldFile(FileIO):
        def write(self, data: Any) -> int:
            disk.is_waiting.set()
            assert disk.go.wait(10)
            error, disk.error = disk.error, None
            if error is not None:
                super().write(bytes(data)[: disk.part])
                raise error
            return super().write(data) or 0

    monkeypatch.setattr(module, "FileIO", HeldFile)
    return disk


async def test_each_publication_is_one_line_in_order_with_its_position_and_time(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    times = iter(range(100, 1000, 100))
    async with recorded(path, channels="prices:*", wall_clock=lambda: next(times)) as (publisher, recording):
        assert [pattern for pattern, _ in publisher.taps.values()] == ["prices:*"]
        publisher.publish("prices:a", PRICE)
        publisher.publish("prices:b", "a\nb")
        publisher.publish("prices:a", b"\0\xff")
        publisher.publish('prices:"é"', Ping())
    assert [json.loads(line) for line in path.read_text("utf-8").splitlines()] == [
        {
            "at": 100,
            "channel": "prices:a",
            "epoch": 7,
            "sequence": 1,
            "message": json.loads(msgspec.json.encode(PRICE)),
        },
        {"at": 200, "channel": "prices:b", "epoch": 7, "sequence": 2, "text": "a\nb"},
        {"at": 300, "channel": "prices:a", "epoch": 7, "sequence": 3, "data": "AP8="},
        {"at": 400, "channel": 'prices:"é"', "epoch": 7, "sequence": 4, "message": {"type": "Ping"}},
    ]
    assert (recording.count, recording.dropped, recording.waiting) == (4, 0, 0)
    assert recording.bytes == path.stat().st_size
    assert publisher.taps == {}


async def test_line_breaks_that_raw_json_brings_stay_within_the_line(tmp_path: Path) -> None:
    async with recorded(tmp_path / "r") as (publisher, _):
        publisher.publish("a", Wrapped(Raw(b'{"x":\r\n[1,\n2]}')))
        publisher.publish("a", Ping())
    found = [one.message for one in read_recording(tmp_path / "r", type_of=lambda _: Wrapped | Ping)]
    assert [type(message) for message in found] == [Wrapped, Ping]
    assert json.loads(bytes(found[0].raw)) == {"x": [1, 2]}


async def test_bare_message_is_a_line_without_a_channel(tmp_path: Path) -> None:
    async with recorded(tmp_path / "r") as (_, recording):
        recording.add_bare(PRICE)
    (one,) = read_recording(tmp_path / "r")
    assert (one.channel, one.at, one.message) == (None, PRICE.timestamp, PRICE)


async def test_message_that_changes_after_it_was_published_is_recorded_as_it_was(tmp_path: Path) -> None:
    async with recorded(tmp_path / "r") as (publisher, _):
        message = [1]
        publisher.publish("a", message)
        message.append(2)
    (one,) = read_recording(tmp_path / "r", type_of=lambda _: list[int])
    assert one.message == [1]


async def test_publications_reach_the_file_while_it_is_open_and_nothing_polls(tmp_path: Path) -> None:
    async with recorded(tmp_path / "r") as (publisher, recording):
        assert recording._timer is None
        publisher.publish("a", Ping())
        await until(lambda: recording.count == 1)
        assert len(list(read_recording(tmp_path / "r"))) == 1
        assert recording._timer is None


async def test_file_that_is_there_is_neither_overwritten_nor_continued(tmp_path: Path) -> None:
    for name in ("r", "r.1"):
        (tmp_path / name).write_text("kept")
        with pytest.raises(FileExistsError):
            async with recorded(tmp_path / "r"):
                pass
        assert (tmp_path / name).read_text() == "kept"
        (tmp_path / name).unlink()


@pytest.mark.parametrize(
    "options", [{"channels": "a*b"}, {"channels": ""}, {"max_buffer": 0}, {"max_file_size": 0}], ids=str
)
async def test_arguments_that_make_no_sense_are_refused_and_make_no_file(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"at least 1|cannot record"):
        Recording(tmp_path / "r", **options)
    assert os.listdir(tmp_path) == []


async def test_recording_goes_on_in_another_file_at_its_size_and_is_read_as_one(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    async with recorded(path, max_file_size=400, wall_clock=lambda: 1) as (publisher, recording):
        for number in range(20):
            publisher.publish("a", str(number))
        # Over the limit by itself: a file of its own.
        publisher.publish("a", "x" * 1000)
        publisher.publish("a", "last")
    parts = [part_of(path, number) for number in range(len(os.listdir(tmp_path)))]
    sizes = [part.stat().st_size for part in parts]
    assert len(parts) > 4
    assert all(200 < size <= 400 for size in sizes[:-3])
    assert sizes[-2] > 1000
    assert recording.bytes == sum(sizes)
    assert [one.message for one in read_recording(path)] == [*map(str, range(20)), "x" * 1000, "last"]


# --- a disk that does not keep up ---


async def test_what_does_not_fit_the_buffer_is_dropped_counted_told_once_and_seen_as_a_step(
    tmp_path: Path, held: HeldDisk, caplog: pytest.LogCaptureFixture
) -> None:
    async with recorded(tmp_path / "r", max_buffer=1000, wall_clock=lambda: 1) as (publisher, recording):
        publisher.publish("a", "x" * 100)
        await until(held.is_waiting.is_set)
        for _ in range(20):
            publisher.publish("a", "x" * 100)
        assert 800 < recording.waiting <= 1000
        kept = 21 - recording.dropped
        held.go.set()
        await until(lambda: recording.count == kept)
        publisher.publish("a", "after")
    assert (recording.count, recording.dropped) == (kept + 1, 21 - kept)
    assert [one.sequence for one in read_recording(tmp_path / "r")] == [*range(1, kept + 1), 22]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_publishing_returns_while_the_disk_stands_still(tmp_path: Path, held: HeldDisk) -> None:
    async with recorded(tmp_path / "r") as (publisher, recording):
        for _ in range(3):
            publisher.publish("a", "x" * 200_000)
        await until(held.is_waiting.is_set)
        publisher.publish("a", "while it is written")
        assert recording.count == 0
        held.go.set()
    assert recording.count == 4


async def test_message_without_a_form_in_json_and_line_over_the_limit_are_dropped(tmp_path: Path) -> None:
    async with recorded(tmp_path / "r", max_buffer=4 * MAX_LINE) as (publisher, recording):
        publisher.publish("a", object())
        publisher.publish("a", "x" * MAX_LINE)
        publisher.publish("a", "kept")
    assert (recording.count, recording.dropped) == (1, 2)
    assert [one.message for one in read_recording(tmp_path / "r")] == ["kept"]


# --- a disk that fails ---


async def test_failing_disk_ends_the_recording_keeps_what_is_whole_and_close_says_so(
    tmp_path: Path, held: HeldDisk
) -> None:
    seen: list[Recording] = []

    async def record() -> None:
        async with recorded(tmp_path / "r") as (publisher, recording):
            seen.append(recording)
            held.go.set()
            publisher.publish("a", "whole")
            await until(lambda: recording.count == 1)
            held.error, held.part = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 10
            publisher.publish("a", "torn")
            publisher.publish("a", "lost")
            await until(lambda: recording.error is not None)
            assert publisher.taps == {}
            recording.add("a", 7, 9, 8, "ignored")

    with pytest.raises(RecordingError, match="No space left") as caught:
        await record()
    (recording,) = seen
    assert (recording.count, recording.dropped, recording.waiting) == (1, 2, 0)
    assert isinstance(caught.value.__cause__, OSError)
    assert [one.message for one in read_recording(tmp_path / "r")] == ["whole"]
    # Told once.
    await recording.close()


async def test_nothing_is_written_behind_half_a_line(tmp_path: Path, held: HeldDisk) -> None:
    seen: list[Recording] = []

    async def record() -> None:
        async with recorded(tmp_path / "r") as (publisher, recording):
            seen.append(recording)
            held.error, held.part = OSError(errno.EIO, "broken"), 10
            publisher.publish("a", "torn")
            await until(held.is_waiting.is_set)
            publisher.publish("a", "waits")
            held.go.set()

    with pytest.raises(RecordingError, match="broken"):
        await record()
    assert (seen[0].count, seen[0].dropped) == (0, 2)
    assert (tmp_path / "r").stat().st_size == 10


# --- the end ---


async def test_close_makes_the_file_durable_behind_all_that_was_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    real: Callable[[int], None] = os.fsync

    def fsync(descriptor: int) -> None:
        sizes.append(os.fstat(descriptor).st_size)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    async with recorded(tmp_path / "r") as (publisher, recording):
        publisher.publish("a", Ping())
    assert sizes == [recording.bytes]
    assert recording.bytes > 0


async def test_close_that_is_cancelled_still_writes_everything(tmp_path: Path, held: HeldDisk) -> None:
    publisher = Publisher()
    recording = await Opening(
        opened := Recording(tmp_path / "r", tap=publisher.tap, untap=publisher.untap), opened.open
    )
    publisher.publish("a", "kept")
    closing = asyncio.create_task(recording.close())
    await until(held.is_waiting.is_set)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    held.go.set()
    await until(lambda: recording.count == 1)
    assert [one.message for one in read_recording(tmp_path / "r")] == ["kept"]


async def test_recording_leaves_no_thread_behind(tmp_path: Path) -> None:
    async with recorded(tmp_path / "r") as (publisher, _):
        publisher.publish("a", Ping())
        assert any("recording" in thread.name for thread in threading.enumerate())
    await until(lambda: not any("recording" in thread.name for thread in threading.enumerate()))


async def test_publication_behind_the_close_is_not_recorded(tmp_path: Path) -> None:
    async with recorded(tmp_path / "r") as (_, recording):
        pass
    recording.add("a", 1, 1, 0, "late")
    await recording.close()
    assert (recording.count, recording.waiting) == (0, 0)
    assert list(read_recording(tmp_path / "r")) == []
