"""Builds an older version of this library beside the present one: `target/compare/<commit>`, with a venv in it."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from benches._harness import BenchError
from benches._results import ROOT

FOLDER = ROOT / "target" / "compare"
# Seconds for the release build of a version and for pip.
BUILD_TIMEOUT = 3600
# What of the caller's environment would lead into his own build, venv, or package.
NOT_PASSED_ON = (
    *("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL"),
    *("CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR", "PYO3_PYTHON"),
    *("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME"),
)
# What a version brings along, and could be faster or slower for.
DEPENDENCIES = ("picows", "aiofastnet", "uvloop", "msgspec")
# Run where and how subjects are run, so that it finds what they will find.
PROBE = f"""
import json, sys, websocket_utils._core
from benches._results import versions
print(json.dumps([websocket_utils._core.__file__, sys.version, versions({DEPENDENCIES})]))
"""


class Installed(NamedTuple):
    """What an interpreter runs as this library."""

    extension: Path
    python: str
    dependencies: dict[str, str]


def commit_of(revision: str) -> str:
    """Return the commit that `revision` names, as short as `commit()` of `_results` is."""
    done = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", "--short=12", f"{revision}^{{commit}}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    if done.returncode or not revision:
        raise BenchError(f"{revision!r} is no commit of this repository: name one, as in `make compare BEFORE=HEAD~1`")
    return done.stdout.strip()


def has_method(python: Path, name: str) -> bool:
    """Tell whether the client of the version that `python` runs has a method called `name`."""
    script = f"import sys, websocket_utils; sys.exit(not hasattr(websocket_utils.WebSocketClient, {name!r}))"
    return subprocess.run([python, "-c", script], cwd=ROOT, check=False, timeout=60).returncode == 0


def build(commit: str) -> Path:
    """Build the version of `commit`, unless it is there, and return its interpreter.

    Only what that version is differs from the present one: the Python below its venv, the versions of what it depends
    on, the profile of its build and its kind of installation are the same.
    """
    folder = FOLDER / commit
    if not folder.exists():
        _extract(commit, folder)
    command = [
        *("make", "--directory", str(folder), ".venv/.built"),
        # Given here they win over what that version's Makefile sets.
        *(f"PYTHON={getattr(sys, '_base_executable', sys.executable)}", f"PIP_CONSTRAINT={ROOT / 'constraints.txt'}"),
    ]
    environment = {name: value for name, value in os.environ.items() if name not in NOT_PASSED_ON}
    # Of what it says, only errors are of interest; results alone go to stdout.
    done = subprocess.run(command, env=environment, stdout=sys.stderr, check=False, timeout=BUILD_TIMEOUT)
    if done.returncode:
        raise BenchError(f"commit {commit} could not be built in {folder}: see above")
    python = folder / ".venv" / "bin" / "python"
    _check(installed(str(python)), installed(sys.executable), folder)
    return python


def installed(python: str) -> Installed:
    """Ask an interpreter what it runs."""
    done = subprocess.run([python, "-c", PROBE], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise BenchError(f"{python} has no version of this library that works:\n{done.stderr}")
    extension, version, dependencies = json.loads(done.stdout)
    return Installed(Path(extension), version, dependencies)


def _extract(commit: str, folder: Path) -> None:
    # Not a worktree: git would have to be told when the folder goes.
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=60)
    FOLDER.mkdir(parents=True, exist_ok=True)
    # Whole or not there at all: what is there is used again.
    with tempfile.TemporaryDirectory(dir=FOLDER, ignore_cleanup_errors=True) as half:
        tree = Path(half) / "tree"
        tree.mkdir()
        subprocess.run(["tar", "-x"], cwd=tree, input=archive.stdout, check=True, timeout=60)
        tree.rename(folder)


def _check(before: Installed, after: Installed, folder: Path) -> None:
    """Refuse to compare a version with itself, or on another ground than its own code."""
    if not before.extension.is_relative_to(folder) or after.extension.is_relative_to(FOLDER):
        raise BenchError(f"the versions are mixed up: {before.extension} before, {after.extension} after")
    if before[1:] != after[1:]:
        raise BenchError(f"not the same ground: {before[1:]} before, {after[1:]} after; remove {folder} and try again")
