"""The parent of a feed's workers: runs the source, numbers what it publishes, and keeps as many workers alive as asked.

source -> server on loopback, with the history  --->  worker 1, 2 ... N  --->  clients on one port
"""

import asyncio
import contextlib
import secrets
import socket
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec

from websocket_utils.authentication import Grant, Identity, KeyAuthentication
from websocket_utils.cli._failures import Failure
from websocket_utils.cli._loop import counted, every, say
from websocket_utils.cli._worker import Report, Settings, namespaces
from websocket_utils.config import WebSocketConfig
from websocket_utils.relay import serve_relays
from websocket_utils.server import WebSocketServer

__all__ = ["Workers", "bus", "reserved", "restart_delay"]

# A worker that lived that long is started again as if it never had failed.
_STABLE_SECONDS: Final = 10.0
_FIRST_DELAY: Final = 0.05
_LONGEST_DELAY: Final = 5.0
# So many in a row that never served anybody are no accident.
_MOST_FAILURES: Final = 5
# How long a worker may take behind its deadline, or behind the end of its input.
_PATIENCE: Final = 5.0
_STATS_SECONDS: Final = 5.0
_BUS_LAG: Final = 64 * 1024 * 1024


def restart_delay(failures: int) -> float:
    """Seconds before a worker is started again that has ended so many times in a row without having lived long."""
    # Far below what a float can't hold, and far above the bound.
    doublings = min(failures, 20) - 1
    return 0.0 if failures == 0 else min(_LONGEST_DELAY, _FIRST_DELAY * 2.0**doublings)


def reserved(host: str, port: int) -> socket.socket:
    """Bind a port that workers are to share, without listening: it is theirs as long as the socket is open.

    Raises:
        OSError: If it is in use, or not this machine's.
    """
    infos = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = infos[0]
    # Shared ports are shared with whoever is there: this one finds out whether anybody is.
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(address)
    except BaseException:
        one.close()
        raise
    return one


@contextlib.asynccontextmanager
async def bus(history: int, http: str | None, http_key: str | None) -> AsyncGenerator[tuple[WebSocketServer, str]]:
    """The server that workers follow; yields it and the token that lets them in."""
    token = secrets.token_urlsafe(32)
    identity = Identity("worker", grants=(Grant("*", frozenset({"subscribe"})),))
    async with WebSocketServer.bind(
        # Not what the environment says: that is for the workers, who serve others.
        "127.0.0.1:0",
        config=WebSocketConfig(max_lag=_BUS_LAG),
        namespaces=namespaces(history),
        authenticate=KeyAuthentication({token: identity}),
        http=http,
        http_key=http_key,
    ) as server:
        serve_relays(server)
        yield server, token


class _Worker:
    """One place for a worker, and the process that is in it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: asyncio.subprocess.Process | None = None
        self.report: Report | None = None
        self.was_ready = asyncio.Event()

    @property
    def line(self) -> str:
        """What it has done, for people."""
        report = self.report
        if report is None:
            return f"worker {self.number}: not started"
        return (
            f"worker {self.number}: {counted(report.connections, 'client')} of {report.accepted:,}, "
            f"{report.deliveries:,} deliveries, {report.lagging} behind" + (", draining" if report.draining else "")
        )


class Workers:
    """Keeps workers running until they are drained or stopped.

    Args:
        count: How many.
        settings: What each is told.
        begun: Called for each process that is started, with the worker's number and the process id.
    """

    def __init__(self, count: int, settings: Settings, begun: Callable[[int, int], object] | None = None) -> None:
        self._settings = settings
        self._begun = begun
        self._workers = [_Worker(number) for number in range(1, count + 1)]
        self._ending = asyncio.Event()
        self._ended = asyncio.Event()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def lines(self) -> Sequence[str]:
        """What each has done."""
        return [one.line for one in self._workers]

    @property
    def is_ready(self) -> bool:
        """Whether any of them takes clients."""
        return any(one.process is not None and one.report is not None and one.report.ready for one in self._workers)

    def listens(self, *, broadcast: bool) -> bool:
        """Whether a client waits for messages."""
        reports = [one.report for one in self._workers if one.report is not None]
        return any(report.connections if broadcast else report.subscriptions for report in reports)

    async def start(self) -> None:
        """Start all, and wait until each takes clients.

        Raises:
            Failure: If one can't be started.
        """
        self._tasks = [asyncio.create_task(self._keep(one)) for one in self._workers]
        for one in self._workers:
            await self._unless_failed(one.was_ready)

    async def wait(self) -> None:
        """Wait for their end.

        Raises:
            Failure: If one can't be started any more.
        """
        await self._unless_failed(self._ended)

    async def _unless_failed(self, event: asyncio.Event) -> None:
        waiting = asyncio.ensure_future(event.wait())
        futures: set[asyncio.Future[Any]] = {waiting, self._failed}
        try:
            await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if self._failed.done():
            self._failed.result()

    async def drain(self, seconds: float) -> None:
        """Let their clients go within so many seconds; cancelling it ends them at once."""
        self._ending.set()
        try:
            self._each(lambda process: process.terminate())
            await self._gone(seconds + _PATIENCE)
        finally:
            await self._kill()

    async def stop(self, close: Callable[[], Awaitable[object]]) -> None:
        """End them behind what was published before.

        Args:
            close: Closes what they follow.
        """
        self._ending.set()
        try:
            # The end of their connections is what they wait for from here on.
            self._each(_say_end)
            await close()
            await self._gone(_PATIENCE)
        finally:
            await self._kill()

    def _each(self, do: Callable[[asyncio.subprocess.Process], object]) -> None:
        for one in self._workers:
            if one.process is not None and one.process.returncode is None:
                with contextlib.suppress(ProcessLookupError, ConnectionError):
                    do(one.process)

    async def _gone(self, seconds: float) -> None:
        for task, one in zip(self._tasks, self._workers, strict=True):
            # Between two processes there is none to wait for.
            if one.process is None:
                task.cancel()
        await asyncio.wait(self._tasks, timeout=seconds)

    async def _kill(self) -> None:
        self._each(lambda process: process.kill())
        for task, one in zip(self._tasks, self._workers, strict=True):
            if one.process is None:
                task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._ended.set()

    async def _keep(self, worker: _Worker) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while not self._ending.is_set():
            await asyncio.sleep(restart_delay(failures))
            began = loop.time()
            code = await self._run(worker)
            if self._ending.is_set():
                return
            lived = loop.time() - began
            failures = 0 if lived >= _STABLE_SECONDS else failures + 1
            if failures >= _MOST_FAILURES and not worker.was_ready.is_set():
                if not self._failed.done():
                    self._failed.set_exception(Failure(f"worker {worker.number} can't be started"))
                return
            how = f"signal {-code}" if code < 0 else f"code {code}"
            say(f"worker {worker.number} ended ({how}) and is started again")

    async def _run(self, worker: _Worker) -> int:
        """One process from its start to its end; returns its exit code."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "websocket_utils", "worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Ctrl-C in a terminal is for the parent: it says what becomes of them.
            start_new_session=True,
        )
        worker.process = process
        if self._begun is not None:
            self._begun(worker.number, process.pid)
        assert process.stdin is not None  # noqa: S101  # asked for above
        assert process.stdout is not None  # noqa: S101  # asked for above
        try:
            with contextlib.suppress(ConnectionError):
                process.stdin.write(msgspec.json.encode(self._settings) + b"\n")
                await process.stdin.drain()
            serves = not worker.was_ready.is_set()
            while line := await process.stdout.readline():
                worker.report = msgspec.json.decode(line, type=Report)
                if worker.report.ready:
                    worker.was_ready.set()
                    if not serves:
                        serves = True
                        say(f"worker {worker.number} serves again")
            return await process.wait()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            process.stdin.close()
            worker.process = None

    @contextlib.asynccontextmanager
    async def telling(self, wanted: bool) -> AsyncGenerator[None]:
        """Say what each does, every few seconds while the block runs."""
        if not wanted:
            yield
            return

        def tell() -> None:
            for line in self.lines:
                say(line)

        async with every(_STATS_SECONDS, tell):
            yield


def _say_end(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None  # noqa: S101  # it was started with one
    process.stdin.write(b"end\n")
