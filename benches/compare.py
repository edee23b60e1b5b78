"""Measure this version against an older one: `benches/compare.py --before REV [--quick] [--rounds N] [NAME ...]`.

Each of our own sides runs before, after and before again, in every round, with the benches of this version: see
`render.COMPARISON_METHOD`, which the report shows.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import get_args

import msgspec

# Run as a script, the folder of this file is on the path in place of the one above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benches._harness import (
    DISTURBED,
    MOST_TRIES,
    BenchError,
    Progress,
    Runner,
    _first_messages,
    _messages,
    _Run,
    build_load_generator,
)
from benches._results import (
    BENCHES,
    Bench,
    ComparedCase,
    Comparison,
    Side,
    Version,
    commit,
    machine,
    save,
    today,
    versions,
)
from benches._revision import build, commit_of, has_method
from benches.render import comparison_rows
from benches.run import BUSY, all_benches

OURS = "websocket_utils"
# Every path without compression. Targets hold a fixed rate, and memory is no matter of speed.
NAMES = ("receive", "receive_bare", "receive_big", "send", "round_trip", "broadcast_16", "broadcast_1")
# So few runs have no tail worth a comparison.
TAILS = ("p99_us", "p999_us")
VERSIONS: tuple[Version, ...] = get_args(Version)
ROUNDS = 9
SECONDS = 0.5
QUICK_ROUNDS = 2
QUICK_SECONDS = 0.1

# One round: a run of each version.
Round = dict[Version, _Run]


def sides_of(names: Iterable[str]) -> list[tuple[Bench, Side]]:
    """Return our own sides of the benches called `names`."""
    known = all_benches()
    names = list(names)
    if unknown := [name for name in names if name not in known]:
        raise BenchError(f"no bench called {', '.join(unknown)}: there are {', '.join(known)}")
    return [(known[name], side) for name in names for side in known[name].sides if side.needs == OURS]


def compare(
    python: Path, sides: Sequence[tuple[Bench, Side]], *, rounds: int, seconds: float, progress: Progress | None = None
) -> Iterator[ComparedCase]:
    """Compare this version with the one that `python` runs, and give each case when it is there."""
    runner = Runner(build_load_generator())
    for number, (bench, side) in enumerate(sides):
        if progress is not None:
            progress(number, len(sides), f"{bench.title}: {side.name}")
        yield compare_side(runner, bench, side, python, rounds=rounds, seconds=seconds)


def compare_side(
    runner: Runner, bench: Bench, side: Side, python: Path, *, rounds: int, seconds: float
) -> ComparedCase:
    """Run `rounds` rounds that count, of a run of each version."""
    older = msgspec.structs.replace(side, python=str(python))
    sides: dict[Version, Side] = {"before": older, "after": side, "control": older}

    def run(version: Version, messages: int) -> _Run:
        try:
            return runner.run(bench, sides[version], messages)
        except BenchError as error:
            raise BenchError(f"{bench.name}, {side.name}, {version}: {error}") from error

    # Not counted: what it finds is how many messages all versions get, so that what a run begins with weighs the same.
    warm_up = {version: run(version, _first_messages(bench, side, seconds)) for version in ("before", "after")}
    messages = _messages(bench, seconds, warm_up["before"].numbers)
    taken: list[Round] = []
    for number in range(rounds * MOST_TRIES):
        taken.append({version: run(version, messages) for version in turn_order(number)})
        if len(undisturbed(taken)) >= rounds:
            break
    chosen = choose(taken, rounds)
    return ComparedCase(
        bench=bench.name,
        side=side.name,
        metrics=sorted((name for name in bench.metrics if name not in TAILS), key=lambda name: name != "cpu_ns"),
        rounds=[{version: one[version].numbers for version in VERSIONS} for one in chosen],
        disturbed=len(taken) - len(chosen),
    )


def turn_order(number: int) -> tuple[Version, ...]:
    """Return the order of a round: six rounds have every order once."""
    first = number % len(VERSIONS)
    order = VERSIONS[first:] + VERSIONS[:first]
    return order[::-1] if number % 2 else order


def undisturbed(taken: list[Round]) -> list[Round]:
    """Return the rounds in each run of which the core had nearly its best speed."""
    best = min(run.yardstick for one in taken for run in one.values())
    return [one for one in taken if _worst(one) <= best * DISTURBED]


def choose(taken: list[Round], rounds: int) -> list[Round]:
    """Take the first undisturbed rounds, or where there are too few of them the least disturbed ones."""
    chosen = undisturbed(taken)[:rounds]
    return chosen if len(chosen) == rounds else sorted(taken, key=_worst)[:rounds]


def _worst(one: Round) -> float:
    return max(run.yardstick for run in one.values())


def text_of(case: ComparedCase) -> str:
    """Return a case as plain text."""
    lines = [f"{case.bench}: {case.side} (rounds: {len(case.rounds)}, disturbed ones repeated: {case.disturbed})"]
    for metric, before, after, ratio, control, best, verdict in comparison_rows(case):
        lines.append(f"  {metric:<16}{before:>12} -> {after:>12}  {ratio}, control {control}, best {best}: {verdict}")
    return "\n".join(lines)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these benches (of all: {', '.join(NAMES)})")
    parser.add_argument("--before", required=True, metavar="REV", help="the revision to compare with")
    parser.add_argument("--quick", action="store_true", help="few short rounds")
    parser.add_argument("--rounds", type=int, help=f"rounds that count (default: {ROUNDS})")
    parser.epilog = "Kept is what all benches found, in rounds of full length: neither --quick nor a NAME given."
    arguments = parser.parse_args()

    def show(done: int, planned: int, what: str) -> None:
        print(f"\r\x1b[K[{done}/{planned}] {what}", end="", file=sys.stderr, flush=True)

    progress = show if sys.stderr.isatty() else None
    rounds = arguments.rounds or (QUICK_ROUNDS if arguments.quick else ROUNDS)
    seconds = QUICK_SECONDS if arguments.quick else SECONDS
    cases = []
    try:
        # What is called wrongly is told before the build, not after.
        sides = sides_of(arguments.names or NAMES)
        before = commit_of(arguments.before)
        python = build(before)
        lacking = [side for _, side in sides if side.method and not has_method(python, side.method)]
        sides = [(bench, side) for bench, side in sides if side not in lacking]
        if lacking:
            print(f"Not in the version before: {', '.join(side.name for side in lacking)}.", file=sys.stderr)
        # The build itself was a load, which is no reason to warn.
        if hasattr(os, "getloadavg") and os.getloadavg()[0] > BUSY:
            print(f"The machine is or was busy (load {os.getloadavg()[0]:.1f}): look at the control.", file=sys.stderr)
        print(f"Before: commit {before}; after: commit {commit()}. Above 1 is slower.", flush=True)
        for case in compare(python, sides, rounds=rounds, seconds=seconds, progress=progress):
            if progress is not None:
                print("\r\x1b[K", end="", file=sys.stderr)
            print(text_of(case), flush=True)
            cases.append(case)
    except BenchError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    if not arguments.quick and not arguments.names:
        result = Comparison(
            cases=cases,
            rounds=rounds,
            seconds=seconds,
            date=today(),
            before=before,
            commit=commit(),
            machine=machine(),
            versions=versions(),
        )
        print(f"Kept in {save(result).relative_to(BENCHES.parent)}. Render the report: python benches/render.py")
    return 0


if __name__ == "__main__":
    sys.exit(main())
