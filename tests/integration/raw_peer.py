"""Peers made of nothing but bytes: they can say what no WebSocket library lets its users say.

A script is a coroutine that is given the `RawPeer` of one connection; `raw_server` runs it for every client.
"""

import asyncio
import base64
import contextlib
import hashlib
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "UPGRADE",
    "Frame",
    "RawPeer",
    "RawServer",
    "accept_value",
    "close_payload",
    "frame",
    "raw_client",
    "raw_server",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
MASK = b"\x12\x34\x56\x78"
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Frame:
    first: int
    masked: bool
    payload: bytes

    @property
    def opcode(self) -> int:
        return self.first & 0x0F

    @property
    def close_code(self) -> int:
        assert self.opcode == CLOSE, self
        return int.from_bytes(self.payload[:2], "big")

    @property
    def close_reason(self) -> str:
        assert self.opcode == CLOSE, self
        return self.payload[2:].decode()


def apply_mask(payload: bytes, key: bytes) -> bytes:
    length = len(payload)
    whole = int.from_bytes((key * (length // 4 + 1))[:length], "big")
    return (int.from_bytes(payload, "big") ^ whole).to_bytes(length, "big")


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    masked: bool,
    fin: bool = True,
    reserved: int = 0,
    length_size: int | None = None,
) -> bytes:
    """One frame; `length_size` (0, 2 or 8 bytes behind the second byte) makes its length longer than it has to be."""
    size = len(payload)
    if length_size is None:
        length_size = 0 if size < 126 else 2 if size < 65536 else 8
    short = {0: size, 2: 126, 8: 127}[length_size]
    head = bytes([fin << 7 | reserved << 4 | opcode, masked << 7 | short])
    head += size.to_bytes(length_size, "big") if length_size else b""
    return head + (MASK + apply_mask(payload, MASK) if masked else payload)


def close_payload(code: int, reason: str | bytes = "") -> bytes:
    return code.to_bytes(2, "big") + (reason.encode() if isinstance(reason, str) else reason)


def accept_value(key: str) -> str:
    """RFC 6455 §4.2.2."""
    return base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()


class RawPeer:
    """One end of a TCP connection, and the few words of WebSocket that scripts need."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_client: bool) -> None:
        self.reader = reader
        self.writer = writer
        self.is_client = is_client
        self.request = b""

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    def send(self, opcode: int, payload: bytes = b"", *, fin: bool = True) -> None:
        self.write(frame(opcode, payload, masked=self.is_client, fin=fin))

    async def read_head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def read_frame(self) -> Frame:
        first, second = await self.reader.readexactly(2)
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
        masked = second >= 0x80
        key = await self.reader.readexactly(4) if masked else b"\0\0\0\0"
        payload = await self.reader.readexactly(size)
        return Frame(first, masked, apply_mask(payload, key) if masked else payload)

    async def read_close(self) -> Frame:
        while (found := await self.read_frame()).opcode != CLOSE:
            pass
        return found

    async def read_until_closed(self) -> bytes:
        """All that still comes, until the other side ends the connection in whatever way."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""

    async def upgrade(self, *extra: str, connection: str = "Upgrade") -> "RawPeer":
        """A server's part of the opening handshake."""
        self.request = await self.read_head()
        key = re.search(rb"(?i)sec-websocket-key: *(\S+)", self.request)
        assert key is not None
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            f"Connection: {connection}",
            f"Sec-WebSocket-Accept: {accept_value(key[1].decode())}",
            *extra,
        ]
        self.write("\r\n".join([*lines, "", ""]).encode())
        return self

    def answer(self, status: str, *headers: str, body: bytes = b"") -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
        self.write("\r\n".join(lines).encode() + body)

    def reset(self) -> None:
        """RST: the way a killed process or a firewall ends a connection."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def finish(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


Script = Callable[[RawPeer], Awaitable[object]]


@dataclass(slots=True)
class RawServer:
    host: str
    port: int
    accepted: int = 0

    @property
    def url(self) -> str:
        return f"ws://{self.host}:{self.port}"


@contextlib.asynccontextmanager
async def raw_server(script: Script, *, port: int = 0) -> AsyncIterator[RawServer]:
    """Run `script` for every client; what it raises fails the test, but for a connection that the other side ended."""
    tasks: set[asyncio.Task[None]] = set()
    errors: list[BaseException] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        server.accepted += 1
        peer = RawPeer(reader, writer, is_client=False)
        try:
            await script(peer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            pass
        except Exception as error:  # noqa: BLE001  # raised below, in the test's own task
            errors.append(error)
        finally:
            tasks.discard(task)
            await peer.finish()

    server = RawServer("127.0.0.1", port)
    listener = await asyncio.start_server(serve, "127.0.0.1", port)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()
    if errors:
        raise errors[0]


@contextlib.asynccontextmanager
async def raw_client(url: str, request: bytes | None = UPGRADE) -> AsyncIterator[RawPeer]:
    """A TCP connection to `url`; with a request, behind the server's 101, whose head is in `request`."""
    host, _, port = url.removeprefix("ws://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    peer = RawPeer(reader, writer, is_client=True)
    try:
        if request is not None:
            peer.write(request)
            peer.request = await peer.read_head()
            assert peer.request.startswith(b"HTTP/1.1 101 "), peer.request
        yield peer
    finally:
        await peer.finish()
