"""Functions of edge/vercel called without a server, each request with an environment of its own."""

import asyncio
import contextlib
import importlib.util
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from tests.support.asgi import ask
from tests.support.vercel import PROJECT, Answer, environment_of, needed_node


@dataclass(frozen=True)
class Request:
    body: str | None
    environment: Mapping[str, str]
    headers: Mapping[str, str]
    method: str = "POST"


class TypeScript:
    """A node process that imports functions and calls them, one request after another."""

    def __init__(self, process: subprocess.Popen[str], function: str) -> None:
        self._process = process
        self._function = function

    async def call(self, request: Request) -> Answer:
        return await asyncio.to_thread(self._call, request)

    def _call(self, request: Request) -> Answer:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"function": self._function, **vars(request)}
        self._process.stdin.write(json.dumps(asked | {"headers": dict(request.headers)}) + "\n")
        self._process.stdin.flush()
        return Answer(**json.loads(self._process.stdout.readline()))


@contextlib.contextmanager
def typescript(function: str, **variables: str) -> Iterator[TypeScript]:
    """Start one; variables are those that node itself reads at its start."""
    command = [needed_node(), "--import", "tsx", "dev/call.mjs"]
    with subprocess.Popen(
        command,
        cwd=PROJECT,
        env=environment_of(variables),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield TypeScript(process, function)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


class Python:
    """A function's file, loaded into this process."""

    def __init__(self, function: str) -> None:
        spec = importlib.util.spec_from_file_location("vercel_function", PROJECT / function)
        assert spec is not None
        assert spec.loader is not None
        self.module: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)

    async def call(self, request: Request) -> Answer:
        names = [(name.lower(), value) for name, value in request.headers.items()]
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith(("FEED_", "PUBLISH_"))]:
                patch.delenv(name)
            for name, value in request.environment.items():
                patch.setenv(name, value)
            body = (request.body or "").encode("utf-8", "surrogatepass")
            found = await ask(self.module.app, request.method, "/", body, headers=names)
        return Answer(found.status, found.headers, found.body.decode())
