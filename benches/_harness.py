"""Runs a bench: every side in its own process, in turn, round after round.

The process under test is pinned to the first core, the load generator to the last. The first round is warm-up: it finds
the rate, from which the number of messages of the other rounds follows.
"""

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benches import _many, _outages, _wires
from benches._child import TIMEOUT, BenchError, Child
from benches._payload import CYCLE, SUBSCRIBERS
from benches._results import (
    MOST_TRIES,
    ROOT,
    Bench,
    BenchResult,
    Numbers,
    Side,
    SideResult,
    commit,
    is_there,
    machine,
    program,
    today,
    versions,
)

__all__ = [
    "DISTURBED",
    "MOST_TRIES",
    "BenchError",
    "Progress",
    "Runner",
    "build_load_generator",
    "lacks_descriptors",
    "run_bench",
]

# Called with the runs done, the runs planned, and what runs now.
Progress = Callable[[int, int, str], None]
# Round trips of a first round; the rates of round trips are too different to guess.
FIRST_MESSAGES = 20 * CYCLE
# Descriptors of a process that are no client's.
SPARE_DESCRIPTORS = 100
# Connections opened before the measured ones of an idle bench: they pay for what a process makes once.
WARM_CLIENTS = 50


# A run counts when a fixed calculation right before and right after it took at most this many times its best time.
DISTURBED = 1.12


class _Run(NamedTuple):
    """One run: what it found, and how long the fixed calculation beside it took."""

    numbers: Numbers
    yardstick: float


class Runner:
    """Runs sides of benches."""

    def __init__(self, load_generator: Path) -> None:
        self._load_generator = str(load_generator)
        # One core alone is shared by both; without a way to pin (None), the system decides.
        cores: list[int | None] = [*sorted(os.sched_getaffinity(0))] if hasattr(os, "sched_getaffinity") else [None]
        self._subject_core, self._load_core = cores[0], cores[-1]

    def run(self, bench: Bench, side: Side, messages: int) -> _Run:
        """Run one side once; its result is checked before it is returned."""
        with contextlib.ExitStack() as stack:
            start = _Starter(stack, self, bench, side, messages)
            if bench.kind == "receive":
                return _receive(start, messages)
            if bench.kind in ("send", "paced_send"):
                return _send(start, bench, messages)
            if bench.kind == "round_trip":
                return _round_trip(start, messages)
            if bench.kind in ("broadcast", "paced_broadcast"):
                return _broadcast(start, bench, messages)
            if bench.kind == "idle":
                return _idle(start, bench)
            if bench.kind == "decode":
                return _decode(start, messages)
            runs = _outages.RUNS | _many.RUNS
            return _Run(*runs[bench.kind](start, bench, messages))

    def load_command(self, mode: str, options: dict[str, object]) -> list[str]:
        """Return the command of a load generator."""
        options = {"timeout": TIMEOUT, **options}
        if self._load_core is not None:
            options["core"] = self._load_core
        return [
            self._load_generator,
            mode,
            *(word for name, value in options.items() for word in (f"--{name}", f"{value}")),
        ]

    def subject_command(self, side: Side, options: dict[str, object]) -> list[str]:
        """Return the command of a process under test."""
        text = json.dumps({"core": self._subject_core, "timeout": TIMEOUT, **options})
        return [side.python or sys.executable, "-m", "benches._subject", side.module, side.scenario, text]


class _Starter:
    """Starts the processes of one run; the stack ends them."""

    def __init__(self, stack: contextlib.ExitStack, runner: Runner, bench: Bench, side: Side, messages: int) -> None:
        self.bench, self.side = bench, side
        self._stack, self._runner, self._messages = stack, runner, messages

    def load(self, mode: str, **options: object) -> Child:
        return self._child(self._runner.load_command(mode, options))

    def subject(self, **options: object) -> Child:
        bench = self.bench
        shared: dict[str, object] = {
            "messages": self._messages,
            "clients": bench.clients,
            "burst": bench.burst,
            "rate": bench.rate,
            "window": bench.window,
            "message_bytes": bench.message_bytes,
            "settle": bench.settle,
            "channels": bench.channels,
            "is_stalled": self.side.is_stalled,
            "program": program(self.side.program) if self.side.program else None,
        }
        return self._child(self._runner.subject_command(self.side, shared | options))

    def file(self) -> str:
        """Return the path of an empty file that lives as long as the run."""
        return self._stack.enter_context(tempfile.NamedTemporaryFile(prefix="bench-")).name

    def _child(self, command: list[str]) -> Child:
        child = Child(command)
        self._stack.callback(child.end)
        return child


def _receive(start: _Starter, messages: int) -> _Run:
    bench = start.bench
    options: dict[str, object] = {"per-write": bench.per_write}
    wire = _wires.WIRES[bench.wire]() if bench.wire else None
    if wire is not None:
        options["frames"] = start.file()
        _wires.write(wire, Path(str(options["frames"])))
        if wire.extensions is not None:
            options["extensions"] = wire.extensions
    feed = start.load("feed", messages=messages, **options)
    subject = start.subject(port=feed.hear()["port"])
    result = subject.hear()
    if wire is None:
        _check_sum(result, "price_sum", _price_sum(messages))
    else:
        # Every message of a cycle has the same size; the sum of a byte of each tells whether they are the right ones.
        _check_sum(result, "size", messages * len(wire.messages[0]))
        _check_sum(result, "byte_sum", messages // CYCLE * sum(_wires.probe(message) for message in wire.messages))
    numbers = _rate_and_cost(messages, result["wall_ns"], result["cpu_ns"])
    if wire is not None:
        numbers["mb_s"] = numbers["rate"] * len(wire.messages[0]) / 1e6
    return _Run(numbers, result["yardstick_ns"])


def _send(start: _Starter, bench: Bench, messages: int) -> _Run:
    options = _latency_options(bench, messages)
    sink = start.load("sink", messages=messages, **options)
    subject = start.subject(port=sink.hear()["port"])
    counted = sink.hear()
    subject.tell("done")
    result = subject.hear()
    _many.check(counted, messages, messages)
    return _Run(_rate_and_cost(messages, counted["ns"], result["cpu_ns"]) | _latency(counted), result["yardstick_ns"])


def _round_trip(start: _Starter, messages: int) -> _Run:
    echo = start.load("echo")
    subject = start.subject(port=echo.hear()["port"])
    result = subject.hear()
    latency = {"p50_us": result["p50_ns"] / 1000, "p99_us": result["p99_ns"] / 1000}
    return _Run(_rate_and_cost(messages, result["wall_ns"], result["cpu_ns"]) | latency, result["yardstick_ns"])


def _broadcast(start: _Starter, bench: Bench, messages: int) -> _Run:
    with tempfile.NamedTemporaryFile(prefix="bench-progress-") as file:
        file.truncate(8)
        subject = start.subject(progress=file.name)
        # A broker tells how its clients are to ask.
        hello = subject.hear()
        port = hello["port"]
        options = _latency_options(bench, messages) | hello.get("sinks", {})
        if bench.extensions:
            options |= {"extensions": bench.extensions, "record": start.file()}
        sinks = start.load("sinks", port=port, clients=bench.clients, messages=messages, progress=file.name, **options)
        sinks.hear()
        subject.tell("go")
        counted = sinks.hear()
        subject.tell("done")
        result = subject.hear()
    deliveries = messages * bench.clients
    _many.check(counted, messages, deliveries)
    if bench.extensions and (wrong := _wires.check(_wires.inflated(Path(str(options["record"]))), _wires.books())):
        raise BenchError(wrong)
    return _Run(_rate_and_cost(deliveries, counted["ns"], result["cpu_ns"]) | _latency(counted), result["yardstick_ns"])


def _decode(start: _Starter, messages: int) -> _Run:
    # There is no other end: the subject has its messages, and checks what becomes of them.
    result = start.subject().hear()
    return _Run(_rate_and_cost(messages, result["wall_ns"], result["cpu_ns"]), result["yardstick_ns"])


def _idle(start: _Starter, bench: Bench) -> _Run:
    subject = start.subject()
    port = subject.hear()["port"]
    options: dict[str, object] = {"message-bytes": bench.message_bytes}
    if bench.channel:
        options |= {"channel": bench.channel, "own": 1}
    if bench.subprotocol:
        options |= {"subprotocol": bench.subprotocol}
    # Some of them send, too, where the measured ones do.
    start.load("idle", port=port, clients=WARM_CLIENTS, **options).hear()
    subject.tell("warm")
    subject.hear()
    start.load("idle", port=port, clients=bench.clients, first=WARM_CLIENTS, **options).hear()
    subject.tell("go")
    # Memory does not depend on the speed of the core.
    return _Run({"kib_per_connection": subject.hear()["bytes_per_connection"] / 1024}, 0)


def _latency_options(bench: Bench, messages: int) -> dict[str, object]:
    # The first tenth of a paced run is not counted: connections and caches are cold.
    return {"latency": 1, "skip": messages // 10} if bench.rate else {}


def _latency(counted: dict[str, Any]) -> Numbers:
    latency = counted["latency"]
    if latency is None:
        return {}
    return {f"{name}_us": latency[name] / 1000 for name in ("p50", "p99", "p999", "max")}


def _rate_and_cost(count: int, wall_ns: int, cpu_ns: int) -> Numbers:
    return {"rate": count * 1e9 / wall_ns, "cpu_ns": cpu_ns / count}


def _check_sum(result: dict[str, Any], name: str, expected: float) -> None:
    if result.get(name, expected) != expected:
        raise BenchError(f"{name} is {result[name]}, sent were {expected}")


def _price_sum(messages: int) -> float:
    # Sixteenths are exact in binary floats, so sums are the same in any order.
    one_cycle = sum(100.0 + index + (2 * index + 1) % 16 / 16 for index in range(CYCLE))
    return messages // CYCLE * one_cycle


def lacks_descriptors(bench: Bench) -> bool:
    """Tell whether this system lets a process have fewer descriptors than a bench has clients."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most != resource.RLIM_INFINITY and most < bench.clients + SPARE_DESCRIPTORS


def build_load_generator() -> Path:
    """Build the load generator and return where cargo put it."""
    command = ["cargo", "build", "--release", "--package", "websocket_utils_load", "--message-format", "json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False, timeout=600)
    for line in done.stdout.splitlines():
        executable = json.loads(line).get("executable")
        if executable:
            return Path(executable)
    raise BenchError("cargo could not build the load generator (package websocket_utils_load)")


def run_bench(
    bench: Bench,
    load_generator: Path,
    *,
    rounds: int,
    seconds: float,
    progress: Progress | None = None,
    only: Callable[[Side], bool] = lambda _: True,
) -> BenchResult:
    """Run `rounds` rounds of `seconds` each that count, after one that doesn't."""
    runner = Runner(load_generator)
    wanted = [side for side in bench.sides if only(side)]
    sides = [side for side in wanted if is_there(side)]
    messages = {side.name: _first_messages(bench, side, seconds) for side in sides}
    taken: dict[str, list[_Run]] = {side.name: [] for side in sides}
    for number in range(1 + rounds * bench.tries):
        best = min((run.yardstick for runs in taken.values() for run in runs), default=0)
        missing = [side for side in sides if _undisturbed(taken[side.name], best) < rounds]
        # Each round begins with another side, so that none always follows the same one.
        for side in missing[number % len(missing) :] + missing[: number % len(missing)] if missing else []:
            if progress is not None:
                done = sum(min(rounds, _undisturbed(runs, best)) for runs in taken.values())
                progress(done, rounds * len(sides), f"{bench.title}: {side.name}")
            try:
                run = runner.run(bench, side, messages[side.name])
            except BenchError as error:
                raise BenchError(f"{bench.name}, {side.name}: {error}") from error
            if number:
                taken[side.name].append(run)
            else:
                messages[side.name] = _messages(bench, seconds, run.numbers)
    if progress is not None:
        progress(rounds * len(sides), rounds * len(sides), bench.title)
    best = min((run.yardstick for runs in taken.values() for run in runs), default=0)
    return BenchResult(
        name=bench.name,
        title=bench.title,
        method=bench.method,
        metrics=list(bench.metrics),
        bars=list(bench.bars),
        sides=[_choose(side.name, taken[side.name], rounds, best) for side in sides],
        left_out=[side.name for side in wanted if side not in sides],
        rounds=rounds,
        seconds=seconds,
        date=today(),
        commit=commit(),
        machine=machine(),
        versions=versions(),
    )


def _undisturbed(runs: list[_Run], best: float) -> int:
    return sum(run.yardstick <= best * DISTURBED for run in runs)


def _choose(name: str, runs: list[_Run], rounds: int, best: float) -> SideResult:
    """Take the first undisturbed runs, or where there are too few of them the least disturbed ones."""
    chosen = [run for run in runs if run.yardstick <= best * DISTURBED][:rounds]
    if len(chosen) < rounds:
        chosen = sorted(runs, key=lambda run: run.yardstick)[:rounds]
    return SideResult(name=name, rounds=[run.numbers for run in chosen], disturbed=len(runs) - len(chosen))


def _first_messages(bench: Bench, side: Side, seconds: float) -> int:
    if bench.kind == "channels":
        return 1
    if bench.messages:
        return max(1, round(bench.messages * seconds))
    if bench.rate:
        return _whole_cycles(bench.rate * seconds)
    if bench.kind == "round_trip":
        return FIRST_MESSAGES
    return _whole_cycles(side.guess * min(seconds, 1.0))


def _messages(bench: Bench, seconds: float, numbers: Numbers) -> int:
    if bench.kind == "channels":
        return max(1, round(numbers["rate"] / (bench.channels * SUBSCRIBERS) * seconds))
    if bench.messages:
        return max(1, round(bench.messages * seconds))
    if bench.rate or "rate" not in numbers:
        return _whole_cycles(bench.rate * seconds)
    return _whole_cycles(numbers["rate"] / bench.clients * seconds)


def _whole_cycles(messages: float) -> int:
    return max(1, round(messages / CYCLE)) * CYCLE
