"""How a client ends: closed, not answered any more, or stopped by Ctrl-C; and what it logs meanwhile."""

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

import pytest
from tests.integration.quiet import Quiet, frozen, quiet  # noqa: F401  # fixtures, used by every test
from tests.integration.raw_peer import RawPeer, raw_server
from tests.support.waiting import until
from tests.support.wire import CLOSE, PING, PONG, TEXT

from websocket_utils import (
    ConnectionClosedOK,
    HeartbeatTimeout,
    LocalProtocolError,
    PriceUpdate,
    WebSocketClient,
    WebSocketServer,
)

ROOT = Path(__file__).resolve().parents[2]


# --- closing ---


async def test_close_during_the_wait_for_a_reconnect_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("websocket_utils._lifecycle.Lifecycle._delay", lambda *_arguments: 3600.0)

    async def script(peer: RawPeer) -> None:
        await peer.upgrade()
        peer.reset()

    async with raw_server(script) as server:
        client = await WebSocketClient.connect(server.url)
        receiving = asyncio.create_task(client.receive())
        await until(lambda: client.state == "backoff")
        async with asyncio.timeout(0.5):
            await client.close()
            assert await receiving is None
        assert server.accepted == 1
        with pytest.raises(ConnectionClosedOK):
            client.send("too late")


async def test_close_in_the_middle_of_a_dial_ends_at_once_and_closes_its_socket(eager: None) -> None:
    del eager
    dialling, gone = asyncio.Event(), asyncio.Event()

    async def script(peer: RawPeer) -> None:
        if server.accepted == 1:
            await peer.upgrade()
            peer.reset()
            return
        await peer.read_head()
        dialling.set()
        await peer.read_until_closed()
        gone.set()

    async with raw_server(script) as server:
        client = await WebSocketClient.connect(server.url)
        async with asyncio.timeout(5):
            await dialling.wait()
        async with asyncio.timeout(0.5):
            await client.close()
            # Not only told to end.
            task = client._links[0]._task
            assert task is not None
            assert task.done()
            await gone.wait()
        assert client.stats().state == "closed"


async def test_cancelled_connect_leaves_no_socket_open_and_no_connection_behind() -> None:
    dialling, gone = asyncio.Event(), asyncio.Event()

    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        dialling.set()
        await peer.read_until_closed()
        gone.set()

    async def connect(url: str) -> WebSocketClient:
        return await WebSocketClient.connect(url, open_timeout=3600)

    async with raw_server(script) as server, asyncio.timeout(5):
        task = asyncio.create_task(connect(server.url))
        await dialling.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(0.5):
            await gone.wait()


async def test_close_of_a_peer_that_never_answers_takes_close_timeout() -> None:
    async def script(peer: RawPeer) -> None:
        await peer.upgrade()
        await peer.read_until_closed()

    async with raw_server(script) as server:
        client = await WebSocketClient.connect(server.url, close_timeout=0.1)
        started = asyncio.get_running_loop().time()
        await client.close()
        assert 0.09 < asyncio.get_running_loop().time() - started < 1
        await client.close()


async def test_cancelled_close_aborts_the_connection() -> None:
    gone = asyncio.Event()

    async def script(peer: RawPeer) -> None:
        await peer.upgrade()
        await peer.read_until_closed()
        gone.set()

    async with raw_server(script) as server, asyncio.timeout(5):
        client = await WebSocketClient.connect(server.url, close_timeout=3600)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.close(), 0.05)
        await gone.wait()
        assert client.stats().state == "closed"


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000])
async def test_close_with_a_code_that_must_not_travel_does_nothing(code: int) -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server, WebSocketClient.connect(server.url) as client:
        with pytest.raises(LocalProtocolError):
            await client.close(code)
        assert client.is_connected


async def test_handler_may_close_its_own_client_and_goes_on() -> None:
    ended = asyncio.Event()
    async with (
        WebSocketServer.bind("127.0.0.1:0") as server,
        asyncio.timeout(5),
        WebSocketClient.connect(server.url) as client,
    ):

        async def stop(_: PriceUpdate) -> None:
            await client.close()
            ended.set()

        client.on(PriceUpdate, stop)
        server.broadcast(PriceUpdate("SOL", "USDC", 1.0, timestamp=1))
        await ended.wait()
        assert client.stats().state == "closed"


async def test_messages_that_had_come_are_received_after_close() -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        client = await WebSocketClient.connect(server.url)
        for number in range(3):
            server.broadcast(PriceUpdate("SOL", "USDC", 1.0, timestamp=number))
        await until(lambda: client.stats().inbox_messages == 3)
        await client.close()
        assert [message.timestamp async for message in client.messages(PriceUpdate)] == [0, 1, 2]
        assert await client.receive() is None


# --- heartbeat ---


async def test_peer_that_stops_answering_is_dead_and_is_dialled_again(
    eager: None, caplog: pytest.LogCaptureFixture
) -> None:
    del eager
    pings: list[int] = []

    async def script(peer: RawPeer) -> None:
        await peer.upgrade()
        number = server.accepted
        while (found := await peer.read_frame()).opcode != CLOSE:
            if found.opcode == PING:
                pings.append(number)
                if number > 1:
                    peer.send(PONG, found.payload)
        peer.send(CLOSE, found.payload)

    async with (
        raw_server(script) as server,
        asyncio.timeout(10),
        WebSocketClient.connect(server.url, ping_interval=0.02, ping_timeout=0.05) as client,
    ):
        await until(lambda: client.stats().connects == 2)
        await until(lambda: pings.count(2) >= 10)
        assert client.stats().connects == 2
    assert any("no pong within 0.05 s" in record.getMessage() for record in caplog.records)


async def test_peer_that_reads_nothing_ends_in_a_heartbeat_timeout_without_reconnect() -> None:
    async def script(peer: RawPeer) -> None:
        await peer.upgrade()
        await asyncio.Event().wait()

    async with raw_server(script) as server, asyncio.timeout(10):
        client = await WebSocketClient.connect(server.url, ping_interval=0.02, ping_timeout=0.05, reconnect=False)
        with pytest.raises(HeartbeatTimeout) as caught:
            await client.receive()
        assert caught.value.timeout == 0.05
        assert await client.receive() is None


async def test_reader_that_is_slow_is_no_reason_to_take_the_peer_for_dead() -> None:
    async def script(peer: RawPeer) -> None:
        await peer.upgrade()
        for _ in range(100):
            peer.send(TEXT, b"x" * 10_000)
        while (found := await peer.read_frame()).opcode != CLOSE:
            if found.opcode == PING:
                peer.send(PONG, found.payload)
        peer.send(CLOSE, found.payload)

    async with (
        raw_server(script) as server,
        asyncio.timeout(10),
        WebSocketClient.connect(
            server.url, ping_interval=0.02, ping_timeout=0.04, max_inbox=50_000, reconnect=False
        ) as client,
    ):
        await asyncio.sleep(0.2)
        assert client.is_connected
        for _ in range(100):
            assert await client.receive(str) == "x" * 10_000
        assert client.is_connected


# --- Ctrl-C ---

PROGRAM = """
import asyncio, sys
from websocket_utils import WebSocketClient, WebSocketServer, run

async def main():
    # A machine that is busy makes steps slow, which debug mode would tell of.
    asyncio.get_running_loop().slow_callback_duration = 60
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        async with WebSocketClient.connect(server.url) as client:
            print("ready", flush=True)
            try:
                await {waiting}
            finally:
                print("ending", client.is_connected, flush=True)
    print("not reached", flush=True)

run(main(), debug=True)
"""


@pytest.mark.parametrize("waiting", ["server.serve_forever()", "client.receive()", "client.messages().__anext__()"])
async def test_ctrl_c_ends_a_program_cleanly(waiting: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        "-c",
        PROGRAM.replace("{waiting}", waiting),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert process.stdout is not None
    async with asyncio.timeout(10):
        assert await process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        output, errors = await process.communicate()
    assert output == b"ending True\n"
    # As Python ends after Ctrl-C: one traceback, of KeyboardInterrupt, and killed by the signal.
    assert errors.rstrip().endswith(b"KeyboardInterrupt"), errors.decode()
    for word in (b"never", b"Task", b"ResourceWarning", b"unclosed", b"Exception ignored"):
        assert word not in errors, errors.decode()
    assert process.returncode == -signal.SIGINT


# --- logging ---


async def test_one_logger_a_side_and_nothing_of_the_transport_at_info(
    eager: None, caplog: pytest.LogCaptureFixture
) -> None:
    del eager
    caplog.set_level(logging.INFO)
    async with WebSocketServer.bind("127.0.0.1:0") as server, WebSocketClient.connect(server.url):
        before = set(logging.root.manager.loggerDict)
        for _ in range(20):
            async with WebSocketClient.connect(server.url) as client:
                client.send("x")
        assert set(logging.root.manager.loggerDict) == before
    assert {record.name for record in caplog.records if record.name not in {"asyncio", "aiofastnet"}} == {
        "websocket_utils.client",
        "websocket_utils.server",
    }
