"""The functions of edge/vercel on the runtimes that Vercel has, each in a process of its own."""

import contextlib
import http.client
import json
import os
import re
import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import pytest
from edge.vercel.dev import python_runtime

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "edge" / "vercel"
_SHIM = Path(__file__).with_name("asgi_process.py")
_SECONDS = 45
_LEAST_NODE = 20


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(url: str, method: str = "POST", body: bytes | str = b"", headers: Mapping[str, str] | None = None) -> Answer:
    """Send one request on a connection of its own. It blocks: use `asyncio.to_thread`."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=15)
    try:
        content = body.encode() if isinstance(body, str) else body
        connection.request(method, parts.path or "/", content, dict(headers or {}))
        response = connection.getresponse()
        named = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, named, response.read().decode())
    finally:
        connection.close()


def needed_node() -> str:
    """A node that runs @vercel/node, which is installed; skips where either is missing."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on PATH, which the functions of edge/vercel need: nodejs.org, then `make edge`")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    major = re.match(r"v(\d+)", version)
    if major is None or int(major[1]) < _LEAST_NODE:
        pytest.skip(f"node is {version.strip()}, and the functions of edge/vercel need {_LEAST_NODE} or newer")
    if not (PROJECT / "node_modules" / "@vercel" / "node" / "package.json").exists():
        pytest.skip("@vercel/node is not installed in edge/vercel: `make edge` brings it (npm ci --ignore-scripts)")
    return node


def needed_python() -> str:
    """The Python that has Vercel's runtime; skips where it is missing."""
    if not python_runtime.is_installed():
        pytest.skip(
            "the Python runtime of Vercel is not in target/vercel-python, so its function is tested on an ASGI server "
            "alone: `make edge` brings it, where there is a Python 3.12 to 3.14"
        )
    return str(python_runtime.PYTHON)


def command_of(function: str) -> list[str]:
    """How a function is served by its runtime; without Vercel's for Python by an ASGI server and this Python."""
    if function.endswith(".ts"):
        return [needed_node(), "dev/serve.mjs", function]
    if python_runtime.is_installed():
        return [needed_python(), "-X", "dev", "dev/serve_python.py", function]
    return [sys.executable, "-X", "dev", "-W", "error", str(_SHIM), function]


def environment_of(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables that functions are served with, and what programs need of this process's."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, **variables}


@dataclass
class Served:
    """Functions that are served, each at its URL."""

    urls: Mapping[str, str]
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def logged(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


@contextlib.contextmanager
def served(command: list[str], variables: Mapping[str, str], log: Path) -> Iterator[Served]:
    """Serve functions until the end of the block."""
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command,
            cwd=PROJECT,
            env=environment_of(variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Served(_announced(process.stdout, log), process, log)
    finally:
        # As the end of this process would do it.
        process.stdin.close()
        try:
            process.wait(10)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def _announced(output: IO[bytes], log: Path) -> Mapping[str, str]:
    """The first line of JSON that a launcher prints."""
    deadline = time.monotonic() + _SECONDS
    seen = b""
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while selector.select(max(0, deadline - time.monotonic())):
            chunk = os.read(output.fileno(), 65_536)
            seen += chunk
            line, complete, _ = seen.partition(b"\n")
            if complete:
                urls: Mapping[str, str] = json.loads(line)
                return urls
            if not chunk:
                break
    pytest.fail(f"the functions are not served after {_SECONDS} s:\n{log.read_text('utf-8', 'replace')}")
