"""The Python runtime of Vercel: where a Python for it is, and how it gets into `target/vercel-python`.

Run by itself it installs, and says why it can't.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[3]
FOLDER: Final = ROOT / "target" / "vercel-python"
PYTHON: Final = FOLDER / "bin" / "python"
_REQUIREMENTS: Final = ROOT / "edge" / "vercel" / "requirements-dev.txt"
_STAMP: Final = FOLDER / "installed"
# Versions that Vercel has; its runtime wants 3.12 at least.
_NAMES: Final = ("python3.14", "python3.13", "python3.12")
_FITS: Final = "import ensurepip, sys, venv; sys.exit(not (3, 12) <= sys.version_info[:2] < (3, 15))"
_NOT_FOUND: Final = (
    "no Python 3.12 to 3.14, which the runtime of Vercel needs: looked for python3.14, python3.13 and python3.12 on "
    "PATH and among the versions of pyenv; `pyenv install 3.13` brings one, VERCEL_PYTHON names one that is elsewhere"
)


class RuntimeMissing(Exception):
    """The runtime can't be had; the text says why."""


def is_installed() -> bool:
    """Whether the runtime is there, in the versions that are pinned now."""
    return PYTHON.exists() and _STAMP.exists() and _STAMP.read_text("ascii") == _pins()


def _pins() -> str:
    return hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()


def _candidates() -> Iterator[str]:
    told = os.environ.get("VERCEL_PYTHON")
    if told:
        yield told
        return
    if FOLDER not in Path(sys.executable).parents:
        yield sys.executable
    yield from filter(None, map(shutil.which, _NAMES))
    root = os.environ.get("PYENV_ROOT")
    if not root and shutil.which("pyenv"):
        root = subprocess.run(["pyenv", "root"], capture_output=True, text=True, timeout=10, check=False).stdout.strip()
    # pyenv puts names on PATH that refuse to run unless their version is chosen: the folders hold the real ones.
    for folder in sorted(Path(root or Path.home() / ".pyenv").glob("versions/3.1[234]*"), reverse=True):
        yield str(folder / "bin" / "python")


def find_python() -> str:
    """Return a Python that the runtime runs on.

    Raises:
        RuntimeMissing: If there is none.
    """
    for candidate in _candidates():
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            if not subprocess.run([candidate, "-c", _FITS], capture_output=True, timeout=10, check=False).returncode:
                return candidate
    told = os.environ.get("VERCEL_PYTHON")
    raise RuntimeMissing(f"VERCEL_PYTHON={told} is no Python 3.12 to 3.14 that runs" if told else _NOT_FOUND)


def install() -> None:
    """Install the runtime, unless it is there in these very versions.

    Raises:
        RuntimeMissing: If there is no Python for it, or an install fails.
    """
    if is_installed():
        return
    python = find_python()
    print(f"installing the Python runtime of Vercel below {FOLDER.relative_to(ROOT)} with {python}", flush=True)
    shutil.rmtree(FOLDER, ignore_errors=True)
    # The constraints are for the project's own Python.
    environment = {name: value for name, value in os.environ.items() if name not in {"PIP_CONSTRAINT", "PYTHONPATH"}}
    for command in (
        [python, "-m", "venv", str(FOLDER)],
        [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(_REQUIREMENTS)],
    ):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise RuntimeMissing(f"failed: {' '.join(command)}\n{done.stderr[-2000:]}")
    _STAMP.write_text(_pins(), "ascii")


if __name__ == "__main__":
    try:
        install()
    except RuntimeMissing as error:
        sys.exit(str(error))
