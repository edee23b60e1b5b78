"""Frames of a server, written and read without any check that would keep a fault from being one (RFC 6455 §5.2)."""

from typing import NamedTuple

__all__ = ["BINARY", "CLOSE", "PING", "PONG", "TEXT", "Frame", "FrameReader", "close_payload", "frame"]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

_SHORT, _MEDIUM = 125, 0xFFFF


class Frame(NamedTuple):
    """One received frame, unmasked; the payload of a message that came in fragments is put together."""

    opcode: int
    payload: bytes


def frame(opcode: int, payload: bytes) -> bytes:
    """Write one whole, unmasked frame."""
    size = len(payload)
    if size <= _SHORT:
        return bytes((0x80 | opcode, size)) + payload
    if size <= _MEDIUM:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + payload


def close_payload(code: int, reason: str) -> bytes:
    """Write the payload of a close frame; 1005 is a frame without any (RFC 6455 §7.4.1)."""
    return b"" if code == 1005 else code.to_bytes(2, "big") + reason.encode()  # noqa: PLR2004  # as the RFC has it


def _unmasked(payload: bytes, key: bytes) -> bytes:
    size = len(payload)
    stream = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(stream, "little")).to_bytes(size, "little")


class FrameReader:
    """Cuts what a client sends into frames. It trusts the client: what is judged here are clients that are ours."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._fragments: list[bytes] = []
        self._opcode = CONTINUATION

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes, and return the control frames and whole messages that they complete."""
        self._data += data
        found: list[Frame] = []
        at = 0
        while (end := self._read(at, found)) is not None:
            at = end
        del self._data[:at]
        return found

    def _read(self, at: int, found: list[Frame]) -> int | None:
        data = self._data
        body = at + 2
        if len(data) < body:
            return None
        first, size = data[at], data[at + 1] & 0x7F
        if size > _SHORT:
            wide = 2 if size == _SHORT + 1 else 8
            size = int.from_bytes(data[body : body + wide], "big")
            body += wide
        if data[at + 1] & 0x80:
            body += 4
        if len(data) < body + size:
            return None
        payload = bytes(data[body : body + size])
        if data[at + 1] & 0x80:
            payload = _unmasked(payload, bytes(data[body - 4 : body]))
        self._take(first, payload, found)
        return body + size

    def _take(self, first: int, payload: bytes, found: list[Frame]) -> None:
        opcode = first & 0xF
        if opcode >= CLOSE:
            found.append(Frame(opcode, payload))
            return
        if opcode != CONTINUATION:
            self._opcode = opcode
        self._fragments.append(payload)
        if first & 0x80:
            found.append(Frame(self._opcode, b"".join(self._fragments)))
            self._fragments.clear()
