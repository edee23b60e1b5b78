"""Runs the micro-benches (`bench_codec.py`, `bench_frames.py`) under pytest-benchmark and keeps what matters."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benches._harness import BenchError
from benches._results import BENCHES, ROOT, MicroCase, MicroResult, commit, machine, today, versions

FILES = ("bench_codec.py", "bench_frames.py")
SECONDS = 1.0
QUICK_SECONDS = 0.05
TIMEOUT = 300


def run_micro(*, quick: bool = False) -> MicroResult:
    """Run all micro-benches in one process, pinned like a process under test."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found.json"
        options = (
            # The configuration of the tests asks for plugins that benches do without.
            *("-c", os.devnull, "--rootdir", str(ROOT), "-o", "python_files=bench_*.py", "-p", "no:cacheprovider"),
            "--benchmark-enable",
            f"--benchmark-max-time={QUICK_SECONDS if quick else SECONDS}",
            f"--benchmark-json={found}",
        )
        done = subprocess.run(
            [sys.executable, "-c", _PINNED_PYTEST, *options, *(str(BENCHES / name) for name in FILES)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        if done.returncode:
            raise BenchError(f"micro-benches failed:\n{done.stdout[-4000:]}{done.stderr[-1000:]}")
        cases = json.loads(found.read_bytes())["benchmarks"]
    return MicroResult(
        cases=[_case(case) for case in cases],
        date=today(),
        commit=commit(),
        machine=machine(),
        versions=versions(("websocket_utils", "msgspec", "pytest-benchmark")),
    )


def _case(case: dict[str, dict[str, float]]) -> MicroCase:
    messages = case["extra_info"].get("messages", 1)
    return MicroCase(
        group=str(case["group"]),
        name=str(case["param"]),
        median_ns=case["stats"]["median"] * 1e9 / messages,
        least_ns=case["stats"]["min"] * 1e9 / messages,
    )


_PINNED_PYTEST = """
import os, sys, pytest
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
sys.exit(pytest.main(sys.argv[1:]))
"""
