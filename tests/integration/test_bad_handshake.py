"""An opening handshake that goes wrong, on either side: a typed error that says what, where and what now."""

import asyncio
import socket

import pytest
from tests.integration.quiet import Quiet, frozen, quiet  # noqa: F401  # fixtures, used by every test
from tests.integration.raw_peer import UPGRADE, RawPeer, raw_client, raw_server
from tests.support.wire import TEXT, frame

from websocket_utils import (
    HandshakeError,
    WebSocketClient,
    WebSocketServer,
)

PRICE = '{"type":"PriceUpdate","input_mint":"SOL","output_mint":"USDC","price":1.5,"timestamp":1}'


async def test_bind_to_an_address_in_use_names_it() -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        host, port = server.local_addr
        with pytest.raises(OSError, match=r"(?i)in use") as caught:
            await WebSocketServer.bind(f"{host}:{port}")
        assert any(f"{host}:{port}" in note for note in caught.value.__notes__)


async def test_name_that_does_not_resolve_is_an_os_error_that_names_the_url() -> None:
    with pytest.raises(socket.gaierror) as caught:
        await WebSocketClient.connect("ws://feed.invalid:1234/x", open_timeout=10)
    assert caught.value.__notes__ == ["while connecting to ws://feed.invalid:1234/x, in phase dns"]


async def test_refused_connection_is_an_os_error_that_names_the_url(unused_tcp_port: int) -> None:
    url = f"ws://127.0.0.1:{unused_tcp_port}"
    with pytest.raises(ConnectionRefusedError) as caught:
        await WebSocketClient.connect(url)
    assert caught.value.__notes__ == [f"while connecting to {url}, in phase tcp"]


@pytest.mark.parametrize(
    "status",
    [
        "400 Bad Request",
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
        "429 Too Many Requests",
        "503 Busy",
        "200 OK",
    ],
)
async def test_answer_that_is_no_101_is_a_handshake_error_with_all_of_it(status: str) -> None:
    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        peer.answer(status, "Retry-After: 7", body=b"the reason of it")

    async with raw_server(script) as server:
        with pytest.raises(HandshakeError) as caught:
            await WebSocketClient.connect(server.url + "/feed")
    error = caught.value
    assert error.status == int(status[:3])
    assert error.headers["retry-after"] == "7"
    assert error.body == b"the reason of it"
    assert error.url == server.url + "/feed"
    assert f"HTTP {status[:3]}" in str(error)
    assert "the reason of it" in str(error)


GARBAGE = [
    b"\x00\x01\x02\x03\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    b"HTTP/1.0 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.1 101\r\n\r\n",
    b"HTTP/1.1 abc Switching\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nno colon\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n folded: x\r\n\r\n",
    b"HTTP/1.1 \xff\xfe\r\n\r\n",
    b"x" * 20_000,
    b"HTTP/1.1 101 Switching Protocols\r\n" + b"a: b\r\n" * 500 + b"\r\n",
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: repr(garbage[:30]))
async def test_answer_that_is_no_http_is_a_handshake_error(garbage: bytes) -> None:
    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        peer.write(garbage)
        await peer.read_until_closed()

    async with raw_server(script) as server:
        with pytest.raises(HandshakeError):
            await WebSocketClient.connect(server.url)


HALF = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("data", [b"", b"H", HALF[:20], HALF, HALF + b"Connection: Upgrade\r\n"])
async def test_server_that_ends_in_the_middle_of_the_handshake_is_a_handshake_error(data: bytes, how: str) -> None:
    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        peer.write(data)
        await peer.writer.drain()
        if how == "reset":
            peer.reset()

    async with raw_server(script) as server:
        with pytest.raises((HandshakeError, ConnectionResetError)) as caught:
            await WebSocketClient.connect(server.url)
        if how == "fin":
            assert isinstance(caught.value, HandshakeError)
            assert "during the handshake" in str(caught.value)


async def test_server_that_resets_before_it_reads_is_an_error() -> None:
    async def script(peer: RawPeer) -> None:
        peer.reset()

    async with raw_server(script) as server:
        with pytest.raises((HandshakeError, OSError)):
            await WebSocketClient.connect(server.url)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 101 Swi", HALF])
async def test_slow_handshake_is_a_timeout_error_that_names_the_setting(data: bytes) -> None:
    ended = asyncio.Event()

    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        peer.write(data)
        await peer.read_until_closed()
        ended.set()

    async with raw_server(script) as server:
        started = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError, match=r"within 0\.1 s \(open_timeout\)") as caught:
            await WebSocketClient.connect(server.url, open_timeout=0.1)
        assert server.url in str(caught.value)
        assert asyncio.get_running_loop().time() - started < 1
        async with asyncio.timeout(1):
            await ended.wait()


async def test_silent_client_of_the_server_is_disconnected_after_open_timeout() -> None:
    async with WebSocketServer.bind("127.0.0.1:0", open_timeout=0.1) as server, asyncio.timeout(5):
        for sent in (b"", b"GET / HT", UPGRADE[:-2]):
            async with raw_client(server.url, None) as peer:
                peer.write(sent)
                await peer.read_until_closed()
        assert server.stats().accepted == 0


@pytest.mark.parametrize(
    ("wrong", "right"), [("Sec-WebSocket-Accept: c2VjcmV0", None), ("Upgrade: h2c", None), ("Connection: close", None)]
)
async def test_wrong_header_of_a_101_is_a_handshake_error(wrong: str, right: None) -> None:
    del right
    name = wrong.partition(":")[0].encode()

    async def script(peer: RawPeer) -> None:
        written: list[bytes] = []
        peer.write = written.append  # type: ignore[method-assign,assignment]  # takes the head before it leaves
        await peer.upgrade()
        del peer.write  # the class's own again
        lines = [line for line in written[0].split(b"\r\n") if not line.startswith(name)]
        peer.write(b"\r\n".join([lines[0], wrong.encode(), *lines[1:]]))
        await peer.read_until_closed()

    async with raw_server(script) as server:
        with pytest.raises(HandshakeError) as caught:
            await WebSocketClient.connect(server.url)
        assert caught.value.status == 101
        assert name.decode().lower() in str(caught.value).lower()


@pytest.mark.parametrize(
    ("header", "offered"),
    [
        ("Sec-WebSocket-Protocol: chat", ()),
        ("Sec-WebSocket-Protocol: chat", ("other",)),
        ("Sec-WebSocket-Protocol: other, chat", ("other", "chat")),
        ("Sec-WebSocket-Extensions: permessage-deflate", ()),
        ("Sec-WebSocket-Extensions: x-unknown", ()),
    ],
)
async def test_subprotocol_or_extension_that_was_not_offered_fails_the_handshake(
    header: str, offered: tuple[str, ...]
) -> None:
    async def script(peer: RawPeer) -> None:
        await peer.upgrade(header)
        await peer.read_until_closed()

    async with raw_server(script) as server:
        with pytest.raises(HandshakeError, match="not offered"):
            await WebSocketClient.connect(server.url, subprotocols=offered)


BAD_REQUESTS = {
    "version 8": (426, UPGRADE.replace(b"Version: 13", b"Version: 8")),
    "version 99": (426, UPGRADE.replace(b"Version: 13", b"Version: 99")),
    "no version": (400, UPGRADE.replace(b"Sec-WebSocket-Version: 13\r\n", b"")),
    "version that is no ASCII": (400, UPGRADE.replace(b"Version: 13", b"Version: \xff\xfe")),
    "no key": (400, UPGRADE.replace(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"")),
    "short key": (400, UPGRADE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIHNhbXBsZQ==")),
    "key that is no ASCII": (400, UPGRADE.replace(b"dGhl", b"\xff\xfeg=")),
    "two keys": (
        400,
        UPGRADE.replace(b"Sec-WebSocket-Key", b"Sec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4eA==\r\nSec-WebSocket-Key"),
    ),
    "two hosts": (400, UPGRADE.replace(b"Host:", b"Host: other\r\nHost:")),
    "no host": (400, UPGRADE.replace(b"Host: localhost\r\n", b"")),
    "no upgrade": (426, UPGRADE.replace(b"Upgrade: websocket\r\n", b"")),
    "another upgrade": (400, UPGRADE.replace(b"Upgrade: websocket", b"Upgrade: h2c")),
    "POST": (405, UPGRADE.replace(b"GET", b"POST")),
    "HTTP/1.0": (505, UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0")),
    "a body": (400, UPGRADE.replace(b"Host:", b"Content-Length: 5\r\nHost:")),
    "no HTTP": (400, b"hello\r\n\r\n"),
    "folded header": (400, UPGRADE.replace(b"Host:", b"X: y\r\n z\r\nHost:")),
}


@pytest.mark.parametrize(("status", "request_"), BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
async def test_server_refuses_a_bad_opening_request(status: int, request_: bytes) -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server, raw_client(server.url, None) as peer:
        peer.write(request_ + frame(TEXT, b"early", masked=True))
        head = await peer.read_head()
        assert head.startswith(f"HTTP/1.1 {status} ".encode()), head
        assert b"\r\nConnection: close\r\n" in head
        assert (b"\r\nSec-WebSocket-Version: 13\r\n" in head) == (status == 426)
        await peer.read_until_closed()
        assert server.stats().accepted == 0


@pytest.mark.parametrize("length", [0, 1, 20, len(UPGRADE) - 1])
async def test_client_that_is_reset_in_the_middle_of_its_request_leaves_no_trace(length: int) -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        for _ in range(3):
            async with raw_client(server.url, None) as peer:
                peer.write(UPGRADE[:length])
                peer.reset()
        async with raw_client(server.url) as peer:
            assert await peer.is_answered()
