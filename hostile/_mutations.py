"""Seeded nonsense: opening handshakes and streams of frames that were valid before something happened to them."""

import itertools
import random
from collections.abc import Callable
from typing import NamedTuple

from tests.support.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame

from hostile._peer import KEY, request

_EXTENSIONS = (
    "permessage-deflate",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    "permessage-deflate; server_max_window_bits=8",
    "permessage-deflate; server_max_window_bits=99, permessage-deflate",
    "x-unknown; a=b",
)
_HEADERS = (
    "Origin: http://127.0.0.1",
    "Sec-WebSocket-Protocol: websocket-utils.msgpack, other",
    "User-Agent: " + "a" * 300,
    "Cookie: a=b; c=d",
    "Content-Length: 0",
    "Transfer-Encoding: chunked",
    "Expect: 100-continue",
    "X-Empty:",
)
# Lengths around the borders of the three forms of a length (RFC 6455 section 5.2).
_SIZES = (0, 1, 2, 3, 7, 124, 125, 126, 127, 300, 4000, 65_535, 65_536, 70_000)
_CODES = (0, 999, 1000, 1001, 1004, 1005, 1006, 1007, 1012, 1015, 2999, 3000, 4999, 5000, 65_535)
# Bytes that are texts here and no UTF-8 there.
_TEXTS = (b"plain", "zażółć €😀".encode(), b"\xff\xfe", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b'{"type":"Ping"}', b"{")


class Stream(NamedTuple):
    """What one connection sends, in the pieces it leaves in."""

    pieces: list[bytes]
    # Whether it ends with a reset while the other side is still at it, instead of waiting for it.
    resets: bool


class Mutator:
    """Makes nonsense; the same of the same seed.

    Args:
        seed: Where it begins.
        masked: Whether frames are masked, as those of a client are.
    """

    def __init__(self, seed: int, *, masked: bool) -> None:
        self._random = random.Random(seed)
        self._masked = masked

    def chance(self, probability: float) -> bool:
        """Return True that often."""
        return self._random.random() < probability

    def valid_request(self) -> bytes:
        """Return a request that a server may accept."""
        extra = self._random.sample(_HEADERS[:4], self._random.randrange(3))
        if self.chance(0.5):
            extra.append("Sec-WebSocket-Extensions: " + self._random.choice(_EXTENSIONS))
        return request(*extra)

    def request(self) -> bytes:
        """Return a request that something happened to."""
        extra = self._random.sample(_HEADERS, self._random.randrange(len(_HEADERS)))
        extra += [f"Sec-WebSocket-Extensions: {self._random.choice(_EXTENSIONS)}"]
        lines = request(*extra).split(b"\r\n")
        if self.chance(0.3):
            self._random.shuffle(lines)
        if self.chance(0.2):
            lines.insert(1, self._random.choice(lines))
        if self.chance(0.05):
            lines.insert(1, b"X: " + b"y" * self._random.choice((8000, 16_384, 40_000)))
        if self.chance(0.05):
            lines[1:1] = [b"X-%d: y" % number for number in range(200)]
        return self.mutated(self._random.choice((b"\r\n", b"\r\n", b"\r\n", b"\n")).join(lines))

    def response(self, accept: str) -> bytes:
        """Return the head of a server's answer, right in four of ten cases."""
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {accept}",
        ]
        if self.chance(0.4):
            return "\r\n".join([*lines, "", ""]).encode()
        if self.chance(0.3):
            lines.append(f"Sec-WebSocket-Extensions: {self._random.choice(_EXTENSIONS)}")
        if self.chance(0.2):
            lines[0] = self._random.choice(
                ("HTTP/1.1 200 OK", "HTTP/1.1 503 X", "HTTP/1.0 101 X", "HTTP/1.1 302 Y", "x")
            )
        if self.chance(0.2):
            lines.append(f"Location: ws://127.0.0.1:1/{KEY}")
        return self.mutated("\r\n".join([*lines, "", ""]).encode())

    def frames(self) -> bytes:
        """Return a stream of frames; nothing happened to it in one case of four."""
        data = b"".join(self._one() for _ in range(self._random.randrange(1, 12)))
        return data if self.chance(0.25) else self.mutated(data)

    def _one(self) -> bytes:
        kind = self._random.randrange(8)
        if kind == 0:
            return frame(TEXT, self._random.choice(_TEXTS), masked=self._masked)
        if kind == 1:
            payload = self._random.randbytes(self._random.choice(_SIZES))
            cuts = sorted(self._random.randrange(len(payload) + 1) for _ in range(self._random.randrange(4)))
            edges = [0, *cuts, len(payload)]
            return b"".join(
                frame(
                    CONTINUATION if at else BINARY,
                    payload[edges[at] : edges[at + 1]],
                    masked=self._masked,
                    fin=at == len(edges) - 2,
                )
                for at in range(len(edges) - 1)
            )
        if kind == 2:
            return frame(self._random.choice((PING, PONG)), self._random.randbytes(17), masked=self._masked)
        if kind == 3 and self.chance(0.3):
            code = self._random.choice(_CODES).to_bytes(2, "big")
            return frame(CLOSE, code + self._random.choice(_TEXTS), masked=self._masked)
        if kind == 4:
            # Noise that says it is compressed.
            payload = self._random.randbytes(self._random.randrange(1, 60))
            return frame(BINARY, payload, masked=self._masked, reserved_bits=0b100)
        if kind == 5 and self.chance(0.2):
            return frame(
                self._random.randrange(16),
                self._random.randbytes(9),
                masked=self._masked ^ self.chance(0.2),
                fin=self.chance(0.5),
                reserved_bits=self._random.randrange(8),
                length_size=self._random.choice((0, 2, 8)),
            )
        return frame(BINARY, self._random.randbytes(self._random.choice(_SIZES[:11])), masked=self._masked)

    def mutated(self, data: bytes) -> bytes:
        """Return `data` after one to four accidents."""
        accidents: tuple[Callable[[bytearray], None], ...] = (
            self._flip,
            self._flip,
            self._cut,
            self._double,
            self._noise,
        )
        found = bytearray(data)
        for _ in range(self._random.randrange(1, 5)):
            if found:
                self._random.choice(accidents)(found)
        return bytes(found)

    def _place(self, data: bytearray) -> int:
        # Half of all accidents happen where the structure is: at the beginning.
        most = min(len(data), 16) if self.chance(0.5) else len(data)
        return self._random.randrange(most)

    def _flip(self, data: bytearray) -> None:
        data[self._place(data)] ^= 1 << self._random.randrange(8)

    def _cut(self, data: bytearray) -> None:
        at = self._place(data)
        end = len(data) if self.chance(0.3) else at + self._random.randrange(1, 20)
        del data[at:end]

    def _double(self, data: bytearray) -> None:
        at = self._place(data)
        data[at:at] = data[at : at + self._random.randrange(1, 50)]

    def _noise(self, data: bytearray) -> None:
        at = self._place(data)
        data[at:at] = self._random.randbytes(self._random.randrange(1, 20))

    def split(self, data: bytes) -> Stream:
        """Cut `data` into the pieces it leaves in."""
        count = self._random.choice((0, 0, 0, 1, 2, 5))
        cuts = sorted(self._random.randrange(len(data) + 1) for _ in range(count))
        edges = [0, *cuts, len(data)]
        pieces = [data[start:end] for start, end in itertools.pairwise(edges)]
        return Stream([piece for piece in pieces if piece], self.chance(0.5))
