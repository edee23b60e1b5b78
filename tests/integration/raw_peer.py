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

from tests.support.wire import CLOSE, PING, Frame, FrameReader, frame

__all__ = ["UPGRADE", "RawPeer", "RawServer", "accept_value", "raw_client", "raw_server"]

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


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
        self._cutter = FrameReader()
        self._frames: list[Frame] = []

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    def send(self, opcode: int, payload: bytes = b"", *, fin: bool = True) -> None:
        self.write(frame(opcode, payload, masked=self.is_client, fin=fin))

    async def read_head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def read_frame(self) -> Frame:
        while not self._frames:
            data = await self.reader.read(65_536)
            if not data:
                raise asyncio.IncompleteReadError(b"", None)
            self._frames += self._cutter.feed(data)
        return self._frames.pop(0)

    async def read_close(self) -> Frame:
        while (found := await self.read_frame()).opcode != CLOSE:
            pass
        return found

    async def is_answered(self) -> bool:
        """Whether the other side has read all that was sent before, and lives."""
        self.send(PING, b"turn")
        return (await self.read_frame()).payload == b"turn"

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
