"""Short runs of what `make hostile` and `make mutate` run in full: a server of its own, bare sockets against it."""

import asyncio
import contextlib
import re
import socket
import struct
import sys
import threading
import time

import pytest
from hostile._peer import Peer, answers_honestly
from hostile._subject import Subject
from hostile.attacks import ATTACKS, Attack
from hostile.mutate import against_client, against_server, show
from hostile.run import attack
from tests.integration.raw_peer import accept_value
from tests.support.wire import BINARY, frame

from websocket_utils import ConnectionClosedError, HandshakeError, WebSocketClient, WebSocketServer

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="memory of another process is read from /proc"),
    pytest.mark.slow,
    pytest.mark.timeout(90),
]

# Those that take no seconds; `make hostile` runs all.
QUICK = ("claim_2_63", "tiny_fragments", "empty_fragments", "over_limit", "bomb", "bomb_fragments", "bomb_behind")


@pytest.mark.parametrize("one", [one for one in ATTACKS if one.name in QUICK], ids=lambda one: one.name)
def test_attack_of_one_peer_stays_within_the_bar(one: Attack) -> None:
    found = attack(one)
    assert found.met, found


def test_mutated_clients_leave_the_server_unharmed() -> None:
    side = against_server(1000, seed=7)
    assert side.met, show(side)
    assert side.opened > 300


def test_mutated_servers_leave_the_client_unharmed() -> None:
    side = against_client(200, seed=7)
    assert side.met, show(side)
    assert side.opened > 50


def test_server_without_descriptors_does_not_spin_and_serves_again() -> None:
    with Subject("hostile._server", '{"open_timeout": 60}') as server, contextlib.ExitStack() as stack:
        port = server.hear()["port"]
        assert answers_honestly(port)
        most = server.descriptors() + 10
        server.limit_descriptors(most)
        # Half of them is accepted, the others wait in the kernel.
        peers = [stack.enter_context(Peer(port)) for _ in range(20)]
        deadline = time.monotonic() + 10
        while server.descriptors() < most and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.descriptors() == most
        cpu = server.cpu_ms()
        time.sleep(1)
        # A loop that spins takes all of the second.
        assert server.cpu_ms() - cpu < 300
        for peer in peers:
            peer.close()
        while server.descriptors() == most and time.monotonic() < deadline:
            time.sleep(0.01)
        assert answers_honestly(port)
        assert server.ask()["loop_errors"] == []


async def test_reset_that_comes_with_data_ends_the_connection_at_once() -> None:
    may_send, is_reset = threading.Event(), threading.Event()

    def serve(listener: socket.socket) -> None:
        one, _ = listener.accept()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with one:
            key = re.search(rb"(?i)sec-websocket-key: *(\S+)", one.recv(65_536))
            assert key is not None
            lines = ["HTTP/1.1 101 X", "Upgrade: websocket", "Connection: Upgrade"]
            lines += [f"Sec-WebSocket-Accept: {accept_value(key[1].decode())}", "", ""]
            one.sendall("\r\n".join(lines).encode())
            may_send.wait(5)
            one.sendall(frame(BINARY, b"abc", masked=False))
        is_reset.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.get_running_loop().run_in_executor(None, serve, listener)
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}"
        async with WebSocketClient.connect(url, reconnect=False) as client:
            may_send.set()
            # The event loop stands still until both are there: it sees them in one turn.
            assert is_reset.wait(5)
            async with asyncio.timeout(2):
                assert await client.receive(bytes) == b"abc"
                with pytest.raises(ConnectionClosedError):
                    await client.receive(bytes)
        await serving


def _reset(one: socket.socket, data: bytes) -> None:
    """Send `data` and a reset behind it."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with one:
        one.sendall(data)


async def test_reset_that_comes_with_half_an_answer_ends_the_dial_at_once() -> None:
    asked, may_send, is_reset = threading.Event(), threading.Event(), threading.Event()

    def serve(listener: socket.socket) -> None:
        one, _ = listener.accept()
        one.recv(65_536)
        asked.set()
        may_send.wait(5)
        _reset(one, b"HTTP/1.1 101 X\r\nUpgrade: webso")
        is_reset.set()

    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = loop.run_in_executor(None, serve, listener)
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}"
        opening = asyncio.ensure_future(WebSocketClient.connect(url, reconnect=False, open_timeout=30))
        async with asyncio.timeout(5):
            await loop.run_in_executor(None, asked.wait, 5)
            may_send.set()
            # As above: both in one turn.
            assert is_reset.wait(5)
            with pytest.raises(HandshakeError, match="closed the connection"):
                await opening
        await serving


async def test_reset_that_comes_with_half_a_request_frees_its_place_at_once() -> None:
    async with WebSocketServer.bind("127.0.0.1:0", max_connections=1, open_timeout=30) as server:
        port = server.local_addr[1]
        with socket.create_connection(("127.0.0.1", port)) as one:
            one.sendall(b"GET / HTTP/1.1\r\n")
            async with asyncio.timeout(5):
                # There is a transport, which reads what comes next.
                while not any(opening._transport for opening in server._acceptor._openings):  # noqa: ASYNC110  # as below
                    await asyncio.sleep(0)
            _reset(one, b"Host: x\r\n")
        async with asyncio.timeout(5):
            while server.stats().rejected == 0:  # noqa: ASYNC110  # nobody is told of it
                await asyncio.sleep(0)
        async with WebSocketClient.connect(server.url, reconnect=False) as client:
            assert client.is_connected


async def test_dial_that_is_given_up_leaves_its_descriptor_to_the_next_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}"
        for _ in range(5):
            with pytest.raises(TimeoutError):
                await WebSocketClient.connect(url, reconnect=False, open_timeout=0.02)
            # Nothing of it is left: the same number serves for another connection.
            async with (
                WebSocketServer.bind("127.0.0.1:0") as server,
                WebSocketClient.connect(server.url, reconnect=False) as client,
            ):
                assert client.is_connected
