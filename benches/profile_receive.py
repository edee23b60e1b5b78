"""Where the instructions of receiving typed messages go: counted by valgrind, so that a busy machine changes nothing.

`python benches/profile_receive.py [batches|columns]` runs the receive bench twice under callgrind, with few and with
many messages; the difference, divided by the difference in messages, is what one message costs. It is kept in
`benches/results/profiles` and shown in docs/BENCHMARKS.md below the receive bench. Needs valgrind; builds the extension
with its symbols, and the load generator, first.
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

from benches import _symbols
from benches._callgrind import read_costs
from benches._harness import BenchError, build_load_generator
from benches._payload import column_sum
from benches._results import RESULTS, ROOT

PROFILES = RESULTS / "profiles"
# What is profiled, and the name of its file.
WAYS = {"batches": "receive", "columns": "receive_columns"}
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


async def _subject(way: str, port: int) -> None:
    _symbols.use()
    from websocket_utils import PriceUpdate, WebSocketClient  # noqa: PLC0415  # with symbols, as said above

    total = 0.0
    add = column_sum()
    async with WebSocketClient.connect(f"ws://127.0.0.1:{port}", reconnect=False) as client:
        client.send("go")
        if way == "columns":
            async for columns in client.columns(PriceUpdate):
                total += add(columns["price"])
        else:
            async for batch in client.batches(PriceUpdate):
                for update in batch:
                    total += update.price
    assert total > 0


def _run(way: str, generator: Path, messages: int, folder: Path) -> Counter[str]:
    out = folder / f"callgrind.{messages}"
    with subprocess.Popen(
        [str(generator), "feed", "--messages", str(messages), "--timeout", "300"], stdout=subprocess.PIPE, text=True
    ) as feed:
        assert feed.stdout is not None
        port = json.loads(feed.stdout.readline())["port"]
        command = [
            *("valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"),
            *(sys.executable, __file__, "--subject", way, str(port)),
        ]
        subprocess.run(command, check=True, timeout=300, capture_output=True)
    return read_costs(out).functions


def main(arguments: list[str]) -> int:
    """Count, group, keep, and print."""
    if arguments[:1] == ["--subject"]:
        asyncio.run(_subject(arguments[1], int(arguments[2])))
        return 0
    way = arguments[0] if arguments else "batches"
    if way not in WAYS or len(arguments) > 1:
        print(f"usage: python benches/profile_receive.py [{'|'.join(WAYS)}]", file=sys.stderr)
        return 2
    if shutil.which("valgrind") is None:
        print("this needs valgrind; on Debian: apt-get install valgrind", file=sys.stderr)
        return 2
    try:
        _symbols.build()
        generator = build_load_generator()
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        few, many = (_run(way, generator, messages, Path(folder)) for messages in (FEW, MANY))
    groups: Counter[str] = Counter()
    for function in many:
        groups[next((name for name, pattern in GROUPS if re.search(pattern, function)), "all else")] += (
            many[function] - few[function]
        )
    instructions = {name: round(count / (MANY - FEW), 1) for name, count in groups.most_common()}
    PROFILES.mkdir(parents=True, exist_ok=True)
    path = PROFILES / f"{WAYS[way]}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(instructions), indent=1) + b"\n")
    for name, each in instructions.items():
        print(f"{each:8.0f}  {name}")
    print(f"{sum(instructions.values()):8.0f}  in all; kept in {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
