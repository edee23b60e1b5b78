"""The ledger: numbered messages both ways through a proxy that kills connections at random, and what became of each.

`python hostile/ledger.py [--messages N] [--seed N] [--save]`. Traffic is on loopback, and ends with the last message.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any, Final

# Run as a script, the folder of this file is on the path in place of the one above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benches._results import commit, machine, today, versions

from hostile._results import LedgerResult, save
from websocket_utils import (
    Disconnected,
    Gap,
    Message,
    MessageNotWritten,
    ReconnectPolicy,
    SendOutcome,
    SendQueueFull,
    ServerConnection,
    WebSocketClient,
    WebSocketServer,
    run,
)
from websocket_utils.testing import ChaosProxy

MESSAGES: Final = 1_000_000
# A connection carries some thousands of messages before it is killed.
_MEAN_BYTES: Final = 1_000_000
# Bytes a second, each way: less than is sent, so that connections end with messages half written.
_BANDWIDTH: Final = 1_500_000
# Of one turn of the loop, each way.
_BURST: Final = 32
# Every so many messages may expire, and every so many have one of a few keys.
_EXPIRES: Final = 5
_KEYED: Final = 7
_KEYS: Final = 10
_TTL: Final = 0.002


class Entry(Message, gc=False):
    """One line of the ledger."""

    number: int


class _Books:
    """What was seen at both ends."""

    def __init__(self) -> None:
        self.arrived: Counter[int] = Counter()
        self.last_arrived = 0
        self.received = 0
        self.last_received = 0
        self.reordered = self.repeated = self.late = self.untold = 0
        # Whether a `Gap` stands in front of what comes next.
        self.is_gap_told = True
        # The last number that the server had sent when the client was closed.
        self.last_wanted = sys.maxsize

    def at_server(self, connection: ServerConnection, entry: Entry) -> None:
        """A message of the client has arrived, on whatever connection."""
        del connection
        self.arrived[entry.number] += 1
        self.repeated += self.arrived[entry.number] > 1
        self.reordered += entry.number < self.last_arrived
        self.last_arrived = entry.number

    async def at_client(self, client: WebSocketClient) -> None:
        """Read what the strategy sees, to its end."""
        async for item in client.events(Entry):
            if isinstance(item, Gap):
                self.is_gap_told = True
            elif isinstance(item, Entry):
                self._receive(item.number)

    def _receive(self, number: int) -> None:
        """A message of the server has arrived."""
        self.received += 1
        self.repeated += number == self.last_received
        self.reordered += number < self.last_received
        self.untold += number > self.last_received + 1 and not self.is_gap_told
        self.late += number > self.last_wanted
        self.last_received, self.is_gap_told = number, False


class _Fates:
    """How each message ended that was accepted, as its awaitable says."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.may_have_arrived: set[int] = set()
        self._open: deque[tuple[int, Any]] = deque()

    def add(self, number: int, sent: Any) -> None:
        """A message was accepted."""
        self._open.append((number, sent))

    async def settle(self) -> None:
        """Count those whose end is known, as it is told to who awaits them."""
        for _ in range(len(self._open)):
            number, sent = self._open.popleft()
            if sent.outcome is None:
                self._open.append((number, sent))
                continue
            try:
                outcome: SendOutcome = await sent
            except MessageNotWritten as error:
                outcome = error.outcome
            self.counts[outcome.fate] += 1
            if outcome.fate in {"written", "unknown"}:
                self.may_have_arrived.add(number)

    @property
    def undecided(self) -> int:
        """How many have not ended."""
        return len(self._open)


async def ledger(messages: int = MESSAGES, seed: int = 1, *, mean_bytes: int = _MEAN_BYTES) -> LedgerResult:
    """Send numbered messages both ways, kill connections, and balance the books."""
    began = time.monotonic()
    books, fates = _Books(), _Fates()
    losses: list[Disconnected] = []
    policy = ReconnectPolicy(first_jitter=0.0, base=0.001, flapping_base=0.001)
    async with (
        WebSocketServer.bind("127.0.0.1:0", ping_interval=None) as server,
        ChaosProxy(server.url, seed=seed) as proxy,
        WebSocketClient.connect(
            proxy.url,
            when_down="queue",
            overflow="drop_oldest",
            message_buffer_size=64,
            max_reconnect_attempts=None,
            reconnect_interval=0.01,
            reconnect=policy,
        ) as client,
    ):
        server.on(Entry, books.at_server)
        reading = asyncio.create_task(books.at_client(client))
        client.on(Disconnected, losses.append)
        await client.subscribe("ledger")
        proxy.kill_randomly(mean_bytes)
        proxy.bandwidth(_BANDWIDTH)
        number = 0
        while number < messages:
            is_full = False
            for _ in range(_BURST):
                number += 1
                server.publish("ledger", Entry(number))
                try:
                    fates.add(number, _send(client, number))
                except SendQueueFull:
                    is_full = True
            await fates.settle()
            await asyncio.sleep(0.002 if is_full else 0)
        proxy.clear()
        while not client.is_connected or fates.undecided:
            await fates.settle()
            await asyncio.sleep(0.001)
        # What was written comes in behind the last message.
        await _quiet(books)
        # The server goes on: what it sends from here on is for nobody.
        books.last_wanted = number
        going_on = asyncio.create_task(_go_on(server, number))
        await client.close()
        going_on.cancel()
        await reading
        counts = client.stats().sends
    return LedgerResult(
        date=today(),
        commit=commit(),
        machine=machine(),
        versions=versions(),
        seed=seed,
        messages=number,
        losses=len(losses),
        kills=proxy.kills,
        accepted=counts.accepted,
        written=counts.written,
        dropped=counts.dropped,
        expired=counts.expired,
        unknown=counts.unknown,
        told=dict(fates.counts),
        arrived=len(books.arrived),
        arrived_untold=len(set(books.arrived) - fates.may_have_arrived),
        received=books.received,
        reordered=books.reordered,
        repeated=books.repeated,
        late=books.late,
        untold=books.untold,
        seconds=time.monotonic() - began,
    )


def _send(client: WebSocketClient, number: int) -> Any:
    ttl = _TTL if number % _EXPIRES == 0 else None
    key = number % _KEYS if number % _KEYED == 0 else None
    return client.send(Entry(number), None, ttl, key)


async def _go_on(server: WebSocketServer, number: int) -> None:
    while True:
        number += 1
        server.publish("ledger", Entry(number))
        await asyncio.sleep(0)


async def _quiet(books: _Books) -> None:
    """Wait until nothing comes in any more."""
    before = (-1, -1)
    while before != (now := (len(books.arrived), books.received)):
        before = now
        await asyncio.sleep(0.2)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=MESSAGES, help="each way")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save", action="store_true", help="keep the result for docs/RELIABILITY.md")
    chosen = parser.parse_args(arguments)
    result = run(ledger(chosen.messages, chosen.seed))
    print(
        f"seed {result.seed}: {result.messages} messages each way, {result.losses} connections lost, "
        f"{result.accepted} accepted = {result.written} written + {result.dropped} dropped + {result.expired} expired "
        f"+ {result.unknown} unknown; {'met' if result.met else 'MISSED'} in {result.seconds:.0f} s"
    )
    if chosen.save:
        print(f"kept in {save(result, 'ledger')}; render: python hostile/render.py")
    return 0 if result.met else 1


if __name__ == "__main__":
    sys.exit(main())
