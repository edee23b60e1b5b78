"""`websocket-utils feed --workers N`: processes that share a port and publish the same, whatever becomes of one."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.waiting import until

from websocket_utils import Disconnected, Gap, PriceUpdate, Reconnected, WebSocketClient

# The processes choose their own event loop.
pytestmark = [pytest.mark.one_loop, pytest.mark.timeout(60)]

COMMAND = (sys.executable, "-X", "dev", "-W", "error", "-m", "websocket_utils")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("WS_")}
SECONDS = 40
CHANNEL = "prices:SOL-USDC"


class Feed:
    """A feed with workers, and what it says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[str] = []
        self.url = ""

    @property
    def workers(self) -> set[int]:
        """Process ids of the workers that are there."""
        found = set()
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                # The name may hold anything: what counts stands behind its bracket.
                if int(path.read_text().rpartition(")")[2].split()[1]) == self.process.pid:
                    found.add(int(path.parent.name))
        return found

    def count(self, words: str) -> int:
        """How many lines have these words."""
        return sum(words in line for line in self.said)

    async def read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.said.append(line.decode().rstrip())


@contextlib.asynccontextmanager
async def feeding(*arguments: str) -> AsyncIterator[Feed]:
    """A running feed, of which nothing is left behind."""
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, "feed", "--host", "127.0.0.1", "--port", "0", "--workers", "2", "--until-eof", *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    feed = Feed(process)
    assert process.stdout is not None
    assert process.stdin is not None
    reading = asyncio.create_task(feed.read())
    workers: set[int] = set()
    try:
        async with asyncio.timeout(SECONDS):
            line = (await process.stdout.readline()).decode()
            assert line.startswith("listening on "), feed.said
            feed.url = line.split()[-1]
            workers = feed.workers
            yield feed
            workers |= feed.workers
            process.stdin.close()
            assert await process.wait() in {0, -signal.SIGKILL}, feed.said
            await reading
            assert not any("Traceback" in line or "Warning" in line for line in feed.said), feed.said
            await until(lambda: not any(is_alive(one) for one in workers))
    finally:
        if process.returncode is None:
            process.kill()
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
        await process.communicate()


def is_alive(process: int) -> bool:
    try:
        # A process that has ended stays in the table until its parent asks.
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Strategy:
    """A client, and where its messages stood."""

    def __init__(self, client: WebSocketClient) -> None:
        self.client = client
        self.places: list[tuple[int, int]] = []
        self.events: list[Any] = []
        client.on(PriceUpdate, self._take)
        for kind in (Gap, Disconnected, Reconnected):
            client.on(kind, self.events.append)

    def _take(self, update: PriceUpdate) -> None:
        del update
        place = self.client.current_position
        assert place is not None
        self.places.append(place[1:3])

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing between its first and its last message, and nothing came twice."""
        (epoch,) = {epoch for epoch, _ in self.places}
        first, last = self.places[0][1], self.places[-1][1]
        return self.places == [(epoch, sequence) for sequence in range(first, last + 1)]

    @property
    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]


@contextlib.asynccontextmanager
async def strategies(url: str, count: int = 8) -> AsyncIterator[list[Strategy]]:
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for _ in range(count):
            client = await stack.enter_async_context(
                WebSocketClient.connect(url, recover=True, max_reconnect_attempts=None)
            )
            made.append(Strategy(client))
            await client.subscribe(CHANNEL)
        yield made


async def more(every: list[Strategy]) -> None:
    """Wait until each has got some messages from here on."""
    before = [len(one.places) for one in every]
    await until(lambda: all(len(one.places) > had + 20 for one, had in zip(every, before, strict=True)), SECONDS)


async def test_two_workers_take_clients_and_publish_the_same_numbers_and_a_killed_one_is_replaced() -> None:
    async with feeding("--rate", "1000") as feed, strategies(feed.url) as every:
        await more(every)
        first, second = feed.workers
        assert {one.places[-1][0] for one in every} == {every[0].places[0][0]}
        os.kill(first, signal.SIGKILL)
        await until(lambda: feed.count("serves again") == 1, SECONDS)
        await more(every)
        os.kill(second, signal.SIGKILL)
        await more(every)
        # Whoever was at the one or the other has come back, and knows that nothing is missing.
        back = [one.events[-1] for one in every if one.events]
        assert len(back) == len(every)
        assert all(isinstance(event, Reconnected) and event.recovered for event in back)
        assert all(one.is_whole and "Gap" not in one.kinds for one in every)
        await until(lambda: feed.count("is started again") == 2, SECONDS)


async def test_worker_that_is_told_to_end_lets_its_clients_go_and_they_are_never_blind() -> None:
    async with feeding("--rate", "2000", "--drain", "4") as feed, strategies(feed.url) as every:
        await more(every)
        for turn, old in enumerate(feed.workers, 1):
            os.kill(old, signal.SIGTERM)
            # One after the other, each when the one before is replaced.
            await until(lambda turn=turn: feed.count("serves again") == turn, SECONDS)  # type: ignore[misc]  # of this turn
            await more(every)
        assert all(one.is_whole for one in every)
        moves = [event for one in every for event in one.events]
        assert moves
        assert all(isinstance(event, Reconnected) and event.recovered and not event.downtime_ns for event in moves)


async def test_feed_that_is_told_to_end_drains_its_workers_and_leaves_none() -> None:
    async with feeding("--rate", "500", "--drain", "2") as feed, strategies(feed.url, 4) as every:
        await more(every)
        workers = feed.workers
        feed.process.send_signal(signal.SIGTERM)
        assert await feed.process.wait() == 0
        assert not any(is_alive(one) for one in workers)
        assert all(one.is_whole for one in every)
        ends = [event.error for one in every for event in one.events if isinstance(event, Disconnected)]
        assert {str(error.received.code) for error in ends} == {"1012"}  # type: ignore[attr-defined]  # by a close frame
        lines = [line for line in feed.said if line.startswith("worker ")]
        assert len(lines) == 2
        assert all("deliveries" in line for line in lines)


async def test_second_signal_ends_workers_at_once() -> None:
    async with feeding("--drain", "60") as feed, strategies(feed.url, 2) as every:
        await more(every)
        feed.process.send_signal(signal.SIGINT)
        await until(lambda: feed.count("once more ends at once") == 1, SECONDS)
        feed.process.send_signal(signal.SIGINT)
        assert await feed.process.wait() == 0


async def test_workers_of_a_feed_that_is_killed_end_by_themselves() -> None:
    async with feeding() as feed, strategies(feed.url, 2) as every:
        await more(every)
        workers = feed.workers
        assert len(workers) == 2
        feed.process.kill()
        await feed.process.wait()
        await until(lambda: not any(is_alive(one) for one in workers), SECONDS)


async def test_recording_reaches_clients_of_every_worker_to_its_last_message(tmp_path: Path) -> None:
    file = tmp_path / "session.jsonl"
    line = '{"type":"PriceUpdate","input_mint":"A","output_mint":"B","price":1.0,"volume":1,"timestamp":%d}\n'
    file.write_text("".join(line % (1000 + number) for number in range(3000)))
    async with feeding("--replay", str(file), "--speed", "1000000") as feed:
        async with (
            WebSocketClient.connect(feed.url, reconnect=False) as one,
            WebSocketClient.connect(feed.url, reconnect=False) as other,
        ):
            updates: tuple[list[PriceUpdate], list[PriceUpdate]] = ([], [])
            one.on(PriceUpdate, updates[0].append)
            other.on(PriceUpdate, updates[1].append)
            await asyncio.gather(one.subscribe("prices:A/B"), other.subscribe("prices:A/B"))
            assert await feed.process.wait() == 0
            await until(lambda: all(got[-1:] and got[-1].timestamp == 3999 for got in updates))
        times = [[update.timestamp for update in got] for got in updates]
        assert times[0][-100:] == times[1][-100:] == list(range(3900, 4000))
        assert max(map(len, times)) == 3000


async def test_speed_that_goes_by_the_slowest_client_and_workers_exclude_each_other() -> None:
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, "feed", "--workers", "2", "--speed", "max"), stderr=subprocess.PIPE, env=ENVIRONMENT
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert b"--speed max" in errors
