"""No library: `send(2)` of a finished frame on each socket. What is left of a broadcast when all else is saved."""

import asyncio
import base64
import contextlib
import hashlib
import socket
from collections.abc import Sequence

import msgspec

from benches._payload import PriceUpdate, cycle
from benches._subject import Run

_ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT_AND_FIN = 0x81
_MOST_IN_ONE_BYTE = 125


async def broadcast(run: Run) -> None:
    """Encode and frame once, then one system call for each client."""
    encode = msgspec.json.Encoder().encode
    clients: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        accepting = asyncio.create_task(_accept_all(listener, clients))
        await run.serve(listener.getsockname()[1], lambda: len(clients))

        def send_turn(messages: Sequence[PriceUpdate]) -> None:
            for message in messages:
                payload = encode(message)
                assert len(payload) <= _MOST_IN_ONE_BYTE
                frame = bytes((_TEXT_AND_FIN, len(payload))) + payload
                for client in clients:
                    client.send(frame)

        await run.broadcast(cycle(PriceUpdate), send_turn)
        accepting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await accepting
        for client in clients:
            client.close()


async def _accept_all(listener: socket.socket, clients: list[socket.socket]) -> None:
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
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n",
        )
        clients.append(client)
