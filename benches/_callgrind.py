"""Reads the files that callgrind writes."""

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple


class Costs(NamedTuple):
    """Instructions, by function and by line of source."""

    functions: Counter[str]
    lines: Counter[str]


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
