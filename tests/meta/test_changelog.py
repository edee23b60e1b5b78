"""The version that users read about is the version that is built."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d{2}-\d{2}))?$", CHANGELOG, re.MULTILINE)


def test_top_version_is_the_version_of_the_crates() -> None:
    version = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["workspace"]["package"]["version"]
    released = [name for name, _ in HEADINGS if name != "Unreleased"]
    assert released[0] == version


def test_every_release_has_a_date_and_known_sections() -> None:
    assert all(date for name, date in HEADINGS if name != "Unreleased")
    sections = set(re.findall(r"^### (.+)$", CHANGELOG, re.MULTILINE))
    assert sections <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
