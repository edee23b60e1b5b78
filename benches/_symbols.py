"""The extension with its symbols, for profiles: built beside the installed one, which stays as it is."""

import importlib.machinery
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

from benches._harness import BenchError
from benches._results import ROOT

EXTENSION = ROOT / "target" / "release" / "lib_core.so"
BUILD_TIMEOUT = 3600


class _BuiltExtension(MetaPathFinder):
    """Finds the extension with symbols where the stripped one is asked for."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "websocket_utils._core":
            return None
        return importlib.util.spec_from_file_location(name, EXTENSION)


def use() -> None:
    """Make imports behind this call find the extension with symbols."""
    if "websocket_utils._core" in sys.modules:
        raise RuntimeError("the installed extension is imported already")
    sys.meta_path.insert(0, _BuiltExtension())


def build() -> None:
    """Build it: nothing to do where no source has changed."""
    # The interpreter that loads it, as `make` has it: another one would build pyo3 anew each time.
    interpreter = ROOT / ".venv" / "bin" / "python"
    environment = os.environ | {"PYO3_PYTHON": str(interpreter if interpreter.exists() else sys.executable)}
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--package", "websocket_utils_py"]
    done = subprocess.run(command, cwd=ROOT, env=environment, timeout=BUILD_TIMEOUT, check=False)
    if done.returncode:
        raise BenchError("cargo could not build the extension (package websocket_utils_py)")
