"""The codec against its judges: `python hostile/codec.py [--cases N] [--seed S] [--format FORMAT] [--save]`.

JSON and MessagePack, together unless FORMAT names one of them, against msgspec; `protobuf` against Google's library.
Random types, random values of them, random mutations of what they travel as: the same value, or an error in both. A
case that fails is printed as a program that shows it. With `--first N` it begins at the type of that number, which is
how one is looked at again. With `--save` the result is kept for docs/RELIABILITY.md.
"""

import argparse
import subprocess
import sys
from pathlib import Path

# Run as a script, the folder of this file is on the path in place of the one above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import msgspec
from benches._results import ROOT, commit, machine, today, versions
from tests.property.codec.comparing import FORMATS, Found, compare
from tests.property.codec.protobuf_comparing import PROTOBUF, compare_protobuf

from hostile._results import CodecResult, save

CASES = 10_000_000
SEED = 20_261_127
# Cases of one process, so that one that crashes is told with where it began.
PART = 400_000


def main(arguments: list[str] | None = None) -> int:
    """Compare, and tell what was found."""
    parser = argparse.ArgumentParser(description="Compare the codec with its judges on random input.")
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--format", choices=[*FORMATS, "all", PROTOBUF], default="all")
    parser.add_argument("--first", type=int, default=0, help="the type to begin with")
    parser.add_argument("--save", action="store_true", help="keep the result for docs/RELIABILITY.md")
    parser.add_argument("--part", action="store_true", help="do it in this process, and write what is found as JSON")
    chosen = parser.parse_args(arguments)
    is_protobuf = chosen.format == PROTOBUF
    formats = FORMATS if chosen.format == "all" else (chosen.format,)
    if chosen.part:
        if is_protobuf:
            found = compare_protobuf(chosen.cases, chosen.seed, first=chosen.first)
        else:
            found = compare(chosen.cases, chosen.seed, formats, first=chosen.first)
        sys.stdout.buffer.write(msgspec.json.encode(found))
        return 0
    found = Found(seed=chosen.seed, formats=list(formats), end=chosen.first)
    while found.cases < chosen.cases and not found.failures:
        cases = min(PART, chosen.cases - found.cases)
        words = ["--cases", cases, "--seed", chosen.seed, "--format", chosen.format, "--first", found.end]
        command = [sys.executable, __file__, "--part", *map(str, words)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
        if done.returncode:
            print(f"{' '.join(command)} ended with {done.returncode}; so far: {_told(found)}")
            return 1
        found.add(msgspec.json.decode(done.stdout, type=Found))
        print(_told(found), flush=True)
    for failure in found.failures:
        print(f"# seed {found.seed}\n{failure}")
    if chosen.save:
        result = CodecResult(
            date=today(),
            commit=commit(),
            machine=machine(),
            versions=versions(("websocket_utils", "protobuf")) if is_protobuf else versions(),
            seed=found.seed,
            formats=list(found.formats),
            cases=found.cases,
            types=found.types,
            decoders=found.decoders,
            compiled=found.compiled,
            accepted=found.accepted,
            refused=found.refused,
            differences=len(found.failures),
            seconds=found.seconds,
        )
        print(f"kept in {save(result, 'codec_protobuf' if is_protobuf else 'codec').relative_to(ROOT)}")
    return 1 if found.failures else 0


def _told(found: Found) -> str:
    return (
        f"seed {found.seed}: {found.cases} cases of {found.types} types ({', '.join(found.formats)}) in "
        f"{found.seconds:.0f} s, {found.accepted} accepted, {found.refused} refused, "
        f"{found.compiled} of {found.decoders} decoders with a plan, {len(found.failures)} types with differences"
    )


if __name__ == "__main__":
    sys.exit(main())
