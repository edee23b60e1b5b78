"""Run the end-to-end benches and keep their results: `python benches/run.py [--quick] [--rounds N] [NAME ...]`."""

import argparse
import importlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

# Run as a script, the folder of this file is on the path in place of the one above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benches import _micro
from benches._harness import BenchError, Progress, build_load_generator, lacks_descriptors, run_bench
from benches._results import BENCHES, Bench, BenchResult, MicroResult, judge, save
from benches.render import bar_rows, metric_text

# Load of the machine above which somebody else's work will be in the results.
BUSY = 0.5
ROUNDS = 7
SECONDS = 1.0
QUICK_ROUNDS = 1
QUICK_SECONDS = 0.2
# Modules `bench_<what>.py` without `BENCHES` are micro-benches, which pytest runs.
MICRO_NAME = "micro"
MODULES = (
    "receive",
    "framing",
    "send",
    "roundtrip",
    "peer",
    "busy_poll",
    "reconnect",
    "standby",
    "flapping",
    "broadcast",
    "spread",
    "channels",
    "stalled",
    "deflate",
    "targets",
    "memory",
    "laserstream",
)


def all_benches() -> dict[str, Bench]:
    """Return every end-to-end bench by its name."""
    modules = (importlib.import_module(f"benches.bench_{name}") for name in MODULES)
    return {bench.name: bench for module in modules for bench in module.BENCHES}


def run(
    names: Iterable[str] = (),
    *,
    quick: bool = False,
    rounds: int | None = None,
    sides: str = "",
    progress: Progress | None = None,
) -> Iterator[BenchResult]:
    """Run the benches called `names` (all where there are none), and give each result when it is there.

    `quick` shows that all works and roughly how fast; its results are no basis for a report. `sides` leaves only the
    sides whose name has that text in it.
    """
    known = all_benches()
    wanted = list(names) or list(known)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise BenchError(f"no bench called {', '.join(unknown)}: there are {', '.join(known)}")
    load_generator = build_load_generator()
    for name in wanted:
        if lacks_descriptors(known[name]):
            print(f"NOT RUN: {name} needs more open files than `ulimit -Hn` allows", file=sys.stderr)
            continue
        yield run_bench(
            known[name],
            load_generator,
            rounds=rounds or (QUICK_ROUNDS if quick else ROUNDS),
            seconds=QUICK_SECONDS if quick else SECONDS,
            progress=progress,
            only=lambda side: sides in side.name,
        )


def micro_table(result: MicroResult) -> str:
    """Return the result of the micro-benches as plain text."""
    lines = [f"{case.group:<28}{case.name:<40}{case.median('ns'):>10,.1f} ns/message" for case in result.cases]
    return "\n".join(
        [f"Micro-benches (medians, rounds: {result.rounds})", *(f"  {line}" for line in lines), *_verdicts(result)]
    )


def _verdicts(result: BenchResult | MicroResult) -> list[str]:
    return [
        f"  {scenario}: {bar}: {measured}, {verdict}" for scenario, bar, measured, verdict in bar_rows(judge(result))
    ]


def table(result: BenchResult) -> str:
    """Return a result as plain text, with the verdict of each of its bars."""
    width = max((len(side.name) for side in result.sides), default=0)
    lines = [f"{result.title} (medians, rounds: {result.rounds})"]
    for side in result.sides:
        values = "  ".join(metric_text(metric, side.median(metric)) for metric in result.metrics)
        lines.append(f"  {side.name:<{width}}  {values}")
    lines += [f"  NOT RUN, for want of what it needs: {name}" for name in result.left_out]
    return "\n".join([*lines, *_verdicts(result)])


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=f"benches: {MICRO_NAME}, {', '.join(all_benches())}")
    parser.add_argument("names", nargs="*", metavar="NAME", help="benches to run (default: all)")
    parser.add_argument("--quick", action="store_true", help="one short round of each side; nothing is kept")
    parser.add_argument(
        "--rounds", type=int, help=f"rounds that count (default: {ROUNDS}, {MICRO_NAME}: {_micro.ROUNDS})"
    )
    parser.add_argument(
        "--sides",
        default="",
        metavar="TEXT",
        help=f"only sides ({MICRO_NAME}: cases) with TEXT in their name; nothing is kept",
    )
    arguments = parser.parse_args()

    def show(done: int, planned: int, what: str) -> None:
        print(f"\r\x1b[K[{done}/{planned}] {what}", end="", file=sys.stderr, flush=True)

    if hasattr(os, "getloadavg") and os.getloadavg()[0] > BUSY:
        print(f"The machine is busy (load {os.getloadavg()[0]:.1f}): rates and latencies will suffer.", file=sys.stderr)
    progress = show if sys.stderr.isatty() else None
    kept = not (arguments.quick or arguments.sides)
    names = [name for name in arguments.names if name != MICRO_NAME]
    try:
        if not arguments.names or MICRO_NAME in arguments.names:
            micro = _micro.run_micro(
                rounds=arguments.rounds or (QUICK_ROUNDS if arguments.quick else _micro.ROUNDS),
                seconds=_micro.QUICK_SECONDS if arguments.quick else _micro.SECONDS,
                text=arguments.sides,
                progress=progress,
            )
            if progress is not None:
                print("\r\x1b[K", end="", file=sys.stderr)
            print(micro_table(micro), flush=True)
            if kept:
                print(f"  kept in {save(micro).relative_to(BENCHES.parent)}")
        if arguments.names and not names:
            return 0
        for result in run(
            names, quick=arguments.quick, rounds=arguments.rounds, sides=arguments.sides, progress=progress
        ):
            if progress is not None:
                print("\r\x1b[K", end="", file=sys.stderr)
            print(table(result), flush=True)
            if kept:
                print(f"  kept in {save(result).relative_to(BENCHES.parent)}")
    except BenchError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    if kept:
        print("Render the report: python benches/render.py")
    return 0


if __name__ == "__main__":
    sys.exit(main())
