"""WebSocket frames written and read by hand, as RFC 6455 section 5.2 draws them: the tests' own judge."""

import zlib
from typing import NamedTuple

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
# The reserved bit of a message that permessage-deflate has compressed (RFC 7692 section 6).
COMPRESSED = 0x4
# What the sender of a compressed message takes off its end and the receiver puts back (RFC 7692 section 7.2).
DEFLATE_TAIL = b"\x00\x00\xff\xff"
KEY = b"\x37\xfa\x21\x3d"


class Frame(NamedTuple):
    opcode: int
    payload: bytes
    fin: bool = True
    masked: bool = False
    reserved_bits: int = 0

    @property
    def is_compressed(self) -> bool:
        return self.reserved_bits == COMPRESSED

    @property
    def close_code(self) -> int:
        assert self.opcode == CLOSE, self
        return close_code(self.payload)

    @property
    def close_reason(self) -> str:
        assert self.opcode == CLOSE, self
        return self.payload[2:].decode()


def xor(payload: bytes, key: bytes) -> bytes:
    if not payload:
        return b""
    stream = (key * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(payload), "big")


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    masked: bool,
    fin: bool = True,
    reserved_bits: int = 0,
    length_size: int | None = None,
) -> bytes:
    """One frame; `length_size` (0, 2 or 8 bytes behind the second byte) makes its length longer than it has to be."""
    size = len(payload)
    if length_size is None:
        length_size = 0 if size <= 125 else 2 if size <= 0xFFFF else 8
    short = {0: size, 2: 126, 8: 127}[length_size]
    head = bytes([fin << 7 | reserved_bits << 4 | opcode, masked << 7 | short])
    head += size.to_bytes(length_size, "big") if length_size else b""
    return head + KEY + xor(payload, KEY) if masked else head + payload


def close_payload(code: int, reason: str | bytes = "") -> bytes:
    return code.to_bytes(2, "big") + (reason.encode() if isinstance(reason, str) else reason)


def close_frame(code: int, reason: str = "", *, masked: bool) -> bytes:
    return frame(CLOSE, close_payload(code, reason), masked=masked)


def close_code(payload: bytes) -> int:
    return int.from_bytes(payload[:2], "big")


class Deflater:
    """Compresses messages as RFC 7692 section 7.2.1 says, by the standard library's zlib."""

    def __init__(self, window_bits: int = 15, *, takeover: bool = True) -> None:
        # zlib compresses raw streams with 9 bits and more.
        self._window_bits = max(window_bits, 9)
        self._takeover = takeover
        self._stream = zlib.compressobj(wbits=-self._window_bits)

    def payload(self, message: bytes) -> bytes:
        if not self._takeover:
            self._stream = zlib.compressobj(wbits=-self._window_bits)
        data = self._stream.compress(message) + self._stream.flush(zlib.Z_SYNC_FLUSH)
        return data.removesuffix(DEFLATE_TAIL)


class Inflater:
    """Reads all messages of one connection as RFC 7692 section 7.2.2 says, by the standard library's zlib."""

    def __init__(self, window_bits: int = 15, *, takeover: bool = True) -> None:
        self._window_bits = window_bits
        self._takeover = takeover
        self._stream = zlib.decompressobj(-window_bits)

    def message(self, one: Frame) -> bytes:
        assert one.fin
        if not one.is_compressed:
            return one.payload
        if not self._takeover:
            self._stream = zlib.decompressobj(-self._window_bits)
        message = self._stream.decompress(one.payload + DEFLATE_TAIL)
        assert not self._stream.eof, "a final block would end the stream"
        return message


class FrameReader:
    """Cuts a byte stream into frames, which may have these reserved bits and no others: none without an extension."""

    def __init__(self, *, reserved_bits: int = 0) -> None:
        self._data = bytearray()
        self._allowed = reserved_bits

    @property
    def rest(self) -> int:
        """Bytes of a frame that is not whole yet."""
        return len(self._data)

    def feed(self, data: bytes | bytearray | memoryview) -> list[Frame]:
        self._data += data
        frames = []
        at = 0
        while (found := self._next(at)) is not None:
            one, at = found
            frames.append(one)
        del self._data[:at]
        return frames

    def _next(self, at: int) -> tuple[Frame, int] | None:
        data = self._data
        if len(data) - at < 2:
            return None
        first, second = data[at], data[at + 1]
        reserved_bits = (first >> 4) & 7
        assert not reserved_bits & ~self._allowed, f"reserved bits in {first:#04x}"
        masked, size = bool(second & 0x80), second & 0x7F
        at += 2
        if size >= 126:
            wide = 2 if size == 126 else 8
            if len(data) - at < wide:
                return None
            size = int.from_bytes(data[at : at + wide], "big")
            at += wide
        key_size = 4 if masked else 0
        end = at + key_size + size
        if len(data) < end:
            return None
        payload = bytes(data[at + key_size : end])
        if masked:
            payload = xor(payload, bytes(data[at : at + 4]))
        return Frame(first & 0xF, payload, bool(first & 0x80), masked, reserved_bits), end
