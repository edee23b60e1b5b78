"""Writers of JSON and MessagePack that write each value in one of the many ways that are allowed."""

import functools
import json
import struct
from collections.abc import Callable
from typing import Any, Final

import msgspec
from tests.property.codec.chance import Chance

__all__ = ["spelled"]

_SPACES: Final = ["", "", "", " ", "  ", "\n", "\t", "\r\n", " \n  "]


def spelled(chance: Chance, value: Any) -> bytes:
    """Encode a value in a random spelling."""
    return _json(chance, value) if chance.format == "json" else _msgpack(chance, value)


def _json(chance: Chance, value: Any) -> bytes:
    # How often something unusual is done, drawn once for each payload: some are odd in one way only.
    spaces, escapes, floats, shuffles = (chance.random() * 0.5 if chance.often(0.4) else 0.0 for _ in range(4))
    out: list[str] = []

    def space() -> None:
        if spaces and chance.often(spaces):
            out.append(chance.one_of(_SPACES))

    def text(value: str) -> str:
        if not escapes:
            return json.dumps(value, ensure_ascii=chance.often(0.2))
        return '"' + "".join([_escape(letter) if chance.often(escapes) else _letter(letter) for letter in value]) + '"'

    def write(value: Any) -> None:
        space()
        if isinstance(value, dict):
            out.append("{")
            pairs = list(value.items())
            if shuffles and chance.often(shuffles):
                chance.shuffle(pairs)
            if pairs and chance.often(shuffles * 0.1):
                # A key that comes twice.
                pairs.insert(chance.below(len(pairs) + 1), (chance.one_of(pairs)[0], chance.one_of(pairs)[1]))
            for at, (key, item) in enumerate(pairs):
                if at:
                    out.append(",")
                space()
                out.append(text(str(key)))
                space()
                out.append(":")
                write(item)
            space()
            out.append("}")
        elif isinstance(value, list):
            out.append("[")
            for at, item in enumerate(value):
                if at:
                    out.append(",")
                write(item)
            space()
            out.append("]")
        elif isinstance(value, str):
            out.append(text(value))
        elif isinstance(value, msgspec.Raw):
            out.append(bytes(value).decode())
        elif type(value) is int:
            out.append(f"{value}.0" if floats and chance.often(floats) else str(value))
        else:
            out.append(msgspec.json.encode(value).decode())
        space()

    write(value)
    return "".join(out).encode()


def _escape(letter: str) -> str:
    units = letter.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02X}" for at in range(0, len(units), 2))


@functools.cache
def _letter(letter: str) -> str:
    if letter == "/":
        return "\\/"
    return json.dumps(letter, ensure_ascii=False)[1:-1]


_FORMS: Final = [
    ("B", 0, 0xFF, 0xCC),
    ("H", 0, 0xFFFF, 0xCD),
    ("I", 0, 0xFFFF_FFFF, 0xCE),
    ("Q", 0, 2**64 - 1, 0xCF),
    ("b", -(2**7), 2**7 - 1, 0xD0),
    ("h", -(2**15), 2**15 - 1, 0xD1),
    ("i", -(2**31), 2**31 - 1, 0xD2),
    ("q", -(2**63), 2**63 - 1, 0xD3),
]


def _integer(chance: Chance, value: int) -> bytes:
    form, _, _, head = chance.one_of([each for each in _FORMS if each[1] <= value <= each[2]])
    return bytes([head]) + struct.pack(">" + form, value)


def _head(chance: Chance, size: int, forms: tuple[tuple[str, int], ...]) -> bytes:
    limits = {"B": 0xFF, "H": 0xFFFF, "I": 0xFFFF_FFFF}
    form, head = chance.one_of([each for each in forms if size <= limits[each[0]]])
    return bytes([head]) + struct.pack(">" + form, size)


_TEXT: Final = (("B", 0xD9), ("H", 0xDA), ("I", 0xDB))
_BINARY: Final = (("B", 0xC4), ("H", 0xC5), ("I", 0xC6))
_ARRAY: Final = (("H", 0xDC), ("I", 0xDD))
_MAP: Final = (("H", 0xDE), ("I", 0xDF))


def _msgpack(chance: Chance, value: Any) -> bytes:
    wide, floats, shuffles, binaries = (chance.random() * 0.5 if chance.often(0.4) else 0.0 for _ in range(4))
    out: list[bytes] = []
    plain: Callable[[Any], bytes] = msgspec.msgpack.encode

    def write(value: Any) -> None:
        if isinstance(value, dict):
            pairs = list(value.items())
            if shuffles and chance.often(shuffles):
                chance.shuffle(pairs)
            if pairs and chance.often(shuffles * 0.1):
                pairs.insert(chance.below(len(pairs) + 1), (chance.one_of(pairs)[0], chance.one_of(pairs)[1]))
            size = len(pairs)
            out.append(bytes([0x80 | size]) if size < 16 and not chance.often(wide) else _head(chance, size, _MAP))
            for key, item in pairs:
                write(key)
                write(item)
        elif isinstance(value, list):
            size = len(value)
            out.append(bytes([0x90 | size]) if size < 16 and not chance.often(wide) else _head(chance, size, _ARRAY))
            for item in value:
                write(item)
        elif isinstance(value, str) and chance.often(wide):
            data = value.encode()
            forms = _BINARY if binaries and chance.often(binaries * 0.2) else _TEXT
            out.append(_head(chance, len(data), forms) + data)
        elif isinstance(value, bytes) and chance.often(wide):
            out.append(_head(chance, len(value), _BINARY) + value)
        elif type(value) is int and chance.often(wide):
            out.append(_integer(chance, value))
        elif type(value) is int and floats and chance.often(floats * 0.3):
            out.append(plain(float(value)))
        elif type(value) is float and floats and chance.often(floats) and abs(value) < 3e38:
            out.append(b"\xca" + struct.pack(">f", value))
        else:
            out.append(plain(value))

    write(value)
    return b"".join(out)
