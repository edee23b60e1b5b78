"""What is deployed to Vercel: types that are those of Python, files that need nothing, launchers that leave nothing."""

import ast
import http.client
import json
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest
from examples import vercel_functions
from tests.support import vercel
from tests.support.waiting import until

from websocket_utils.messages import PriceUpdate, WsMessage
from websocket_utils.schema import typescript

pytestmark = [pytest.mark.one_loop, pytest.mark.timeout(60)]

GUIDE = vercel.ROOT / "docs" / "guides" / "vercel.md"
PYTHON_FUNCTION = vercel.PROJECT / "api" / "publish_price.py"


def test_types_of_messages_are_those_of_python() -> None:
    path = vercel.PROJECT / "lib" / "messages.ts"
    command = f"websocket-utils schema --format typescript --output {path.relative_to(vercel.ROOT)}"
    assert path.read_text(encoding="utf-8") == typescript(*typing.get_args(WsMessage)), command


def test_python_function_imports_the_standard_library_alone() -> None:
    tree = ast.parse(PYTHON_FUNCTION.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names


def test_typescript_functions_import_node_and_each_other_alone() -> None:
    package = json.loads((vercel.PROJECT / "package.json").read_text(encoding="utf-8"))
    assert "dependencies" not in package
    for path in [*vercel.PROJECT.glob("api/*.ts"), *vercel.PROJECT.glob("lib/*.ts")]:
        for module in re.findall(
            r"^(?:import|export) .* from \"(.+)\";$", path.read_text(encoding="utf-8"), re.MULTILINE
        ):
            assert module.startswith("node:") or (path.parent / module.replace(".js", ".ts")).exists(), module


def test_versions_are_exact_and_those_of_the_lock() -> None:
    package = json.loads((vercel.PROJECT / "package.json").read_text(encoding="utf-8"))
    lock = json.loads((vercel.PROJECT / "package-lock.json").read_text(encoding="utf-8"))
    for name, version in package["devDependencies"].items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), name
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
    pins = (vercel.PROJECT / "requirements-dev.txt").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"#.*|[a-z0-9-]+==[0-9.]+", line) for line in pins)


def test_every_function_has_its_longest_duration() -> None:
    """Two attempts of 4 s and the pause between them fit in."""
    functions = json.loads((vercel.PROJECT / "vercel.json").read_text(encoding="utf-8"))["functions"]
    for path in (vercel.PROJECT / "api").iterdir():
        if path.is_file():
            assert functions[f"api/*{path.suffix}"]["maxDuration"] == 10


def test_guide_has_every_variable_that_functions_read_and_no_other() -> None:
    sources = [*vercel.PROJECT.glob("api/*.*"), *vercel.PROJECT.glob("lib/*.ts")]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    read = set(re.findall(r"\"((?:FEED|PUBLISH|TOKEN)_[A-Z_]+)\"", text))
    told = set(re.findall(r"^\| `([A-Z_]+)` \|", GUIDE.read_text(encoding="utf-8"), re.MULTILINE))
    assert read == told


def test_codes_are_the_same_in_both_languages_and_in_the_guide() -> None:
    answers = (vercel.PROJECT / "lib" / "answers.ts").read_text(encoding="utf-8")
    typescript_codes = {
        re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper(): int(code)
        for name, code in re.findall(r"^  ([A-Z][A-Za-z]+): (\d+),$", answers, re.MULTILINE)
    }
    python = PYTHON_FUNCTION.read_text(encoding="utf-8")
    python_codes = dict(re.findall(r"^([A-Z][A-Z_]+) = (\d+)$", python, re.MULTILINE))
    assert python_codes
    assert {name: int(code) for name, code in python_codes.items()}.items() <= typescript_codes.items()
    own = {str(code) for code in typescript_codes.values() if code > 1000}
    assert own <= set(re.findall(r"\b1\d{3}\b", GUIDE.read_text(encoding="utf-8")))


# --- launchers ---


def is_served(url: str) -> bool:
    try:
        vercel.ask(url, "GET")
    except (OSError, http.client.HTTPException):
        return False
    return True


async def test_python_launcher_ends_with_its_input(tmp_path: Path) -> None:
    with vercel.served(vercel.command_of("api/publish_price.py"), {}, tmp_path / "log") as one:
        (url,) = one.urls.values()
        assert is_served(url)
    assert one.process.returncode == 0, one.logged
    assert not is_served(url)


@pytest.mark.slow
async def test_development_server_ends_with_its_launcher_however_that_ends(tmp_path: Path) -> None:
    with vercel.served(vercel.command_of("api/publish.ts"), {}, tmp_path / "log") as one:
        (url,) = one.urls.values()
        assert is_served(url)
        one.process.kill()
        await until(lambda: not is_served(url))


def test_launcher_without_a_function_says_what_it_needs() -> None:
    command = [vercel.needed_node(), "dev/serve.mjs"]
    done = subprocess.run(command, cwd=vercel.PROJECT, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert "which functions?" in done.stderr


# --- the example ---


async def test_example_publishes_once_to_a_client_with_a_token_of_a_function() -> None:
    vercel.needed_node()
    (update,) = await vercel_functions.main()
    assert update == PriceUpdate("SOL", "USDC", 150.25, timestamp=1)
