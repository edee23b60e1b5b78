"""We and the libraries that strategies and servers of the field are made of, in both roles."""

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import aiohttp
import aiohttp.web
import picows
import pytest
import websockets.asyncio.client
import websockets.asyncio.server
from tests.integration.quiet import frozen, quiet  # noqa: F401  # fixtures, used by every test
from tests.integration.raw_peer import RawPeer, raw_client, raw_server
from tests.support.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_payload
from websockets.exceptions import ConnectionClosed as PeerClosed

from websocket_utils import (
    Close,
    ConnectionClosedError,
    ConnectionClosedOK,
    PriceUpdate,
    ServerConnection,
    WebSocketClient,
    WebSocketServer,
)

MIB = 1024 * 1024
SIZES = [0, 1, 125, 126, 65_535, 65_536, 16 * MIB]
# Over the longest message: some peers count the frame header too.
PEER_LIMIT = 17 * MIB


def text_of(size: int) -> str:
    """Text of `size` bytes in UTF-8, not only ASCII."""
    text = ("äöü€😀 " * (size // 14 + 1)).encode()[:size].decode("utf-8", "ignore")
    return text + "." * (size - len(text.encode()))


@functools.cache
def messages() -> list[str | bytes]:
    kinds: list[str | bytes] = []
    for size in SIZES:
        kinds += [text_of(size), bytes(range(256)) * (size // 256) + bytes(size % 256)]
    return kinds


@contextlib.asynccontextmanager
async def echo_of_websockets(**options: Any) -> AsyncIterator[str]:
    async def echo(connection: websockets.asyncio.server.ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with websockets.asyncio.server.serve(echo, "127.0.0.1", 0, max_size=PEER_LIMIT, **options) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


@contextlib.asynccontextmanager
async def served_by_aiohttp(handler: Callable[[aiohttp.web.Request], Any]) -> AsyncIterator[str]:
    application = aiohttp.web.Application()
    application.router.add_get("/", handler)
    runner = aiohttp.web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def echo_of_aiohttp() -> AsyncIterator[str]:
    async def echo(request: aiohttp.web.Request) -> aiohttp.web.WebSocketResponse:
        response = aiohttp.web.WebSocketResponse(max_msg_size=PEER_LIMIT)
        await response.prepare(request)
        async for message in response:
            if message.type is aiohttp.WSMsgType.TEXT:
                await response.send_str(message.data)
            else:
                await response.send_bytes(message.data)
        return response

    async with served_by_aiohttp(echo) as url:
        yield url


@contextlib.asynccontextmanager
async def our_echo() -> AsyncIterator[WebSocketServer]:
    async with WebSocketServer.bind("127.0.0.1:0", max_send_queue=64 * MIB, max_message_size=PEER_LIMIT) as server:

        def echo(connection: ServerConnection, message: str | bytes) -> None:
            connection.send(message)

        server.on(str, echo)
        server.on(bytes, echo)
        yield server


# --- our client ---


@pytest.mark.parametrize("server", [echo_of_websockets, echo_of_aiohttp])
async def test_client_and_server_of_a_peer_exchange_every_size_of_text_and_binary(
    server: Callable[[], contextlib.AbstractAsyncContextManager[str]],
) -> None:
    async with server() as url, WebSocketClient.connect(url, max_message_size=PEER_LIMIT) as client:
        for message in messages():
            client.send(message)
            received = await client.receive(cast("type[str | bytes]", str | bytes))
            assert type(received) is type(message)
            assert received == message, len(message)


async def test_client_accepts_no_compression_and_so_gets_none() -> None:
    async with echo_of_websockets(compression="deflate") as url, WebSocketClient.connect(url) as client:
        client.send("a" * 1000)
        assert await client.receive(str) == "a" * 1000


async def test_client_joins_the_fragments_of_a_peer() -> None:
    async def script(connection: websockets.asyncio.server.ServerConnection) -> None:
        async def parts() -> AsyncIterator[str]:
            for part in ("fr", "", "agm", "ents"):
                yield part

        await connection.send(parts())
        await connection.send(iter([b"\x00", b"\x01\x02"]))
        await connection.wait_closed()

    async with websockets.asyncio.server.serve(script, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with WebSocketClient.connect(f"ws://127.0.0.1:{port}") as client:
            assert await client.receive(str) == "fragments"
            assert await client.receive(bytes) == b"\x00\x01\x02"


async def test_client_answers_the_pings_of_a_peer_with_their_payload() -> None:
    answered = asyncio.Event()

    async def script(connection: websockets.asyncio.server.ServerConnection) -> None:
        for payload in (b"", b"\x00payload", b"p" * 125):
            await (await connection.ping(payload))
        answered.set()
        await connection.wait_closed()

    async with websockets.asyncio.server.serve(script, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with WebSocketClient.connect(f"ws://127.0.0.1:{port}"), asyncio.timeout(5):
            await answered.wait()


async def test_heartbeats_of_the_client_are_answered_by_peers() -> None:
    async with (
        echo_of_websockets() as url,
        WebSocketClient.connect(url, ping_interval=0.02, ping_timeout=0.5, reconnect=False) as client,
    ):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.receive(), 0.2)
        assert client.is_connected


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1000, "done"), (3000, "ours: ä€"), (4999, "r" * 123)])
async def test_close_of_the_client_is_seen_by_both_peers_with_code_and_reason(code: int, reason: str) -> None:
    seen: asyncio.Queue[tuple[int | None, str | None]] = asyncio.Queue()

    async def of_websockets(connection: websockets.asyncio.server.ServerConnection) -> None:
        with contextlib.suppress(PeerClosed):
            await connection.recv()
        seen.put_nowait((connection.close_code, connection.close_reason))

    async def of_aiohttp(request: aiohttp.web.Request) -> aiohttp.web.WebSocketResponse:
        response = aiohttp.web.WebSocketResponse()
        await response.prepare(request)
        message = await response.receive()
        assert message.type is aiohttp.WSMsgType.CLOSE
        seen.put_nowait((message.data, message.extra))
        return response

    async with (
        websockets.asyncio.server.serve(of_websockets, "127.0.0.1", 0) as server,
        served_by_aiohttp(of_aiohttp) as url,
    ):
        port = next(iter(server.sockets)).getsockname()[1]
        for address in (f"ws://127.0.0.1:{port}", url):
            client = await WebSocketClient.connect(address)
            await client.close(code, reason)
            assert await seen.get() == (code, reason)
            assert await client.receive() is None


@pytest.mark.parametrize(("code", "reason"), [(1011, "internal: ä"), (1013, ""), (4000, "r" * 123)])
async def test_close_of_a_peer_is_what_our_exception_says(code: int, reason: str) -> None:
    async def of_websockets(connection: websockets.asyncio.server.ServerConnection) -> None:
        await connection.close(code, reason)

    async def of_aiohttp(request: aiohttp.web.Request) -> aiohttp.web.WebSocketResponse:
        response = aiohttp.web.WebSocketResponse()
        await response.prepare(request)
        await response.close(code=code, message=reason.encode())
        return response

    async with (
        websockets.asyncio.server.serve(of_websockets, "127.0.0.1", 0) as server,
        served_by_aiohttp(of_aiohttp) as url,
    ):
        port = next(iter(server.sockets)).getsockname()[1]
        for address in (f"ws://127.0.0.1:{port}", url):
            async with WebSocketClient.connect(address, reconnect=False) as client:
                with pytest.raises(ConnectionClosedError) as caught:
                    await client.receive()
                assert caught.value.received == Close(code, reason)
                assert caught.value.sent == Close(code)
                assert caught.value.initiator == "peer"
                assert await client.receive() is None


@pytest.mark.parametrize("code", [1000, 1001])
async def test_normal_close_of_a_peer_ends_the_stream_without_an_error(code: int) -> None:
    async def script(connection: websockets.asyncio.server.ServerConnection) -> None:
        await connection.send('{"type":"Pong"}')
        await connection.close(code)

    async with websockets.asyncio.server.serve(script, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with WebSocketClient.connect(f"ws://127.0.0.1:{port}", reconnect=False) as client:
            assert len([message async for message in client.messages()]) == 1


# --- our server ---


async def test_client_of_websockets_and_server_exchange_every_size() -> None:
    async with (
        our_echo() as server,
        websockets.asyncio.client.connect(server.url, max_size=PEER_LIMIT, proxy=None) as peer,
    ):
        assert peer.protocol.extensions == []
        for message in messages():
            await peer.send(message)
            received = await peer.recv()
            assert type(received) is type(message)
            assert received == message


async def test_client_of_aiohttp_and_server_exchange_every_size() -> None:
    async with (
        our_echo() as server,
        aiohttp.ClientSession() as session,
        session.ws_connect(server.url, max_msg_size=PEER_LIMIT, compress=15) as peer,
    ):
        assert peer.compress == 0
        for message in messages():
            await (peer.send_str(message) if isinstance(message, str) else peer.send_bytes(message))
            received = await peer.receive()
            assert received.type is (aiohttp.WSMsgType.TEXT if isinstance(message, str) else aiohttp.WSMsgType.BINARY)
            assert received.data == message


async def test_client_of_picows_and_server_exchange_every_size() -> None:
    received: asyncio.Queue[str | bytes] = asyncio.Queue()

    class Listener(picows.WSListener):
        def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
            if frame.msg_type == picows.WSMsgType.TEXT:
                received.put_nowait(frame.get_payload_as_utf8_text())
            elif frame.msg_type == picows.WSMsgType.BINARY:
                received.put_nowait(frame.get_payload_as_bytes())

    silent = logging.LoggerAdapter(logging.Logger("peer", logging.CRITICAL), {})  # noqa: LOG001  # in no registry
    async with our_echo() as server:
        transport, _ = await picows.ws_connect(Listener, server.url, max_frame_size=PEER_LIMIT, logger_name=silent)
        for message in messages():
            kind = picows.WSMsgType.TEXT if isinstance(message, str) else picows.WSMsgType.BINARY
            transport.send(kind, message.encode() if isinstance(message, str) else message)
            answer = await received.get()
            assert type(answer) is type(message)
            assert answer == message
        transport.send_close(picows.WSCloseCode.OK)
        await transport.wait_disconnected()


async def test_server_joins_the_fragments_of_a_peer_around_its_pings() -> None:
    async with our_echo() as server, raw_client(server.url) as peer:
        peer.send(TEXT, b"one \xe2\x82", fin=False)
        peer.send(PING, b"still there?")
        peer.send(CONTINUATION, b"\xac", fin=False)
        peer.send(CONTINUATION, b" two")
        pong, message = await peer.read_frame(), await peer.read_frame()
        assert (pong.opcode, pong.payload) == (PONG, b"still there?")
        assert (message.opcode, message.fin, message.masked, message.payload.decode()) == (
            TEXT,
            True,
            False,
            "one € two",
        )


async def test_server_answers_the_pings_of_a_peer_and_peers_answer_its_own() -> None:
    async with (
        WebSocketServer.bind("127.0.0.1:0", ping_interval=0.02, ping_timeout=0.5) as server,
        websockets.asyncio.client.connect(server.url, ping_interval=None, proxy=None) as peer,
    ):
        for _ in range(10):
            await (await peer.ping(b"x" * 125))
            await asyncio.sleep(0.02)
        assert server.stats().connections == 1


@pytest.mark.parametrize(("code", "reason"), [(1001, "bye"), (3000, ""), (4999, "r" * 123)])
async def test_close_of_the_server_is_seen_by_both_peers_with_code_and_reason(code: int, reason: str) -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server, aiohttp.ClientSession() as session:
        server.on(str, lambda connection, _: connection.close(code, reason))
        async with websockets.asyncio.client.connect(server.url, proxy=None) as peer:
            await peer.send("close")
            with pytest.raises(PeerClosed):
                await peer.recv()
            assert (peer.close_code, peer.close_reason) == (code, reason)
        async with session.ws_connect(server.url) as response:
            await response.send_str("close")
            message = await response.receive()
            assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, code, reason)


async def test_close_of_a_peer_is_echoed_with_its_code() -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        async with websockets.asyncio.client.connect(server.url, proxy=None) as peer:
            await peer.close(4001, "enough")
            assert peer.protocol.close_rcvd is not None
            assert peer.protocol.close_rcvd.code == 4001
        async with raw_client(server.url) as raw:
            raw.send(CLOSE)
            assert (await raw.read_close()).payload == b""
            assert await raw.read_until_closed() == b""


async def test_close_of_the_whole_server_tells_its_peers_that_it_goes_away() -> None:
    server = await WebSocketServer.bind("127.0.0.1:0")
    peer = await websockets.asyncio.client.connect(server.url, proxy=None)
    closing = asyncio.create_task(server.close())
    with pytest.raises(PeerClosed):
        await peer.recv()
    assert peer.close_code == 1001
    async with asyncio.timeout(1):
        await closing


BROWSER = [
    "GET /feed?symbols=SOL HTTP/1.1",
    "Host: 127.0.0.1",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: */*",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Sec-WebSocket-Version: 13",
    "Origin: https://example.com",
    "Sec-WebSocket-Extensions: permessage-deflate",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-Fetch-Dest: empty",
    "Sec-Fetch-Mode: websocket",
    "Sec-Fetch-Site: cross-site",
    "Pragma: no-cache",
    "Cache-Control: no-cache",
]


def request_of(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize(
    "connection",
    [
        ["Connection: keep-alive, Upgrade"],
        ["Connection: Upgrade"],
        ["Connection: upgrade"],
        ["connection: UPGRADE"],
        ["Connection: Upgrade, keep-alive"],
        ["Connection: keep-alive ,  Upgrade\t"],
        ["Connection: keep-alive,Upgrade,"],
        ["Connection: keep-alive", "Connection: Upgrade"],
        ["Connection: Upgrade", "Connection: keep-alive"],
        ["Connection: keep-alive, close-not", "Connection: x", "Connection: Upgrade, TE"],
    ],
)
async def test_server_takes_a_browser_s_request(connection: list[str]) -> None:
    async with (
        our_echo() as server,
        raw_client(server.url, request_of(*BROWSER, "Upgrade: websocket", *connection)) as peer,
    ):
        head = peer.request.lower()
        assert b"sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=" in head
        # Not offered by us: frames with RSV1 would break the protocol.
        assert b"sec-websocket-extensions" not in head
        assert b"sec-websocket-protocol" not in head
        peer.send(TEXT, b"hello")
        assert (await peer.read_frame()).payload == b"hello"
        assert [one.path for one in server.connections] == ["/feed?symbols=SOL"]


@pytest.mark.parametrize(
    "connection",
    [
        [],
        ["Connection: keep-alive"],
        ["Connection: notupgrade"],
        ["Connection: upgrade-not"],
        ["Connection: keep-alive Upgrade"],
    ],
)
async def test_server_answers_400_to_a_request_that_asks_for_no_upgrade(connection: list[str]) -> None:
    async with our_echo() as server, raw_client(server.url, None) as peer:
        peer.write(request_of(*BROWSER, "Upgrade: websocket", *connection))
        assert (await peer.read_head()).startswith(b"HTTP/1.1 400 ")
        await peer.read_until_closed()
        assert server.stats().accepted == 0


async def test_server_chooses_the_first_subprotocol_it_knows_over_several_lines() -> None:
    lines = ["Sec-WebSocket-Protocol: chat, websocket-utils.msgpack", "Sec-WebSocket-Protocol: websocket-utils.json"]
    request = request_of(*BROWSER, "Upgrade: websocket", "Connection: keep-alive, Upgrade", *lines)
    async with WebSocketServer.bind("127.0.0.1:0") as server, raw_client(server.url, request) as peer:
        assert b"\r\nSec-WebSocket-Protocol: websocket-utils.msgpack\r\n" in peer.request
        server.broadcast(PriceUpdate(input_mint="SOL", output_mint="USDC", price=1.0, timestamp=1))
        assert (await peer.read_frame()).opcode == BINARY


@pytest.mark.parametrize("connection", ["Upgrade", "upgrade"])
async def test_client_takes_both_spellings_of_a_server_s_answer(connection: str) -> None:
    async def script(peer: RawPeer) -> None:
        await peer.upgrade(connection=connection)
        peer.send(CLOSE, close_payload(1000))
        await peer.read_close()

    async with raw_server(script) as server:
        client = await WebSocketClient.connect(server.url, reconnect=False)
        assert await client.receive() is None
        with pytest.raises(ConnectionClosedOK):
            client.send("too late")
