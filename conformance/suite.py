"""The Autobahn test suite: where a Python for it is, how it gets there, how it is run.

Run by itself it tells the interpreter it would take, or why there is none.
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

ROOT: Final = Path(__file__).resolve().parent.parent
# All that the suite needs and writes; no part of the project.
FOLDER: Final = ROOT / ".autobahn"
WSTEST: Final = FOLDER / "suite" / "bin" / "wstest"

# The suite is written for Python 2.7 and names no versions of what it needs: these are the last that work with it.
_BOOT: Final = (
    "virtualenv==20.15.1",
    "configparser==4.0.2",
    "contextlib2==0.6.0.post1",
    "distlib==0.4.4",
    "filelock==3.2.1",
    "importlib-metadata==2.1.3",
    "importlib-resources==3.3.1",
    "pathlib2==2.3.7.post1",
    "platformdirs==2.0.2",
    "scandir==1.10.0",
    "singledispatch==3.7.0",
    "six==1.17.0",
    "typing==3.10.0.0",
    "zipp==1.2.0",
)
_BASE: Final = (
    "attrs==21.4.0",
    "Automat==20.2.0",
    "cffi==1.15.1",
    "constantly==15.1.0",
    "cryptography==3.3.2",
    "enum34==1.1.10",
    "hyperlink==21.0.0",
    "idna==2.10",
    "incremental==16.10.1",
    "ipaddress==1.0.23",
    "pycparser==2.21",
    "PyHamcrest==1.9.0",
    "pyOpenSSL==19.1.0",
    "six==1.16.0",
    "typing==3.10.0.0",
    "zope.interface==4.6.0",
)
# Without wsaccel, which masks and checks UTF-8 in C, the suite would be the slow end.
_REST: Final = (
    "autobahn==0.10.9",
    "jinja2==2.11.3",
    "klein==17.10.0",
    "linecache2==1.0.0",
    "markupsafe==1.1.1",
    "pyasn1==0.5.1",
    "pyasn1-modules==0.3.0",
    "service_identity==18.1.0",
    "traceback2==1.4.0",
    "txaio==2.1.0",
    "unittest2==1.1.0",
    "Werkzeug==1.0.1",
    "wsaccel==0.6.2",
)
SUITE: Final = "autobahntestsuite==25.10.1"
# In this order: setup.py of the later ones imports the earlier ones, which pip's isolated builds would hide from it.
_STEPS: Final = (
    _BASE,
    ("--no-build-isolation", "Twisted==19.10.0"),
    _REST,
    ("--no-build-isolation", "--no-deps", SUITE),
)
_IS_CPYTHON_2_7: Final = (
    "import platform, sys; sys.exit(platform.python_implementation() != 'CPython' or sys.version_info[:2] != (2, 7))"
)
_NOT_FOUND: Final = (
    "no CPython 2.7, which the Autobahn suite is written for: looked for python2.7 on PATH and among the versions "
    "of pyenv; `pyenv install 2.7.18` brings one, and AUTOBAHN_PYTHON names one that is elsewhere"
)


class SuiteError(Exception):
    """The suite can't be had or does not run; the text says why."""


def _candidates() -> Iterator[str]:
    told = os.environ.get("AUTOBAHN_PYTHON")
    if told:
        yield told
        return
    found = shutil.which("python2.7")
    if found:
        yield found
    root = os.environ.get("PYENV_ROOT")
    if not root and shutil.which("pyenv"):
        root = subprocess.run(["pyenv", "root"], capture_output=True, text=True, timeout=10, check=False).stdout.strip()
    # pyenv puts a python2.7 on PATH that refuses to run unless this version is chosen: its folder holds the real one.
    for folder in sorted(Path(root or Path.home() / ".pyenv").glob("versions/2.7*"), reverse=True):
        yield str(folder / "bin" / "python2.7")


def find_python() -> str:
    """Return a CPython 2.7 that runs.

    Raises:
        SuiteError: If there is none.
    """
    for candidate in _candidates():
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            asked = subprocess.run([candidate, "-c", _IS_CPYTHON_2_7], capture_output=True, timeout=10, check=False)
            if asked.returncode == 0:
                return candidate
    told = os.environ.get("AUTOBAHN_PYTHON")
    raise SuiteError(f"AUTOBAHN_PYTHON={told} is no CPython 2.7 that runs" if told else _NOT_FOUND)


def install() -> None:
    """Install the suite below `.autobahn` unless it is there, in these very versions.

    Raises:
        SuiteError: If there is no Python for it, or an install fails.
    """
    pins = hashlib.sha256(repr((_BOOT, _STEPS)).encode()).hexdigest()
    stamp = FOLDER / "installed"
    if WSTEST.exists() and stamp.exists() and stamp.read_text("ascii") == pins:
        return
    python = find_python()
    print(f"installing {SUITE} below {FOLDER.name} with {python}", flush=True)
    shutil.rmtree(FOLDER, ignore_errors=True)
    boot, suite = FOLDER / "boot", FOLDER / "suite"
    FOLDER.mkdir()
    _call(python, "-m", "pip", "install", "--target", boot, *_BOOT)
    _call(python, "-m", "virtualenv", "--no-download", suite, PYTHONPATH=str(boot))
    for step in _STEPS:
        _call(suite / "bin" / "python", "-m", "pip", "install", *step)
    stamp.write_text(pins, "ascii")


def _call(*command: str | Path, **environment: str) -> None:
    # The constraints and the packages of the project are for Python 3.
    inherited = {name: value for name, value in os.environ.items() if name not in {"PIP_CONSTRAINT", "PYTHONPATH"}}
    environment = {**inherited, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **environment}
    with (FOLDER / "install.log").open("a", encoding="utf-8") as log:
        done = subprocess.run(command, env=environment, stdout=log, stderr=subprocess.STDOUT, timeout=600, check=False)
    if done.returncode:
        tail = (FOLDER / "install.log").read_text("utf-8").splitlines()[-15:]
        raise SuiteError("\n".join([f"failed: {' '.join(map(str, command))}", *tail]))


if __name__ == "__main__":
    try:
        print(find_python())
    except SuiteError as error:
        sys.exit(str(error))
