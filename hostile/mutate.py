"""Mutated handshakes and frames, from socket to socket: `python hostile/mutate.py [--connections N] [--seed N]`.

Against our server first, then a tenth as many against our client. Nothing of ours may reach the event loop's exception
handler, memory may not drift, and who keeps to the protocol must be served at the end. Linux only, as `hostile/run.py`.
"""

import argparse
import base64
import contextlib
import hashlib
import json
import os
import re
import select
import socket
import struct
import sys
import threading
import time
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

# Run as a script, the folder of this file is on the path in place of the one above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benches._results import commit, machine, today, versions

from hostile._mutations import Mutator, Stream
from hostile._peer import answers_honestly
from hostile._results import MutationResult, Side, save
from hostile._subject import Subject
from websocket_utils import WebSocketConfig

CONNECTIONS = 50_000
SEED = 1
# Each connection comes from one of these addresses: one alone would run out of ports.
SOURCES = 32
# Memory is compared from here on.
WARM_SHARE = 0.1
# Seconds to wait for an end that the other side may not see a reason for.
_PATIENCE = 0.02
_RESET = struct.pack("ii", 1, 0)
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def _settings() -> dict[str, Any]:
    known = {spec.name for spec in fields(WebSocketConfig)}
    return {"compression": True} if "compression" in known else {}


def _connect(port: int, number: int) -> socket.socket:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # The port is chosen with the destination, so that each source address has all of them.
    one.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
    one.bind((f"127.0.0.{2 + number % SOURCES}", 0))
    one.settimeout(5)
    one.connect(("127.0.0.1", port))
    return one


def _say(one: socket.socket, stream: Stream) -> tuple[str, int]:
    """Send a stream, and return how the connection ended and the bytes that were sent."""
    sent = 0
    try:
        for number, piece in enumerate(stream.pieces):
            if number:
                # What came until here is read by itself.
                time.sleep(0)
            one.sendall(piece)
            sent += len(piece)
        if stream.resets:
            return "reset by the peer", sent
        while select.select([one], [], [], _PATIENCE)[0]:
            if not one.recv(1 << 16):
                return "ended by us", sent
    except ConnectionError:
        return "cut by us", sent
    except TimeoutError:
        return "not read by us", sent
    return "open until reset", sent


def against_server(connections: int, seed: int) -> Side:
    """Let mutated clients connect to our server, one after the other."""
    mutator = Mutator(seed, masked=True)
    endings: Counter[str] = Counter()
    sent = warm = 0
    with Subject("hostile._server", json.dumps(_settings())) as server:
        port = server.hear()["port"]
        began = time.monotonic()
        for number in range(connections):
            if number == int(connections * WARM_SHARE):
                warm = server.resident_kib()
            if mutator.chance(0.4):
                data = mutator.request() + (mutator.frames() if mutator.chance(0.2) else b"")
            else:
                data = mutator.valid_request() + mutator.frames()
            with _connect(port, number) as one:
                how, size = _say(one, mutator.split(data))
            endings[how] += 1
            sent += size
        seconds = time.monotonic() - began
        served = answers_honestly(port)
        # The last ones are still on their way out.
        deadline = time.monotonic() + 5
        while (stats := server.ask())["connections"] and time.monotonic() < deadline:
            time.sleep(0.05)
        end = server.resident_kib()
    return Side(
        role="server",
        connections=connections,
        seed=seed,
        sent=sent,
        opened=stats["accepted"],
        endings=dict(endings),
        loop_errors=len(stats["loop_errors"]),
        first_loop_errors=stats["loop_errors"][:5],
        warm_kib=warm,
        end_kib=end,
        left=stats["connections"],
        seconds=round(seconds, 1),
        served=served,
    )


class _MutatingServer:
    """Serves one client after the other, on a thread: nonsense, until it is told to be honest."""

    def __init__(self, seed: int) -> None:
        self._mutator = Mutator(seed, masked=False)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.is_honest = False
        self.sent = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            one, _ = self._listener.accept()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.settimeout(5)
            with one, contextlib.suppress(OSError):
                self._answer(one)

    def _answer(self, one: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            data = one.recv(1 << 16)
            if not data:
                return
            head += data
        key = re.search(rb"(?i)sec-websocket-key: *(\S+)", head)
        accept = base64.b64encode(hashlib.sha1(key[1] + _GUID, usedforsecurity=False).digest()) if key else b""
        if self.is_honest:
            good = b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            one.sendall(good + accept + b"\r\n\r\n\x82\x02hi\x88\x02\x03\xe8")
            while one.recv(1 << 16):
                pass
            return
        data = self._mutator.response(accept.decode()) + self._mutator.frames()
        self.sent += _say(one, self._mutator.split(data))[1]


def against_client(connections: int, seed: int) -> Side:
    """Let our client connect to a mutated server, again and again."""
    peer = _MutatingServer(seed)
    warm_up = max(1, int(connections * WARM_SHARE))
    with Subject("hostile._client", str(peer.port), json.dumps(_settings())) as client:
        began = time.monotonic()
        limit = connections * 0.5 + 30
        endings = Counter(client.ask(str(warm_up), limit)["endings"])
        warm = client.resident_kib()
        endings += Counter(client.ask(str(connections - warm_up), limit)["endings"])
        seconds = time.monotonic() - began
        end = client.resident_kib()
        peer.is_honest = True
        last = client.ask("1")
    return Side(
        role="client",
        connections=connections,
        seed=seed,
        sent=peer.sent,
        opened=sum(count for how, count in endings.items() if how.startswith("open")),
        endings=dict(endings),
        loop_errors=len(last["loop_errors"]),
        first_loop_errors=last["loop_errors"][:5],
        warm_kib=warm,
        end_kib=end,
        left=endings["no end"],
        seconds=round(seconds, 1),
        served=list(last["endings"]) in (["open, then ConnectionClosedOK"], ["open, then closed"]),
    )


def show(side: Side) -> str:
    """Return what was found in one line for each thing."""
    endings = ", ".join(f"{how}: {count:,}" for how, count in sorted(side.endings.items(), key=lambda item: -item[1]))
    return "\n  ".join(
        (
            f"{side.role}: {side.connections:,} connections, {side.opened:,} opened, {side.sent:,} bytes, "
            f"{side.seconds:.1f} s (seed {side.seed})",
            f"{side.loop_errors} calls of the loop's exception handler; memory {side.warm_kib:,} -> "
            f"{side.end_kib:,} KiB; {side.left} connections left; "
            f"{'served' if side.served else 'NOT SERVED'} at the end",
            endings,
            *side.first_loop_errors,
        )
    )


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--connections",
        type=int,
        default=int(os.environ.get("MUTATION_CONNECTIONS", CONNECTIONS)),
        help=f"to the server; a tenth of it from the client (default: MUTATION_CONNECTIONS or {CONNECTIONS})",
    )
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--keep", action="store_true", help="keep the result, to be rendered by hostile/render.py")
    arguments = parser.parse_args()
    sides = []
    for role, share in ((against_server, 1), (against_client, 10)):
        sides.append(role(arguments.connections // share, arguments.seed))
        print(show(sides[-1]), flush=True)
    if arguments.keep:
        result = MutationResult(
            sides=sides,
            date=today(),
            commit=commit(),
            machine=machine(),
            versions=versions(("websocket_utils", "aiofastnet", "uvloop")),
        )
        print(f"kept in {save(result, 'mutations')}; render: python hostile/render.py")
    return 0 if all(side.met for side in sides) else 1


if __name__ == "__main__":
    sys.exit(main())
