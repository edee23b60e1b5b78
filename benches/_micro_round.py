"""One round of the micro-benches under pytest-benchmark: `python -m benches._micro_round OPTIONS ARGUMENTS-OF-PYTEST`.

Each round is a process of its own, pinned to one core, and runs every case once. It begins with another row than the
round before, and in each row with another side. The sides of a row follow each other, so that what the machine does in
these tenths of a second befalls all of them.
"""

import itertools
import os
import sys
from collections.abc import Generator
from typing import Any

import msgspec
import pytest

from benches._subject import _yardstick_ns


class Options(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What the run asks for."""

    number: int
    # Rows to run, all where there are none.
    rows: list[str] = []
    # Text that the name of a case must contain.
    text: str = ""


class Round:
    """The plugin of pytest that makes a round of a session."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def pytest_collection_modifyitems(self, items: list[pytest.Function]) -> None:
        """Choose and order the cases."""
        options = self._options
        wanted = [
            item for item in items if options.text in item.nodeid and (not options.rows or row_of(item) in options.rows)
        ]
        rows = [list(group) for _, group in itertools.groupby(wanted, row_of)]
        items[:] = itertools.chain.from_iterable(rotated(row, options.number) for row in rotated(rows, options.number))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Function) -> Generator[None, None, None]:
        """Measure the core's speed right before and right after a case."""
        before = _yardstick_ns()
        yield
        # Any: the fixture's class is no part of its library's interface.
        fixture: Any = item.funcargs["benchmark"]
        fixture.extra_info |= {"row": row_of(item), "yardstick_ns": max(before, _yardstick_ns())}


def row_of(item: pytest.Function) -> str:
    """Return the row that a case belongs to: a parameter of its own, or the group that its mark names."""
    if "row" in item.callspec.params:
        return str(item.callspec.params["row"])
    mark = item.get_closest_marker("benchmark")
    return str(mark.kwargs["group"]) if mark is not None else item.originalname


def rotated(values: list[Any], by: int) -> list[Any]:
    """Return `values` from another one on."""
    start = by % len(values) if values else 0
    return values[start:] + values[:start]


def main(options: str, *arguments: str) -> int:
    """Run pytest on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return int(pytest.main(list(arguments), plugins=[Round(msgspec.json.decode(options, type=Options))]))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
