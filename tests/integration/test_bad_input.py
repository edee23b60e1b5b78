"""Every line of "bad input": a typed error that says what, where and what now, and a silent event loop."""

import asyncio
import base64
import contextlib
import logging
import socket
import traceback
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgpack
import pytest
from tests.integration.quiet import Quiet, frozen, quiet  # noqa: F401  # fixtures, used by every test
from tests.integration.raw_peer import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MASK,
    PING,
    TEXT,
    UPGRADE,
    Frame,
    RawPeer,
    close_payload,
    frame,
    raw_client,
    raw_server,
)

from websocket_utils import (
    Close,
    ConfigError,
    ConnectionClosedError,
    DecodeError,
    HandshakeError,
    InvalidURL,
    MessageTooBig,
    PriceUpdate,
    RemoteProtocolError,
    WebSocketClient,
    WebSocketConfig,
    WebSocketServer,
)

PRICE = '{"type":"PriceUpdate","input_mint":"SOL","output_mint":"USDC","price":1.5,"timestamp":1}'
LIMIT = 1000


@contextlib.asynccontextmanager
async def client_of(script: Callable[[RawPeer], Any], **options: Any) -> AsyncIterator[WebSocketClient]:
    async def behind_the_handshake(peer: RawPeer) -> None:
        await peer.upgrade()
        await script(peer)

    async with (
        raw_server(behind_the_handshake) as server,
        asyncio.timeout(10),
        WebSocketClient.connect(server.url, reconnect=False, close_timeout=0.2, **options) as client,
    ):
        yield client


# --- messages that are not what was asked for: the connection stays ---


def packed(**changes: object) -> bytes:
    message = {
        "type": "PriceUpdate",
        "input_mint": "SOL",
        "output_mint": "USDC",
        "price": 1.5,
        "timestamp": 1,
        **changes,
    }
    return bytes(msgpack.packb(message))


BROKEN_MESSAGES = [
    pytest.param(TEXT, b"", "", id="empty"),
    pytest.param(TEXT, b"{", "", id="cut json"),
    pytest.param(TEXT, b"not json", "", id="no json"),
    pytest.param(TEXT, PRICE.encode() + b"x", "", id="trailing bytes"),
    pytest.param(TEXT, b"[1]", "", id="a list"),
    pytest.param(TEXT, b"[" * 100_000, "", id="deep nesting"),
    pytest.param(TEXT, PRICE.replace("1.5", '"high"').encode(), "$.price", id="wrong type in json"),
    pytest.param(TEXT, PRICE.replace('"SOL"', "7").encode(), "$.input_mint", id="number for text in json"),
    pytest.param(TEXT, PRICE.replace('"PriceUpdate"', '"Unknown"').encode(), "$.type", id="unknown tag"),
    pytest.param(TEXT, b'{"type":"PriceUpdate","price":1.5}', "", id="missing fields"),
    pytest.param(BINARY, b"", "", id="empty binary"),
    pytest.param(BINARY, b"\xc1", "", id="reserved byte of msgpack"),
    pytest.param(BINARY, packed()[:-1], "", id="cut msgpack"),
    pytest.param(BINARY, b"\xdd\xff\xff\xff\xff", "", id="huge count in msgpack"),
    pytest.param(BINARY, packed(price="high"), "$.price", id="wrong type in msgpack"),
    pytest.param(BINARY, packed(timestamp=None), "$.timestamp", id="nil for a number in msgpack"),
]


@pytest.mark.parametrize(("opcode", "payload", "path"), BROKEN_MESSAGES)
async def test_client_raises_decode_error_and_goes_on_with_the_next_message(
    opcode: int, payload: bytes, path: str
) -> None:
    async def script(peer: RawPeer) -> None:
        peer.send(opcode, payload)
        peer.send(TEXT, PRICE.encode())
        await peer.read_until_closed()

    async with client_of(script) as client:
        with pytest.raises(DecodeError) as caught:
            await client.receive(PriceUpdate)
        error = caught.value
        assert error.raw == payload
        assert error.format == ("json" if opcode == TEXT else "msgpack")
        if path:
            assert error.path == path
            assert f"`{path}`" in str(error)
        assert len(str(error)) < 500
        assert await client.receive(PriceUpdate) == PriceUpdate("SOL", "USDC", 1.5, timestamp=1)
        assert client.is_connected
        assert client.stats().decode_errors == 1


async def test_iteration_over_messages_can_be_taken_up_again_after_a_decode_error() -> None:
    async def script(peer: RawPeer) -> None:
        for payload in (PRICE, "broken", PRICE, "broken", PRICE):
            peer.send(TEXT, payload.encode())
        peer.send(CLOSE, close_payload(1000))
        await peer.read_close()

    async with client_of(script) as client:
        received, errors = 0, 0
        while errors < 2:
            with pytest.raises(DecodeError):  # noqa: PT012  # the loop is what is tested
                async for _ in client.messages(PriceUpdate):
                    received += 1
            errors += 1
        async for batch in client.batches(PriceUpdate):
            received += len(batch)
        assert (received, errors) == (3, 2)


async def test_server_logs_broken_messages_and_the_client_stays(caplog: pytest.LogCaptureFixture) -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server, raw_client(server.url) as peer:
        seen: list[str] = []
        server.on(PriceUpdate, lambda _, update: seen.append(update.input_mint))
        with caplog.at_level(logging.WARNING, "websocket_utils.server"):
            for _ in range(25):
                peer.send(TEXT, PRICE.replace("1.5", "null").encode())
            peer.send(TEXT, PRICE.encode())
            peer.send(TEXT, b'{"type":"Ping"}')
            assert b"Pong" in (await peer.read_frame()).payload
        assert seen == ["SOL"]
        assert server.stats().decode_errors == 25
        # The 1st and the 10th: a peer can't flood the log.
        assert [record.name for record in caplog.records if "$.price" in record.getMessage()] == [
            "websocket_utils.server"
        ] * 2


# --- frames that break the protocol: the connection is failed with the right code ---

RESERVED_OPCODES = [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF]
BAD_CODES = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]


def violations(*, masked: bool) -> list[Any]:
    """What a peer that masks (a client) or does not (a server) can send that must not be, and the code it gets."""

    def say(opcode: int, payload: bytes = b"", **shape: Any) -> bytes:
        return frame(opcode, payload, **{"masked": masked, **shape})

    def header(second: int, length: bytes) -> bytes:
        return bytes([0x80 | BINARY, masked << 7 | second]) + length + (MASK if masked else b"")

    bad_utf8 = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"
    table: dict[str, tuple[int, bytes]] = {
        **{f"reserved bits {bits:03b}": (1002, say(TEXT, b"x", reserved=bits)) for bits in range(1, 8)},
        **{
            f"reserved bit on {name}": (1002, say(code, reserved=4))
            for name, code in {"ping": PING, "close": CLOSE}.items()
        },
        "reserved bit on a continuation": (1002, say(TEXT, b"x", fin=False) + say(CONTINUATION, b"x", reserved=4)),
        **{f"opcode {code:#x}": (1002, say(code)) for code in RESERVED_OPCODES},
        "fragmented ping": (1002, say(PING, fin=False)),
        "fragmented close": (1002, say(CLOSE, close_payload(1000), fin=False)),
        "ping of 126 bytes": (1002, say(PING, b"p" * 126)),
        "close of 126 bytes": (1002, say(CLOSE, close_payload(1000, "r" * 124))),
        "wrong mask direction": (1002, say(TEXT, b"x", masked=not masked)),
        "wrong mask direction of a ping": (1002, say(PING, b"", masked=not masked)),
        "16-bit length of 5": (1002, say(TEXT, b"12345", length_size=2)),
        "16-bit length of 125": (1002, say(TEXT, b"1" * 125, length_size=2)),
        "64-bit length of 300": (1002, say(TEXT, b"1" * 300, length_size=8)),
        "64-bit length with the highest bit": (1002, header(127, b"\x80" + bytes(7))),
        "64-bit length of all ones": (1002, header(127, b"\xff" * 8)),
        "64-bit length of 2^62": (1009, header(127, b"\x40" + bytes(7))),
        "continuation of nothing": (1002, say(CONTINUATION, b"x")),
        "unfinished continuation of nothing": (1002, say(CONTINUATION, b"x", fin=False)),
        "text inside fragments": (1002, say(TEXT, b"x", fin=False) + say(TEXT, b"y")),
        "binary inside fragments": (1002, say(TEXT, b"x", fin=False) + say(BINARY, b"y", fin=False)),
        "invalid UTF-8": (1007, say(TEXT, bad_utf8)),
        "UTF-8 cut at the end": (1007, say(TEXT, b"\xe2\x82")),
        "invalid UTF-8 over fragments": (1007, say(TEXT, b"\xed", fin=False) + say(CONTINUATION, b"\xa0", fin=False)),
        "invalid UTF-8 inside a frame that is not complete": (1007, say(TEXT, b"ok \xff" + b"x" * 500)[:-400]),
        "close with half a code": (1002, say(CLOSE, b"\x03")),
        **{f"close code {code}": (1002, say(CLOSE, close_payload(code))) for code in BAD_CODES},
        "close reason that is no UTF-8": (1007, say(CLOSE, close_payload(1000, b"\xff\xfe"))),
        "message over the limit": (1009, say(BINARY, b"x" * (LIMIT + 1))),
        "message over the limit by its header alone": (1009, say(BINARY, b"x" * (LIMIT + 1))[:8]),
        "fragments over the limit": (1009, say(BINARY, b"x" * LIMIT, fin=False) + say(CONTINUATION, b"x")),
    }
    return [pytest.param(code, data, id=name) for name, (code, data) in table.items()]


@pytest.mark.parametrize("split", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize(("code", "data"), violations(masked=True))
async def test_server_fails_a_client_that_breaks_the_protocol(
    code: int, data: bytes, split: bool, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[object] = []
    async with WebSocketServer.bind("127.0.0.1:0", max_message_size=LIMIT, close_timeout=0.5) as server:
        server.on(str, lambda _, message: seen.append(message))
        server.on(bytes, lambda _, message: seen.append(message))
        async with raw_client(server.url) as peer, asyncio.timeout(5):
            peer.send(TEXT, b"before")
            # Behind the handshake the core reads; together with it picows would have.
            assert await answered(peer)
            if split:
                await write_bytewise(peer, data)
            else:
                peer.write(data)
            peer.write(frame(TEXT, b"after", masked=True))
            close = await peer.read_close()
            assert (close.first, close.masked, close.close_code) == (0x88, False, code), close
            assert close.close_reason
            await peer.finish()
        assert seen == ["before"]
    assert any(f"close code {code}" in record.getMessage() for record in caplog.records)


async def answered(peer: RawPeer) -> bool:
    peer.send(PING, b"turn")
    return (await peer.read_frame()).payload == b"turn"


async def write_bytewise(peer: RawPeer, data: bytes) -> None:
    """The first bytes one by one, each in a read of its own."""
    for index in range(min(len(data), 20)):
        peer.write(data[index : index + 1])
        await asyncio.sleep(0)
    peer.write(data[20:])


@pytest.mark.parametrize(("code", "data"), violations(masked=False))
async def test_client_fails_a_server_that_breaks_the_protocol(code: int, data: bytes) -> None:
    closes: list[Frame] = []

    async def script(peer: RawPeer) -> None:
        peer.send(TEXT, b"before")
        assert (await peer.read_frame()).payload == b"go on"
        peer.write(data + frame(TEXT, b"after", masked=False))
        closes.append(await peer.read_close())

    async with client_of(script, max_message_size=LIMIT) as client:
        assert await client.receive(str) == "before"
        client.send("go on")
        with pytest.raises(ConnectionClosedError) as caught:
            await client.receive(str)
        error = caught.value
        assert isinstance(error.sent, Close)
        assert (error.sent.code, error.initiator) == (code, "local")
        # What the peer did is the cause.
        if code == 1009:
            assert isinstance(error.__cause__, MessageTooBig)
            assert error.__cause__.limit == LIMIT
        else:
            assert isinstance(error.__cause__, RemoteProtocolError)
            assert (error.__cause__.close_code, error.__cause__.reason) == (code, error.sent.reason)
        assert await client.receive(str) is None
    (close,) = closes
    assert (close.first, close.masked, close.close_code) == (0x88, True, code)


@pytest.mark.parametrize(("code", "data"), violations(masked=False)[::6])
async def test_violation_that_comes_with_the_handshake_is_found_too(code: int, data: bytes) -> None:
    async def script(peer: RawPeer) -> None:
        peer.write(data)
        await peer.read_until_closed()

    async with client_of(script, max_message_size=LIMIT) as client:
        with pytest.raises(ConnectionClosedError):
            await client.receive(str)


async def test_messages_after_a_close_frame_are_not_delivered() -> None:
    async def script(peer: RawPeer) -> None:
        peer.write(frame(CLOSE, close_payload(1000), masked=False) + frame(TEXT, b"late", masked=False))
        peer.write(frame(CLOSE, close_payload(4000), masked=False))
        assert (await peer.read_close()).close_code == 1000

    async with client_of(script) as client:
        assert await client.receive(str) is None


# --- nobody there, or somebody else ---


async def test_bind_to_an_address_in_use_names_it() -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        host, port = server.local_addr
        with pytest.raises(OSError, match=r"(?i)in use") as caught:
            await WebSocketServer.bind(f"{host}:{port}")
        assert any(f"{host}:{port}" in note for note in caught.value.__notes__)


async def test_name_that_does_not_resolve_is_an_os_error_that_names_the_url() -> None:
    with pytest.raises(socket.gaierror) as caught:
        await WebSocketClient.connect("ws://feed.invalid:1234/x", open_timeout=10)
    assert caught.value.__notes__ == ["while connecting to ws://feed.invalid:1234/x"]


async def test_refused_connection_is_an_os_error_that_names_the_url(unused_tcp_port: int) -> None:
    url = f"ws://127.0.0.1:{unused_tcp_port}"
    with pytest.raises(ConnectionRefusedError) as caught:
        await WebSocketClient.connect(url)
    assert caught.value.__notes__ == [f"while connecting to {url}"]


@pytest.mark.parametrize(
    "status", ["400 Bad Request", "401 Unauthorized", "404 Not Found", "429 Too Many Requests", "503 Busy", "200 OK"]
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
    "no version": (426, UPGRADE.replace(b"Sec-WebSocket-Version: 13\r\n", b"")),
    "version that is no ASCII": (426, UPGRADE.replace(b"Version: 13", b"Version: \xff\xfe")),
    "no key": (400, UPGRADE.replace(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"")),
    "short key": (400, UPGRADE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIHNhbXBsZQ==")),
    "key that is no ASCII": (400, UPGRADE.replace(b"dGhl", b"\xff\xfeg=")),
    "two keys": (
        400,
        UPGRADE.replace(b"Sec-WebSocket-Key", b"Sec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4eA==\r\nSec-WebSocket-Key"),
    ),
    "two hosts": (400, UPGRADE.replace(b"Host:", b"Host: other\r\nHost:")),
    "no host": (400, UPGRADE.replace(b"Host: localhost\r\n", b"")),
    "no upgrade": (400, UPGRADE.replace(b"Upgrade: websocket", b"Upgrade: h2c")),
    "POST": (400, UPGRADE.replace(b"GET", b"POST")),
    "HTTP/1.0": (400, UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0")),
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
            assert await answered(peer)


# --- URLs, credentials, redirects ---


@pytest.mark.parametrize(
    ("userinfo", "pair"),
    [("alice:s3cret", "alice:s3cret"), ("al%40ice:s%2F3", "al@ice:s/3"), ("token", "token:"), (":pw", ":pw")],
)
async def test_credentials_of_the_url_travel_in_one_header_and_show_nowhere(
    userinfo: str, pair: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    requests: list[bytes] = []

    async def script(peer: RawPeer) -> None:
        requests.append((await peer.upgrade()).request)
        peer.send(CLOSE, close_payload(4000))
        await peer.read_close()

    async with raw_server(script) as server:
        url = f"ws://{userinfo}@127.0.0.1:{server.port}/feed"
        async with WebSocketClient.connect(url, reconnect=False) as client:
            with pytest.raises(ConnectionClosedError) as caught:
                await client.receive()
            shown = [repr(client), client.url, *traceback.format_exception(caught.value), caplog.text]
    head = requests[0].decode()
    assert head.startswith("GET /feed HTTP/1.1\r\n")
    assert f"\r\nHost: 127.0.0.1:{server.port}\r\n" in head
    assert head.count(f"\r\nAuthorization: Basic {base64.b64encode(pair.encode()).decode()}\r\n") == 1
    secrets = [part for part in (*userinfo.split(":"), *pair.split(":")) if part]
    for text in shown:
        assert not any(secret in text for secret in secrets), text


async def test_credentials_show_in_no_error_of_the_handshake(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    # Tracebacks show source lines: it must not stand in one.
    password = "".join(["s3", "cret"])

    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        peer.answer("401 Unauthorized")

    async with raw_server(script) as server:
        with pytest.raises(HandshakeError) as caught:
            await WebSocketClient.connect(f"ws://alice:{password}@127.0.0.1:{server.port}")
    text = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(caught.value)
    assert password not in text
    assert base64.b64encode(f"alice:{password}".encode()).decode() not in text


@pytest.mark.parametrize(
    ("headers", "subprotocols", "fault"),
    [
        ({"X-Token": "a\r\nX-Injected: b"}, (), "X-Token"),
        ({"X-Token": "a\x00b"}, (), "X-Token"),
        ({"X Token": "a"}, (), "X Token"),
        ({"": "a"}, (), "''"),
        ({"X:": "a"}, (), "X:"),
        ({}, ("a b",), "a b"),
        ({}, ("a\r\nX: y",), "subprotocol"),
        ({}, ("",), "subprotocol"),
        ({}, ("a", "a"), "twice"),
    ],
)
async def test_header_or_subprotocol_that_would_inject_lines_is_a_config_error(
    headers: dict[str, str], subprotocols: tuple[str, ...], fault: str
) -> None:
    with pytest.raises(ConfigError, match=fault):
        WebSocketClient.connect("ws://127.0.0.1:1", headers=headers, subprotocols=subprotocols)


def redirect_to(location: str, status: str = "302 Found") -> Callable[[RawPeer], Any]:
    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        peer.answer(status, f"Location: {location}")

    return script


@pytest.mark.parametrize(
    "status",
    ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"],
)
async def test_redirect_is_followed_only_when_asked_for(status: str) -> None:
    async def destination(peer: RawPeer) -> None:
        await peer.upgrade()
        await peer.read_close()
        peer.send(CLOSE, close_payload(1000))

    async with (
        raw_server(destination) as there,
        raw_server(redirect_to(f"http://127.0.0.1:{there.port}/new", status)) as here,
    ):
        with pytest.raises(HandshakeError) as caught:
            await WebSocketClient.connect(here.url)
        assert caught.value.status == int(status[:3])
        assert "follow_redirects" in str(caught.value)
        assert f"http://127.0.0.1:{there.port}/new" in str(caught.value)
        assert there.accepted == 0
        async with WebSocketClient.connect(here.url, follow_redirects=1):
            assert there.accepted == 1


async def test_redirect_to_another_origin_takes_no_credentials_along() -> None:
    requests: list[bytes] = []

    async def destination(peer: RawPeer) -> None:
        requests.append((await peer.upgrade()).request)
        await peer.read_close()
        peer.send(CLOSE, close_payload(1000))

    async with raw_server(destination) as there, raw_server(redirect_to(f"ws://127.0.0.1:{there.port}/")) as here:
        url = f"ws://alice:s3cret@127.0.0.1:{here.port}"
        headers = {"Cookie": "session=1", "X-Kept": "yes", "authorization": "Bearer x", "Proxy-Authorization": "y"}
        async with WebSocketClient.connect(url, headers=headers, follow_redirects=3):
            pass
    head = requests[0].lower()
    assert b"\r\nx-kept: yes\r\n" in head
    assert b"authorization" not in head
    assert b"cookie" not in head


async def test_redirect_within_the_origin_keeps_credentials() -> None:
    requests: list[bytes] = []

    async def script(peer: RawPeer) -> None:
        if not requests:
            requests.append(await peer.read_head())
            peer.answer("307 Temporary Redirect", "Location: /elsewhere")
            return
        requests.append((await peer.upgrade()).request)
        await peer.read_close()
        peer.send(CLOSE, close_payload(1000))

    async with (
        raw_server(script) as server,
        WebSocketClient.connect(f"ws://u:p@127.0.0.1:{server.port}/first", headers={"Cookie": "c"}, follow_redirects=1),
    ):
        pass
    assert requests[1].startswith(b"GET /elsewhere HTTP/1.1\r\n")
    assert b"Authorization: Basic dTpw\r\n" in requests[1]
    assert b"Cookie: c\r\n" in requests[1]


async def test_redirects_end_at_the_limit() -> None:
    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        peer.answer("302 Found", "Location: /again")

    async with raw_server(script) as server:
        with pytest.raises(HandshakeError) as caught:
            await WebSocketClient.connect(server.url, follow_redirects=5)
        assert caught.value.status == 302
        assert server.accepted == 6


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/", "ws://[::1", "http://user:s3cret@:99999/", "ws://h/#f"])
async def test_redirect_to_no_websocket_url_is_an_error_that_shows_no_password(location: str) -> None:
    async with raw_server(redirect_to(location)) as server:
        with pytest.raises(InvalidURL) as caught:
            await WebSocketClient.connect(server.url, follow_redirects=1)
        assert "s3cret" not in str(caught.value)


def test_invalid_settings_of_the_environment_are_reported_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {"WS_PORT": "many", "WS_PING_INTERVAL": "-1", "WS_RECONNECT_INTERVAL": "soon", "WS_MAX_MESSAGE_SIZE": "0"}
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        WebSocketConfig.from_env()
    assert {fault.partition(":")[0] for fault in caught.value.faults} == wrong.keys()
    assert all(name in str(caught.value) for name in wrong)


async def test_all_wrong_settings_of_a_call_are_reported_at_once_and_nothing_is_opened() -> None:
    with pytest.raises(ConfigError) as caught:
        WebSocketClient.connect("ws://127.0.0.1:1", ping_interval=-1, max_inbox=0)
    assert len(caught.value.faults) == 2
    with pytest.raises(ConfigError):
        WebSocketServer.bind("127.0.0.1:0", max_lag=0)
    for address in ("", "8080", "localhost", "localhost:x", "localhost:65536", "localhost:-1"):
        with pytest.raises(ValueError, match="invalid address"):
            WebSocketServer.bind(address)


# --- what handlers raise ---


async def test_handler_that_raises_costs_a_log_line_and_no_connection(quiet: Quiet) -> None:  # noqa: F811  # the fixture
    async with WebSocketServer.bind("127.0.0.1:0") as server, raw_client(server.url) as peer:

        def broken(_: object, message: str) -> None:
            raise ValueError(f"no use for {message}")

        async def broken_later(_: object, message: str) -> None:
            await asyncio.sleep(0)
            raise KeyError(message)

        server.on(str, broken)
        server.on(str, broken_later)
        peer.send(TEXT, b"this")
        assert await answered(peer)
        assert await answered(peer)
        assert server.stats().handler_errors == 1
    assert [line.partition(":")[0] for line in quiet.errors] == ["websocket_utils.server"] * 2
    assert "no use for this" in quiet.errors[0]
    quiet.errors.clear()
