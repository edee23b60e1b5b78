"""The Workers of `edge/cloudflare` on the real runtime: bare `workerd` from npm, with a port and a disk of its own."""

import asyncio
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import pytest

__all__ = ["CLOUDFLARE", "PUBLISH_KEY", "Workerd", "built"]

CLOUDFLARE = Path(__file__).parents[2] / "edge" / "cloudflare"
PUBLISH_KEY = "0123456789abcdef-of-the-tests"

_WORKERD = CLOUDFLARE / "node_modules" / "@cloudflare" / "workerd-linux-64" / "bin" / "workerd"
_START_SECONDS = 15
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


@cache
def built() -> Path:
    """Bundle the Workers, once in a run; skips the test where npm has not brought what it needs."""
    node = shutil.which("node")
    if node is None or not _WORKERD.exists():
        missing = "node" if node is None else "workerd (edge/cloudflare/node_modules)"
        pytest.skip(f"{missing} is not there: make edge brings it")
    subprocess.run([node, "build.mjs"], cwd=CLOUDFLARE, check=True, timeout=60)
    return _WORKERD


class Workerd:
    """Runs both Workers, from `with Workerd() as workerd` (or `async with`) until its end, whatever happens.

    Args:
        publish_key: Secret `PUBLISH_KEY`; None leaves it out.
        variables: Further ones, such as `TOKEN_KEY` or `SOCKETS_PER_SHARD`.
        folder: Where the objects' databases are; None takes one that goes with this.
    """

    def __init__(
        self,
        *,
        publish_key: str | None = PUBLISH_KEY,
        variables: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self._environment = dict(variables or {})
        if publish_key is not None:
            self._environment["PUBLISH_KEY"] = publish_key
        self._own_folder = None if folder is not None else tempfile.TemporaryDirectory(prefix="workerd-")
        self._folder = folder or Path(str(self._own_folder and self._own_folder.name))
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None
        self._control_end: IO[bytes] | None = None
        self._ports: dict[str, int] = {}

    def __enter__(self) -> Self:
        try:
            self._begin(0)
            self._ports = self._listening()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            sys.stderr.write(f"workerd said:\n{self.stderr}\n")
        self._end()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def _end(self) -> None:
        self.kill()
        self._remove()

    def _remove(self) -> None:
        if self._output is not None:
            self._output.close()
        if self._own_folder is not None:
            self._own_folder.cleanup()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._ports["http"]

    @property
    def url(self) -> str:
        """For clients."""
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def publisher_url(self) -> str:
        """For publishers; the key goes into `X-API-Key`, the name is to be added: `?name=...`."""
        return f"ws://127.0.0.1:{self.port}/publisher"

    @property
    def http_url(self) -> str:
        """For HTTP publishers, without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def stderr(self) -> str:
        """What it has written to stdout and stderr so far, in all its lives."""
        path = self._folder / "output"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    async def start(self, *, port: int = 0) -> None:
        """Start it, on the same disk as before if it ran before.

        Args:
            port: To listen on, such as the one of its earlier life; 0 takes a free one.
        """
        self._begin(port)
        self._ports = await asyncio.wait_for(asyncio.to_thread(self._listening), _START_SECONDS)

    def _begin(self, port: int) -> None:
        assert not self.is_running, "it runs already"
        binary = built()
        disk = self._folder / "disk"
        disk.mkdir(parents=True, exist_ok=True)
        if self._output is None:
            self._output = (self._folder / "output").open("ab")
        reader, writer = os.pipe()
        self._control_end = os.fdopen(reader, "rb")
        try:
            # By this thread: the child goes when the thread that made it does, see _die_with_parent.
            self._process = subprocess.Popen(
                [
                    binary,
                    "serve",
                    CLOUDFLARE / "config.capnp",
                    "forTests",
                    f"--directory-path=disk={disk}",
                    f"--socket-addr=http=127.0.0.1:{port}",
                    f"--control-fd={writer}",
                ],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                pass_fds=[writer],
                preexec_fn=_die_with_parent,  # noqa: PLW1509  # one call into libc, so that a killed run leaves no child
            )
        finally:
            os.close(writer)

    def _listening(self) -> dict[str, int]:
        """Wait until it listens; it says so on a descriptor that closes with it."""
        ports: dict[str, int] = {}
        assert self._control_end is not None
        with self._control_end as control:
            while len(ports) < 2:
                line = control.readline()
                assert line, f"workerd did not start:\n{self.stderr}"
                event = json.loads(line)
                if event["event"] == "listen":
                    ports[event["socket"]] = event["port"]
        return ports

    def kill(self) -> None:
        """End it as a machine that goes away does (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    async def restart(self) -> None:
        """Kill it, and start it on the same disk and port."""
        port = self.port
        self.kill()
        await self.start(port=port)

    async def reset(self, shard: int | None = None) -> None:
        """Have the coordinator, or a shard, fail as it stands: its memory is lost and its sockets are cut."""
        await self._control("/reset" if shard is None else f"/reset-shard?number={shard}")

    async def broadcast(self, text: str, *, leaving_out: str | None = None) -> int:
        """Call the coordinator's `broadcast`; `leaving_out` is a session (`X-Session`). Returns how many it reached."""
        query = "" if leaving_out is None else f"?except={leaving_out}"
        return int(json.loads(await self._control(f"/broadcast{query}", text.encode())))

    async def life(self) -> str:
        """Which life the coordinator is in: another one after each time it was evicted, reset or killed. Wakes it."""
        return (await self._control("/life")).decode()

    async def facts(self) -> dict[str, int]:
        """Sessions, publishers and shards, as the coordinator counts them."""
        return dict[str, int](json.loads(await self._control("/facts")))

    async def _control(self, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(f"http://127.0.0.1:{self._ports['control']}{path}", body)
        return await asyncio.to_thread(_body_of, request)

    async def post(
        self, path: str, body: Any, *, key: str | None = PUBLISH_KEY, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Send a request to the door; `body` is bytes, or what is written as JSON. Returns status and answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {**({} if key is None else {"X-API-Key": key}), **(headers or {})}
        request = urllib.request.Request(f"{self.http_url}{path}", data, sent)
        status, answer = await asyncio.to_thread(_status_and_body_of, request)
        return status, json.loads(answer)


def _body_of(request: urllib.request.Request) -> bytes:
    with urllib.request.urlopen(request, timeout=10) as response:
        return bytes(response.read())


def _status_and_body_of(request: urllib.request.Request) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, bytes(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
