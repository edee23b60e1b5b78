"""Payloads made from valid ones: bytes changed without sense, or values put where others were."""

import re
from typing import Any, Final

import msgspec
from tests.property.codec.chance import Chance
from tests.property.codec.walking import Span, spans

__all__ = ["Mutator"]

_MOST_SPANS: Final = 60
_JSON_PIECES: Final = [
    b'"',
    b"\\",
    b"0",
    b"-",
    b"e9",
    b".",
    b" ",
    b",",
    b"}",
    b"]",
    b"{",
    b"[",
    b":",
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xe2\x82",
    b"null",
    b"\x00",
    b"\x1f",
    b"\\u0000",
    b"\\ud800",
    b"\\udc00",
    b"\\ud83d\\ude00",
    b"\\x",
    b"\\/",
    b"NaN",
    b"//",
    b"\xef\xbb\xbf",
    b"\x0c",
    b"\xc2\xa0",
]
_JSON_VALUES: Final = [
    b"null",
    b"true",
    b"false",
    b'""',
    b"[]",
    b"{}",
    b"0",
    b"-0",
    b"1",
    b"1.0",
    b"1.5",
    b'"1"',
    b'"1.5"',
    b'"a"',
    b'"SOL"',
    b'"\\u0053OL"',
    b"[1]",
    b'{"a":1}',
    b"18446744073709551615",
    b"18446744073709551616",
    b"9223372036854775808",
    b"-9223372036854775809",
    b"1e400",
    b"01",
    b"+1",
    b"1.",
    b".5",
    b"1e",
    b"-",
    b"tru",
    b"nulll",
    b'"\xff"',
    b'"\xed\xb0\x80"',
    b'"\\ud800"',
    b'"2020-01-02T03:04:05Z"',
]
_PACKED_VALUES: Final = [
    b"\xc0",
    b"\xc1",
    b"\xc2",
    b"\xc3",
    b"\x00",
    b"\x7f",
    b"\xe0",
    b"\xff",
    b"\xa0",
    b"\xa1a",
    b"\xa1\xff",
    b"\xa31.5",
    b"\xa11",
    b"\xa3SOL",
    b"\xd9\x03SOL",
    b"\xda\x00\x03SOL",
    b"\xdb\x00\x00\x00\x03SOL",
    b"\xc4\x00",
    b"\xc4\x01x",
    b"\xc5\x00\x01\xff",
    b"\x90",
    b"\x91\x01",
    b"\xdc\x00\x00",
    b"\xdd\x00\x00\x00\x01\x01",
    b"\x80",
    b"\x81\xa1a\x01",
    b"\x81\x01\x01",
    b"\xde\x00\x00",
    b"\xdf\x00\x00\x00\x00",
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xcc\x01",
    b"\xcd\x00\x01",
    b"\xce\x00\x00\x00\x01",
    b"\xcf\x00\x00\x00\x00\x00\x00\x00\x01",
    b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00",
    b"\xd0\x01",
    b"\xd1\xff\xff",
    b"\xd2\x00\x00\x00\x01",
    b"\xca\x3f\x80\x00\x00",
    b"\xca\x7f\xc0\x00\x00",
    b"\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00",
    b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00",
    b"\xcb\x80\x00\x00\x00\x00\x00\x00\x00",
    b"\xd4\x05x",
    b"\xd6\xff\x00\x00\x00\x01",
    b"\xc7\x0c\xff\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01",
]
_encode_json: Final = msgspec.json.encode
_encode_msgpack: Final = msgspec.msgpack.encode
_DIGITS: Final = re.compile(rb"[-+.eE\d]+")


class Mutator:
    """Makes other payloads of one."""

    def __init__(self, chance: Chance, payload: bytes, before: "Mutator | None" = None) -> None:
        self.chance = chance
        self.payload = payload
        # Another payload of the same type.
        self.other = before.payload if before is not None else b""
        self._other_spans: list[Span] = before._spans if before is not None else []
        self._is_json = chance.format == "json"
        self._spans: list[Span] = spans(payload, chance.format, _MOST_SPANS)

    def one(self) -> bytes:
        """One mutated payload."""
        chance = self.chance
        if self._spans and chance.random() < 0.75:
            return self._with_other_value()
        data = self.with_other_bytes(self.payload)
        return self.with_other_bytes(data) if chance.random() < 0.2 else data

    def _with_other_value(self) -> bytes:
        """The structure stays whole, mostly."""
        chance, payload = self.chance, self.payload
        span = self._spans[chance.below(len(self._spans))]
        start, end = span.start, span.end
        match chance.below(10):
            case 0 | 1:
                value = chance.one_of(_JSON_VALUES if self._is_json else _PACKED_VALUES)
            case 2 | 3:
                value = self._alike(payload[start:end])
            case 4 | 5 if self._other_spans:
                value = self._bytes_of(self.other, chance.one_of(self._other_spans))
            case 6 | 7:
                value = self._bytes_of(payload, chance.one_of(self._spans))
            case 8:
                value = self._number()
            case _ if self._is_json:
                # Twice, or away, with the comma.
                value = payload[start:end] + b"," + payload[start:end] if chance.random() < 0.5 else b""
            case _:
                value = payload[start:end] * 2 if chance.random() < 0.5 else b""
        return payload[:start] + value + payload[end:]

    @staticmethod
    def _bytes_of(payload: bytes, span: Span) -> bytes:
        return payload[span.start : span.end]

    def _alike(self, value: bytes) -> bytes:
        """A value of the same kind, mostly."""
        first = value[:1]
        if self._is_json:
            if first in b"-0123456789":
                return self._number()
            return _encode_json(self.chance.text()) if first == b'"' else value
        head = value[0]
        if head < 0x80 or head >= 0xE0 or 0xCA <= head <= 0xD3:
            return self._number()
        return _encode_msgpack(self.chance.text()) if head >= 0xA0 else value

    def _number(self) -> bytes:
        number: Any = self.chance.number()
        if not self._is_json:
            return _encode_msgpack(number)
        return str(number).encode() if isinstance(number, int) else _encode_json(number)

    def with_other_bytes(self, payload: bytes) -> bytes:
        """Bytes changed anywhere."""
        chance = self.chance
        at = chance.below(len(payload) + 1)
        match chance.below(9):
            case 0:
                return payload[:at] + bytes([chance.below(256)]) + payload[at + 1 :]
            case 1:
                return payload[:at] + chance.one_of(_JSON_PIECES if self._is_json else _PACKED_VALUES) + payload[at:]
            case 2:
                return payload[:at] + payload[at + 1 + chance.below(4) :]
            case 3:
                end = at + 1 + chance.below(8)
                return payload[:end] + payload[at:]
            case 4:
                return payload[:at]
            case 5:
                return payload[:at] + self.other[chance.below(len(self.other) + 1) :]
            case 6 if at < len(payload):
                return payload[:at] + bytes([payload[at] ^ (1 << chance.below(8))]) + payload[at + 1 :]
            case 7 if self._is_json:
                found = _DIGITS.search(payload, at)
                if found is not None:
                    return payload[: found.start()] + self._number() + payload[found.end() :]
                return payload + chance.one_of(_JSON_PIECES)
            case 8 if chance.random() < 0.3:
                return chance.randbytes(chance.below(60))
            case _:
                piece = chance.one_of(_JSON_PIECES if self._is_json else _PACKED_VALUES)
                return payload[:at] + piece + payload[at + len(piece) :]
