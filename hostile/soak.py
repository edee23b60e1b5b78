"""A soak of the broadcast server: clients that come and go, stall, are slow and are cut, for hours, and exact books.

`python hostile/soak.py [--seconds N] [--save]`; two hours by default. Traffic is on loopback, and ends with the time.
"""

import argparse
import asyncio
import contextlib
import random
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

# Run as a script, the folder of this file is on the path in place of the one above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benches._results import commit, machine, today, versions

from hostile._results import SoakResult, save
from hostile._soak_server import NAMESPACES, Tick
from hostile._subject import Subject
from websocket_utils import (
    Encoder,
    Gap,
    Lagged,
    ReconnectPolicy,
    Subscribe,
    WebSocketClient,
    WebSocketError,
    run,
)

SECONDS: Final = 7_200.0
_STEADY: Final = 8
_SLOW: Final = 3
_CHURNING: Final = 4
_STALLED: Final = 3
_PATTERNS: Final = tuple(f"{space.name}:*" for space in NAMESPACES)
# Channels whose history covers every reconnect here.
_KEPT: Final = "kept:"
# What a slow client reads in one go, and how long it does nothing then.
_SIP: Final = 50
_REST: Final = 0.5
_REQUEST: Final = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: websocket-utils.json\r\n\r\n"
)
_POLICY: Final = ReconnectPolicy(first_jitter=0.0, base=0.01, flapping_base=0.01)


class Books:
    """What one reader was brought, and what it was told is missing."""

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.first: dict[str, int] = {}
        self.last: dict[str, int] = {}
        self.repeated = self.untold = self.kept_gaps = 0
        # Left out up to here, or not known: what is missing below has been told.
        self._told: dict[str, int] = {}
        self._lagged: dict[str, int] = {}

    def note(self, event: object) -> None:
        """Enter one item of the stream."""
        match event:
            case Tick():
                self._note_tick(event)
            case Lagged():
                self.left_out[event.channel] += event.count
                self._told[event.channel] = event.last
            case Gap():
                self.kept_gaps += event.channel.startswith(_KEPT)
                # Numbers are not known in a gap: the books of that channel begin anew behind it.
                self._told[event.channel] = sys.maxsize
            case _:
                pass

    def _note_tick(self, tick: Tick) -> None:
        channel, number = tick.channel, tick.number
        last = self.last.get(channel)
        if last is None:
            self.first[channel] = number
        elif number <= last:
            self.repeated += 1
            return
        elif number > last + 1:
            told = self._told.get(channel, 0)
            if told == sys.maxsize:
                self.first[channel], self.received[channel], self.left_out[channel] = number, 0, 0
            elif told < number - 1:
                self.untold += 1
        if self._told.get(channel) == sys.maxsize:
            del self._told[channel]
        self.received[channel] += 1
        self.last[channel] = number

    @property
    def unbalanced(self) -> int:
        """Channels of which not every number since the first was received or told as left out."""
        return sum(
            self.received[channel] + self.left_out[channel] != last - self.first[channel] + 1
            for channel, last in self.last.items()
        )


class Crowd:
    """All clients of one soak."""

    def __init__(self, url: str, port: int, seed: int) -> None:
        self._url = url
        self._port = port
        self._random = random.Random(seed)  # a run can be repeated
        self.opened = 0
        self.churned = self.stalled = 0
        self.books: list[Books] = []
        self.clients: list[WebSocketClient] = []
        self.is_ending = False

    async def read(self, books: Books, *, is_slow: bool) -> None:
        """Read all that comes, to the end of the client."""
        options: Any = {"max_inbox": 64 * 1024} if is_slow else {}
        # A slow one takes no channel that ends it for being slow.
        patterns = _PATTERNS[:2] if is_slow else _PATTERNS
        async with WebSocketClient.connect(
            self._url,
            recover=True,
            max_reconnect_attempts=None,
            reconnect=_POLICY,
            reconnect_interval=0.1,
            ping_interval=None,
            **options,
        ) as client:
            self.clients.append(client)
            self.books.append(books)
            await client.subscribe(*patterns)
            sipped = 0
            async for event in client.events(Tick):
                books.note(event)
                sipped += 1
                if is_slow and sipped % _SIP == 0 and not self.is_ending:
                    await asyncio.sleep(_REST)

    async def churn(self) -> None:
        """Come and go: subscribe to something, read a little, close or vanish."""
        while not self.is_ending:
            with contextlib.suppress(WebSocketError, OSError, TimeoutError):
                async with WebSocketClient.connect(self._url, recover=True, reconnect=False) as client:
                    self.opened += 1
                    await client.subscribe(*self._random.sample(_PATTERNS, 2))
                    for _ in range(self._random.randrange(50)):
                        await client.receive(Tick)
            self.churned += 1

    async def stall(self) -> None:
        """Subscribe to everything and never read; vanish after a while, unless cut before."""
        while not self.is_ending:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1024)
                self.opened += 1
                self.stalled += 1
                # A reader of asyncio stops reading at twice its limit: from then on the socket fills.
                writer.write(_REQUEST + _masked(Subscribe(channels=list(_PATTERNS))))
                await asyncio.sleep(self._random.uniform(0.5, 5))
                writer.transport.abort()


def _masked(message: Subscribe) -> bytes:
    """One text frame whose masking key is zero: its payload stays as it is."""
    payload = Encoder().encode(message)
    return bytes([0x81, 0x80 | len(payload)]) + bytes(4) + payload


async def soak(seconds: float = SECONDS, seed: int = 1) -> SoakResult:
    """Serve the crowd for so long, and balance the books."""
    began = time.monotonic()
    # The readers' last word is waited for in a thread: the loop serves them meanwhile.
    with Subject("hostile._soak_server") as server:
        port = int((await asyncio.to_thread(server.hear))["port"])
        crowd = Crowd(f"ws://127.0.0.1:{port}", port, seed)
        readers = [
            asyncio.create_task(crowd.read(Books(), is_slow=number >= _STEADY)) for number in range(_STEADY + _SLOW)
        ]
        others = [asyncio.create_task(crowd.churn()) for _ in range(_CHURNING)]
        others += [asyncio.create_task(crowd.stall()) for _ in range(_STALLED)]
        memory: list[tuple[float, int]] = []
        kills = 0
        descriptors = tasks = 0
        while (now := time.monotonic() - began) < seconds:
            await asyncio.sleep(min(0.5, seconds / 50))
            said = await asyncio.to_thread(server.ask, "kill")
            kills += 1
            memory.append((now, server.resident_kib()))
        crowd.is_ending = True
        await asyncio.wait(others)
        said = await asyncio.to_thread(server.ask, "stop")
        await _caught_up(crowd, said["sequences"])
        stats = [client.stats() for client in crowd.clients]
        for client in crowd.clients:
            await client.close()
        await asyncio.wait(readers)
        for reader in readers:
            reader.result()
        said = await _empty(server)
        descriptors, tasks = server.descriptors(), said["tasks"]
        end_kib = server.resident_kib()
    counted = said["stats"]
    opened = crowd.opened + sum(one.connects for one in stats)
    return SoakResult(
        date=today(),
        commit=commit(),
        machine=machine(),
        versions=versions(),
        seed=seed,
        readers=len(readers),
        churned=crowd.churned,
        stalled=crowd.stalled,
        kills=kills,
        reconnects=sum(one.reconnects for one in stats),
        published=said["published"],
        subscribers=said["subscribers"],
        deliveries=counted["deliveries"] - counted["messages_sent"] + said["published"],
        conflated=counted["conflated"],
        dropped=counted["dropped"],
        lag_disconnects=counted["lag_disconnects"],
        recovered=counted["recovered"],
        received=sum(sum(books.received.values()) for books in crowd.books),
        left_out=sum(sum(books.left_out.values()) for books in crowd.books),
        repeated=sum(books.repeated for books in crowd.books),
        untold=sum(books.untold for books in crowd.books),
        unbalanced=sum(books.unbalanced for books in crowd.books),
        kept_gaps=sum(books.kept_gaps for books in crowd.books),
        opened=opened,
        accepted=counted["accepted"],
        left=counted["connections"] + counted["subscriptions"] + counted["lagging"],
        loop_errors=len(said["loop_errors"]),
        warm_kib=_median_kib(memory, 0.1 * seconds, 0.3 * seconds),
        late_kib=_median_kib(memory, 0.8 * seconds, seconds),
        end_kib=end_kib,
        descriptors=descriptors,
        tasks=tasks,
        seconds=time.monotonic() - began,
    )


def _median_kib(memory: list[tuple[float, int]], begin: float, end: float) -> int:
    return int(statistics.median([kib for at, kib in memory if begin <= at < end] or [0]))


async def _caught_up(crowd: Crowd, sequences: dict[str, int]) -> None:
    """Wait until every reader has the last tick of all of its channels."""
    async with asyncio.timeout(60):
        for books in crowd.books:
            while any(sequences[channel] != last for channel, last in books.last.items()):  # noqa: ASYNC110  # another process
                await asyncio.sleep(0.01)


async def _empty(server: Subject) -> dict[str, Any]:
    """Wait until the server has noticed that everybody is gone."""
    async with asyncio.timeout(30):
        while (said := await asyncio.to_thread(server.ask))["stats"]["connections"]:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.05)
    return said


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save", action="store_true", help="keep the result for docs/RELIABILITY.md")
    chosen = parser.parse_args(arguments)
    result = run(soak(chosen.seconds, chosen.seed))
    print(result)
    print(f"{'met' if result.met else 'MISSED'} in {result.seconds:.0f} s")
    if chosen.save:
        print(f"kept in {save(result, 'soak')}; render: python hostile/render.py")
    return 0 if result.met else 1


if __name__ == "__main__":
    sys.exit(main())
