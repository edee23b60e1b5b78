"""What many decodes leave behind: `python hostile/references.py [--decodes N] [--save]`.

Payloads of types of every shape are decoded, valid and invalid ones in turn; references to shared objects and blocks of
memory are counted before and after.
"""

import argparse
import sys
from pathlib import Path

# Run as a script, the folder of this file is on the path in place of the one above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benches._results import ROOT, commit, machine, today, versions
from tests.property.codec.comparing import FORMATS
from tests.property.codec.references import CASES, keeps

from hostile._results import KeptShape, ReferenceResult, save

DECODES = 10_000_000
# Decodes of each type before memory is looked at for the first time.
_WARM = 5000


def main(arguments: list[str] | None = None) -> int:
    """Decode, count, and tell."""
    parser = argparse.ArgumentParser(description="Count what many decodes leave behind.")
    parser.add_argument("--decodes", type=int, default=DECODES)
    parser.add_argument("--save", action="store_true", help="keep the result for docs/RELIABILITY.md")
    chosen = parser.parse_args(arguments)
    each = chosen.decodes // (len(CASES) * len(FORMATS)) + 1
    for name in CASES:
        for each_format in FORMATS:
            keeps(name, each_format, min(each, _WARM))
    before = _resident_kib()
    shapes = []
    for name in CASES:
        kept = [keeps(name, each_format, each) for each_format in FORMATS]
        for one in kept:
            print(f"{one.name}, {one.format}: {one.decodes} decodes, {one.references} references, {one.blocks} blocks")
        shapes.append(
            KeptShape(
                name=name,
                decodes=sum(one.decodes for one in kept),
                refused=sum(one.refused for one in kept),
                references=max(one.references for one in kept),
                blocks=max(one.blocks for one in kept),
                flat=all(one.is_flat for one in kept),
            )
        )
    result = ReferenceResult(
        date=today(),
        commit=commit(),
        machine=machine(),
        versions=versions(),
        formats=list(FORMATS),
        shapes=shapes,
        grown_kib=_resident_kib() - before,
    )
    if chosen.save:
        print(f"kept in {save(result, 'references').relative_to(ROOT)}")
    return 0 if result.met else 1


def _resident_kib() -> int:
    """Return the resident memory of this process (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split(maxsplit=1)[0])


if __name__ == "__main__":
    sys.exit(main())
