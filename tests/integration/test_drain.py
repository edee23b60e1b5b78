"""A server that lets its clients go: who is told, who is closed, what still reaches them, and that it ends in time."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.integration.conftest import UPGRADE, Network, RawPeer
from tests.support.waiting import until
from tests.support.wire import CLOSE, TEXT, close_frame, frame

from websocket_utils import (
    ConfigError,
    ConnectionClosedError,
    Disconnected,
    PriceUpdate,
    Reconnected,
    WebSocketClient,
    WebSocketServer,
)

pytestmark = pytest.mark.usefixtures("loop_errors")

OURS = b"Sec-WebSocket-Protocol: websocket-utils.json\r\n"
JSON = ["websocket-utils.json"]
UPDATE = PriceUpdate("SOL", "USDC", 1.0, timestamp=1)
SECONDS = 15
# What the kernel's buffers of both ends can't hold together.
FILLING = "x" * (1 << 20)


async def went(peer: RawPeer) -> list[str]:
    """What a client that answers the close saw: the types of messages, and the code of the close."""
    seen = []
    while (one := await peer.frame()) is not None:
        if one.opcode == CLOSE:
            seen.append(str(one.close_code))
            await peer.write(close_frame(one.close_code, masked=True))
        else:
            seen.append(json.loads(one.payload)["type"])
    return seen


async def test_client_that_speaks_our_subprotocol_is_told_before_its_close_and_a_plain_one_is_closed(
    network: Network,
) -> None:
    async with (
        asyncio.timeout(SECONDS),
        network.bind() as server,
        network.raw_client(server, headers=OURS) as ours,
        network.raw_client(server) as plain,
    ):
        assert (server.is_ready, server.is_draining) == (True, False)
        draining = asyncio.create_task(server.drain(deadline=2.0, window=0.2))
        await asyncio.sleep(0)
        assert (server.is_ready, server.is_draining, server.stats().draining) == (False, True, True)
        told, closed = await asyncio.gather(went(ours), went(plain))
        assert (told, closed) == (["GoAway", "1012"], ["1012"])
        await draining
        assert (server.is_ready, server.is_draining, server.connections) == (False, False, frozenset())
        assert server.stats().draining is False


async def test_drain_ends_as_soon_as_no_client_is_left(plain: Network) -> None:
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(SECONDS), plain.bind() as server, plain.raw_client(server, headers=OURS) as peer:
        draining = asyncio.create_task(server.drain(deadline=20.0))
        await peer.frame()
        # It leaves by itself.
        await peer.close()
        await draining
        assert asyncio.get_running_loop().time() - began < 5


async def test_drain_without_clients_ends_at_once(plain: Network) -> None:
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(SECONDS), plain.bind() as server:
        await server.drain()
    assert asyncio.get_running_loop().time() - began < 5


@pytest.mark.parametrize("settings", [{"deadline": 0.0}, {"window": -1.0}, {"batch": 0}])
async def test_wrong_number_changes_nothing(plain: Network, settings: dict[str, Any]) -> None:
    async with asyncio.timeout(SECONDS), plain.pair() as (server, client):
        with pytest.raises(ConfigError, match=next(iter(settings))):
            await server.drain(**settings)
        assert server.is_ready
        assert server.broadcast(UPDATE) == 1
        assert await client.receive(PriceUpdate) == UPDATE


async def test_what_is_published_meanwhile_reaches_those_who_are_still_there(plain: Network) -> None:
    async with asyncio.timeout(SECONDS), plain.bind() as server, plain.raw_client(server, headers=OURS) as peer:
        draining = asyncio.create_task(server.drain(deadline=2.0, window=0.1))
        await peer.frame()
        assert server.broadcast(UPDATE) == 1
        assert await went(peer) == ["PriceUpdate", "1012"]
        await draining


async def test_slow_client_gets_all_that_was_published_before_its_close(plain: Network) -> None:
    async with (
        asyncio.timeout(SECONDS),
        # Of the closing handshake: a close frame that waits behind all the rest would be too late.
        plain.bind(max_lag=1 << 30, close_timeout=0.2) as server,
        plain.raw_client(server, receive_buffer=1 << 16) as peer,
    ):
        for _ in range(16):
            server.broadcast(FILLING)
        draining = asyncio.create_task(server.drain(deadline=10.0, window=0.0))
        await until(lambda: server.is_draining)
        assert server.stats().lagging == 1
        received = 0
        async for opcode, length in read_slowly(peer):
            if opcode == TEXT:
                received += length
        await draining
        assert received == 16 * len(FILLING)


async def read_slowly(peer: RawPeer) -> AsyncIterator[tuple[int, int]]:
    while (one := await peer.frame()) is not None:
        yield one.opcode, len(one.payload)
        if one.opcode == CLOSE:
            assert one.close_code == 1012
            await peer.write(close_frame(1012, masked=True))
        await asyncio.sleep(0.03)


async def test_clients_that_read_nothing_are_cut_at_the_deadline(plain: Network) -> None:
    loop = asyncio.get_running_loop()
    # It is the time that is looked at here, with tracebacks for nobody.
    loop.set_debug(False)
    async with asyncio.timeout(SECONDS), contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(plain.bind(max_lag=1 << 30, max_send_queue=1 << 30, close_timeout=60))
        kinds = [b"", OURS] * 2
        # Their window closes once their buffers are full.
        silent = [
            await stack.enter_async_context(plain.raw_client(server, headers=one, receive_buffer=1024)) for one in kinds
        ]
        for connection in server.connections:
            connection.send(FILLING * 16)
        readers = [await stack.enter_async_context(plain.raw_client(server, headers=one)) for one in kinds * 5]
        reading = [asyncio.create_task(read_all(peer)) for peer in readers]
        await until(lambda: sum(one.send_queue_bytes > 0 for one in server.connections) == len(silent))
        publishing = asyncio.create_task(publish(server))
        began = loop.time()
        await server.drain(deadline=0.6, window=0.2)
        took = loop.time() - began
        publishing.cancel()
        assert 0.6 <= took <= 0.7
        assert [await one for one in reading] == [1012] * len(readers)
        for peer in silent:
            peer.writer.transport.abort()


async def read_all(peer: RawPeer) -> int:
    """Read until the close, and answer it; returns its code."""
    code = 0
    while (one := await peer.frame()) is not None:
        if one.opcode == CLOSE:
            code = one.close_code
            await peer.write(close_frame(code, masked=True))
    return code


async def publish(server: WebSocketServer) -> None:
    while True:
        server.broadcast(UPDATE)
        await asyncio.sleep(0.002)


async def test_client_that_opens_meanwhile_is_refused_and_told_when_to_come_again(network: Network) -> None:
    async with asyncio.timeout(SECONDS), network.bind() as server, network.raw_client(server):
        host, port = server.local_addr
        reader, writer = await asyncio.open_connection(host, port, ssl=network.client_ssl)
        # Accepted, its request not yet sent.
        await until(lambda: server._acceptor._openings)
        draining = asyncio.create_task(server.drain(deadline=1.0, window=0.0))
        await until(lambda: server.is_draining)
        writer.write(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 1\r\n" in head
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, port)
        await draining


async def test_client_that_waits_in_the_kernel_is_refused_and_not_reset(plain: Network) -> None:
    async with asyncio.timeout(SECONDS), plain.bind() as server:
        # Without a turn of the loop nobody is accepted.
        waiting = [socket.create_connection(server.local_addr, timeout=5) for _ in range(3)]
        for one in waiting:
            one.sendall(UPGRADE % b"")
        await server.drain(deadline=2.0)
        for one in waiting:
            assert one.recv(1000).startswith(b"HTTP/1.1 503 ")
            one.close()
        assert server.stats().rejected == len(waiting)


async def test_second_drain_waits_for_the_end_of_the_first(plain: Network) -> None:
    async with asyncio.timeout(SECONDS), plain.bind() as server, plain.raw_client(server, headers=OURS) as peer:
        both = [asyncio.create_task(server.drain(deadline=2.0, window=0.1)) for _ in range(2)]
        await peer.frame()
        assert not any(one.done() for one in both)
        await peer.close()
        await asyncio.gather(*both)
        await server.drain()


async def test_cancelled_drain_aborts_all(plain: Network) -> None:
    async with asyncio.timeout(SECONDS), plain.bind() as server, plain.raw_client(server, headers=OURS) as peer:
        draining = asyncio.create_task(server.drain(deadline=60.0))
        assert await peer.frame() is not None
        draining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await draining
        # No close frame: the end of the stream.
        assert await peer.frame() is None
        await server.serve_forever()


async def test_close_ends_a_drain_early(plain: Network) -> None:
    async with asyncio.timeout(SECONDS), plain.bind() as server, plain.raw_client(server, headers=OURS) as peer:
        draining = asyncio.create_task(server.drain(deadline=60.0))
        assert await peer.frame() is not None
        closing = asyncio.create_task(server.close())
        assert await went(peer) == ["1001"]
        await asyncio.gather(draining, closing)


async def test_handler_that_will_not_end_does_not_hold_the_deadline(plain: Network) -> None:
    loop = asyncio.get_running_loop()
    released = asyncio.Event()

    async def handle(connection: object, message: str) -> None:
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await released.wait()

    async with asyncio.timeout(SECONDS), plain.bind() as server, plain.raw_client(server) as peer:
        server.on(str, handle)
        await peer.write(frame(TEXT, b"hi", masked=True))
        await until(lambda: server.stats().messages_received == 1)
        began = loop.time()
        loop.call_later(5, released.set)
        await server.drain(deadline=0.5, window=0.0)
        assert loop.time() - began <= 0.7
        released.set()


async def test_clients_of_this_package_move_to_the_other_server_of_the_port_without_being_blind(
    plain: Network,
) -> None:
    async with asyncio.timeout(SECONDS):
        first = await plain.bind(reuse_port=True)
        second = await WebSocketServer.bind("{}:{}".format(*first.local_addr), reuse_port=True)
        clients = [await plain.connect(first.url, subprotocols=JSON) for _ in range(20)]
        told: list[Any] = []
        for client in clients:
            client.on(Reconnected, told.append)
            client.on(Disconnected, told.append)
            await client.subscribe("prices")
        there = len(first.connections)
        # The kernel deals them out.
        assert 0 < there < len(clients)
        await first.drain(deadline=10.0, window=0.3)
        assert len(second.connections) == len(clients)
        assert [(type(one), getattr(one, "downtime_ns", None)) for one in told] == [(Reconnected, 0)] * there
        assert second.publish("prices", UPDATE) is not None
        assert [await client.receive(PriceUpdate) for client in clients] == [UPDATE] * len(clients)
        for client in clients:
            await client.close()
        await second.close()


# --- signals ---

SERVE = """
import asyncio, logging, sys
from websocket_utils import WebSocketServer, run

async def main():
    # Debug mode tells of each turn over 0.1 s; how busy this machine is, is not asked here.
    asyncio.get_running_loop().slow_callback_duration = 60
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        print(server.local_addr[1], flush=True)
        await server.serve_forever(drain_on_signal=True, deadline=float(sys.argv[1]), window=0.1)
        print("drained", len(server.connections), flush=True)

(run if sys.argv[2] == "uvloop" else asyncio.run)(main())
"""


@contextlib.asynccontextmanager
async def serving(deadline: float, loop: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "dev", "-W", "error", "-c", SERVE, str(deadline), loop),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if not name.startswith("WS_")},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(SECONDS):
            yield process, f"ws://127.0.0.1:{int(await process.stdout.readline())}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.one_loop
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_drains_a_server(number: signal.Signals, loop: str) -> None:
    async with serving(20.0, loop) as (process, url):
        client = await WebSocketClient.connect(url, reconnect=False)
        process.send_signal(number)
        with pytest.raises(ConnectionClosedError, match="1012"):
            await client.receive()
        output, errors = await process.communicate()
        assert (output.decode(), errors.decode(), process.returncode) == ("drained 0\n", "", 0)


@pytest.mark.one_loop
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_second_signal_aborts_what_is_left(loop: str) -> None:
    async with serving(20.0, loop) as (process, url):
        async with WebSocketClient.connect(url, reconnect=False, subprotocols=JSON) as client:
            process.send_signal(signal.SIGINT)
            # The first thing it does.
            await until(lambda: not is_listening(url))
            process.send_signal(signal.SIGINT)
            with pytest.raises(ConnectionClosedError) as raised:
                await client.receive()
        # No close frame: the end of the stream.
        assert raised.value.received is None
        output, errors = await process.communicate()
        assert (output.decode(), errors.decode(), process.returncode) == ("drained 0\n", "", 0)


def is_listening(url: str) -> bool:
    host, _, port = url.removeprefix("ws://").partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


@pytest.mark.one_loop
async def test_feed_goes_on_while_it_lets_its_clients_go_and_a_second_signal_ends_it_at_once() -> None:
    feeding = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "dev", "-W", "error", "-m", "websocket_utils"),
        *("feed", "--host", "127.0.0.1", "--port", "0", "--drain", "60"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if not name.startswith("WS_")},
    )
    assert feeding.stdout is not None
    assert feeding.stderr is not None
    try:
        async with asyncio.timeout(SECONDS):
            url = (await feeding.stdout.readline()).decode().split()[-1]
            async with WebSocketClient.connect(url, reconnect=False, recover=True) as client:
                await client.subscribe("prices:SOL-USDC")
                feeding.send_signal(signal.SIGTERM)
                while b"1 client may go within 60 s" not in await feeding.stderr.readline():
                    pass
                assert await client.receive(PriceUpdate) is not None
                feeding.send_signal(signal.SIGINT)
                _, errors = await feeding.communicate()
            assert feeding.returncode == 0, errors
            assert b"Traceback" not in errors
    finally:
        if feeding.returncode is None:
            feeding.kill()
            await feeding.communicate()
