"""The HTTP side door over loopback: a server, its WebSocket clients, and who comes in at the side."""

import asyncio
import contextlib
import importlib
import json
import logging
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.integration.conftest import Certificates, Network
from tests.integration.http_client import close, connect, head_of, read_answer, request
from tests.support.waiting import until

from websocket_utils import ConfigError, Namespace, PriceUpdate, WebSocketClient, WebSocketServer
from websocket_utils.door import _serving

pytestmark = pytest.mark.usefixtures("loop_errors")

KEY = "correct-horse-battery"


@pytest.fixture
async def server() -> AsyncIterator[WebSocketServer]:
    async with WebSocketServer.bind("127.0.0.1:0", http="127.0.0.1:0") as one:
        yield one


def door_of(server: WebSocketServer) -> str:
    assert server.http_url is not None
    return server.http_url


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


async def others() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


# --- what it is for ---


async def test_published_over_http_it_reaches_the_subscribers(server: WebSocketServer) -> None:
    async with asyncio.timeout(10), WebSocketClient.connect(server.url) as client:
        await client.subscribe("news:1")
        answer = await request(door_of(server), "POST", "/api/publish", body(channel="news:1", data={"text": "hello"}))
        assert answer.status == 200
        assert set(answer.json["result"]) == {"offset", "epoch"}
        assert await client.receive(dict) == {"text": "hello"}
        answer = await request(
            door_of(server), "POST", "/api/broadcast", body(channels=["news:2", "news:1"], data={"text": "all"})
        )
        assert [list(response) for response in answer.json["result"]["responses"]] == [["result"], ["result"]]
        assert await client.receive(dict) == {"text": "all"}


async def test_data_of_the_wrong_type_is_a_400_and_reaches_nobody(plain: Network) -> None:
    spaces = [Namespace("prices", type=PriceUpdate)]
    async with (
        asyncio.timeout(10),
        plain.bind(http="127.0.0.1:0", namespaces=spaces, undeclared="refuse") as server,
        plain.connect(server.url) as client,
    ):
        await client.subscribe("prices:SOL")
        price = {"input_mint": "SOL", "output_mint": "USDC", "price": "much", "volume": 3, "timestamp": 1}
        answer = await request(door_of(server), "POST", "/api/publish", body(channel="prices:SOL", data=price))
        assert (answer.status, answer.json["error"]["path"]) == (400, "$.data.price")
        both = body(channels=["prices:SOL", "news:1"], data=price | {"price": 25.35})
        answer = await request(door_of(server), "POST", "/api/broadcast", both)
        assert (answer.status, answer.json["error"]["code"]) == (404, 102)
        assert server.stats().messages_sent == 0
        good = body(channel="prices:SOL", data=price | {"price": 25.35})
        answer = await request(door_of(server), "POST", "/api/publish", good)
        assert (await client.receive(PriceUpdate)).price == 25.35
        receipt = server.publish("prices:SOL", PriceUpdate("SOL", "USDC", 1.0, timestamp=2))
        # Both count the same channel.
        assert answer.json["result"] == {"offset": receipt.sequence - 1, "epoch": str(receipt.epoch)}


async def test_same_idempotency_key_in_many_requests_at_once_publishes_once(server: WebSocketServer) -> None:
    data = body(channel="news:1", data=1, idempotency_key="once")
    answers = await asyncio.gather(*(request(door_of(server), "POST", "/api/publish", data) for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert server.stats().messages_sent == 1


async def test_info_and_metrics_tell_of_connections_and_channels(server: WebSocketServer) -> None:
    async with asyncio.timeout(10), WebSocketClient.connect(server.url) as client:
        await client.subscribe("news:1")
        server.publish("news:1", {"text": "hello"})
        told = (await request(door_of(server), "GET", "/api/info")).json
        assert told["connections"] == 1
        assert [(row["channel"], row["subscribers"]) for row in told["channels"]] == [("news:1", 1)]
        assert told["totals"]["accepted"] == 1
        assert told["url"] == server.url
        metrics = (await request(door_of(server), "GET", "/metrics")).body.decode()
        assert "websocket_utils_clients 1.0\n" in metrics


async def test_client_that_reads_nothing_is_named_with_what_it_is_behind(plain: Network) -> None:
    async with (
        asyncio.timeout(15),
        plain.bind(http="127.0.0.1:0", max_lag=8 << 20) as server,
        plain.raw_client(server) as stalled,
        plain.connect(server.url) as reading,
    ):
        host, port = stalled.writer.get_extra_info("sockname")
        stalled.writer.transport.pause_reading()  # type: ignore[attr-defined]  # StreamWriter says less than it has
        told: dict[str, Any] = {"slowest": []}
        while not told["slowest"]:
            for _ in range(10):
                server.broadcast(bytes(64 * 1024))
                await reading.receive(bytes)
            told = (await request(door_of(server), "GET", "/api/info")).json
        assert [row["address"] for row in told["slowest"]] == [f"{host}:{port}"]
        assert told["slowest"][0]["behind"] > 0
        assert 0 < told["slowest"][0]["blocked"] < 15
        metrics = (await request(door_of(server), "GET", "/metrics")).body.decode()
        assert "websocket_utils_clients_lagging 1.0\n" in metrics
        assert "websocket_utils_queue_bytes 0.0" not in metrics
        assert f":{port}" not in metrics


async def test_connection_is_kept_for_the_next_request(server: WebSocketServer) -> None:
    reader, writer = await connect(door_of(server))
    for _ in range(3):
        writer.write(head_of(door_of(server), "GET", "/healthz"))
        assert (await read_answer(reader)).status == 200
    await close(writer)


async def test_app_is_mounted_elsewhere_without_a_door_of_its_own() -> None:
    async with WebSocketServer.bind("127.0.0.1:0", http_key=KEY) as server:
        app = server.http_app
        assert app is server.http_app
        assert server.http_url is None
        serving = await _serving.Serving.listen("127.0.0.1", 0, app, None)
        url = f"http://127.0.0.1:{serving.address[1]}"
        assert (await request(url, "GET", "/api/info")).status == 401
        assert (await request(url, "GET", "/api/info", headers={"X-API-Key": KEY})).status == 200
        await serving.close(1)


# --- where it listens ---


async def test_there_is_no_door_unless_asked() -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        assert server.http_url is None


async def test_door_for_other_machines_without_a_key_is_a_config_error_and_nothing_is_opened() -> None:
    for key, what in ((None, "http_key"), ("", "http_key"), ("short", "16")):
        with pytest.raises(ConfigError, match=what):
            WebSocketServer.bind("127.0.0.1:0", http="0.0.0.0:0", http_key=key)


async def test_door_for_other_machines_asks_for_its_key() -> None:
    async with WebSocketServer.bind("127.0.0.1:0", http="0.0.0.0:0", http_key=KEY) as server:
        url = door_of(server)
        assert urlsplit(url).hostname == "127.0.0.1"
        data = body(channel="x", data=1)
        assert (await request(url, "POST", "/api/publish", data)).status == 401
        for headers in ({"X-API-Key": KEY}, {"Authorization": f"apikey {KEY}"}):
            assert (await request(url, "POST", "/api/publish", data, headers)).status == 200
        assert server.stats().messages_sent == 2


async def test_door_for_other_machines_has_the_server_s_certificate(
    certificates: Certificates, loop_errors: list[str]
) -> None:
    async with WebSocketServer.bind("127.0.0.1:0", ssl=certificates.server, http="0.0.0.0:0", http_key=KEY) as server:
        url = door_of(server)
        assert url.startswith("https://127.0.0.1:")
        answer = await request(url, "GET", "/api/info", headers={"X-API-Key": KEY}, context=certificates.client)
        assert answer.json["url"].startswith("wss://")
        with pytest.raises((ssl.SSLError, OSError, asyncio.IncompleteReadError)):
            await request(url.replace("https", "http"), "GET", "/healthz")
    # In debug mode asyncio tells of handshakes that fail.
    assert all("transport creation" in error for error in loop_errors)
    loop_errors.clear()
    async with WebSocketServer.bind("127.0.0.1:0", ssl=certificates.server, http="127.0.0.1:0") as server:
        assert door_of(server).startswith("http://")


async def test_port_of_the_door_in_use_is_an_error_that_says_so_and_leaves_nothing_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use") as raised:
            await WebSocketServer.bind("127.0.0.1:0", http=f"127.0.0.1:{port}")
        assert any("side door" in note for note in raised.value.__notes__)
    assert await others() == set()


@pytest.mark.parametrize("library", ["starlette", "uvicorn", "prometheus_client"])
async def test_missing_library_is_named_with_its_extra_before_anything_listens(
    monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    def import_module(name: str) -> Any:
        if name == library:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return sys.modules[name]

    monkeypatch.setattr(importlib, "import_module", import_module)
    with pytest.raises(ModuleNotFoundError, match=rf"{library}.*websocket_utils\[http\]"):
        WebSocketServer.bind("127.0.0.1:0", http="127.0.0.1:0")


def test_package_is_imported_without_what_the_door_needs() -> None:
    code = (
        "import sys, websocket_utils; print(sorted({'starlette', 'uvicorn', 'prometheus_client'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout == "[]\n"


async def test_door_takes_no_signals() -> None:
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    async with WebSocketServer.bind("127.0.0.1:0", http="127.0.0.1:0"):
        assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before


# --- bad input ---


async def test_oversized_body_is_a_413_that_its_sender_reads(plain: Network) -> None:
    async with plain.bind(http="127.0.0.1:0", max_message_size=10_000) as server:
        big = body(channel="x", data="y" * 3_000_000)
        answer = await request(door_of(server), "POST", "/api/publish", big)
        assert (answer.status, answer.json["error"]["code"]) == (413, 107)
        chunked = {"Transfer-Encoding": "chunked"}
        head = head_of(door_of(server), "POST", "/api/publish", headers=chunked).replace(b"Content-Length: 0\r\n", b"")
        reader, writer = await connect(door_of(server))
        writer.write(head + b"".join(b"2710\r\n" + b"y" * 10_000 + b"\r\n" for _ in range(3)) + b"0\r\n\r\n")
        assert (await read_answer(reader)).status == 413
        await close(writer)
        assert server.stats().messages_sent == 0


@pytest.mark.parametrize(
    "head",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10 + b"\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000],
    ids=["no HTTP", "endless head"],
)
async def test_head_that_is_none_or_too_long_is_a_400_and_the_end_of_the_connection(
    server: WebSocketServer, head: bytes
) -> None:
    reader, writer = await connect(door_of(server))
    writer.write(head)
    data = await asyncio.wait_for(reader.read(), 10)
    assert data.startswith(b"HTTP/1.1 400 ")
    await close(writer)
    assert (await request(door_of(server), "GET", "/healthz")).status == 200


async def test_garbage_fills_no_log(server: WebSocketServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.clear()
    for _ in range(30):
        reader, writer = await connect(door_of(server))
        writer.write(b"garbage\r\n\r\n")
        await asyncio.wait_for(reader.read(), 10)
        await close(writer)
    assert len(caplog.records) <= 3


async def test_websocket_client_at_the_door_is_told_that_there_is_nothing(server: WebSocketServer) -> None:
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    assert (await request(door_of(server), "GET", "/api/nothing", headers=headers)).status == 404


# --- clients that take their time ---


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: ", b"POST /api/publish HTTP/1.1\r\n"])
async def test_request_that_never_ends_is_cut_off(
    server: WebSocketServer, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(_serving, "_REQUEST_SECONDS", 0.1)
    reader, writer = await connect(door_of(server))
    writer.write(sent)
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 10) == b""
    await close(writer)


async def test_client_that_reads_no_answers_is_cut_off(
    server: WebSocketServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_serving, "_REQUEST_SECONDS", 0.3)
    opened = server._made_door()._serving
    assert opened is not None
    with socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.setblocking(False)
        parts = urlsplit(door_of(server))
        await asyncio.get_running_loop().sock_connect(stalled, (parts.hostname, parts.port))
        await until(lambda: opened._open)
        asked = head_of(door_of(server), "GET", "/metrics") * 100
        with contextlib.suppress(OSError):
            async with asyncio.timeout(5):
                while opened._open:
                    await asyncio.get_running_loop().sock_sendall(stalled, asked)
        await until(lambda: not opened._open)


async def test_connections_over_the_limit_are_a_503(server: WebSocketServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_serving, "_MAX_CONNECTIONS", 3)
    opened = server._made_door()._serving
    assert opened is not None
    held = [await connect(door_of(server)) for _ in range(3)]
    await until(lambda: len(opened._open) == 3)
    answer = await request(door_of(server), "GET", "/healthz")
    assert (answer.status, answer.json["error"]["code"]) == (503, 108)
    await close(held.pop()[1])
    await until(lambda: len(opened._open) == 2)
    assert (await request(door_of(server), "GET", "/healthz")).status == 200
    for _, writer in held:
        await close(writer)


# --- its end ---


async def test_closing_ends_idle_and_busy_connections_soon_and_leaves_no_task() -> None:
    async with WebSocketServer.bind("127.0.0.1:0", http="127.0.0.1:0") as server:
        url = door_of(server)
        idle, untouched = await connect(url), await connect(url)
        idle[1].write(head_of(url, "GET", "/healthz"))
        await read_answer(idle[0])
        busy = await connect(url)
        busy[1].write(head_of(url, "POST", "/api/publish", b"x" * 100) + b"x" * 50)
        opened = server._made_door()._serving
        assert opened is not None
        await until(lambda: len(opened._open) == 3 and opened._state.tasks)
        started = time.monotonic()
    assert time.monotonic() - started < 3
    assert await others() == set()
    for reader, writer in (idle, untouched, busy):
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        await close(writer)
    with pytest.raises(OSError, match=r"[Rr]efused|Connect call failed"):
        await connect(url)


async def test_request_under_way_is_answered_while_the_door_closes() -> None:
    async with WebSocketServer.bind("127.0.0.1:0", http="127.0.0.1:0") as server:
        url = door_of(server)
        reader, writer = await connect(url)
        data = body(channel="x", data=1)
        writer.write(head_of(url, "POST", "/api/publish", data) + data[:5])
        opened = server._made_door()._serving
        assert opened is not None
        await until(lambda: opened._state.tasks)
        closing = asyncio.create_task(server.close())
        await until(lambda: not opened._servers[0].is_serving())
        writer.write(data[5:])
        # The server is closed: a typed answer, not a silent loss.
        answer = await asyncio.wait_for(read_answer(reader), 5)
        assert (answer.status, answer.json["error"]["code"]) == (503, 108)
        await closing
        await close(writer)


async def test_readyz_says_no_from_the_beginning_of_the_server_s_end(plain: Network) -> None:
    async with plain.bind(http="127.0.0.1:0", close_timeout=10) as server:
        url = door_of(server)
        assert (await request(url, "GET", "/readyz")).status == 200
        async with plain.raw_client(server):
            closing = asyncio.create_task(server.close())
            await asyncio.sleep(0)
            answer = await request(url, "GET", "/readyz")
            assert (answer.status, answer.json["status"]) == (503, "not ready")
            assert (await request(url, "GET", "/healthz")).status == 200
        await closing
        assert not server.is_ready


async def test_request_that_never_ends_holds_no_drain_up() -> None:
    server = await WebSocketServer.bind("127.0.0.1:0", http="127.0.0.1:0")
    url = door_of(server)
    _, writer = await connect(url)
    writer.write(head_of(url, "POST", "/api/publish", b"x" * 100))
    opened = server._made_door()._serving
    assert opened is not None
    await until(lambda: opened._state.tasks)
    started = time.monotonic()
    await server.drain(deadline=0.2, window=0.1)
    assert time.monotonic() - started < 0.7
    assert await others() == set()
    await close(writer)


async def test_cancelled_close_leaves_no_socket_and_no_task() -> None:
    server = await WebSocketServer.bind("127.0.0.1:0", http="127.0.0.1:0")
    url = door_of(server)
    _, writer = await connect(url)
    writer.write(head_of(url, "POST", "/api/publish", b"x" * 100))
    opened = server._made_door()._serving
    assert opened is not None
    await until(lambda: opened._state.tasks)
    closing = asyncio.create_task(server.close())
    await until(lambda: not opened._servers[0].is_serving())
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await until(lambda: not opened._open)
    assert await others() == set()
    await close(writer)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_ctrl_c_ends_a_server_with_a_door_cleanly(loop: str) -> None:
    runner = "websocket_utils.run" if loop == "uvloop" else "asyncio.run"
    code = f"""
    import asyncio, websocket_utils

    async def main():
        async with websocket_utils.WebSocketServer.bind("127.0.0.1:0", http="127.0.0.1:0") as server:
            print(server.http_url, flush=True)
            await server.serve_forever()

    {runner}(main())
    """
    process = subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = urlsplit(process.stdout.readline().strip())
        with socket.create_connection((url.hostname, url.port), timeout=10) as idle:
            idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert idle.recv(65536).startswith(b"HTTP/1.1 200 ")
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=20)
        assert process.returncode in {130, -signal.SIGINT}
        assert errors.rstrip().endswith("KeyboardInterrupt")
        for complaint in ("never awaited", "was destroyed", "ResourceWarning", "never retrieved"):
            assert complaint not in errors
    finally:
        process.kill()
        process.communicate()


def test_loggers_of_uvicorn_are_left_alone() -> None:
    assert logging.getLogger("uvicorn").handlers == []
    assert logging.getLogger("uvicorn.access").propagate
