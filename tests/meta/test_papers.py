"""What no tracked file may hold, and how long one may be."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 500
# Rendered: a table for each bench, as many as there are. And one compiled module has one stub.
UNDIVIDED = {"BENCHMARKS.md", "_core.pyi"}
# Written by tools, in their own format.
GENERATED = {"Cargo.lock", "constraints.txt", "package-lock.json"}
# The only files that are no text; tests/browser/test_dashboard.py takes it.
PICTURES = {"docs/images/dashboard.png"}

# Put together from pieces, so that this file does not hold what it forbids.
FOLDERS = "|".join(["tmp", "work", "root", "home", "opt/wheels"])
MACHINE_PATH = re.compile(rf"(?<![\w.$}}/~-])/(?:{FOLDERS})/\w")
HOSTS = [
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("crates", "io"),
    ("npmjs", "org"),
    ("npmjs", "com"),
    ("debian", "org"),
]
REGISTRY_HOST = re.compile("|".join(rf"\b{name}\.{domain}\b" for name, domain in HOSTS))


def tracked() -> list[Path]:
    """Files that are text, or should be."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, timeout=10)
    names = [name for name in listed.stdout.decode().split("\0") if name and name not in PICTURES]
    return [ROOT / name for name in names if (ROOT / name).is_file() and Path(name).name not in GENERATED]


def text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        pytest.fail(f"{path.relative_to(ROOT)} is not text; keep binary files out of the repository")


def test_no_file_names_a_machine_path_or_a_registry_host() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in tracked()
        for number, line in enumerate(text_of(path).splitlines(), start=1)
        for match in [*MACHINE_PATH.finditer(line), *REGISTRY_HOST.finditer(line)]
    ]
    assert found == []


def test_no_file_is_longer_than_its_budget() -> None:
    # Results of benches are data that a renderer reads, not prose that a person does.
    long = {
        str(path.relative_to(ROOT)): lines
        for path in tracked()
        if path.suffix != ".json"
        and path.name not in UNDIVIDED
        and (lines := len(text_of(path).splitlines())) > MAX_LINES
    }
    assert long == {}, f"over {MAX_LINES} lines: split by concept"


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_picture_is_one_and_small(name: str) -> None:
    picture = (ROOT / name).read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(picture) < 300_000
