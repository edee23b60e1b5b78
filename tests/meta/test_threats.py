"""THREAT_MODEL.md claims nothing that no test holds: every name in its column of tests is a test of this repository."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| (?!threat |---)(.+) \| (.+) \| (.+) \|$", re.MULTILINE)
PYTHON = re.compile(r"^ *(?:async )?def (test_\w+)", re.MULTILINE)
RUST = re.compile(r"#\[test\]\s*(?:#\[[^\]]*\]\s*)*fn (\w+)")


def rows() -> list[tuple[str, str, str]]:
    return ROW.findall((ROOT / "THREAT_MODEL.md").read_text(encoding="utf-8"))


def names_of_tests() -> set[str]:
    found = {name for path in (ROOT / "tests").rglob("*.py") for name in PYTHON.findall(path.read_text("utf-8"))}
    for path in (ROOT / "rust" / "core").rglob("*.rs"):
        found.update(RUST.findall(path.read_text(encoding="utf-8")))
    return found


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:40])
def test_every_test_that_the_threat_model_names_exists(row: tuple[str, str, str]) -> None:
    *_, tests = row
    named = re.findall(r"`([^`]+)`", tests)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    known = names_of_tests() | {f"make {target}" for target in targets} | {"Makefile"}
    assert set(named) <= known, sorted(set(named) - known)
    # What is not solved says so.
    assert named or tests == "none: not solved"


def test_every_layer_has_its_rows() -> None:
    text = (ROOT / "THREAT_MODEL.md").read_text(encoding="utf-8")
    sections = re.split(r"^## ", text, flags=re.MULTILINE)
    with_rows = [section.partition("\n")[0] for section in sections if ROW.search(section)]
    assert with_rows == [
        "Handshake",
        "Framing",
        "Compression",
        "Resources",
        "TLS and credentials",
        "Authorization",
        "HTTP side door",
        "Recordings",
        "Publishing to the edge",
        "Peers",
        "Feeds",
        "Codec",
    ]
