"""What the suite says of each case, and whether that is worse than what was expected: no I/O but its own files."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

EXPECTED: Final = Path(__file__).parent / "expected"

# A case's grade is what was done (`behavior`) and how the connection ended (`behaviorClose`).
Grade = tuple[str, str]
Grades = dict[str, Grade]

BEHAVIORS: Final = ("OK", "NON-STRICT", "INFORMATIONAL", "FAILED", "UNIMPLEMENTED")

SETS: Final[Mapping[str, tuple[str, ...]]] = {
    "core": ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"),
    "compression": ("12.*", "13.*"),
    # Seconds, not minutes: messages up to 32 KiB, and every way to negotiate with whole messages and with fragments.
    "sample": (
        *(f"12.1.{size}" for size in (1, 2, 3, 4, 5, 6, 7, 8, 11, 12)),
        *(f"13.{offer}.{size}" for offer in range(1, 8) for size in (5, 11)),
    ),
}

# What is no grade of ours is worse than all that are: a new word of the suite must not pass unseen.
_RANKS: Final = {"OK": 0, "INFORMATIONAL": 0, "NON-STRICT": 1, "UNIMPLEMENTED": 2}
_WORST: Final = 3
# A close is right or wrong: WRONG CODE, UNCLEAN, FAILED BY CLIENT, FAILED.
_CLOSE_RANKS: Final = {"OK": 0, "INFORMATIONAL": 0}


@dataclass(frozen=True)
class Comparison:
    """How one run differs from what was expected, by case.

    Attributes:
        worse: Cases that must not be as they are, with what was expected and what was found. A case that FAILED or
            whose connection ended wrongly is among them whatever was expected.
        better: Cases to expect more of from now on.
        missing: Cases that did not run.
        new: Cases that nobody expected.
    """

    worse: dict[str, tuple[Grade, Grade]]
    better: dict[str, tuple[Grade, Grade]]
    missing: list[str]
    new: dict[str, Grade]

    @property
    def passes(self) -> bool:
        """Whether the run may stand."""
        return not (self.worse or self.missing or any(map(_is_bad, self.new.values())))

    @property
    def is_as_expected(self) -> bool:
        """Whether nothing differs."""
        return not (self.worse or self.better or self.missing or self.new)

    @property
    def loose(self) -> list[str]:
        """Cases that are worse only in being NON-STRICT: on a busy machine the suite itself may have been late."""
        return [case for case, (_, now) in self.worse.items() if now[0] == "NON-STRICT" and not _is_bad(now)]


def compare(expected: Mapping[str, Grade], found: Mapping[str, Grade]) -> Comparison:
    """Compare what a run found with what is expected of the same cases."""
    worse: dict[str, tuple[Grade, Grade]] = {}
    better: dict[str, tuple[Grade, Grade]] = {}
    for case in sorted(expected.keys() & found.keys(), key=case_order):
        before, now = expected[case], found[case]
        if _is_bad(now) or any(new > old for new, old in zip(_ranks(now), _ranks(before), strict=True)):
            worse[case] = before, now
        elif _ranks(now) != _ranks(before):
            better[case] = before, now
    return Comparison(
        worse=worse,
        better=better,
        missing=sorted(expected.keys() - found.keys(), key=case_order),
        new={case: found[case] for case in sorted(found.keys() - expected.keys(), key=case_order)},
    )


def _ranks(grade: Grade) -> tuple[int, int]:
    behavior, close = grade
    return _RANKS.get(behavior, _WORST), _CLOSE_RANKS.get(close, 1)


def _is_bad(grade: Grade) -> bool:
    """FAILED, or a connection that ended wrongly. A case for what is not there can't end rightly."""
    behavior, close = _ranks(grade)
    return behavior == _WORST or (close > 0 and grade[0] != "UNIMPLEMENTED")


def count(grades: Iterable[Grade]) -> dict[str, int]:
    """Return how many cases have each behaviour; words that are not in `BEHAVIORS` count as FAILED."""
    counted = Counter(behavior if behavior in BEHAVIORS else "FAILED" for behavior, _ in grades)
    return {behavior: counted[behavior] for behavior in BEHAVIORS}


def bad_closes(grades: Iterable[Grade]) -> int:
    """Return how many connections ended uncleanly, with a wrong code or by the wrong end."""
    return sum(1 for grade in grades if grade[0] != "UNIMPLEMENTED" and _ranks(grade)[1] > 0)


def case_order(case: str) -> tuple[int, ...]:
    """Return what sorts 9.1.2 before 10.1.1."""
    return tuple(int(part) for part in case.split("."))


def is_in(case: str, patterns: Iterable[str]) -> bool:
    """Whether one of `patterns` (`12.1.*`, or a case by itself) takes a case in, by the suite's own rule."""
    return any(
        case.startswith(pattern.removesuffix("*")) if pattern.endswith("*") else case == pattern for pattern in patterns
    )


def parse_index(text: str) -> Grades:
    """Reduce the suite's index.json, which holds one agent."""
    (cases,) = json.loads(text).values()
    return {case: (entry["behavior"], entry["behaviorClose"]) for case, entry in cases.items()}


def load_expected(role: str) -> Grades:
    """Read the committed grades of a role; none where there is no file yet."""
    path = EXPECTED / f"{role}.json"
    if not path.exists():
        return {}
    return {case: (behavior, close) for case, (behavior, close) in json.loads(path.read_text("utf-8")).items()}


def raised(expected: Mapping[str, Grade], comparison: Comparison) -> Grades:
    """Return what to expect after a run: what is better or new and not bad. What is worse is lowered by hand alone."""
    better = {case: now for case, (_, now) in comparison.better.items()}
    new = {case: now for case, now in comparison.new.items() if not _is_bad(now)}
    return {**expected, **better, **new}


def save_expected(role: str, grades: Mapping[str, Grade]) -> None:
    """Write the grades of a role, a line for each case, so that a diff shows what has changed."""
    lines = [f'  "{case}": {json.dumps(grades[case])}' for case in sorted(grades, key=case_order)]
    EXPECTED.mkdir(exist_ok=True)
    (EXPECTED / f"{role}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
