"""Streams of frames for the feed, other than those of the usual messages; and what a sink recorded, inflated."""

import random
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from benches._payload import CYCLE, MARKETS, SIZE

# What both ends are told for compressed frames: a stream that anybody can inflate, whatever it would have agreed to.
DEFLATE = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
BOOK_SIZE = 1024
BIG_SIZE = 1 << 16
# Where the last digit of an order book's sequence is, and any byte of noise.
PROBE = 57
_TAIL = b"\x00\x00\xff\xff"
_TEXT, _BINARY, _FIN, _COMPRESSED = 0x1, 0x2, 0x80, 0x40


class Wire(NamedTuple):
    """A cycle of messages as they travel."""

    frames: list[bytes]
    messages: list[bytes]
    # What the server says to have agreed to; None where that is nothing.
    extensions: str | None


def books() -> list[bytes]:
    """Return 64 different order books of 1 024 bytes of JSON each: ten levels of a side, numbers of any digits."""
    chance = random.Random(64)
    found = []
    for index in range(CYCLE):
        price = 100.0 + index
        sides = {
            name: [
                [round(price + sign * (level + chance.random()) / 100, 4), round(chance.expovariate(0.01), 3)]
                for level in range(24)
            ]
            for name, sign in (("bids", -1), ("asks", 1))
        }
        book = {
            "type": "OrderBook",
            "market": "/".join(MARKETS[index % len(MARKETS)]),
            "sequence": 1_000_000 + index,
            "timestamp": 1_718_035_200_000_000 + 1001 * index,
            **sides,
            "note": "",
        }
        while len(text := msgspec.json.encode(book)) > BOOK_SIZE:
            sides["bids"].pop()
            sides["asks"].pop()
        book["note"] = "." * (BOOK_SIZE - len(text))
        found.append(msgspec.json.encode(book))
    return found


def _frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes([first, size]) + payload
    if size < 1 << 16:
        return bytes([first, 126]) + size.to_bytes(2, "big") + payload
    return bytes([first, 127]) + size.to_bytes(8, "big") + payload


def _compressed(message: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return (stream.compress(message) + stream.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)


def deflated_frame(message: bytes) -> bytes:
    """Return a text message, compressed by itself, as one frame."""
    return _frame(_FIN | _COMPRESSED | _TEXT, _compressed(message))


def _deflated_books() -> Wire:
    messages = books()
    return Wire([deflated_frame(message) for message in messages], messages, DEFLATE)


def _big() -> Wire:
    messages = [random.Random(index).randbytes(BIG_SIZE) for index in range(CYCLE)]
    return Wire([_frame(_FIN | _BINARY, message) for message in messages], messages, None)


def _small() -> Wire:
    # The first byte is a number to MessagePack: nobody can take it for a message with a type.
    messages = [bytes([index]) + random.Random(index).randbytes(SIZE - 1) for index in range(CYCLE)]
    return Wire([_frame(_FIN | _BINARY, message) for message in messages], messages, None)


WIRES: dict[str, Callable[[], Wire]] = {"books_deflated": _deflated_books, "big": _big, "small": _small}


def probe(message: bytes | str) -> int:
    """Return a number that differs between the messages of a cycle: one character, where their digits are."""
    found = message[PROBE]
    return found if isinstance(found, int) else ord(found)


def write(wire: Wire, path: Path) -> None:
    """Write the frames where the feed reads them: each behind its length in four bytes."""
    path.write_bytes(b"".join(struct.pack(">I", len(frame)) + frame for frame in wire.frames))


def inflated(path: Path) -> list[bytes]:
    """Return the messages of a sink's record: a compressed stream of one connection, in its order."""
    data = path.read_bytes()
    # One stream inflates both kinds: messages that refer to those before them, and messages that don't.
    stream = zlib.decompressobj(-15)
    found = []
    at = 0
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        at += 4 + size
        found.append(stream.decompress(data[at - size : at] + _TAIL))
    return found


def check(found: Sequence[bytes], expected: Sequence[bytes]) -> str | None:
    """Say what is wrong with the first messages that were found; None where nothing is."""
    if list(found) == list(expected[: len(found)]) and found:
        return None
    return f"{len(found)} messages recorded, and they are not the ones that were sent"
