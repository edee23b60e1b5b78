"""Runs of benches with many clients or channels: how far apart a broadcast arrives, many channels, a stalled client."""

import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from benches._child import BenchError
from benches._outages import Start, percentile
from benches._payload import SUBSCRIBERS
from benches._results import Bench, Numbers

# What channels are called; a name that a user would give.
PREFIX = "prices:"
# Channel of all clients of a bench with a stalled one, and the channel that fills the socket of that one: of the same
# namespace, so that no other policy has a say.
SHARED_CHANNEL = f"{PREFIX}all"
FILLED_CHANNEL = f"{PREFIX}filling"
# Bytes of a message there, and how far a client may fall behind before it is cut, for each message of a run: a client
# that reads nothing is that far behind when two fifths of them are sent. That is the budget by which memory may grow.
STALLED_MESSAGE = 2560
BUDGET = 1024
# Ticks that the sinks leave one message alone, before they read it: all of them have it then.
REST_TICKS = 5


def spread(start: Start, bench: Bench, messages: int) -> tuple[Numbers, float]:
    """How far apart the first and the last client get the same message."""
    subject = start.subject()
    port = subject.hear()["port"]
    rest = REST_TICKS * 1000 // bench.rate
    sinks = start.load("spread", port=port, clients=bench.clients, messages=messages, **{"rest-ms": rest})
    sinks.hear()
    subject.tell("go")
    counted = sinks.hear()
    subject.tell("done")
    result = subject.hear()
    check(counted, messages + 1, (messages + 1) * bench.clients)
    return spread_numbers(counted["spread_ns"], counted["late_ns"], counted["own_ns"]), result["yardstick_ns"]


def spread_numbers(spreads: Sequence[int], late: Sequence[int], own: int) -> Numbers:
    """What is shown of a spread: the first tenth of the messages is not counted."""
    skip = len(spreads) // 10
    return {
        "spread_p50_ms": percentile(spreads[skip:], 0.5) / 1e6,
        "spread_p99_ms": percentile(spreads[skip:], 0.99) / 1e6,
        "late_p99_ms": percentile(late[skip:], 0.99) / 1e6,
        "sink_ms": own / 1e6,
    }


def channels(start: Start, bench: Bench, messages: int) -> tuple[Numbers, float]:
    """Messages on each of many channels; `messages` is the number of sweeps over all."""
    with tempfile.NamedTemporaryFile(prefix="bench-progress-") as file:
        file.truncate(8)
        subject = start.subject(progress=file.name)
        port = subject.hear()["port"]
        sinks = start.load(
            "channels",
            port=port,
            clients=bench.clients,
            channels=bench.channels,
            sweeps=messages,
            prefix=PREFIX,
            progress=file.name,
        )
        sinks.hear()
        subject.tell("go")
        counted = sinks.hear()
        subject.tell("done")
        result = subject.hear()
    deliveries = messages * bench.channels * SUBSCRIBERS
    check(counted, messages, deliveries)
    numbers = {"rate": deliveries * 1e9 / counted["ns"], "cpu_ns": result["cpu_ns"] / deliveries}
    return numbers, result["yardstick_ns"]


def stalled(start: Start, bench: Bench, messages: int) -> tuple[Numbers, float]:
    """Messages to many clients, of which the first does not read where the side says so."""
    subject = start.subject()
    port = subject.hear()["port"]
    options = {"stall": FILLED_CHANNEL} if start.side.is_stalled else {}
    sinks = start.load(
        "stalled",
        port=port,
        clients=bench.clients,
        messages=messages,
        skip=messages // 10,
        channel=SHARED_CHANNEL,
        **options,
    )
    sinks.hear()
    subject.tell("go")
    counted = sinks.hear()
    subject.tell("done")
    result = subject.hear()
    check(counted, messages, messages * (bench.clients - start.side.is_stalled))
    if start.side.is_stalled:
        sinks.tell("read")
        check_stalled(sinks.hear(), result, messages)
    subject.tell("end")
    numbers = {name: counted["latency"][name.removesuffix("_us")] / 1000 for name in ("p50_us", "p99_us", "p999_us")}
    return {**numbers, "grown_kib": result["grown_kib"]}, result["yardstick_ns"]


def check_stalled(read: dict[str, Any], result: dict[str, Any], messages: int) -> None:
    """Hold what a stalled client read in the end to what the policy of its channel promises."""
    cut, has_last = result["lag_disconnects"], read["has_last"]
    # What the policy does to the messages that the client has no room for, as the server counts it.
    done = {"disconnect": cut, "drop_oldest": result["dropped"], "conflate": result["conflated"]}
    others = [count for policy, count in done.items() if policy != result["policy"]]
    keeps = result["policy"] != "disconnect"
    if not done[result["policy"]] or any(others) or cut > 1 or has_last != keeps or read["messages"] >= messages:
        raise BenchError(f"a stalled client read {read} of {messages} messages, and the server says {result}")


def check(counted: dict[str, Any], each: int, total: int) -> None:
    """Hold what sinks counted to what was sent."""
    if counted["least"] != each or counted["messages"] != total or counted["wrong"]:
        raise BenchError(f"sinks expected {total} messages, {each} each, and got {counted}")


RUNS: dict[str, Callable[[Any, Bench, int], tuple[Numbers, float]]] = {
    "spread": spread,
    "channels": channels,
    "stalled": stalled,
}
