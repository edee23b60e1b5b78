"""Holds the arrows of ARCHITECTURE.md: who may import whom, and what the core never knows."""

import ast
import graphlib
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python" / "websocket_utils"
CORE = ROOT / "rust" / "core"
MODULES = sorted(path for path in PACKAGE.rglob("*.py*") if path.suffix in {".py", ".pyi"})

# From the bottom up: a module imports from layers below its own, and from its own where no circle comes of it.
LAYERS = [
    {"_redaction", "events", "messages", "metrics", "outcomes"},
    {"exceptions", "_fetching"},
    {"config", "_shapes", "_columns", "_slow", "namespaces", "authentication"},
    {"schema"},
    {"_core"},
    {
        "_transport",
        "_handshake",
        "_accepting",
        "_requesting",
        "_listening",
        "_admission",
        "_authenticating",
        "_commands",
        "_in_band",
        "_rates",
        "_refusals",
        "_receiving",
        "_connection",
        "_reconnect",
        "_lifecycle",
        "_heartbeat",
        "_faults",
        "_url",
        "_dialer",
        "_endpoints",
        "_phases",
        "_own_sends",
        "_pings",
        "_racing",
        "_recovery",
        "_replies",
        "_busy_poll",
        "_held",
        "_merging",
        "_opening",
        "_subscribing",
        "_subscription_protocol",
        "_subscriptions",
        "_terms",
        "_freshness",
        "_draining",
        "_going_away",
        "_server_drain",
        "_server_channels",
        "_ages",
        "_positions",
        "_publishing",
        "subscription",
        "_alone",
        "_assembly",
        "_downtimes",
        "_event_handlers",
        "_event_queue",
        "_legs",
        "_link",
        "_link_listener",
        "_sending",
        "_session",
        "_sources",
        "_statistics",
        "_watching",
        "_pacing",
        "_recorded",
        "recording",
        "replay",
    },
    # It knows a server by what it needs of it, and is opened by one.
    {"door"},
    {"_ending", "_side_door"},
    {"client", "server", "aggregator", "relay", "_filling"},
    {"client", "server", "aggregator"},
    {"_filling", "relay"},
    {"edge"},
    {"feeds"},
    {"peer"},
    {"testing"},
    {"__init__"},
    {"cli", "_feed", "__main__"},
]
TRANSPORT_LIBRARIES = re.compile(r"\b(picows|aiofastnet|uvloop)\b", re.IGNORECASE)


def name_of(path: Path) -> str:
    # The parts of a module that became a folder stand in its layer.
    return path.relative_to(PACKAGE).parts[0].removesuffix(path.suffix)


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            here = ["websocket_utils", *path.relative_to(PACKAGE).parent.parts]
            base = here[: len(here) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from package import module` names modules; `from package.module import name` does not.
            modules = [f"{module}.{alias.name}" for alias in node.names] if module == "websocket_utils" else [module]
        else:
            continue
        for module in modules:
            package, _, rest = module.partition(".")
            if package == "websocket_utils":
                first = rest.partition(".")[0]
                is_module = any(first in layer for layer in LAYERS) or (PACKAGE / f"{first}.py").exists()
                found.add(first if is_module else "__init__")
    return found - {name_of(path)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_imports_only_from_its_layer_and_below(path: Path) -> None:
    layer_of = {module: height for height, layer in enumerate(LAYERS) for module in layer}
    assert name_of(path) in layer_of, f"{path.name} has no layer yet: give it one in LAYERS"
    upward = {module for module in imports_of(path) if layer_of[module] > layer_of[name_of(path)]}
    assert not upward, f"{path.name} imports {sorted(upward)} from above"


@pytest.mark.parametrize("module", ["_redaction", "events", "messages", "metrics", "outcomes"])
def test_bottom_module_imports_nothing_of_ours(module: str) -> None:
    assert imports_of(PACKAGE / f"{module}.py") == set()


def test_imports_have_no_circle() -> None:
    graph: dict[str, set[str]] = {}
    for path in MODULES:
        graph.setdefault(name_of(path), set()).update(imports_of(path))
    graphlib.TopologicalSorter(graph).prepare()


def test_transport_libraries_are_named_in_one_file() -> None:
    naming = {path.name for path in MODULES if TRANSPORT_LIBRARIES.search(path.read_text(encoding="utf-8"))}
    assert naming == {"_transport.py"}


def test_environment_is_read_in_one_file_and_never_at_import() -> None:
    readers: dict[str, list[int]] = {}
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute | ast.alias):
                continue
            word = node.attr if isinstance(node, ast.Attribute) else node.name
            if word in {"environ", "environb", "getenv", "getenvb"}:
                readers.setdefault(path.name, []).append(node.lineno)
                inside = any(function.lineno <= node.lineno <= (function.end_lineno or 0) for function in functions)
                assert inside, f"{path.name}:{node.lineno} reads the environment at import"
    assert set(readers) == {"config.py"}, readers


def test_core_crate_depends_on_no_runtime() -> None:
    tree = subprocess.run(
        ["cargo", "tree", "-p", "websocket_utils_core", "-e", "normal", "--prefix", "none", "--locked"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=15,
    )
    crates = {line.split()[0] for line in tree.stdout.splitlines() if line}
    assert "websocket_utils_core" in crates
    assert not crates & {"pyo3", "pyo3-ffi", "libc", "mio", "tokio", "async-std", "rand", "getrandom", "log", "tracing"}


def test_core_sources_know_no_socket_clock_environment_or_thread() -> None:
    outside = "net|time|env|thread|fs|process|os"
    forbidden = re.compile(rf"\bstd::(?:{outside})\b|\buse std::\{{[^;]*\b(?:{outside})\b[^;]*;")
    sources = sorted((CORE / "src").rglob("*.rs"))
    assert sources
    offenders = [
        f"{path.relative_to(ROOT)}: {match.group(0)}"
        for path in sources
        for match in forbidden.finditer(path.read_text(encoding="utf-8"))
    ]
    assert offenders == []
