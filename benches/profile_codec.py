"""How many instructions one call of the codec takes, counted by valgrind: a busy machine changes nothing.

    python benches/profile_codec.py                        lists the rows
    python benches/profile_codec.py json/decode/price      ours and msgspec's, function by function
    python benches/profile_codec.py decode --brief         one line for each side of every row with `decode` in its name
    python benches/profile_codec.py json/decode/price --lines      with the files and lines that cost most
    python benches/profile_codec.py json/decode/price --keep /tmp/out    leaves the callgrind files there (kcachegrind)

Every side is called a few and then many times in one process; the difference, divided by the difference in messages, is
what one message costs. It is the same from run to run, but for a few instructions.

Each run builds the extension with its symbols first (`cargo build --release`: nothing to do where nothing changed) and
loads it out of `target/release` in place of the installed one, which stays as it is. Needs valgrind, which knows no
AVX-512: code that picks its instructions when it runs takes other ones here.
"""

import argparse
import importlib.machinery
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

# Run as a script, the folder of this file is on the path in place of the one above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benches._results import ROOT

EXTENSION = ROOT / "target" / "release" / "lib_core.so"
# Messages of both parts of a run; before them as many as a plan needs to settle.
WARM, FEW, MANY = 300, 256, 2_560
TIMEOUT = 600
# What is too small to be of interest in a list of functions: instructions a message.
SMALL = 1.0


class _BuiltExtension(MetaPathFinder):
    """Finds the extension with symbols where the stripped one is asked for."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "websocket_utils._core":
            return None
        return importlib.util.spec_from_file_location(name, EXTENSION)


class Costs(NamedTuple):
    """Instructions, by function and by line of source."""

    functions: Counter[str]
    lines: Counter[str]


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
    sys.meta_path.insert(0, _BuiltExtension())
    from benches._codec_cases import installed  # noqa: PLC0415  # behind the finder, which its imports go through

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


def read_costs(path: Path) -> Costs:
    """Instructions of each function and line itself, what they call left out, from a callgrind file."""
    functions: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    names: dict[tuple[str, str], str] = {}
    function, file, line_number, is_call = "", "", 0, False
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if found := re.match(r"(c?f[nile]|c?ob)=\((\d+)\)(?: (.*))?$", line):
            kind, number, name = found.groups()
            table = {"fn": "function", "ob": "object"}.get(kind.removeprefix("c"), "file")
            if name is not None:
                names[table, number] = name
            if kind == "fn":
                function = names[table, number]
            elif kind in ("fl", "fi", "fe"):
                file = names[table, number]
        elif line.startswith("calls="):
            is_call = True
        elif function and (found := re.match(r"([+\-]?)(\d+|\*)(?: (\d+))?$", line)):
            sign, number, count = found.groups()
            if number != "*":
                line_number = line_number + int(f"{sign}{number}") if sign else int(number)
            # The line behind `calls=` holds what the callee cost.
            if not is_call:
                functions[function] += int(count or 0)
                lines[f"{file}:{line_number}"] += int(count or 0)
            is_call = False
    return Costs(functions, lines)


def _difference(few: Counter[str], many: Counter[str]) -> dict[str, float]:
    # The part that is called few times is the first: whatever else it holds is not in the difference alone.
    costs = {name: (count - few[name]) / (MANY - FEW) for name, count in many.items()}
    return _greatest_first(costs)


def _greatest_first(costs: dict[str, float]) -> dict[str, float]:
    return dict(sorted(costs.items(), key=lambda item: -item[1]))


def profile(row: str, sides: Sequence[str], folder: Path) -> Iterator[Profile]:
    """Count the sides of a row in one process."""
    out = folder / f"{row.replace('/', '-')}.callgrind"
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
        raise RuntimeError(f"{row}:\n{done.stderr[-3000:]}")
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


def _build() -> bool:
    # The interpreter that loads it, as `make` has it: another one would build pyo3 anew each time.
    interpreter = ROOT / ".venv" / "bin" / "python"
    environment = os.environ | {"PYO3_PYTHON": str(interpreter if interpreter.exists() else sys.executable)}
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--package", "websocket_utils_py"]
    return subprocess.run(command, cwd=ROOT, env=environment, timeout=3600, check=False).returncode == 0


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
    parser.add_argument("--keep", type=Path, help="folder for the callgrind files")
    arguments = parser.parse_args()
    rows = [row for row in ROWS if arguments.row is not None and arguments.row in row]
    if not rows:
        print("\n".join(("rows:", *(f"  {row}" for row in ROWS))))
        return 0 if arguments.row is None else 2
    if shutil.which("valgrind") is None:
        print("this needs valgrind; on Debian: apt-get install valgrind", file=sys.stderr)
        return 2
    if not _build():
        return 1
    wanted = arguments.sides.split(",")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for row in rows:
            sides = [side for side in installed(row) if "all" in wanted or any(text in side for text in wanted)]
            found = list(profile(row, sides, folder))
            for each in found:
                if arguments.brief:
                    ratio = found[0].instructions / each.instructions
                    print(f"{row:<28}{each.side:<40}{each.instructions:>10,.0f}  ours / it: {ratio:.2f}", flush=True)
                else:
                    _print(each, top=arguments.top, lines=arguments.lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
