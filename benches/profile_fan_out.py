"""Times flushes on one thread and on two, in turn, in one process: `python -m benches.profile_fan_out`.

For each number of clients and of messages a turn: how long a flush takes, from its first send to the end of its last,
and the CPU of the whole process meanwhile, as medians. The clients are bare sockets of another process, which reads all
the time: where both have no core to themselves, a second thread takes the reader's.
"""

import argparse
import asyncio
import contextlib
import functools
import multiprocessing
import os
import selectors
import socket
import statistics
import time
from multiprocessing.connection import Connection

from benches._payload import cycle
from websocket_utils import PriceUpdate, WebSocketServer

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
THREADS = (1, 2)
# Bytes in front of a payload of 122 bytes.
HEADER = 2
WARM_UP = 3


def read(ports: list[int], clients: int, orders: Connection) -> None:
    """Connect `clients` sockets to each port, then read as many bytes as each order says, and answer it."""
    selector = selectors.EpollSelector()
    for port in ports:
        for _ in range(clients):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.sendall(REQUEST)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += connection.recv(4096)
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ, functools.partial(connection.recv, 1 << 16))
    orders.send(None)
    # Whoever gave the orders is gone with its end.
    with contextlib.suppress(EOFError):
        while True:
            missing = orders.recv()
            while missing > 0:
                missing -= sum(len(key.data()) for key, _ in selector.select())
            orders.send(None)


async def measure(clients: int, burst: int, rounds: int) -> str:
    """Return the line for one number of clients and of messages."""
    message, *_ = cycle(PriceUpdate)
    taken: dict[int, list[tuple[float, float]]] = {threads: [] for threads in THREADS}
    async with contextlib.AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(
                WebSocketServer.bind(
                    "127.0.0.1:0", fan_out_threads=threads, ping_interval=None, max_connections=clients
                )
            )
            for threads in THREADS
        ]
        ours, theirs = multiprocessing.Pipe()
        ports = [server.local_addr[1] for server in servers]
        reader = multiprocessing.get_context("spawn").Process(target=read, args=(ports, clients, theirs), daemon=True)
        reader.start()
        theirs.close()
        await asyncio.to_thread(ours.recv)
        for number in range(rounds + WARM_UP):
            for server, threads in list(zip(servers, THREADS, strict=True))[:: 1 if number % 2 else -1]:
                before = server.stats().bytes_sent
                for _ in range(burst):
                    server.broadcast(message)
                size = server.stats().bytes_sent - before
                ours.send(size + burst * clients * HEADER)
                cpu, start = time.process_time(), time.perf_counter()
                server._broadcaster.flush()  # a turn's end, and nothing else of a turn
                end, cpu_end = time.perf_counter(), time.process_time()
                if number >= WARM_UP:
                    taken[threads].append((end - start, cpu_end - cpu))
                ours.recv()
        ours.close()
        await asyncio.to_thread(reader.join)
    flushes, cpus = ([statistics.median(run[kind] for run in taken[one]) for one in THREADS] for kind in (0, 1))
    return (
        f"{clients:6} clients {burst:3} messages   flush {flushes[0] * 1e3:7.2f} -> {flushes[1] * 1e3:7.2f} ms "
        f"({flushes[1] / flushes[0]:.2f}x)   "
        f"CPU {cpus[0] * 1e3:7.2f} -> {cpus[1] * 1e3:7.2f} ms ({cpus[1] / cpus[0]:.2f}x)"
    )


def main() -> None:
    """Print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[600, 1_000, 5_000])
    parser.add_argument("--burst", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--rounds", type=int, default=100)
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores; {THREADS[0]} thread -> {THREADS[1]} threads, medians of {arguments.rounds} flushes")
    for clients in arguments.clients:
        for burst in arguments.burst:
            print(asyncio.run(measure(clients, burst, arguments.rounds)), flush=True)


if __name__ == "__main__":
    main()
