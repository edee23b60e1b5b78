"""10 000 updates a second into workerd, whose object is reset, killed and evicted: none lost, none doubled.

`python hostile/edge.py [--seconds S] [--rate N] [--save]`. workerd from npm runs the Workers of `edge/cloudflare`, a
process of its own on loopback; a reader, another process, recovers after each of these. Books are kept at the
publisher, at the object and at the reader.
"""

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import Final

# Run as a script, the folder of this file is on the path in place of the one above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import msgspec
from benches._results import commit, machine, today, versions
from tests.support.workerd import CLOUDFLARE, PUBLISH_KEY, Workerd

from hostile._edge_reader import ReaderBooks, channel_of
from hostile._edge_results import EdgeResult
from hostile._results import save
from websocket_utils import PriceUpdate, WebSocketClient, run
from websocket_utils.edge import EdgePublisher, PublisherWelcome

# What is asked is 10 000, and 98 % of this count as kept.
RATE: Final = 10_250
SECONDS: Final = 30.0
CHANNELS: Final = 50
# An object is evicted when nothing came for 10 s.
IDLE: Final = 12.0
NAME: Final = "adapter"
_READER: Final = Path(__file__).with_name("_edge_reader.py")
_TICK: Final = 0.005
# What comes back to a reader that was away: more than all that is published in an outage, for each channel. And it may
# be slow: other processes may have the machine.
_SETTINGS: Final = {"HISTORY": "5000", "HISTORY_BYTES": str(4 * 1024 * 1024), "MAX_LAG": str(32 * 1024 * 1024)}


class _Pacer:
    """Publishes at a steady rate, each channel in turn; each update carries its number in the channel."""

    def __init__(self, publisher: EdgePublisher, rate: int, channels: int) -> None:
        self._publisher = publisher
        self._rate = rate
        self._channels = channels
        self._names = [channel_of(index) for index in range(channels)]
        self.published = 0
        self.seconds = 0.0
        self.cpu_seconds = 0.0

    async def run(self, seconds: float) -> None:
        """Publish for so long, and to the end of a round of the channels."""
        begun, cpu, first = time.monotonic(), time.process_time(), self.published
        total = round(self._rate * seconds / self._channels) * self._channels
        while (done := self.published - first) < total:
            due = min(total, int((time.monotonic() - begun) * self._rate))
            for _ in range(due - done):
                self._publish_one()
            await asyncio.sleep(_TICK)
        self.seconds += time.monotonic() - begun
        self.cpu_seconds += time.process_time() - cpu

    def _publish_one(self) -> None:
        index = self.published % self._channels
        count = self.published // self._channels + 1
        self.published += 1
        self._publisher.publish(
            self._names[index],
            PriceUpdate(f"M{index}", "USDC", 25.35 + count / 1e4, volume=count, timestamp=time.time_ns()),
        )


async def _kept(workerd: Workerd, channels: int) -> tuple[int, int]:
    """The object's own books: what it has of the publisher, and the numbers of all its channels together."""
    url = f"{workerd.publisher_url}?name={NAME}"
    async with WebSocketClient.connect(
        url, headers={"X-API-Key": PUBLISH_KEY}, subprotocols=["websocket-utils.publisher"], close_timeout=0.5
    ) as client:
        welcome = await client.receive(PublisherWelcome)
        assert welcome is not None
    places: list[int] = []
    async with WebSocketClient.connect(workerd.url, recover=True, close_timeout=0.5) as client:

        def note(update: PriceUpdate) -> None:
            place = client.current_position
            assert place is not None
            assert place[2] == update.volume, "the object numbers a channel as the publisher does"
            places.append(place[2])

        client.on(PriceUpdate, note)
        await client.subscribe(*map(channel_of, range(channels)))
        async with asyncio.timeout(10):
            while len(places) < channels:  # noqa: ASYNC110  # what is waited for is in another process
                await asyncio.sleep(0.01)
    return welcome.sequence, sum(places)


async def stream(
    seconds: float, rate: int, *, channels: int = CHANNELS, idle: float | None = IDLE, interval: float = 0.02
) -> EdgeResult:
    """Publish for a while; a reset after a third of it, a kill after two thirds, then an idle eviction.

    Args:
        seconds: How long it is published.
        rate: Updates a second.
        channels: How many there are.
        idle: Seconds without anything, after which the object is evicted; then it goes on. None leaves that out.
        interval: As for `EdgePublisher.connect`.
    """
    async with Workerd(variables=_SETTINGS) as workerd:
        reader = await asyncio.create_subprocess_exec(
            *(sys.executable, str(_READER), workerd.url, str(channels)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert reader.stdin is not None
        assert reader.stdout is not None
        try:
            assert (await reader.stdout.readline()).strip() == b"reading"
            async with EdgePublisher.connect(
                workerd.publisher_url,
                name=NAME,
                key=PUBLISH_KEY,
                interval=interval,
                reconnect_interval=0.5,
                close_timeout=0.5,
            ) as publisher:
                pacer = _Pacer(publisher, rate, channels)
                await pacer.run(seconds / 3)
                await workerd.reset()
                await pacer.run(seconds / 3)
                # While it is away, all waits in the publisher's buffer.
                pacing = asyncio.create_task(pacer.run(seconds / 3))
                await workerd.restart()
                await pacing
                await publisher.flush(timeout=30)
                was_evicted = False
                if idle is not None:
                    before = await workerd.life()
                    await asyncio.sleep(idle)
                    await pacer.run(1.0)
                    was_evicted = await workerd.life() != before
                    await publisher.flush(timeout=30)
                stats = publisher.stats()
            reader.stdin.write(f"expect {pacer.published // channels}\n".encode())
            await reader.stdin.drain()
            books = msgspec.json.decode(await reader.stdout.readline(), type=ReaderBooks)
            kept, numbered = await _kept(workerd, channels)
        finally:
            reader.stdin.close()
            if reader.returncode is None:
                await asyncio.wait_for(reader.wait(), 30)
    return EdgeResult(
        date=today(),
        commit=commit(),
        machine=machine(),
        versions=versions(),
        rate=rate,
        channels=channels,
        idle_s=idle or 0.0,
        was_evicted=was_evicted,
        published=stats.published,
        acknowledged=stats.acknowledged,
        waiting=stats.waiting,
        dropped=stats.dropped,
        rejected=stats.rejected,
        resent=stats.resent,
        batches=stats.batches,
        reconnects=stats.client.reconnects,
        kept=kept,
        numbered=numbered,
        received=books.received,
        lost=books.lost,
        doubled=books.doubled,
        disordered=books.disordered,
        gaps=books.gaps,
        reader_reconnects=books.reconnects,
        achieved_rate=pacer.published / pacer.seconds,
        cpu_us=1e6 * pacer.cpu_seconds / pacer.published,
        rtt_ms=[stats.rtt.quantile(q) / 1e6 for q in (0.5, 0.99)],
        latency_ms=[stats.latency.quantile(q) / 1e6 for q in (0.5, 0.99)],
        reader_ms=[books.median_ms, books.p99_ms],
    )


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--rate", type=int, default=RATE)
    parser.add_argument("--channels", type=int, default=CHANNELS)
    parser.add_argument("--idle", type=float, default=IDLE, help="seconds of silence before the last part; 0: none")
    parser.add_argument("--save", action="store_true", help="keep the result for docs/RELIABILITY.md")
    chosen = parser.parse_args(arguments)
    if not (CLOUDFLARE / "node_modules").exists():
        print("workerd (edge/cloudflare/node_modules) is not there: make edge brings it", file=sys.stderr)
        return 2
    result = run(stream(chosen.seconds, chosen.rate, channels=chosen.channels, idle=chosen.idle or None))
    for name, value in msgspec.structs.asdict(result).items():
        print(f"{name:>18}: {value}")
    print("met" if result.met else "MISSED")
    if chosen.save:
        print(f"kept in {save(result, 'edge')}; render: python hostile/render.py")
    return 0 if result.met else 1


if __name__ == "__main__":
    sys.exit(main())
