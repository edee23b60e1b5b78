"""Workers of a feed are killed, with a thousand clients: how soon these are back, and what they have missed.

`python hostile/recovery.py [--clients N] [--runs N] [--save]`. The feed is `websocket-utils feed --workers`, processes
of their own on loopback, which publishes all the while. Of two workers one is killed, whose clients go to the other,
or both: their clients wait until one is started again, and what it brings then its parent has kept.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

# Run as a script, the folder of this file is on the path in place of the one above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benches._results import ROOT, commit, machine, today, versions

from hostile._results import RecoveryResult, RecoveryRow, save
from websocket_utils import Gap, PriceUpdate, Reconnected, WebSocketClient, run

CLIENTS: Final = 1000
RUNS: Final = 5
WORKERS: Final = 2
KILLED: Final = (1, 2)
RATE: Final = 20
# The longest wait between two dials of a client: while no worker is there, all of them wait.
RECONNECT_INTERVAL: Final = 1.0
_CHANNEL: Final = "prices:SOL-USDC"
_PATIENCE: Final = 60.0


class _Strategy:
    """A client, and the numbers of what it got."""

    def __init__(self, client: WebSocketClient) -> None:
        self._client = client
        self.numbers: list[int] = []
        self.epochs: set[int] = set()
        self.back_at: float | None = None
        self.is_proven = True
        client.on(PriceUpdate, self._take)
        client.on(Reconnected, self._on_reconnected)
        client.on(Gap, self._on_gap)

    def _take(self, update: PriceUpdate) -> None:
        del update
        place = self._client.current_position
        assert place is not None
        self.epochs.add(place[1])
        self.numbers.append(place[2])

    def _on_reconnected(self, event: Reconnected) -> None:
        self.back_at = time.monotonic()
        self.is_proven &= event.recovered

    def _on_gap(self, gap: Gap) -> None:
        del gap
        self.is_proven = False

    @property
    def lost(self) -> int:
        """Numbers missing between its first and its last."""
        return self.numbers[-1] - self.numbers[0] + 1 - len(set(self.numbers)) + len(self.epochs) - 1

    @property
    def doubled(self) -> int:
        """Messages that came again."""
        return len(self.numbers) - len(set(self.numbers))


class _Feed:
    """The feed's parent process, and when it said that a worker serves again."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.serves_again_at: float | None = None

    async def read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            if b"serves again" in line and self.serves_again_at is None:
                self.serves_again_at = time.monotonic()

    @property
    def workers(self) -> list[int]:
        """Process ids of its workers."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                # A name may hold anything: what counts stands behind its bracket.
                if int(stat.read_text(encoding="ascii").rpartition(")")[2].split()[1]) == self.process.pid:
                    found.append(int(stat.parent.name))
        return found


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(_PATIENCE):
        while not condition():  # noqa: ASYNC110  # what is waited for is in other processes
            await asyncio.sleep(0.002)


async def _once(clients: int, killed: int) -> RecoveryRow:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "websocket_utils", "feed", "--host", "127.0.0.1", "--port", "0", "--until-eof"),
        *("--workers", str(WORKERS), "--markets", "SOL-USDC", "--rate", str(RATE)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    feed = _Feed(process)
    reading = asyncio.create_task(feed.read())
    strategies: list[_Strategy] = []
    opened: list[WebSocketClient] = []
    try:
        url = (await process.stdout.readline()).decode().split()[-1]
        for first in range(0, clients, 50):
            opening = (
                WebSocketClient.connect(
                    url, recover=True, max_reconnect_attempts=None, reconnect_interval=RECONNECT_INTERVAL
                )
                for _ in range(first, min(first + 50, clients))
            )
            opened += await asyncio.gather(*opening)
        for client in opened:
            strategies.append(_Strategy(client))
            await client.subscribe(_CHANNEL)
        await _until(lambda: all(one.numbers for one in strategies))
        await asyncio.sleep(1)
        killed_at = time.monotonic()
        for worker in feed.workers[:killed]:
            os.kill(worker, signal.SIGKILL)
        await _until(lambda: feed.serves_again_at is not None)
        await _until(lambda: all(client.is_connected for client in opened))
        # What comes behind proves that nothing is missing before.
        newest = max(one.numbers[-1] for one in strategies)
        await _until(lambda: all(one.numbers[-1] > newest for one in strategies))
        back = [one.back_at for one in strategies if one.back_at is not None]
        assert back
        assert feed.serves_again_at is not None
        return RecoveryRow(
            killed=killed,
            clients=clients,
            back=len(back),
            restart_s=feed.serves_again_at - killed_at,
            since_kill_s=max(back) - killed_at,
            since_served_s=max(0.0, max(back) - (feed.serves_again_at if killed == WORKERS else killed_at)),
            lost=sum(one.lost for one in strategies),
            doubled=sum(one.doubled for one in strategies),
            unproven=sum(not one.is_proven for one in strategies),
        )
    finally:
        await asyncio.gather(*(client.close() for client in opened))
        process.stdin.close()
        await process.wait()
        reading.cancel()


async def recovery(clients: int, runs: int) -> RecoveryResult:
    """Kill one worker and both, `runs` times each, of another feed each time."""
    rows = []
    for killed in KILLED:
        for _ in range(runs):
            rows.append(await _once(clients, killed))
            print(rows[-1])
    return RecoveryResult(date=today(), commit=commit(), machine=machine(), versions=versions(), rate=RATE, rows=rows)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--save", action="store_true", help="keep the result for docs/RELIABILITY.md")
    chosen = parser.parse_args(arguments)
    result = run(recovery(chosen.clients, chosen.runs))
    print("met" if result.met else "MISSED")
    if chosen.save:
        print(f"kept in {save(result, 'recovery')}; render: python hostile/render.py")
    return 0 if result.met else 1


if __name__ == "__main__":
    sys.exit(main())
