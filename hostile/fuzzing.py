"""Keep what a full `make fuzz` did: `python hostile/fuzzing.py`, from the logs below target/fuzz.

A run that was shorter than the full one, or left a target out, is told and not kept.
"""

import re
import sys
from pathlib import Path

# Run as a script, the folder of this file is on the path in place of the one above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benches._results import ROOT, commit, machine, today, versions

from hostile._results import FUZZ_SECONDS, FUZZ_TARGETS, FuzzResult, Target, save

LOGS = ROOT / "target" / "fuzz"


def target(name: str, log: str) -> Target:
    """Read libFuzzer's last words; a log without them is one of a run that did not end."""
    done = re.search(r"^#(\d+)\s+DONE\s+cov: (\d+) ft: (\d+) corp: (\d+)/", log, re.MULTILINE)
    told = re.search(r"^Done \d+ runs in (\d+) second", log, re.MULTILINE)
    crashed = re.search(r"^SUMMARY: |panicked at", log, re.MULTILINE)
    runs, coverage, features, corpus = (int(group) for group in done.groups()) if done else (0, 0, 0, 0)
    return Target(
        name=name,
        seconds=int(told[1]) if told else 0,
        runs=runs,
        coverage=coverage,
        features=features,
        corpus=corpus,
        failed=done is None or crashed is not None,
    )


def main() -> int:
    """Keep the logs of the last run, if it was a full one."""
    targets = [
        target(name, log.read_text(encoding="utf-8", errors="replace"))
        for name in FUZZ_TARGETS
        if (log := LOGS / f"{name}.log").exists()
    ]
    if [one.name for one in targets] != list(FUZZ_TARGETS) or any(one.seconds < FUZZ_SECONDS for one in targets):
        print(f"not kept: a full run gives each of {', '.join(FUZZ_TARGETS)} {FUZZ_SECONDS} s")
        return 0
    result = FuzzResult(date=today(), commit=commit(), machine=machine(), versions=versions(), targets=targets)
    print(f"kept in {save(result, 'fuzz').relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
