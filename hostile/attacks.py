"""The attacks: what one hostile peer sends, and how that ends.

Each is a function that is given the port and the limit of messages, and yields once when it is ready: what the server
holds then, handshakes included, is what its growth is measured from. It returns how it ended.
"""

import threading
import time
import zlib
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from tests.support.wire import BINARY, CONTINUATION, KEY, PING, frame

from hostile._peer import Peer, request

# Seconds that a flood goes on.
FLOOD_SECONDS = 4.0
# Bytes after which a flood ends before that.
FLOOD_BYTES = 500_000_000
# Connections that each claim a huge message.
CLAIMS = 500
# What an inflate bomb becomes: 300 MB of zeros, from 292 KB.
BOMB_BYTES = 300_000_000
# Connections that a flood of them opens, and how many a server takes in that attack.
FLOOD_CONNECTIONS = 400
MAX_CONNECTIONS = 100
OPEN_TIMEOUT = 2.0

_DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"
# RSV1, which says that a message is compressed (RFC 7692 section 6).
_COMPRESSED = 0b100


@dataclass(frozen=True)
class Ending:
    """How an attack ended, and how many bytes the peer had sent by then."""

    how: str
    sent: int


Script = Callable[[int, int], Generator[None, None, Ending]]


@dataclass(frozen=True)
class Attack:
    """One attack, and what the server is set to where that is not its default."""

    name: str
    title: str
    script: Script
    settings: dict[str, Any] = field(default_factory=dict)


def _flood(name: str, payload: bytes, opcode: int = BINARY) -> Script:
    def script(port: int, _: int) -> Generator[None, None, Ending]:
        with Peer(port, receive_buffer=4096) as peer:
            peer.upgrade()
            one = frame(opcode, payload, masked=True)
            block = one * max(1, (1 << 18) // len(one))
            yield
            peer.flood(block, FLOOD_SECONDS, FLOOD_BYTES)
            return Ending("cut" if peer.is_cut() else "open", peer.sent)

    script.__name__ = name
    return script


def _claims(length: Callable[[int], int]) -> Script:
    def script(port: int, limit: int) -> Generator[None, None, Ending]:
        with ExitStack() as stack:
            peers = [stack.enter_context(Peer(port)) for _ in range(CLAIMS)]
            for peer in peers:
                peer.upgrade()
            head = bytes([0x80 | BINARY, 0x80 | 127]) + length(limit).to_bytes(8, "big") + KEY
            yield
            for peer in peers:
                peer.push(head, 1)
            # An end comes at once or not at all, and one wait does for all.
            time.sleep(1)
            endings = [peer.ending(0.001) for peer in peers]
            return Ending(", ".join(sorted(set(endings))), sum(peer.sent for peer in peers))

    return script


def _sends(build: Callable[[int], bytes], *headers: str) -> Script:
    """A peer that sends bytes and then waits for what comes of it."""

    def script(port: int, limit: int) -> Generator[None, None, Ending]:
        with Peer(port) as peer:
            peer.upgrade(*headers)
            data = build(limit)
            yield
            peer.push(data, 3)
            return Ending(peer.ending(1.0), peer.sent)

    return script


def _tiny_fragments(_: int) -> bytes:
    return frame(BINARY, b"x", masked=True, fin=False) + frame(CONTINUATION, b"x", masked=True, fin=False) * 130_999


def _empty_fragments(_: int) -> bytes:
    return frame(BINARY, masked=True, fin=False) + frame(CONTINUATION, masked=True, fin=False) * 999_999


def _over_limit(limit: int) -> bytes:
    return frame(BINARY, bytes(limit + 1), masked=True)[:-1]


def _segments(port: int, _: int) -> Generator[None, None, Ending]:
    with Peer(port) as peer:
        peer.upgrade()
        data = frame(BINARY, bytes(100_000), masked=True)
        yield
        deadline = time.monotonic() + FLOOD_SECONDS
        for at in range(len(data) - 1):
            if time.monotonic() > deadline or not peer.push(data[at : at + 1], 1):
                break
        return Ending(peer.ending(0.2), peer.sent)


def _bomb() -> bytes:
    """A compressed message without its tail (RFC 7692 section 7.2.1) that becomes `BOMB_BYTES` zeros."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = bytes(1_000_000)
    parts = [compressor.compress(block) for _ in range(BOMB_BYTES // len(block))]
    return b"".join([*parts, compressor.flush(zlib.Z_SYNC_FLUSH)])[:-4]


def _bomb_in_one_frame(_: int) -> bytes:
    return frame(BINARY, _bomb(), masked=True, reserved_bits=_COMPRESSED)


def _fragments(payload: bytes, size: int) -> bytes:
    cuts = range(0, len(payload), size)
    return b"".join(
        frame(
            CONTINUATION if at else BINARY,
            payload[at : at + size],
            masked=True,
            fin=at == cuts[-1],
            reserved_bits=0 if at else _COMPRESSED,
        )
        for at in cuts
    )


def _bomb_in_fragments(_: int) -> bytes:
    return _fragments(_bomb(), 4096)


def _bomb_behind_full_fragment(limit: int) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = compressor.compress(bytes(limit)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    bomb = _bomb()
    return frame(BINARY, first, masked=True, fin=False, reserved_bits=_COMPRESSED) + frame(
        CONTINUATION, bomb, masked=True
    )


def _small_bombs(port: int, limit: int) -> Generator[None, None, Ending]:
    """Messages that each inflate to the limit, while another peer asks for pongs."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = (compressor.compress(bytes(limit)) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")
    block = frame(BINARY, bomb, masked=True, reserved_bits=_COMPRESSED) * 64
    with Peer(port) as peer, Peer(port) as other:
        peer.upgrade(_DEFLATE)
        other.upgrade()
        yield
        flood = threading.Thread(target=peer.flood, args=(block, FLOOD_SECONDS, FLOOD_BYTES))
        flood.start()
        waits: list[float] = []
        while flood.is_alive():
            waits.append(other.round_trip(5))
        flood.join()
        return Ending(
            f"others waited {1000 * sorted(waits)[len(waits) // 2]:.0f} ms, at most {1000 * max(waits):.0f} ms",
            peer.sent,
        )


def _head_in_segments(port: int, _: int) -> Generator[None, None, Ending]:
    with Peer(port) as peer:
        head = request("X-Padding: " + "x" * 5000, "X-More: " + "y" * 5000, "X-Last: " + "z" * 4800)
        yield
        for at in range(len(head)):
            if not peer.push(head[at : at + 1], 1):
                break
        peer.socket.settimeout(1)
        try:
            answer = peer.socket.recv(4096)
        except OSError:
            return Ending("no answer", peer.sent)
        return Ending(" ".join(answer.decode("latin-1").split()[:2]) or "end of stream", peer.sent)


def _slow_head(drip: float | None) -> Script:
    def script(port: int, _: int) -> Generator[None, None, Ending]:
        with Peer(port) as peer:
            head = request("X-Padding: " + "x" * 4000)
            yield
            began = time.monotonic()
            peer.push(head[:60], 1)
            at = 60
            while drip is not None and time.monotonic() - began < FLOOD_SECONDS:
                if peer.is_cut() or not peer.push(head[at : at + 1], 1):
                    break
                at += 1
                time.sleep(drip)
            how = peer.ending(max(0.1, began + FLOOD_SECONDS - time.monotonic()))
            return Ending(f"{how} after {time.monotonic() - began:.1f} s", peer.sent)

    return script


def _connections(port: int, _: int) -> Generator[None, None, Ending]:
    with ExitStack() as stack:
        yield
        taken, refused = 0, dict[str, int]()
        for _ in range(FLOOD_CONNECTIONS):
            peer = stack.enter_context(Peer(port))
            try:
                peer.upgrade()
                taken += 1
            except OSError as error:
                why = str(error) if isinstance(error, ConnectionRefusedError) else "reset"
                refused[why] = refused.get(why, 0) + 1
        parts = [f"{taken} taken", *(f"{count} x {why}" for why, count in refused.items())]
        return Ending(", ".join(parts), 0)


ATTACKS = (
    Attack("echo_1k", "1 KiB messages to an echo, whose answers are never read", _flood("echo_1k", bytes(1024))),
    Attack("echo_64k", "64 KiB messages to an echo, whose answers are never read", _flood("echo_64k", bytes(1 << 16))),
    Attack("pings", "pings of 125 bytes, whose pongs are never read", _flood("pings", bytes(125), PING)),
    Attack("claim_2_63", f"{CLAIMS} connections: a header that claims 2^63-1 bytes", _claims(lambda _: (1 << 63) - 1)),
    Attack("claim_over", f"{CLAIMS} connections: a header that claims the limit + 1", _claims(lambda limit: limit + 1)),
    Attack("claim_limit", f"{CLAIMS} connections: a header that claims the limit", _claims(lambda limit: limit)),
    Attack("tiny_fragments", "131 000 fragments of one byte, none the last", _sends(_tiny_fragments)),
    Attack("empty_fragments", "1 000 000 fragments of no byte, none the last", _sends(_empty_fragments)),
    Attack("segments", "a message of 100 kB in TCP segments of one byte, its last one missing", _segments),
    Attack("over_limit", "a message of the limit + 1 in one frame, its last byte missing", _sends(_over_limit)),
    Attack(
        "bomb",
        "292 KB that inflate to 300 MB, in one frame",
        _sends(_bomb_in_one_frame, _DEFLATE),
        {"compression": True},
    ),
    Attack(
        "bomb_fragments",
        "292 KB that inflate to 300 MB, in fragments of 4 KiB",
        _sends(_bomb_in_fragments, _DEFLATE),
        {"compression": True},
    ),
    Attack(
        "bomb_behind",
        "the same behind a fragment that inflates to exactly the limit",
        _sends(_bomb_behind_full_fragment, _DEFLATE),
        {"compression": True},
    ),
    Attack(
        "small_bombs",
        "messages of 1 KiB that each inflate to the limit, one behind the other",
        _small_bombs,
        {"compression": True},
    ),
    Attack("long_head", "a request of 15 KiB in TCP segments of one byte", _head_in_segments),
    Attack(
        "half_head",
        f"half a request, and then nothing (deadline {OPEN_TIMEOUT:g} s)",
        _slow_head(None),
        {"open_timeout": OPEN_TIMEOUT},
    ),
    Attack(
        "dripped_head",
        f"a request at 20 bytes/s (deadline {OPEN_TIMEOUT:g} s)",
        _slow_head(0.05),
        {"open_timeout": OPEN_TIMEOUT},
    ),
    Attack(
        "connections",
        f"{FLOOD_CONNECTIONS} connections, of which {MAX_CONNECTIONS} are allowed",
        _connections,
        {"max_connections": MAX_CONNECTIONS},
    ),
    Attack(
        "connections_of_one",
        f"{FLOOD_CONNECTIONS} connections of one address, of which {MAX_CONNECTIONS} are allowed",
        _connections,
        {"max_connections_per_address": MAX_CONNECTIONS},
    ),
)
