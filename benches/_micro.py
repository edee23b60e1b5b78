"""Runs the micro-benches (`bench_codec.py`, `bench_frames.py`): pytest-benchmark in rounds, each in its own process."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benches import _codec_cases
from benches._harness import BenchError, Progress, _choose, _Run, _undisturbed
from benches._micro_round import Options
from benches._results import BENCHES, MICRO_LIBRARIES, ROOT, MicroCase, MicroResult, commit, machine, today, versions

FILES = ("bench_codec.py", "bench_frames.py")
ROUNDS = 21
# Of each case in each round.
SECONDS = 0.1
QUICK_SECONDS = 0.02
# How many times as many rounds as are asked for are run until every case has enough undisturbed ones.
MOST_TRIES = 2
TIMEOUT = 300

# Row and name of a case.
Key = tuple[str, str]


def run_micro(
    *, rounds: int = ROUNDS, seconds: float = SECONDS, text: str = "", progress: Progress | None = None
) -> MicroResult:
    """Run rounds of all cases, or of those with `text` in their name, until each has `rounds` that count."""
    taken: dict[Key, list[_Run]] = {}
    for number in range(rounds * MOST_TRIES):
        missing = {key[0] for key, runs in taken.items() if _undisturbed(runs, _best(taken.values())) < rounds}
        if taken and not missing:
            break
        if progress is not None:
            progress(min(number, rounds), rounds, f"Micro-benches, round {number + 1}")
        for key, run in _round(Options(number=number, rows=sorted(missing), text=text), seconds):
            taken.setdefault(key, []).append(run)
    best = _best(taken.values())
    return MicroResult(
        cases=[_case(key, runs, rounds, best) for key, runs in _in_order(taken)],
        bars=list(_codec_cases.BARS),
        left_out=_codec_cases.left_out(),
        rounds=rounds,
        seconds=seconds,
        date=today(),
        commit=commit(),
        machine=machine(),
        versions=versions(MICRO_LIBRARIES),
    )


def _round(options: Options, seconds: float) -> Iterable[tuple[Key, _Run]]:
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found.json"
        arguments = (
            # The configuration of the tests asks for plugins that benches do without.
            *("-c", os.devnull, "--rootdir", str(ROOT), "-o", "python_files=bench_*.py", "-p", "no:cacheprovider"),
            *("-q", "--tb=short", "--benchmark-quiet"),
            *("--benchmark-enable", f"--benchmark-max-time={seconds}", f"--benchmark-json={found}"),
            *(str(BENCHES / name) for name in FILES),
        )
        done = subprocess.run(
            [sys.executable, "-m", "benches._micro_round", json.dumps(_fields(options)), *arguments],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        if done.returncode:
            raise BenchError(f"micro-benches failed:\n{done.stdout[-4000:]}{done.stderr[-1000:]}")
        return [_run(case) for case in json.loads(found.read_bytes())["benchmarks"]]


def _fields(options: Options) -> dict[str, Any]:
    return {name: getattr(options, name) for name in options.__struct_fields__}


def _run(case: dict[str, Any]) -> tuple[Key, _Run]:
    info, stats = case["extra_info"], case["stats"]
    each = 1e9 / info.get("messages", 1)
    numbers = {"ns": stats["median"] * each, "least_ns": stats["min"] * each}
    return (info["row"], info.get("case", case["param"])), _Run(numbers, info["yardstick_ns"])


def _case(key: Key, runs: list[_Run], rounds: int, best: float) -> MicroCase:
    chosen = _choose(key[1], runs, rounds, best)
    return MicroCase(group=key[0], name=key[1], rounds=chosen.rounds, disturbed=chosen.disturbed)


def _best(taken: Iterable[list[_Run]]) -> float:
    return min((run.yardstick for runs in taken for run in runs), default=0)


def _in_order(taken: dict[Key, list[_Run]]) -> Iterable[tuple[Key, list[_Run]]]:
    """Rows as they are written down, and frames behind them; the first round began somewhere with the first."""
    rows = list(_codec_cases.ROWS)
    return sorted(taken.items(), key=lambda item: rows.index(item[0][0]) if item[0][0] in rows else len(rows))
