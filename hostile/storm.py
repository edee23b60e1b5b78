"""What many reconnects leave behind: `python hostile/storm.py [--cycles N] [--save]`.

A server cuts its only client again and again, by a reset, an end of file or a close frame in turn. Each time the client
dials anew, subscribes, is acknowledged, and sends a message. Memory, descriptors and tasks are counted before and after
(Linux).
"""

import argparse
import asyncio
import gc
import itertools
import os
import sys
import time
from pathlib import Path
from typing import Any, Final

# Run as a script, the folder of this file is on the path in place of the one above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benches._results import ROOT, commit, machine, today, versions

from hostile._results import StormResult, save
from websocket_utils import Reconnected, ReconnectPolicy, WebSocketClient, run
from websocket_utils.testing import FaultServer

CYCLES: Final = 10_000
# Cycles until memory is looked at for the first time: caches are full then, and histories.
WARM: Final = 500


async def storm(cycles: int, warm: int = WARM) -> StormResult:
    """Let a client reconnect so many times; return what that left."""
    async with FaultServer() as server:
        client = await WebSocketClient.connect(
            server.url,
            subprotocols=("websocket-utils.json",),
            reconnect=ReconnectPolicy(base=0.001, first_jitter=0.0, flapping_base=0.001, max_delay=0.001),
            max_reconnect_attempts=None,
            when_down="queue",
            ping_interval=1.0,
        )
        async with client:
            events = client.events(str)
            await client.subscribe("a", stale_after=60.0)
            ends = itertools.cycle((server.reset_all, server.drop_all, lambda: server.close_all(1001)))

            async def go_around(times: int) -> None:
                for _ in range(times):
                    epoch = client.epoch
                    next(ends)()
                    while True:
                        item: Any = await anext(events)
                        if isinstance(item, Reconnected) and item.epoch > epoch:
                            break
                    await client.send("kept, or sent at once")
                    # What the server has written down is no growth of its client's.
                    for known in (
                        server.dials,
                        server.requests,
                        server.received,
                        server.close_codes,
                        server.subscriptions,
                    ):
                        known.clear()

            await go_around(warm)
            before, began = _held(), time.monotonic()
            await go_around(cycles)
            seconds = time.monotonic() - began
            after = _held()
            p50, p99 = _quantiles([one.total_ns for one in client.stats().downtimes])
    return StormResult(
        date=today(),
        commit=commit(),
        machine=machine(),
        versions=versions(("websocket_utils", "aiofastnet", "uvloop")),
        cycles=cycles,
        seconds=seconds,
        downtime_p50_ms=p50 / 1e6,
        downtime_p99_ms=p99 / 1e6,
        grown_kib=after[0] - before[0],
        objects=after[1] - before[1],
        descriptors=after[2] - before[2],
        tasks=after[3] - before[3],
    )


def _held() -> tuple[int, int, int, int]:
    """Resident memory in KiB, objects that the collector knows, descriptors, and tasks."""
    gc.collect()
    status = Path("/proc/self/status").read_text(encoding="ascii")
    resident = int(status.partition("VmRSS:")[2].split(maxsplit=1)[0])
    return resident, len(gc.get_objects()), len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())


def _quantiles(values: list[int]) -> tuple[int, int]:
    values = sorted(values)
    return values[len(values) // 2], values[len(values) * 99 // 100]


def main(arguments: list[str] | None = None) -> int:
    """Reconnect, and tell."""
    parser = argparse.ArgumentParser(description="Count what many reconnects leave behind.")
    parser.add_argument("--cycles", type=int, default=CYCLES)
    parser.add_argument("--save", action="store_true", help="keep the result for docs/RELIABILITY.md")
    chosen = parser.parse_args(arguments)
    result = run(storm(chosen.cycles))
    print(
        f"{result.cycles} reconnects in {result.seconds:.0f} s: {result.grown_kib} KiB, {result.objects} objects, "
        f"{result.descriptors} descriptors, {result.tasks} tasks more than before"
    )
    if chosen.save:
        print(f"kept in {save(result, 'storm').relative_to(ROOT)}; render: python hostile/render.py")
    return 0 if result.met else 1


if __name__ == "__main__":
    sys.exit(main())
