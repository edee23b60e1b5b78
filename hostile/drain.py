"""A server with thousands of clients that drains, some of whom read nothing: it has to end at its deadline.

`python hostile/drain.py [--clients N] [--silent N] [--runs N] [--deadline S] [--window S] [--save]`. The server is a
process of its own, on loopback, and publishes all the while. Of the clients that read, a third is plain, a third leaves
when it is told to, and a third ignores that and waits for its close.
"""

import argparse
import asyncio
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

# Run as a script, the folder of this file is on the path in place of the one above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benches._results import ROOT, commit, machine, today, versions
from tests.support.wire import CLOSE, FrameReader, close_code, close_frame

from hostile._peer import request
from hostile._results import DrainResult, DrainRun, save
from websocket_utils import WebSocketServer, run

CLIENTS: Final = 2000
SILENT: Final = 20
RUNS: Final = 5
DEADLINE: Final = 10.0
WINDOW: Final = 5.0
_OURS: Final = "Sec-WebSocket-Protocol: websocket-utils.json"
# By which the server knows those who read nothing: they alone are filled.
_SILENT_PROTOCOL: Final = "websocket-utils.msgpack"
# What the kernel's buffers of both ends can't hold together: it closes the window of those who read nothing.
_FILLING: Final = b"x" * (6 << 20)
_MESSAGE: Final = "m" * 122
_EACH_SECONDS: Final = 0.1
_SERVICE_RESTART: Final = 1012


# --- the server's process ---


async def _publish(server: WebSocketServer) -> None:
    while True:
        server.broadcast(_MESSAGE)
        await asyncio.sleep(_EACH_SECONDS)


async def _watch_turns(late: list[float]) -> None:
    """Note how late the event loop's timers are: what a drain costs those who are still served."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + 0.005
        await asyncio.sleep(0.005)
        late.append(loop.time() - due)


async def _serve(deadline: float, window: float) -> None:
    loop = asyncio.get_running_loop()
    # Nobody is to be cut for another reason: neither for what waits, nor for a ping that is not answered.
    async with WebSocketServer.bind(
        "127.0.0.1:0", max_lag=1 << 30, max_send_queue=1 << 30, close_timeout=60, ping_interval=None
    ) as server:
        _say(port=server.local_addr[1])
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            quiet = [one for one in server.connections if one.subprotocol == _SILENT_PROTOCOL]
            if line.strip() == "fill":
                for connection in quiet:
                    connection.send(_FILLING)
                await asyncio.sleep(0.1)
                _say(connections=len(server.connections), silent=sum(one.send_queue_bytes > 0 for one in quiet))
                continue
            late: list[float] = []
            tasks = [asyncio.create_task(_publish(server)), asyncio.create_task(_watch_turns(late))]
            await asyncio.sleep(2 * _EACH_SECONDS)
            late.clear()
            began = loop.time()
            await server.drain(deadline=deadline, window=window)
            _say(seconds=loop.time() - began, latest_turn=max(late))
            for task in tasks:
                task.cancel()
            return


def _say(**values: Any) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


# --- the clients ---


class _Reader(asyncio.Protocol):
    """Reads all; answers the close, or leaves before when it is told to and does so."""

    def __init__(self, leaves: bool) -> None:
        self._leaves = leaves
        self._frames = FrameReader()
        self._head = b""
        self._transport: Any = None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.was_told = False
        self._how = "cut"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self.opened.done():
            self._head += data
            head, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                self.opened.set_exception(ConnectionRefusedError(head[:100].decode("latin-1")))
                return
            self.opened.set_result(None)
        for one in self._frames.feed(data):
            if one.opcode == CLOSE:
                self._how = str(close_code(one.payload)) if self._how == "cut" else self._how
                self._transport.write(close_frame(close_code(one.payload), masked=True))
            elif one.payload.startswith(b'{"type":"GoAway"'):
                self.was_told = True
                if self._leaves:
                    asyncio.get_running_loop().call_later(json.loads(one.payload)["after"], self._leave)

    def _leave(self) -> None:
        self._how = "left"
        self._transport.write(close_frame(1000, masked=True))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(exc or ConnectionResetError("the server closed it"))
        if not self.ended.done():
            self.ended.set_result(self._how)


async def _reader(port: int, number: int) -> _Reader:
    loop = asyncio.get_running_loop()
    kind = number % 3
    transport, protocol = await loop.create_connection(lambda: _Reader(leaves=kind == 2), "127.0.0.1", port)
    transport.write(request(*([_OURS] if kind else [])))
    await protocol.opened
    return protocol


async def _silent(port: int) -> socket.socket:
    """A client that never reads behind its handshake: its window is zero once little is there."""
    loop = asyncio.get_running_loop()
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.setblocking(False)
    await loop.sock_connect(peer, ("127.0.0.1", port))
    await loop.sock_sendall(peer, request(f"Sec-WebSocket-Protocol: {_SILENT_PROTOCOL}"))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await loop.sock_recv(peer, 1)
    return peer


async def _once(clients: int, silent: int, deadline: float, window: float) -> DrainRun:
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(__file__)), "--serve", "--deadline", str(deadline), "--window", str(window)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert server.stdin is not None
    assert server.stdout is not None

    async def told() -> dict[str, Any]:
        assert server.stdout is not None
        found: dict[str, Any] = json.loads(await server.stdout.readline())
        return found

    quiet: list[socket.socket] = []
    try:
        port = (await told())["port"]
        readers: list[_Reader] = []
        for first in range(0, clients - silent, 50):
            numbers = range(first, min(first + 50, clients - silent))
            readers += await asyncio.gather(*(_reader(port, number) for number in numbers))
        quiet = [await _silent(port) for _ in range(silent)]
        server.stdin.write(b"fill\n")
        assert await told() == {"connections": clients, "silent": silent}
        server.stdin.write(b"drain\n")
        result = await told()
        ends = await asyncio.gather(*(one.ended for one in readers))
        await server.wait()
    finally:
        if server.returncode is None:
            server.kill()
            await server.wait()
        for peer in quiet:
            peer.close()
    return DrainRun(
        seconds=result["seconds"],
        latest_turn_ms=1000 * result["latest_turn"],
        told=sum(one.was_told for one in readers),
        left=ends.count("left"),
        closed=ends.count(str(_SERVICE_RESTART)),
        cut=len(ends) - ends.count("left") - ends.count(str(_SERVICE_RESTART)),
    )


async def drain(clients: int, silent: int, runs: int, deadline: float, window: float) -> DrainResult:
    """Drain `runs` servers, one after the other."""
    found = []
    for _ in range(runs):
        found.append(await _once(clients, silent, deadline, window))
        print(found[-1])
    return DrainResult(
        date=today(),
        commit=commit(),
        machine=machine(),
        versions=versions(),
        clients=clients,
        silent=silent,
        deadline=deadline,
        window=window,
        runs=found,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--silent", type=int, default=SILENT)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--deadline", type=float, default=DEADLINE)
    parser.add_argument("--window", type=float, default=WINDOW)
    parser.add_argument("--save", action="store_true", help="keep the result for docs/RELIABILITY.md")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.serve:
        run(_serve(chosen.deadline, chosen.window))
        return 0
    result = run(drain(chosen.clients, chosen.silent, chosen.runs, chosen.deadline, chosen.window))
    print(f"{result.worst_ms:+.1f} ms behind the deadline at worst: {'met' if result.met else 'MISSED'}")
    if chosen.save:
        print(f"kept in {save(result, 'drain')}; render: python hostile/render.py")
    return 0 if result.met else 1


if __name__ == "__main__":
    sys.exit(main())
