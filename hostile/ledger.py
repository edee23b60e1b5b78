"""Whether every message is accounted for, over a network that kills: `python hostile/ledger.py [--save]`.

A client and a server of ours send each other numbers through a chaos proxy that ends connections at random moments, in
the middle of whatever they carry. In the end the books have to balance: what `send` accepted was written, dropped, or
expired, or is told to be unknown, message by message; and nothing came twice, late, or after a gap that was not told.
"""

import argparse
import asyncio
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any, Final

# Run as a script, the folder of this file is on the path in place of the one above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benches._results import ROOT, commit, machine, today, versions
from tests.support.waiting import until

from hostile._results import LEDGER_KEPT, LedgerResult, save
from websocket_utils import (
    Gap,
    MessageNotWritten,
    ReconnectPolicy,
    SendOutcome,
    SendQueueFull,
    ServerConnection,
    StandardSubscriptions,
    WebSocketClient,
    WebSocketServer,
    run,
)
from websocket_utils.testing import ChaosProxy

MESSAGES: Final = 1_000_000
# A connection's end, on average after so many bytes of both directions.
MEAN_BYTES: Final = 5000
# Sent in one turn of the loop, by each side.
BURST: Final = 20
CHANNEL: Final = "numbers"
# Of both sides' numbers, those between two stalls: bytes don't get through until all buffers are full, and then the
# connection is killed. Else every message is in the kernel's hands before its connection ends.
STALL_EACH: Final = 8000
STALL_BYTES: Final = 40_000
# Long enough to be passed by few, short enough to be passed by some: reconnecting takes a millisecond or two.
TTL: Final = 0.001
KEYS: Final = 5
_SOME: Final = 0.1
_SETTLE_EACH: Final = 1000
_NARROW: Final = 10_000
_A_MOMENT: Final = 0.0005
_ARRIVE_SECONDS: Final = 30


class Unasked(StandardSubscriptions):
    """A channel that needs no asking for: its gaps are told, and all messages that are sent are those counted here."""

    replies: tuple[type[Any], ...] = ()

    def subscribe(self, channels: Sequence[str], /) -> Sequence[Any]:
        """Ask for nothing."""
        del channels
        return ()


class Ledger:
    """Both sides of the account: what was sent and how it ended, and what was received.

    Args:
        messages: Numbers that each side sends.
        seed: Of all that is left to chance.
        mean_bytes: Bytes of a connection until it is killed, on average.
    """

    def __init__(self, messages: int, seed: int, mean_bytes: int = MEAN_BYTES) -> None:
        self.messages = messages
        self.mean_bytes = mean_bytes
        self.random = random.Random(seed)
        self.seed = seed
        # Of the client's numbers, in the order they were accepted.
        self.open: dict[int, Awaitable[SendOutcome]] = {}
        self.fates: dict[int, str] = {}
        self.number = 0
        self.refused = 0
        self.stalls = 0
        # What the server received, by connection.
        self.received: dict[ServerConnection, list[int]] = {}
        self.last_received = 0
        # What the strategy received: faults are counted, numbers need not be kept.
        self.published = 0
        self.last = 0
        self.delivered = 0
        self.out_of_order = 0
        self.untold_gaps = 0
        self.late = 0
        self._gap_told = True
        self._last_wanted = math.inf

    async def run(self) -> LedgerResult:
        """Send, kill, and balance."""
        began = time.monotonic()
        async with WebSocketServer.bind("127.0.0.1:0", ping_interval=None) as server:
            server.on(str, self._take)
            async with ChaosProxy(server.url, seed=self.seed) as proxy:
                client = await WebSocketClient.connect(
                    proxy.url,
                    subscriptions=Unasked(),
                    # A crowd of one: the waits are short, so that there are many ends.
                    reconnect=ReconnectPolicy(base=0.001, first_jitter=0.0, flapping_base=0.001, max_delay=0.003),
                    max_reconnect_attempts=None,
                    when_down="queue",
                    overflow="drop_oldest",
                    message_buffer_size=LEDGER_KEPT,
                    timeout=10,
                )
                reading = asyncio.create_task(self._read(client))
                await client.subscribe(CHANNEL)
                proxy.kill_randomly(self.mean_bytes)
                await self._exchange(client, server, proxy)
                proxy.clear()
                await self._arrive(client, server)
                epochs = client.epoch
                await self._close(client, server)
                await reading
                sends = client.stats().sends
                kills = proxy.kills
        return LedgerResult(
            date=today(),
            commit=commit(),
            machine=machine(),
            versions=versions(("websocket_utils", "aiofastnet", "uvloop")),
            seed=self.seed,
            kills=kills + self.stalls,
            stalls=self.stalls,
            epochs=epochs,
            accepted=sends.accepted,
            refused=self.refused,
            written=sends.written,
            dropped=sends.dropped,
            expired=sends.expired,
            unknown=sends.unknown,
            waiting=sends.waiting,
            awaited=dict(Counter(self.fates.values())),
            received=sum(map(len, self.received.values())),
            received_out_of_order=self._disorder(),
            received_unaccounted=self._unaccounted(),
            published=self.published,
            delivered=self.delivered,
            delivered_out_of_order=self.out_of_order,
            untold_gaps=self.untold_gaps,
            delivered_after_close=self.late,
            seconds=time.monotonic() - began,
        )

    async def _close(self, client: WebSocketClient, server: WebSocketServer) -> None:
        """Close while the server goes on: what it says from now on is for nobody."""

        async def go_on() -> None:
            while True:
                self._publish_next(server)
                await asyncio.sleep(0)

        going_on = asyncio.create_task(go_on())
        self._last_wanted = self.published
        await client.close()
        going_on.cancel()

    # --- both ways ---

    async def _exchange(self, client: WebSocketClient, server: WebSocketServer, proxy: ChaosProxy) -> None:
        stall_at, settle_at = STALL_EACH // 2, _SETTLE_EACH
        while self.number < self.messages:
            for _ in range(BURST):
                self._send_next(client)
                self._publish_next(server)
            await asyncio.sleep(0 if client.is_connected else _A_MOMENT)
            if self.number >= settle_at:
                # Keeps pace, and keeps no more than it has to.
                settle_at = self.number + _SETTLE_EACH
                await self._settle()
            if self.number >= stall_at:
                await self._stall(client, server, proxy)
                stall_at = self.number + STALL_EACH

    def _send_next(self, client: WebSocketClient, size: int = 0) -> bool:
        """Send the next number, with so many spaces behind it; return whether there was room for it."""
        self.number += 1
        ttl = TTL if self.random.random() < _SOME else None
        key = self.random.randrange(KEYS) if self.random.random() < _SOME else None
        try:
            self.open[self.number] = client.send(str(self.number) + " " * size, ttl=ttl, key=key)
        except SendQueueFull:
            self.refused += 1
            return False
        return True

    async def _stall(self, client: WebSocketClient, server: WebSocketServer, proxy: ChaosProxy) -> None:
        """Let next to nothing through, send until no buffer takes more, and kill."""
        await until(lambda: client.is_connected)
        epoch = client.epoch
        proxy.kill_randomly(None)
        proxy.bandwidth(_NARROW, direction="up")
        while client.is_connected and client.epoch == epoch:
            if not self._send_next(client, STALL_BYTES):
                break
            self._publish_next(server)
            await asyncio.sleep(0)
        self.stalls += 1
        proxy.reset()
        proxy.bandwidth(None, direction="up")
        proxy.kill_randomly(self.mean_bytes)

    async def _settle(self) -> None:
        """Await every message so far: one after the other, each raises or returns how it ended."""
        waiting, self.open = self.open, {}
        for number, sent in waiting.items():
            try:
                outcome = await sent
            except MessageNotWritten as error:
                outcome = error.outcome
            self.fates[number] = outcome.fate

    async def _arrive(self, client: WebSocketClient, server: WebSocketServer) -> None:
        """Send on until a last number of each side has got through: the last kill may not be noticed yet."""
        await self._settle()
        async with asyncio.timeout(_ARRIVE_SECONDS):
            while self.last_received != self.number or self.last != self.published:
                self._send_next(client)
                await self._settle()
                self._publish_next(server)
                await asyncio.sleep(10 * _A_MOMENT)

    def _take(self, connection: ServerConnection, message: str) -> None:
        self.last_received = int(message)
        self.received.setdefault(connection, []).append(self.last_received)

    def _disorder(self) -> int:
        """Of what the server received, what did not follow what came before, over all connections in their order."""
        last, found = 0, 0
        for numbers in self.received.values():
            for number in numbers:
                found += number <= last
                last = number
        return found

    def _unaccounted(self) -> int:
        """Of what the server received, what was said not to have been sent."""
        return sum(
            self.fates[number] not in {"written", "unknown"} for numbers in self.received.values() for number in numbers
        )

    # --- from the server to the client ---

    def _publish_next(self, server: WebSocketServer) -> None:
        self.published += 1
        server.broadcast(str(self.published))

    async def _read(self, client: WebSocketClient) -> None:
        async for item in client.events(str):
            if isinstance(item, Gap):
                self._gap_told = True
            elif isinstance(item, str):
                number = int(item)
                self.delivered += 1
                self.late += number > self._last_wanted
                self.out_of_order += number <= self.last
                self.untold_gaps += number != self.last + 1 and not self._gap_told
                self.last, self._gap_told = number, False


async def balance(messages: int, seed: int, mean_bytes: int = MEAN_BYTES) -> LedgerResult:
    """Let each side send so many numbers; return what became of them."""
    return await Ledger(messages, seed, mean_bytes).run()


def main(arguments: list[str] | None = None) -> int:
    """Send, and tell."""
    parser = argparse.ArgumentParser(description="Account for every message over a network that kills connections.")
    parser.add_argument("--messages", type=int, default=MESSAGES, help="of each side")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save", action="store_true", help="keep the result for docs/RELIABILITY.md")
    chosen = parser.parse_args(arguments)
    result = run(balance(chosen.messages, chosen.seed))
    for fault in result.faults:
        print(fault)
    print(
        f"{result.kills} kills in {result.seconds:.0f} s: {result.accepted} accepted = {result.written} written + "
        f"{result.dropped} dropped + {result.expired} expired + {result.unknown} unknown; {result.received} received; "
        f"{result.delivered} of {result.published} delivered"
    )
    if chosen.save:
        print(f"kept in {save(result, 'ledger').relative_to(ROOT)}; render: python hostile/render.py")
    return 0 if result.met else 1


if __name__ == "__main__":
    sys.exit(main())
