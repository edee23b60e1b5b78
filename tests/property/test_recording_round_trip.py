"""What was recorded and is replayed is what was published: every message, in order, at the recorded pace."""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from websocket_utils import AccountUpdate, Ping, PriceUpdate, Recording, Replay
from websocket_utils._opening import Opening
from websocket_utils._recorded import Recorded
from websocket_utils.testing import VirtualClock

SECOND = 1_000_000_000
BEGUN = 1_800_000_000 * SECOND

channels = st.from_regex(r"[a-c]:[^\x00-\x20*\x7f-\xa0]{1,4}", fullmatch=True).filter(str.isprintable)
numbers = st.integers(-(2**63), 2**63 - 1)
messages = st.one_of(
    st.builds(
        PriceUpdate,
        st.text(),
        st.text(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.integers(0, 2**53),
        numbers,
    ),
    st.builds(AccountUpdate, st.text(), st.integers(0, 2**53), st.integers(0, 2**53), numbers),
    st.just(Ping()),
    st.text(),
    st.binary(),
)


@dataclass
class Publication:
    wait: int
    """Nanoseconds since the one before."""

    channel: str
    message: Any


publications = st.lists(st.builds(Publication, st.integers(0, 1000 * SECOND), channels, messages), max_size=30)


async def record(path: Path, published: list[Publication], max_file_size: int | None) -> None:
    now = BEGUN
    recording = Recording(path, max_file_size=max_file_size, wall_clock=lambda: now)
    async with Opening(recording, recording.open):
        sequences: dict[str, int] = {}
        for one in published:
            now += one.wait
            before = sequences.get(one.channel, 0)
            sequences[one.channel] = before + 1
            recording.add(one.channel, 7, before + 1, before, one.message)
    assert (recording.count, recording.dropped) == (len(published), 0)


async def replay(path: Path, speed: float | None) -> list[tuple[float, Recorded]]:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    found: list[tuple[float, Recorded]] = []
    assert await Replay(path, lambda one: found.append((loop.time() - begun, one)), speed=speed) == len(found)
    return found


@settings(max_examples=60, deadline=None)
@given(publications, st.sampled_from([None, 0.5, 1.0, 16.0]), st.sampled_from([None, 1, 300]))
@pytest.mark.timeout(120)
def test_replayed_is_what_was_published_in_order_and_at_its_pace(
    published: list[Publication], speed: float | None, max_file_size: int | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.jsonl"
        VirtualClock().run(record(path, published, max_file_size))
        found = VirtualClock().run(replay(path, speed))
    assert [(one.channel, one.message) for _, one in found] == [(one.channel, one.message) for one in published]
    sequences: dict[str, int] = {}
    due = 0.0
    for number, ((time, entry), one) in enumerate(zip(found, published, strict=True)):
        sequences[one.channel] = sequences.get(one.channel, 0) + 1
        assert (entry.epoch, entry.sequence) == (7, sequences[one.channel])
        due += one.wait / SECOND / speed if number and speed is not None else 0.0
        # Never early; late by what it took to read the file, which is real time.
        assert due - 1e-6 <= time < due + 10
