"""No library at all: the stream of a feed, read with `recv_into` and not looked at."""

import socket

from benches._payload import SIZE
from benches._subject import Run

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
# One masked text frame, and one masked close frame, with a mask of zeros.
GO = b"\x81\x82\x00\x00\x00\x00go"
CLOSE = b"\x88\x82\x00\x00\x00\x00\x03\xe8"


async def bare(run: Run) -> None:
    """Read until the feed says that it closes. There is nothing else to wait for: the event loop stands still."""
    buffer = bytearray(1 << 16)
    with socket.create_connection(("127.0.0.1", run.options.port)) as connection:
        connection.sendall(REQUEST)
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
        recv_into = connection.recv_into
        total = 0
        tail = b""
        run.start()
        connection.sendall(GO)
        while not tail.endswith(b"\x88\x02\x03\xe8"):
            size = recv_into(buffer)
            total += size
            tail = bytes(buffer[max(0, size - 4) : size]) if size >= 4 else tail[-3:] + bytes(buffer[:size])
        run.stop()
        connection.sendall(CLOSE)
    if total < run.messages * SIZE:
        raise RuntimeError(f"{total} bytes came for {run.messages} messages")
    run.result()
