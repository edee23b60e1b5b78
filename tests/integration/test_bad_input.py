"""Every line of "bad input": a typed error that says what, where and what now, and a silent event loop."""

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgpack
import pytest
from tests.integration.quiet import Quiet, frozen, quiet  # noqa: F401  # fixtures, used by every test
from tests.integration.raw_peer import UPGRADE, RawPeer, raw_client, raw_server
from tests.support.waiting import until
from tests.support.wire import BINARY, CLOSE, CONTINUATION, KEY, PING, TEXT, Frame, close_payload, frame

from websocket_utils import (
    Close,
    ConnectionClosedError,
    DecodeError,
    MessageTooBig,
    PriceUpdate,
    RemoteProtocolError,
    WebSocketClient,
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


@pytest.mark.one_loop
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
        return bytes([0x80 | BINARY, masked << 7 | second]) + length + (KEY if masked else b"")

    bad_utf8 = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"
    table: dict[str, tuple[int, bytes]] = {
        **{f"reserved bits {bits:03b}": (1002, say(TEXT, b"x", reserved_bits=bits)) for bits in range(1, 8)},
        **{
            f"reserved bit on {name}": (1002, say(code, reserved_bits=4))
            for name, code in {"ping": PING, "close": CLOSE}.items()
        },
        "reserved bit on a continuation": (1002, say(TEXT, b"x", fin=False) + say(CONTINUATION, b"x", reserved_bits=4)),
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


# The core judges bytes, whoever read them.
@pytest.mark.one_loop
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
            assert await peer.is_answered()
            if split:
                await write_bytewise(peer, data)
            else:
                peer.write(data)
            peer.write(frame(TEXT, b"after", masked=True))
            close = await peer.read_close()
            assert (close.fin, close.masked, close.close_code) == (True, False, code), close
            assert close.close_reason
            await peer.finish()
        assert seen == ["before"]
    assert any(f"close code {code}" in record.getMessage() for record in caplog.records)


async def write_bytewise(peer: RawPeer, data: bytes) -> None:
    """The first bytes one by one, each in a read of its own."""
    for index in range(min(len(data), 20)):
        peer.write(data[index : index + 1])
        await asyncio.sleep(0)
    peer.write(data[20:])


@pytest.mark.one_loop
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
    assert (close.fin, close.masked, close.close_code) == (True, True, code)


@pytest.mark.parametrize(("code", "data"), violations(masked=False)[::6])
async def test_violation_that_comes_with_the_handshake_is_found_too(code: int, data: bytes) -> None:
    async def script(peer: RawPeer) -> None:
        peer.write(data)
        await peer.read_until_closed()

    async with client_of(script, max_message_size=LIMIT) as client:
        with pytest.raises(ConnectionClosedError):
            await client.receive(str)


@pytest.mark.parametrize(
    "last", [pytest.param(b"\xff\xff", id="violation"), pytest.param(frame(PING, b"", masked=True), id="ping")]
)
async def test_what_a_peer_says_right_before_its_reset_is_answered_to_nobody_and_holds_nothing(last: bytes) -> None:
    loop = asyncio.get_running_loop()
    async with WebSocketServer.bind("127.0.0.1:0", close_timeout=60) as server:
        with socket.socket() as peer:
            peer.setblocking(False)
            await loop.sock_connect(peer, server.local_addr)
            await loop.sock_sendall(peer, UPGRADE)
            assert (await loop.sock_recv(peer, 1000)).startswith(b"HTTP/1.1 101 ")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # No turn of the loop in between: the server finds both together.
            peer.send(last)
        await until(lambda: not server.connections)


async def test_messages_after_a_close_frame_are_not_delivered() -> None:
    async def script(peer: RawPeer) -> None:
        peer.write(frame(CLOSE, close_payload(1000), masked=False) + frame(TEXT, b"late", masked=False))
        peer.write(frame(CLOSE, close_payload(4000), masked=False))
        assert (await peer.read_close()).close_code == 1000

    async with client_of(script) as client:
        assert await client.receive(str) is None


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
        assert await peer.is_answered()
        assert await peer.is_answered()
        assert server.stats().handler_errors == 1
    assert [line.partition(":")[0] for line in quiet.errors] == ["websocket_utils.server"] * 2
    assert "no use for this" in quiet.errors[0]
    quiet.errors.clear()
