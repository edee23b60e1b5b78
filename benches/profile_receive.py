"""Where the instructions of `batches(PriceUpdate)` go: counted by valgrind, so that a busy machine changes nothing.

`python benches/profile_receive.py` runs the receive bench twice under callgrind, with few and with many messages; the
difference, divided by the difference in messages, is what one message costs. It is kept in
`benches/results/profiles/receive.json` and shown in docs/BENCHMARKS.md below the receive bench. Needs valgrind, and an
extension with its symbols: `cargo build --release -p websocket_utils_py` leaves one in `target/release/lib_core.so`, to
be moved to where the stripped one lies.
"""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

# Run as a script, the folder of this file is on the path in place of the one above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import msgspec

from benches._results import RESULTS, ROOT

PROFILES = RESULTS / "profiles"
GENERATOR = ROOT / "target" / "release" / "websocket_utils_load"
FEW, MANY = 20_000, 120_000

# First match wins; names are those of the release build, which keeps its symbols.
GROUPS = (
    ("decode: scan, find shared text, fill slots", r"codec::|Sink>::"),
    ("frames, UTF-8, queue and hand-out", r"_core::|websocket_utils_core::"),
    (
        "objects: allocate and free (CPython, msgspec)",
        r"Malloc|_PyObject_Free|PyObject_Free|dealloc|_PyObject_New|_Py_NewReference",
    ),
    ("numbers and lists (CPython)", r"PyLong|PyFloat|PyList"),
    ("the reader's own loop (CPython)", r"_PyEval|listiter"),
    ("copies and compares (C library)", r"mem(cpy|cmp|move|set)"),
)


async def _subject(port: int) -> None:
    from websocket_utils import PriceUpdate, WebSocketClient  # noqa: PLC0415  # the parent process needs none of it

    total = 0.0
    async with WebSocketClient.connect(f"ws://127.0.0.1:{port}", reconnect=False) as client:
        client.send("go")
        async for batch in client.batches(PriceUpdate):
            for update in batch:
                total += update.price
    assert total > 0


def _costs(path: Path) -> Counter[str]:
    """Instructions of each function itself, out of a callgrind file."""
    costs: Counter[str] = Counter()
    names: dict[str, str] = {}
    function, is_call = "", False
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if found := re.match(r"(c?fn)=\((\d+)\)(?: (.*))?$", line):
            kind, number, name = found.groups()
            if name is not None:
                names[number] = name
            if kind == "fn":
                function = names[number]
        elif line.startswith("calls="):
            is_call = True
        elif function and re.match(r"[+\-*\d]", line):
            # The line behind `calls=` holds what the callee cost.
            if not is_call:
                costs[function] += int(line.split()[1])
            is_call = False
    return costs


def _run(messages: int, folder: Path) -> Counter[str]:
    out = folder / f"callgrind.{messages}"
    with subprocess.Popen(
        [str(GENERATOR), "feed", "--messages", str(messages), "--timeout", "300"], stdout=subprocess.PIPE, text=True
    ) as generator:
        assert generator.stdout is not None
        port = json.loads(generator.stdout.readline())["port"]
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", sys.executable, __file__, str(port)]
        subprocess.run(command, check=True, timeout=300, capture_output=True)
    return _costs(out)


def main() -> int:
    """Count, group, keep, and print."""
    if len(sys.argv) > 1:
        asyncio.run(_subject(int(sys.argv[1])))
        return 0
    if shutil.which("valgrind") is None:
        print("this needs valgrind; on Debian: apt-get install valgrind", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        few, many = (_run(messages, Path(folder)) for messages in (FEW, MANY))
    if not any("websocket_utils_core::" in function for function in many):
        print("the extension has no symbols: see the head of this file", file=sys.stderr)
        return 1
    groups: Counter[str] = Counter()
    for function in many:
        groups[next((name for name, pattern in GROUPS if re.search(pattern, function)), "all else")] += (
            many[function] - few[function]
        )
    instructions = {name: round(count / (MANY - FEW), 1) for name, count in groups.most_common()}
    PROFILES.mkdir(parents=True, exist_ok=True)
    path = PROFILES / "receive.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(instructions), indent=1) + b"\n")
    for name, each in instructions.items():
        print(f"{each:8.0f}  {name}")
    print(f"{sum(instructions.values()):8.0f}  in all; kept in {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
