"""Random messages in Google's classes, and payloads made from their bytes in ways that no writer has."""

import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from tests.property.codec.chance import Chance

from websocket_utils.schema import ProtoField, ProtoMessage

__all__ = ["Filler", "Mutator"]

# Messages in each other, and in all, where classes refer to themselves.
_DEPTH: Final = 4
_MOST_MESSAGES: Final = 30
_VARINT: Final = 0
_FIXED64: Final = 1
_LENGTH: Final = 2
_GROUP: Final = 3
_GROUP_END: Final = 4
_FIXED32: Final = 5
_RANGES: Final = {
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}
# Values of types that ask for more than the format does, by what is in the type's name.
_ASKED: Final[dict[str, list[Any]]] = {
    "timedelta": ["P1DT2H", "-PT0.5S", "PT0S"],
    "datetime.datetime": ["2024-01-02T03:04:05.000006Z", "1970-01-01T00:00:00+01:00", "0001-01-01T00:00:00"],
    "date": ["2024-02-29", "0001-01-01"],
    "Decimal": ["1.50", "-0", "1E+5", "NaN"],
    "UUID": ["12345678-1234-5678-1234-567812345678", "12345678123456781234567812345678"],
    "ge=": [-5, 0, 7, 1000],
    "gt=": [0.5, 5e-324, 1e300],
    "multiple_of=": [0, 2, 2**63],
    "min_length=": ["a", "é", "SOL"],
}


class Filler:
    """Fills messages with random values that their classes take."""

    def __init__(self, messages: list[ProtoMessage], chance: Chance) -> None:
        self._messages = messages
        self._chance = chance
        # How many messages may still be filled where there need be none.
        self._left = _MOST_MESSAGES

    def root(self, target: Any, at: int, *, with_tag: bool) -> None:
        """Fill the message that is sent."""
        self._left = _MOST_MESSAGES
        self._fill(target, at, _DEPTH, with_tag=with_tag)

    def _fill(self, target: Any, at: int, depth: int, *, with_tag: bool = False) -> None:
        """Give fields of a message values; `depth` limits what may be left out but refers to itself."""
        self._left -= 1
        message, chance = self._messages[at], self._chance
        fields = message.fields
        if message.kind == "union":
            fields = (chance.one_of(fields),)
        for field in fields:
            if message.kind == "record" and field.field is None:
                if (with_tag or chance.often(0.1)) and message.record is not None:
                    setattr(target, field.name, message.record.tag)
                continue
            may_be_there = field.message is None or (depth > 0 and self._left > 0)
            must_be_there = field.absent == "error" or message.kind == "union" or _asks_for_value(field)
            if must_be_there or (may_be_there and chance.often(0.6)):
                self._set(target, field, depth)

    def _set(self, target: Any, field: ProtoField, depth: int) -> None:
        chance = self._chance
        match field.label:
            case "map":
                table = getattr(target, field.name)
                for key in dict.fromkeys([chance.text() for _ in range(chance.below(4))]):
                    if field.message is None:
                        table[key] = self._scalar(field, field.shape)
                    else:
                        self._fill(table[key], field.message, depth - 1)
            case "repeated":
                items = getattr(target, field.name)
                fixed = getattr(field.shape, "items", None)
                count = (
                    len(fixed)
                    if fixed is not None
                    else chance.below(4)
                    if field.message is not None or chance.often(0.97)
                    else 40
                )
                for _ in range(count):
                    if field.message is None:
                        items.append(self._scalar(field, field.shape))
                    else:
                        self._fill(items.add(), field.message, depth - 1)
            case _ if field.message is None:
                setattr(target, field.name, self._scalar(field, field.shape))
            case _:
                getattr(target, field.name).SetInParent()
                self._fill(getattr(target, field.name), field.message, depth - 1)

    def _scalar(self, field: ProtoField, shape: Any) -> Any:
        chance = self._chance
        while True:
            if hasattr(shape, "texts"):
                return chance.one_of([*shape.texts, *shape.integers])
            if hasattr(shape, "base"):
                for name, values in _ASKED.items():
                    if name in repr(shape.type):
                        return chance.one_of(values)
            inner = getattr(shape, "value", None) or getattr(shape, "item", None) or getattr(shape, "items", None)
            if inner is None:
                return self._plain(field.type)
            shape = inner[0] if isinstance(inner, tuple) else inner

    def _plain(self, type_: str) -> Any:
        chance = self._chance
        match type_:
            case "bool":
                return chance.often(0.5)
            case "string":
                return chance.text()
            case "bytes":
                return chance.bytes()
            case "float":
                return struct.unpack("<f", chance.randbytes(4))[0] if chance.often(0.5) else chance.below(1000) / 8
            case "double":
                return chance.float() if chance.often(0.95) else chance.one_of([float("inf"), float("nan")])
            case _:
                return chance.integer(*_RANGES[type_])


def _asks_for_value(field: ProtoField) -> bool:
    """Whether the zero value, which is what nothing means, may be none of its values."""
    return field.label == "singular" and (hasattr(field.shape, "texts") or hasattr(field.shape, "base"))


class _Part(NamedTuple):
    """One field of a payload: its key, and all of it."""

    number: int
    wire: int
    # Where its value begins, behind key and length.
    value: int
    whole: bytes


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _long_varint(value: int, size: int) -> bytes:
    """The same number in that many bytes, or in as many as it needs."""
    short = _varint(value)
    fill = max(0, size - len(short))
    return short if not fill else short[:-1] + bytes([short[-1] | 0x80]) + b"\x80" * (fill - 1) + b"\x00"


def _key(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)


def _held(number: int, value: bytes) -> bytes:
    return _key(number, _LENGTH) + _varint(len(value)) + value


def _read(payload: bytes, at: int) -> tuple[int, int] | None:
    value = shift = 0
    for place in range(at, min(at + 10, len(payload))):
        value |= (payload[place] & 0x7F) << shift
        shift += 7
        if payload[place] < 0x80:
            return value, place + 1
    return None


def _parts(payload: bytes) -> list[_Part] | None:
    """The fields of a message, or None if it is none."""
    parts, at = [], 0
    while at < len(payload):
        key = _read(payload, at)
        if key is None or key[0] < 8:
            return None
        number, wire, value = key[0] >> 3, key[0] & 7, key[1]
        size = {_FIXED64: 8, _FIXED32: 4}.get(wire)
        if wire in (_VARINT, _LENGTH):
            found = _read(payload, value)
            if found is None:
                return None
            size = found[1] - value
            if wire == _LENGTH:
                value, size = found[1], found[0]
        if size is None or value + size > len(payload):
            return None
        parts.append(_Part(number, wire, value - at, payload[at : value + size]))
        at = value + size
    return parts


class Mutator:
    """Makes payloads of one, and of another that came before."""

    def __init__(self, chance: Chance, payload: bytes, before: bytes) -> None:
        self._chance = chance
        self._payload = payload
        self._before = before

    def one(self) -> bytes:
        """A payload that is mostly well formed, and means something else or the same."""
        chance = self._chance
        if chance.often(0.3):
            return self._bytes(self._payload)
        payload = self._payload
        for _ in range(1 + chance.below(3)):
            payload = self._within(payload, 4)
        return payload if chance.often(0.9) else self._bytes(payload)

    def _bytes(self, payload: bytes) -> bytes:
        """Bytes changed without sense."""
        chance = self._chance
        place = chance.below(len(payload) + 1)
        match chance.below(6):
            case 0:
                return payload[:place]
            case 1:
                return payload[:place] + chance.randbytes(1 + chance.below(3)) + payload[place:]
            case 2:
                return payload[:place] + payload[place + 1 :]
            case 3:
                return payload + self._before[: chance.below(len(self._before) + 1)]
            case 4:
                return chance.randbytes(chance.below(12))
            case _:
                byte = (payload[place] ^ 1 << chance.below(8)) if place < len(payload) else 0x80
                return payload[:place] + bytes([byte]) + payload[place + 1 :]

    def _within(self, payload: bytes, depth: int) -> bytes:
        """Change the message, or one within it."""
        chance = self._chance
        parts = _parts(payload)
        if not parts:
            return payload + self._strange()
        at = chance.below(len(parts))
        part = parts[at]
        if depth and part.wire == _LENGTH and chance.often(0.5) and _parts(part.whole[part.value :]):
            changed = [_held(part.number, self._within(part.whole[part.value :], depth - 1))]
        else:
            changed = self._changed(part, parts)
        return b"".join([*(one.whole for one in parts[:at]), *changed, *(one.whole for one in parts[at + 1 :])])

    def _changed(self, part: _Part, parts: list[_Part]) -> list[bytes]:
        return self._chance.one_of(_CHANGES)(self, part, parts)

    def _twice(self, part: _Part, _: list[_Part]) -> list[bytes]:
        return [part.whole, part.whole]

    def _other_too(self, part: _Part, parts: list[_Part]) -> list[bytes]:
        return [part.whole, self._chance.one_of(parts).whole]

    def _gone(self, part: _Part, _: list[_Part]) -> list[bytes]:
        return []

    def _shuffled(self, part: _Part, parts: list[_Part]) -> list[bytes]:
        """All fields in another order where this one was, among themselves once more."""
        others = [one.whole for one in parts]
        self._chance.shuffle(others)
        return others

    def _of_another(self, part: _Part, _: list[_Part]) -> list[bytes]:
        """A field of the payload before, which mostly is of the same class."""
        others = _parts(self._before)
        return [part.whole, self._chance.one_of(others).whole] if others else [part.whole]

    def _strangely(self, part: _Part, _: list[_Part]) -> list[bytes]:
        return [part.whole, self._strange()]

    def _strange(self) -> bytes:
        """A field that no class has, a group, a tag."""
        chance = self._chance
        number = chance.one_of([1, 2, 3, 5, 15, 16, 100, 2046, 2047, 2**29 - 2])
        match chance.below(8):
            case 0:
                return _key(number, _VARINT) + _varint(chance.getrandbits(chance.below(65)))
            case 1:
                return _key(number, _FIXED64) + chance.randbytes(8)
            case 2:
                return _key(number, _FIXED32) + chance.randbytes(4)
            case 3:
                inside = self._strange() if chance.often(0.3) else b""
                end = number if chance.often(0.9) else 7
                return _key(number, _GROUP) + inside + _key(end, _GROUP_END)
            case 4:
                return _held(2047, chance.one_of([b"", b"C0", b"C1", b"c0", b"c1", b"Nobody", b"\xff"]))
            case _:
                return _held(number, chance.one_of([b"", b"a", b"\x08\x01", b"\n\x01a", b"\xff", b"SOL", b"buy"]))

    def _renumbered(self, part: _Part, parts: list[_Part]) -> list[bytes]:
        """The value as that of another field."""
        number = self._chance.one_of(parts).number
        return [_key(number, part.wire) + part.whole[len(_key(part.number, part.wire)) :]]

    def _with_long_key(self, part: _Part, _: list[_Part]) -> list[bytes]:
        short = _key(part.number, part.wire)
        key = _long_varint(part.number << 3 | part.wire, 1 + self._chance.below(6))
        return [key + part.whole[len(short) :]] if part.whole.startswith(short) else [part.whole]

    def _respelled(self, part: _Part, _: list[_Part]) -> list[bytes]:
        """A number or a length in more bytes, or with bits beyond its type."""
        chance = self._chance
        size = 1 + chance.below(11)
        if part.wire == _VARINT:
            value = _read(part.whole, part.value)
            number = value[0] if value else 0
            number |= chance.getrandbits(40) << 32 if chance.often(0.3) else 0
            return [part.whole[: part.value] + _long_varint(number & (1 << 70) - 1, size)]
        if part.wire == _LENGTH:
            value_of = part.whole[part.value :]
            return [_key(part.number, _LENGTH) + _long_varint(len(value_of), size) + value_of]
        return [part.whole[: part.value] + chance.randbytes(len(part.whole) - part.value)]

    def _unpacked(self, part: _Part, _: list[_Part]) -> list[bytes]:
        """The numbers of a packed field one by one, or one number packed."""
        value = part.whole[part.value :]
        if part.wire != _LENGTH:
            return [_held(part.number, value), _held(part.number, b"")]
        wire = self._chance.one_of([_VARINT, _FIXED32, _FIXED64])
        numbers: list[bytes] = []
        at = 0
        while at < len(value) and len(numbers) < 50:
            if wire == _VARINT:
                found = _read(value, at)
                end = found[1] if found else len(value)
            else:
                end = at + (4 if wire == _FIXED32 else 8)
            numbers.append(_key(part.number, wire) + value[at:end])
            at = end
        return numbers

    def _split(self, part: _Part, _: list[_Part]) -> list[bytes]:
        """A message in two parts, with something between."""
        if part.wire != _LENGTH:
            return [part.whole]
        inner = _parts(part.whole[part.value :])
        if not inner:
            return [part.whole, part.whole]
        cut = self._chance.below(len(inner) + 1)
        halves = [b"".join(one.whole for one in half) for half in (inner[:cut], inner[cut:])]
        return [_held(part.number, halves[0]), self._strange(), _held(part.number, halves[1])]

    def _other_text(self, part: _Part, _: list[_Part]) -> list[bytes]:
        if part.wire != _LENGTH:
            return [part.whole]
        texts = [b"", b"a", b"\xff", b"\xed\xa0\x80", b"SOL", b"buy", b"2024-01-02", b"1.5", b"P1D", b"\xc3\xa9", b"\0"]
        return [_held(part.number, self._chance.one_of(texts))]


_CHANGES: Final[list[Callable[[Mutator, _Part, list[_Part]], list[bytes]]]] = [
    Mutator._twice,
    Mutator._other_too,
    Mutator._gone,
    Mutator._shuffled,
    Mutator._of_another,
    Mutator._of_another,
    Mutator._strangely,
    Mutator._renumbered,
    Mutator._with_long_key,
    Mutator._respelled,
    Mutator._respelled,
    Mutator._unpacked,
    Mutator._split,
    Mutator._other_text,
]
