"""Keeps `_core.pyi` true to the extension.

This is one leg of three: stubtest does not see wrong types (tests/typing/public_api.py does, at the public names), and
`pyright --verifytypes` (in `make lint`) sees types that are missing.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

STUB = Path(__file__).resolve().parents[2] / "python" / "websocket_utils" / "_core.pyi"


def names_in(stub: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


def test_every_public_name_is_in_the_stub_and_no_other() -> None:
    from websocket_utils import _core

    public = {name for name in dir(_core) if not name.startswith("_")}
    assert public
    assert {name for name in names_in(STUB) if not name.startswith("_")} == public


@pytest.mark.timeout(120)
def test_stub_agrees_with_the_extension() -> None:
    # stubtest says "Success" about a module or a stub that it cannot find.
    from websocket_utils import _core

    assert STUB.exists()
    checked = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "websocket_utils._core"],
        cwd=STUB.parents[2],
        check=False,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert checked.returncode == 0, f"{_core.__file__}:\n{checked.stdout}{checked.stderr}"
