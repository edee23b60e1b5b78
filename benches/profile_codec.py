"""How many instructions one call of the codec takes, counted by valgrind: a busy machine changes nothing.

    python benches/profile_codec.py                        lists the rows
    python benches/profile_codec.py json/decode/price      ours and msgspec's, function by function
    python benches/profile_codec.py decode --brief         one line for each side of every row with `decode` in its name
    python benches/profile_codec.py json/decode/price --lines      with the files and lines that cost most
    python benches/profile_codec.py json/decode/price --files FOLDER   leaves the callgrind files there (kcachegrind)
    python benches/profile_codec.py json/decode/price --keep       keeps the sums in `benches/results/profiles`, from
                                                                   where they are shown in docs/BENCHMARKS.md

Every side is called a few and then many times in one process; the difference, divided by the difference in messages, is
what one message costs. It is the same from run to run, but for a few instructions.

Each run builds the extension with its symbols first (`cargo build --release`: nothing to do where nothing changed) and
loads it out of `target/release` in place of the installed one, which stays as it is. Needs valgrind, which knows no
AVX-512: code that picks its instructions when it runs takes other ones here.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

# Run as a script, the folder of this file is on the path in place of the one above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import msgspec

from benches import _symbols
from benches._callgrind import read_costs
from benches._harness import BenchError
from benches._results import ROOT, file_name
from benches.profile_receive import PROFILES

# Messages of both parts of a run; before them as many as a plan needs to settle.
WARM, FEW, MANY = 300, 256, 2_560
TIMEOUT = 600
# What is too small to be of interest in a list of functions: instructions a message.
SMALL = 1.0
# First match wins; names are those of the release build, which keeps its symbols, and of msgspec's.
GROUPS = (
    (
        "the codec itself",
        r"_core::codec::(?!api)|Sink>::|websocket_utils_core::|^(json|mpack|ms|decode|encode|strbuf)_",
    ),
    ("the codec itself", r"^(parse|write|strict|convert)_|Struct_(?!dealloc)|StructMeta"),
    ("the call from Python, buffers", r"_core::|pyo3|PyBuffer|Buffer_|buffer|Decoder_|Encoder_|_PyEval|repeat_next"),
    ("objects: allocate and free", r"(?i)alloc|_Free|_New\b|_NewReference|_Dealloc"),
    ("numbers, texts, lists (CPython)", r"(?i)PyLong|PyFloat|PyList|PyTuple|PyUnicode|PyBytes|PyDict"),
    ("copies and compares (C library)", r"mem(cpy|cmp|move|set)"),
)
OTHER_GROUP = "all else"


class Profile(NamedTuple):
    """What one message costs on one side."""

    row: str
    side: str
    functions: dict[str, float]
    lines: dict[str, float]

    @property
    def instructions(self) -> float:
        """In all."""
        return sum(self.functions.values())


def _subject(row: str, sides: Sequence[str]) -> None:
    """Run under callgrind, which ends a part of its count wherever `getppid` is called."""
    _symbols.use()
    from benches._codec_cases import installed  # noqa: PLC0415  # with symbols, as said above

    peers = installed(row)
    for side in sides:
        work = peers[side].prepare()
        if not work.right(work.call(*work.arguments)):
            raise ValueError(f"{row}, {side}: wrong result {work.call(*work.arguments)!r}")
        work.repeat(max(1, WARM // work.messages))
        for messages in (FEW, MANY):
            os.getppid()
            work.repeat(messages // work.messages)
        os.getppid()


def _difference(few: Counter[str], many: Counter[str]) -> dict[str, float]:
    # The part that is called few times is the first: whatever else it holds is not in the difference alone.
    costs = {name: (count - few[name]) / (MANY - FEW) for name, count in many.items()}
    return _greatest_first(costs)


def _greatest_first(costs: dict[str, float]) -> dict[str, float]:
    return dict(sorted(costs.items(), key=lambda item: -item[1]))


def profile(row: str, sides: Sequence[str], folder: Path) -> Iterator[Profile]:
    """Count the sides of a row in one process."""
    out = folder / f"{file_name(row)}.callgrind"
    command = [
        *("valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--dump-before=getppid"),
        *(sys.executable, __file__, "--subject", row, *sides),
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        # Hashes of texts decide which slots of tables they fall into: the same ones in each run.
        env=os.environ | {"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"{row}:\n{done.stderr[-3000:]}")
    # Part 1 is the start, then three for each side: few, many, and the next side's preparation.
    for index, side in enumerate(sides):
        few, many = (read_costs(Path(f"{out}.{3 * index + part}")) for part in (2, 3))
        yield Profile(row, side, _difference(few.functions, many.functions), _difference(few.lines, many.lines))


def _print(found: Profile, *, top: int, lines: bool) -> None:
    print(f"\n{found.row}, {found.side}: {found.instructions:,.0f} instructions a message")
    for name, each in list(found.functions.items())[:top]:
        if each >= SMALL:
            print(f"{each:9.1f}  {name.removesuffix(chr(39) + '2')[:150]}")
    if not lines:
        return
    # Inlined code counts where it is written.
    files: dict[str, float] = {}
    for name, each in found.lines.items():
        file = name.rpartition(":")[0]
        files[file] = files.get(file, 0.0) + each
    for heading, costs in (("file", _greatest_first(files)), ("line", found.lines)):
        print(f"  by {heading}:")
        for name, each in list(costs.items())[:top]:
            if each >= SMALL:
                print(f"{each:9.1f}  {name.removeprefix(f'{ROOT}/')}")


def _keep(found: Sequence[Profile]) -> Path:
    groups = (*dict.fromkeys(name for name, _ in GROUPS), OTHER_GROUP)
    sides: dict[str, dict[str, float]] = {}
    for each in found:
        costs = dict.fromkeys(groups, 0.0)
        for function, instructions in each.functions.items():
            group = next((name for name, pattern in GROUPS if re.search(pattern, function)), OTHER_GROUP)
            costs[group] += instructions
        sides[each.side] = {name: round(cost, 1) for name, cost in costs.items()}
    PROFILES.mkdir(parents=True, exist_ok=True)
    path = PROFILES / f"{file_name(found[0].row)}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(sides), indent=1) + b"\n")
    return path


def main() -> int:
    """Run from the command line."""
    if sys.argv[1:2] == ["--subject"]:
        _subject(sys.argv[2], sys.argv[3:])
        return 0
    from benches._codec_cases import ROWS, installed  # noqa: PLC0415  # a subject imports it behind its finder

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", nargs="?", help="a row, or a part of the name of some")
    parser.add_argument(
        "--sides", default="websocket_utils,msgspec", help="with one of these texts in their name (all: every side)"
    )
    parser.add_argument("--top", type=int, default=25, help="functions and lines shown (default: 25)")
    parser.add_argument("--brief", action="store_true", help="the sums only")
    parser.add_argument("--lines", action="store_true", help="lines of source, too")
    parser.add_argument("--files", type=Path, metavar="FOLDER", help="leave the callgrind files in this folder")
    parser.add_argument("--keep", action="store_true", help="keep the sums for docs/BENCHMARKS.md")
    arguments = parser.parse_args()
    rows = [row for row in ROWS if arguments.row is not None and arguments.row in row]
    if not rows:
        print("\n".join(("rows:", *(f"  {row}" for row in ROWS))))
        return 0 if arguments.row is None else 2
    if shutil.which("valgrind") is None:
        print("this needs valgrind; on Debian: apt-get install valgrind", file=sys.stderr)
        return 2
    _symbols.build()
    wanted, failed = arguments.sides.split(","), False
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.files or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for row in rows:
            sides = [side for side in installed(row) if "all" in wanted or any(text in side for text in wanted)]
            try:
                found = list(profile(row, sides, folder))
            except BenchError as error:
                print(error, file=sys.stderr)
                failed = True
                continue
            if arguments.keep:
                print(f"kept in {_keep(found).relative_to(ROOT)}")
            for each in found:
                if arguments.brief:
                    ratio = found[0].instructions / each.instructions
                    print(f"{row:<28}{each.side:<40}{each.instructions:>10,.0f}  ours / it: {ratio:.2f}", flush=True)
                else:
                    _print(each, top=arguments.top, lines=arguments.lines)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
