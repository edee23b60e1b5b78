"""Render docs/CONFORMANCE.md from `conformance/results.json` and `conformance/expected/*.json`.

`python conformance/render.py` writes it; with `--check` it tells whether it is as it would be written.
"""

import datetime
import json
import platform
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

# Run as a script, the folder of this file is on the path in place of the one above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from conformance.grades import BEHAVIORS, Grades, bad_closes, case_order, count, load_expected
from conformance.suite import ROOT, SUITE

RESULTS: Final = Path(__file__).parent / "results.json"
PAGE: Final = ROOT / "docs" / "CONFORMANCE.md"

_ABOUT: Final = f"""\
# Conformance

Rendered by `python conformance/render.py` from `conformance/results.json` and `conformance/expected/*.json`, which
`make autobahn ARGS=--save` writes. Nothing here is typed by hand.

The [Autobahn test suite](https://github.com/crossbario/autobahn-testsuite) ({SUITE.replace("==", " ")}) is the other
end in both roles: its fuzzing client against our server, its fuzzing server against our client. Our ends are the
public API with handlers that send back what comes (`conformance/_endpoints.py`).

- **core**: cases 1 to 7, 9 and 10: framing, pings, reserved bits, opcodes, fragmentation, UTF-8, closing, sizes up to
  16 MiB. Over `ws` and over `wss`.
- **compression**: cases 12 and 13, permessage-deflate (RFC 7692) with every offer.
- **sample**: what CI runs of compression, 24 of its 216 cases.

`make autobahn` fails on any case that FAILED, ended uncleanly or with a wrong close code, and on any that is worse than
`conformance/expected` says. A case that is NON-STRICT where more was expected is run once more before it counts: the
suite itself is a race on a busy machine.
"""
_HEADINGS: Final = ("role", "set", "transport", *BEHAVIORS, "bad closes", "seconds")


@dataclass(frozen=True)
class Row:
    """One run of the suite in figures."""

    role: str
    name: str
    is_secure: bool
    counts: dict[str, int]
    bad_closes: int
    seconds: float

    @classmethod
    def of(cls, role: str, name: str, is_secure: bool, grades: Grades, seconds: float) -> "Row":
        """Count what a run found."""
        return cls(role, name, is_secure, count(grades.values()), bad_closes(grades.values()), round(seconds, 1))

    @property
    def key(self) -> tuple[str, str, bool]:
        """What tells runs apart."""
        return self.role, self.name, self.is_secure


def table(rows: Iterable[Row]) -> str:
    """Return the figures of all runs as a Markdown table."""
    lines = [_line(_HEADINGS), _line(["---"] * 3 + ["---:"] * (len(_HEADINGS) - 3))]
    for row in rows:
        counts = [row.counts[behavior] for behavior in BEHAVIORS]
        transport = "wss" if row.is_secure else "ws"
        lines.append(_line([row.role, row.name, transport, *counts, row.bad_closes, f"{row.seconds:.1f}"]))
    return "\n".join(lines)


def _line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def save(rows: Iterable[Row]) -> None:
    """Keep the figures of these runs beside those of others, and render the page anew."""
    known = {row.key: row for row in _load()[0]} | {row.key: row for row in rows}
    python = f"{platform.python_implementation()} {platform.python_version()}"
    made = {"date": datetime.datetime.now(datetime.UTC).date().isoformat(), "python": python}
    # The server first, and within a role the core.
    ordered = sorted(
        known.values(), key=lambda row: (row.role != "server", row.name != "core", row.name, row.is_secure)
    )
    RESULTS.write_text(json.dumps({**made, "runs": [asdict(row) for row in ordered]}, indent=1) + "\n", "utf-8")
    PAGE.write_text(page(), "utf-8")


def _load() -> tuple[list[Row], dict[str, Any]]:
    if not RESULTS.exists():
        return [], {}
    kept = json.loads(RESULTS.read_text("utf-8"))
    return [Row(**run) for run in kept["runs"]], kept


def page() -> str:
    """Return docs/CONFORMANCE.md."""
    rows, made = _load()
    parts = [_ABOUT]
    if rows:
        parts.append(f"## Results\n\nOf {made['date']}, {made['python']}.\n\n{table(rows)}\n")
    parts.append("## Cases expected to be other than OK\n")
    for role in ("server", "client"):
        grades = load_expected(role)
        others = [case for case in sorted(grades, key=case_order) if grades[case] != ("OK", "OK")]
        texts = [f"{case} ({grades[case][0]})" for case in others]
        parts.append(f"- {role}: {', '.join(texts) or 'none'}")
    parts.append("\nINFORMATIONAL is what the suite calls cases to which RFC 6455 gives no answer.\n")
    return "\n".join(parts)


def main(arguments: Sequence[str]) -> int:
    """Write the page, or compare it."""
    if "--check" not in arguments:
        PAGE.write_text(page(), "utf-8")
        return 0
    if PAGE.read_text("utf-8") == page():
        return 0
    print(f"{PAGE.relative_to(ROOT)} is not what its results render to: python conformance/render.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
