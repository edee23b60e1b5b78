"""Runs of benches whose connections do not last: reconnects, promotions, and servers that accept and drop.

Moments are taken by both processes on the monotonic clock of the machine, and paired here.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Protocol

from benches._child import BenchError, Child
from benches._results import Bench, Numbers, Side

# How long each connection lives, in microseconds: longer than our `stable_after` in these benches.
LIVE_US = 100_000
# For how long both of a pair are up before one of them dies.
PAIR_LIVE_US = 60_000
# For how long the dials of a client are counted.
FLAPPING_SECONDS = 1


class Start(Protocol):
    """Starts the processes of one run."""

    side: Side

    def load(self, mode: str, **options: object) -> Child:
        """Start a load generator."""

    def subject(self, **options: object) -> Child:
        """Start the process under test."""


def reconnect(start: Start, bench: Bench, messages: int) -> tuple[Numbers, float]:
    """From the reset of a connection to the first message of the next one."""
    del bench
    server = start.load("drops", drops=messages, **{"live-us": LIVE_US})
    subject = start.subject(port=server.hear()["port"])
    result = subject.hear()
    dropped, arrived = server.hear()["dropped"], result["arrived_ns"]
    if len(dropped) != messages or len(arrived) != messages + 1:
        raise BenchError(f"{messages} drops were asked for; there were {len(dropped)}, and {len(arrived)} connections")
    # The first connection is no reconnect.
    gaps = [first - drop for drop, first in zip(dropped, arrived[1:], strict=True)]
    if min(gaps) <= 0:
        raise BenchError("a message came from a connection that did not exist yet")
    return {"p50_ms": percentile(gaps, 0.5) / 1e6, "p99_ms": percentile(gaps, 0.99) / 1e6}, result["yardstick_ns"]


def standby(start: Start, bench: Bench, messages: int) -> tuple[Numbers, float]:
    """One of two servers of a stream dies; the other one is listened to from then on."""
    del bench
    servers = start.load("pair", kills=messages, **{"live-us": PAIR_LIVE_US})
    first, second = servers.hear()["ports"]
    subject = start.subject(port=first, second_port=second)
    result = subject.hear()
    killed = servers.hear()["killed"]
    promoted = result["promoted"]
    if len(killed) != messages or len(promoted) != messages:
        raise BenchError(f"{messages} deaths were asked for; there were {len(killed)}, {len(promoted)} promotions")
    return standby_numbers(result["ticks"], promoted, killed), result["yardstick_ns"]


def standby_numbers(
    ticks: Sequence[Sequence[int]], promoted: Sequence[Sequence[int]], killed: Sequence[int]
) -> Numbers:
    """What a strategy saw of the promotions.

    Args:
        ticks: Of each message received, in order: its number, when it was due, when it was received.
        promoted: Of each promotion: messages received before it, its `gap_ns`, when it was told.
        killed: When the server died.
    """
    numbers = [number for number, _, _ in ticks]
    if numbers != sorted(numbers):
        raise BenchError("messages came out of order")
    # How much longer two messages were apart than the stream has them.
    waits = [
        (received - received_before) - (due - due_before)
        for (_, due_before, received_before), (_, due, received) in pairwise(ticks)
    ]
    # Of each promotion: the two before it, the one across, and the two behind.
    gaps = [max(0, *waits[max(0, place - 3) : place + 2]) for place, _, _ in promoted]
    takeovers = [told - death for (_, _, told), death in zip(promoted, killed, strict=True)]
    return {
        "lost": numbers[-1] - numbers[0] + 1 - len(set(numbers)),
        "duplicated": len(numbers) - len(set(numbers)),
        "gap_p50_us": percentile(gaps, 0.5) / 1e3,
        "gap_p99_us": percentile(gaps, 0.99) / 1e3,
        "promotion_p99_us": percentile([gap for _, gap, _ in promoted], 0.99) / 1e3,
        "takeover_p50_us": percentile(takeovers, 0.5) / 1e3,
    }


def flapping(start: Start, bench: Bench, messages: int) -> tuple[Numbers, float]:
    """A server that completes each handshake and ends the connection: how often it is dialled in the first second."""
    del messages
    server = start.load("flaps", seconds=FLAPPING_SECONDS, code=bench.close_code)
    subject = start.subject(port=server.hear()["port"])
    dials = server.hear()["dials"]
    subject.tell("done")
    return {"dials": dials}, subject.hear()["yardstick_ns"]


def percentile(values: Sequence[float], fraction: float) -> float:
    """The least value that the fraction of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))]


RUNS: dict[str, Callable[[Any, Bench, int], tuple[Numbers, float]]] = {
    "reconnect": reconnect,
    "standby": standby,
    "flapping": flapping,
}
