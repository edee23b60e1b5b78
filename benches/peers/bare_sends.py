"""No library: `send(2)` of a finished frame on each socket. What is left of a broadcast when all else is saved."""

import asyncio
import base64
import contextlib
import hashlib
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

import msgspec

from benches._payload import PriceUpdate, cycle
from benches._subject import Run
from benches._wires import DEFLATE, books, deflated_frame

MessageT = TypeVar("MessageT")

_ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT_AND_FIN = 0x81
_MOST_IN_ONE_BYTE = 125


async def broadcast(run: Run) -> None:
    """Encode and frame once, then one system call for each client."""
    encode = msgspec.json.Encoder().encode

    await _broadcast(run, cycle(PriceUpdate), lambda message: _framed(encode(message)), b"")


async def spread(run: Run) -> None:
    """At each tick, encode and frame once, then one system call for each client."""
    encode = msgspec.json.Encoder().encode
    async with _clients(run, b"") as clients:

        def emit(stamp: int) -> None:
            frame = _framed(encode(PriceUpdate("SOL", "USDC", 152.0625, 1000, stamp)))
            for client in clients:
                client.send(frame)

        await run.ticks(emit)


def _framed(payload: bytes) -> bytes:
    assert len(payload) <= _MOST_IN_ONE_BYTE
    return bytes((_TEXT_AND_FIN, len(payload))) + payload


async def broadcast_deflate(run: Run) -> None:
    """Compress once, then one system call for each client."""
    extensions = f"Sec-WebSocket-Extensions: {DEFLATE}\r\n".encode()
    await _broadcast(run, books(), deflated_frame, extensions)


async def _broadcast(
    run: Run, messages: Sequence[MessageT], framed: Callable[[MessageT], bytes], extensions: bytes
) -> None:
    async with _clients(run, extensions) as clients:

        def send_turn(turn: Sequence[MessageT]) -> None:
            for message in turn:
                frame = framed(message)
                for client in clients:
                    client.send(frame)

        await run.broadcast(messages, send_turn)


@contextlib.asynccontextmanager
async def _clients(run: Run, extensions: bytes) -> AsyncIterator[list[socket.socket]]:
    clients: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        accepting = asyncio.create_task(_accept_all(listener, clients, extensions))
        await run.serve(listener.getsockname()[1], lambda: len(clients))
        yield clients
        accepting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await accepting
        for client in clients:
            client.close()


async def _accept_all(listener: socket.socket, clients: list[socket.socket], extensions: bytes) -> None:
    loop = asyncio.get_running_loop()
    while True:
        client, _ = await loop.sock_accept(listener)
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = b""
        while b"\r\n\r\n" not in request:
            request += await loop.sock_recv(client, 4096)
        key = next(
            line.split(b":")[1].strip()
            for line in request.split(b"\r\n")
            if line.lower().startswith(b"sec-websocket-key")
        )
        accept = base64.b64encode(hashlib.sha1(key + _ACCEPT_GUID, usedforsecurity=False).digest())
        await loop.sock_sendall(
            client,
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n" + extensions + b"\r\n",
        )
        clients.append(client)
