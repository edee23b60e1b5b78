"""What reads at the edge in `hostile/edge.py`, in a process of its own: one client on all channels, which recovers.

Run with the URL; once `expect N` comes on stdin it waits until N updates have come, and prints its books as JSON.
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import Final

# Run as a script, the folder of this file is on the path in place of the one above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import msgspec

from websocket_utils import ClosePolicy, Gap, Histogram, Lagged, PriceUpdate, WebSocketClient, run

# Nothing has come for so long: it won't any more.
_PATIENCE: Final = 20.0


class ReaderBooks(msgspec.Struct, kw_only=True):
    """What one reader was brought, by the numbers that updates carry themselves."""

    received: int = 0
    # Of each channel: numbers that are missing, that came again, and that came behind a greater one.
    lost: int = 0
    doubled: int = 0
    disordered: int = 0
    # Messages that the server's own numbers say are missing.
    gaps: int = 0
    reconnects: int = 0
    # From `publish` to here, in milliseconds: outages included.
    median_ms: float = 0.0
    p99_ms: float = 0.0


def channel_of(index: int) -> str:
    """The name of a channel."""
    return f"prices:M{index}"


class Reader:
    """Counts what comes on some channels.

    Args:
        channels: How many.
    """

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._last = [0] * channels
        self._seen: list[set[int]] = [set() for _ in range(channels)]
        self._age = Histogram()
        self.books = ReaderBooks()
        self.received_at = time.monotonic()

    def take(self, update: PriceUpdate) -> None:
        """One update: its market says the channel, its volume is its number there."""
        index, count = int(update.input_mint[1:]), update.volume
        self._age.record(time.time_ns() - update.timestamp)
        self.received_at = time.monotonic()
        books = self.books
        books.received += 1
        last = self._last[index]
        if count == last + 1:
            self._last[index] = count
        elif count in self._seen[index] or count == last:
            books.doubled += 1
        elif count < last:
            books.disordered += 1
        else:
            # What is missing may come yet: counted at the end.
            self._last[index] = count
        self._seen[index].add(count)

    def close_books(self, of_each: int) -> ReaderBooks:
        """Count what is missing, where each channel had so many updates."""
        books = self.books
        books.lost = sum(of_each - len(seen) for seen in self._seen)
        books.median_ms, books.p99_ms = (self._age.quantile(q) / 1e6 for q in (0.5, 0.99))
        return books

    async def read(self, url: str, of_each: "asyncio.Future[int]") -> ReaderBooks:
        """Read until all of them have come, or nothing does any more."""

        def note(gap: Gap | Lagged) -> None:
            del gap
            self.books.gaps += 1

        async with WebSocketClient.connect(
            url,
            recover=True,
            max_reconnect_attempts=None,
            reconnect_interval=0.2,
            close_timeout=0.5,
            # It was too slow: that is no fault of what it asks for.
            closes=ClosePolicy({4008: "retry"}),
            max_inbox=64 * 1024 * 1024,
        ) as client:
            client.on(PriceUpdate, self.take)
            client.on(Gap, note)
            client.on(Lagged, note)
            await client.subscribe(*map(channel_of, range(self._channels)))
            print("reading", flush=True)
            expected = await of_each
            total = expected * self._channels
            while self.books.received < total and time.monotonic() - self.received_at < _PATIENCE:  # noqa: ASYNC110  # what is waited for is in another process
                await asyncio.sleep(0.01)
            self.books.reconnects = client.stats().reconnects
        return self.close_books(expected)


async def _main(url: str, channels: int) -> None:
    loop = asyncio.get_running_loop()
    of_each: asyncio.Future[int] = loop.create_future()

    async def ask() -> None:
        line = await asyncio.to_thread(sys.stdin.readline)
        of_each.set_result(int(line.split()[1]))

    asking = asyncio.create_task(ask())
    books = await Reader(channels).read(url, of_each)
    await asking
    print(msgspec.json.encode(books).decode(), flush=True)


if __name__ == "__main__":
    run(_main(sys.argv[1], int(sys.argv[2])))
