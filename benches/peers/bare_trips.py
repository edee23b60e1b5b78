"""No library and no event loop: a socket that sends a frame and reads its echo: the least that a round trip takes."""

import select
import socket
import time

import msgspec

from benches._payload import PriceUpdate, cycle
from benches._subject import ROUND_TRIP_WARM_UP, Run

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\n\r\n"
)
# A text frame, final and masked, of a length below 126 (RFC 6455 §5.2).
TEXT, MASKED = 0x81, 0x80


async def sleeping(run: Run) -> None:
    """Asleep in `epoll` until the echo comes."""
    _trips(run, timeout=1)


async def spinning(run: Run) -> None:
    """Asks `epoll` without a pause."""
    _trips(run, timeout=0)


def _trips(run: Run, timeout: float) -> None:
    payload = msgspec.json.encode(cycle(PriceUpdate)[0])
    # The mask is zero: nobody on the way is to be protected from this payload, and no time goes into it.
    frame = bytes([TEXT, MASKED | len(payload)]) + bytes(4) + payload
    clock, times = time.perf_counter_ns, []
    with socket.create_connection(("127.0.0.1", run.options.port)) as tcp, select.epoll() as epoll:
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tcp.sendall(REQUEST)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += tcp.recv(4096)
        tcp.setblocking(False)
        epoll.register(tcp, select.EPOLLIN)
        for trip in range(run.messages + ROUND_TRIP_WARM_UP):
            if trip == ROUND_TRIP_WARM_UP:
                run.start()
                times.clear()
            sent = clock()
            tcp.send(frame)
            while not epoll.poll(timeout):
                pass
            if tcp.recv(4096)[2:] != payload:
                raise RuntimeError("the echo differs")
            times.append(clock() - sent)
        run.stop()
    run.round_trip_result(times)
