"""A storm of reconnects: one connection lost after the other, and what is left behind.

`python hostile/storm.py [--cycles N] [--save]`. Traffic is on loopback, and ends with the last cycle.
"""

import argparse
import asyncio
import gc
import os
import sys
import time
from pathlib import Path
from typing import Final

# Run as a script, the folder of this file is on the path in place of the one above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benches._results import commit, machine, today, versions

from hostile._results import StormResult, save
from websocket_utils import PriceUpdate, ReconnectPolicy, WebSocketClient, WebSocketServer, run

CYCLES: Final = 10_000
# Memory is compared from here on: what a process makes once is made by then.
_WARM: Final = 10


def _resident_kib() -> int:
    with Path("/proc/self/statm").open(encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def _publish(server: WebSocketServer) -> None:
    """Publish one update, to the connection that is the client's next."""
    update = PriceUpdate("SOL", "USDC", 1.0, timestamp=1)
    while not server.publish("prices", update).subscribers:  # noqa: ASYNC110  # it is the server's turns that are waited for
        await asyncio.sleep(0)


async def storm(cycles: int = CYCLES) -> StormResult:
    """Lose `cycles` connections, each once it has brought a message, and compare before and after."""
    began = time.monotonic()
    policy = ReconnectPolicy(first_jitter=0.0, base=0.0001, flapping_base=0.0001)
    warm_kib = descriptors = tasks = 0
    async with (
        WebSocketServer.bind("127.0.0.1:0") as server,
        WebSocketClient.connect(
            server.url, max_reconnect_attempts=None, reconnect=policy, reconnect_interval=0.001, stable_after=1e-6
        ) as client,
    ):
        await client.subscribe("prices")
        for cycle in range(cycles):
            await _publish(server)
            assert await client.receive(PriceUpdate) is not None
            if cycle == cycles // _WARM:
                gc.collect()
                warm_kib, descriptors, tasks = _resident_kib(), _descriptors(), len(asyncio.all_tasks())
            for connection in server.connections:
                connection.abort()
        await _publish(server)
        assert await client.receive(PriceUpdate) is not None
        gc.collect()
        stats = client.stats()
        return StormResult(
            date=today(),
            commit=commit(),
            machine=machine(),
            versions=versions(),
            cycles=cycles,
            reconnects=stats.reconnects,
            warm_kib=warm_kib,
            end_kib=_resident_kib(),
            descriptors=_descriptors() - descriptors,
            tasks=len(asyncio.all_tasks()) - tasks,
            median_us=sorted(one.total_ns for one in stats.downtimes)[len(stats.downtimes) // 2] / 1000,
            seconds=time.monotonic() - began,
        )


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=CYCLES)
    parser.add_argument("--save", action="store_true", help="keep the result for docs/RELIABILITY.md")
    chosen = parser.parse_args(arguments)
    result = run(storm(chosen.cycles))
    print(
        f"{result.reconnects} reconnects in {result.seconds:.0f} s: memory {result.end_kib - result.warm_kib:+} KiB "
        f"since the first tenth, descriptors {result.descriptors:+}, tasks {result.tasks:+}; "
        f"{'met' if result.met else 'MISSED'}"
    )
    if chosen.save:
        print(f"kept in {save(result, 'storm')}; render: python hostile/render.py")
    return 0 if result.met else 1


if __name__ == "__main__":
    sys.exit(main())
