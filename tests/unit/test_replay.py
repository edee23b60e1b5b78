"""Replaying: what is published when, how it ends, and that nothing it opened stays open."""

import asyncio
import contextlib
import json
import os
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.support.waiting import until

from websocket_utils import Ping, PriceUpdate, RecordingError, Replay, read_recording
from websocket_utils import replay as module
from websocket_utils._pacing import MOST_PER_TURN, Pace
from websocket_utils._recorded import Recorded
from websocket_utils.replay import Schedule, publishing

SECOND = 1_000_000_000


def entry(at: float, channel: str = "a", text: str = "") -> dict[str, object]:
    return {"at": int(at * SECOND), "channel": channel, "text": text}


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "r.jsonl", *(entry(1000 + number, text=str(number)) for number in range(4)))


def texts(entries: list[Recorded]) -> list[str]:
    return [one.message for one in entries]


def is_held_open(path: Path) -> bool:
    descriptors = [int(name) for name in os.listdir("/proc/self/fd")]
    wanted = path.stat()
    for descriptor in descriptors:
        # One of them is the listing's own, closed by now.
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), wanted):
                return True
    return False


def no_thread() -> bool:
    return not any("replay" in thread.name for thread in threading.enumerate())


# --- the schedule ---


def test_schedule_says_when_the_next_entry_is_due_and_hands_it_out_once(path: Path) -> None:
    schedule = Schedule(read_recording(path), Pace(2.0))
    found = []
    while (due := schedule.due()) is not None:
        assert schedule.due() == due
        found.append((due, schedule.take().message))
    assert found == [(0.0, "0"), (0.5, "1"), (1.0, "2"), (1.5, "3")]


def test_schedule_says_when_it_is_taken_from_too_early(path: Path) -> None:
    with pytest.raises(LookupError):
        Schedule(read_recording(path), Pace()).take()


# --- the pace ---


@pytest.mark.virtual_clock
@pytest.mark.parametrize(("speed", "seconds"), [(1.0, 1000.0), (10.0, 100.0), (0.5, 2000.0)])
async def test_replay_keeps_the_recorded_pace_times_the_speed(tmp_path: Path, speed: float, seconds: float) -> None:
    path = write(tmp_path / "r", *(entry(number * 1000.0) for number in range(4)))
    loop = asyncio.get_running_loop()
    times: list[float] = []
    begun = loop.time()
    assert await Replay(path, lambda _: times.append(loop.time() - begun), speed=speed) == 4
    # Time is real while the file is read.
    for number, time in enumerate(times):
        assert number * seconds <= time < number * seconds + 10


async def test_replay_without_a_speed_waits_for_nothing_but_those_who_are_behind(tmp_path: Path) -> None:
    path = write(tmp_path / "r", *(entry(number * 1000.0) for number in range(3 * MOST_PER_TURN)))
    delivered: list[Recorded] = []
    behind = [True]
    async with asyncio.timeout(10), Replay(path, delivered.append, speed=None, is_behind=lambda: behind[0]) as replay:
        await until(lambda: delivered)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(delivered) == MOST_PER_TURN
        behind[0] = False
        assert await replay == 3 * MOST_PER_TURN


async def test_replay_is_over_only_when_nobody_is_behind(path: Path) -> None:
    behind = [True]
    async with asyncio.timeout(10), Replay(path, lambda _: None, speed=None, is_behind=lambda: behind[0]) as replay:
        await until(lambda: replay.count == 4)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not replay.done()
        behind[0] = False
        assert await replay == 4


# --- what is replayed ---


async def test_replay_goes_chunk_by_chunk_through_a_file_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 100)
    path = write(tmp_path / "r", *(entry(1, text=str(number)) for number in range(50)))
    delivered: list[Recorded] = []
    async with asyncio.timeout(10):
        assert await Replay(path, delivered.append) == 50
    assert texts(delivered) == [str(number) for number in range(50)]


async def test_replay_reads_no_more_than_a_chunk_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 1)
    path = write(tmp_path / "r", entry(0), entry(1000), {"at": 1, "channel": ""})
    async with asyncio.timeout(10), Replay(path, lambda _: None) as replay:
        await until(lambda: replay.count == 1)
        # The fault is two chunks behind what is delivered: not read yet, or it would not be told yet.
        assert not replay.done()


async def test_replay_chooses_channels_and_begins_with_the_first_of_them(tmp_path: Path) -> None:
    path = write(tmp_path / "r", entry(0, "a:1"), entry(1000, "b:1"), entry(1000, "b:2"))
    delivered: list[Recorded] = []
    async with asyncio.timeout(10):
        assert await Replay(path, delivered.append, channels="b:*") == 2
    assert [one.channel for one in delivered] == ["b:1", "b:2"]


async def test_replay_in_a_loop_begins_again_until_it_is_cancelled(path: Path) -> None:
    delivered: list[Recorded] = []
    async with asyncio.timeout(10):
        async with Replay(path, delivered.append, speed=1e9, loop=True) as replay:
            await until(lambda: len(delivered) >= 10)
        assert replay.done()
    assert texts(delivered)[:10] == [*"0123"] * 2 + ["0", "1"]
    await until(no_thread)


async def test_replay_in_a_loop_ends_when_nothing_is_there_to_be_replayed(path: Path) -> None:
    async with asyncio.timeout(10):
        with pytest.raises(RecordingError, match="nothing to be replayed"):
            await Replay(path, lambda _: None, loop=True, channels="nobody:*")


# --- its end ---


async def test_fault_is_told_behind_what_is_before_it_and_nothing_behind_it_is_delivered(tmp_path: Path) -> None:
    path = write(tmp_path / "r", entry(0, text="before"), {"at": 1, "channel": ""}, entry(0, text="behind"))
    delivered: list[Recorded] = []
    async with asyncio.timeout(10):
        with pytest.raises(RecordingError) as caught:
            await Replay(path, delivered.append)
    assert (caught.value.path, caught.value.line, texts(delivered)) == (path, 2, ["before"])
    await until(no_thread)


async def test_entry_that_cannot_be_published_ends_it_with_its_line(path: Path) -> None:
    def deliver(one: Recorded) -> None:
        if one.message == "2":
            raise TypeError("publishes prices only")

    replay = Replay(path, deliver, speed=None)
    async with asyncio.timeout(10):
        with pytest.raises(RecordingError, match="line 3: cannot be published: publishes prices only") as caught:
            await replay
    assert replay.count == 2
    assert isinstance(caught.value.__cause__, TypeError)


async def test_file_that_is_missing_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await Replay(tmp_path / "missing", lambda _: None)


async def test_fault_that_nobody_awaited_is_raised_where_the_block_ends(tmp_path: Path) -> None:
    path = write(tmp_path / "r", {"at": 1, "channel": ""})
    with pytest.raises(RecordingError):
        async with asyncio.timeout(10), Replay(path, lambda _: None) as replay:
            await until(replay.done)


async def test_cancelled_replay_stops_at_once_and_its_thread_ends(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # More is to be read, so the file is open.
    monkeypatch.setattr(module, "_CHUNK", 1)
    delivered: list[Recorded] = []
    replay = Replay(path, delivered.append, speed=0.001)
    await until(lambda: delivered)
    assert is_held_open(path)
    replay.cancel()
    with pytest.raises(asyncio.CancelledError):
        await replay
    assert len(delivered) == 1
    await until(no_thread)
    assert not is_held_open(path)


async def test_replay_that_never_began_to_run_is_cancelled_without_a_trace(path: Path) -> None:
    async with Replay(path, lambda _: None) as replay:
        pass
    assert (replay.done(), replay.count) == (True, 0)


@pytest.mark.parametrize("speed", [0.0, -1.0, float("inf"), float("nan")])
async def test_speed_that_is_no_factor_is_refused(path: Path, speed: float) -> None:
    with pytest.raises(ValueError, match="factor above 0"):
        Replay(path, lambda _: None, speed=speed)


async def test_channels_that_are_no_patterns_are_refused(path: Path) -> None:
    for channels in ("a*b", ["a", ""]):
        with pytest.raises(ValueError, match="cannot replay"):
            Replay(path, lambda _: None, channels=channels)


# --- publishing ---


def published(line: dict[str, object], tmp_path: Path, prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    deliver: Callable[[Recorded], object] = publishing(lambda *one: found.append(one), prefix)
    for one in read_recording(write(tmp_path / "r", line)):
        deliver(one)
    return found


def test_entry_is_published_to_its_channel_with_the_prefix_in_front(tmp_path: Path) -> None:
    line = {"at": 1, "channel": "prices:a", "message": {"type": "Ping"}}
    assert published(line, tmp_path) == [("prices:a", Ping())]
    assert published(line, tmp_path, "replay:") == [("replay:prices:a", Ping())]


def test_bare_message_and_name_too_long_for_its_prefix_are_faults_of_their_line(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="line 1: names no channel"):
        published({"type": "Ping"}, tmp_path)
    with pytest.raises(RecordingError, match="line 1: channel names have 1 to 256"):
        published(entry(1, "x" * 250), tmp_path, "replay:")


@pytest.mark.parametrize("prefix", ["*", "a\n", "x" * 300])
def test_prefix_that_no_name_can_begin_with_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="in front of channels"):
        publishing(lambda *_: None, prefix)


def test_bare_messages_have_the_time_of_their_field(tmp_path: Path) -> None:
    lines = [
        {"type": "PriceUpdate", **{"input_mint": "A", "output_mint": "B"}, "price": 1, "timestamp": n} for n in (5, 9)
    ]
    found = list(read_recording(write(tmp_path / "r", *lines, {"type": "Ping"})))
    assert [one.at for one in found] == [5, 9, None]
    assert all(isinstance(one.message, PriceUpdate) for one in found[:2])
    assert all(one.line < two.line for one, two in pairwise(found))
