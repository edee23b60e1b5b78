"""Protocol Buffers against Google's library: each reads what the other writes, and any bytes mean the same to both."""

import datetime
import decimal
import enum
import math
import uuid
from typing import Any

import msgspec
import pytest
from google.protobuf.message import DecodeError as GoogleDecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from tests.support.message_classes import (
    CLASSES,
    Account,
    Box,
    Checked,
    Defaults,
    Generics,
    Halt,
    Holders,
    Level,
    Nesting,
    Numbered,
    Numeral,
    Odd,
    Quote,
    Ranges,
    Row,
    Scalars,
    Side,
    Texts,
    Tree,
)
from tests.support.protobuf import classes_of

from websocket_utils import exceptions
from websocket_utils._core import Decoder, Encoder
from websocket_utils.messages import Ping, PriceUpdate, Subscribe
from websocket_utils.schema import ProtoField, ProtoMessage, proto_model

EXAMPLES: list[Any] = [
    PriceUpdate("SOL", "USDC", 187.25, 300, -5),
    PriceUpdate("", "é€😀", -0.0, 2**64 - 1, -(2**63)),
    Ping(),
    Subscribe(["a", "", "b" * 300]),
    Scalars(True, -1, 2**64 - 1, 2**32 - 1, -(2**31), math.inf, 0.5, "x\0y", b"\xff\0", Side.BUY, Level.TOP, 'b"c', 2),
    Scalars(False, 0, 0, 0, 0, 0.0, 0.0, "", b"", Side.SELL, Level.NONE, "a", None),
    Defaults(),
    Defaults(
        1, 1.0, 0.0, "x", True, Level.TOP, [1], ("a",), {"a": 1}, 0, 0.0, False, Side.BUY, 0, "", [], (0.0, 0.0), [], {}
    ),
    Nesting(
        [(1.0, 2.0), (0.0, 0.0)],
        [[1, 2], [], [3]],
        (1, "x", Quote(1.0, 2.0)),
        (),
        [1, None, 0],
        [[1], None, []],
        {"a": Quote(0.0, 0.0), "": Quote(1.0, 0.0)},
        {"a": {"b": 1}, "c": {}},
        [{"x": True, "y": False}, {}],
        Halt("x"),
        [Quote(1.0, 1.0), Halt()],
        None,
        {"a", "b"},
        frozenset({1, 2}),
        Quote(0.0, 0.0),
        Quote(1.0, 1.0),
    ),
    Tree(1, Tree(2, None, Tree(3)), None, [Tree(4), Tree(0)]),
    Generics(Box(1), Box("x"), Box({"a": 1.5})),
    Texts(
        datetime.datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=datetime.UTC),
        datetime.date(2024, 1, 2),
        decimal.Decimal("1.50"),
        uuid.UUID(int=5),
        "SOL",
        7,
    ),
    Numbered(1.5, 2, "x"),
    Odd(1, 2, 3, 4, 5, 6, 7, 8, "x", {"a": 1}, 9, ["y"]),
    Numeral([Row(1.0), Row(2.0, 3, "x")]),
    Holders(Account("me", [1, 2]), {"number": 1, "lines": []}),
    Holders(Account(""), {"number": 0, "note": "", "lines": ["a"]}),
    Ranges(Checked(1, 2), [Checked(0, 0), Checked(-1, 1)]),
]


def decoder(type_: Any) -> Decoder[Any]:
    return Decoder(type_, format="protobuf")


def encode(message: Any) -> bytes:
    return Encoder("protobuf").encode(message)


def fault_of(type_: Any, payload: bytes) -> exceptions.DecodeError:
    with pytest.raises(exceptions.DecodeError) as caught:
        decoder(type_).decode(payload)
    assert caught.value.format == "protobuf"
    assert caught.value.raw == payload
    return caught.value


class Google:
    """A class in Google's library."""

    def __init__(self, type_: Any) -> None:
        self.messages = proto_model(type_)
        self.classes = classes_of(self.messages)
        self.type = self.classes[self.messages[0].name]

    def message(self, value: Any) -> Any:
        message = self.type()
        self._fill(message, self.messages[0], value)
        # Nested messages are told apart by where they stand.
        if self.messages[0].record and self.messages[0].record.tag is not None:
            setattr(message, self.messages[0].fields[0].name, self.messages[0].record.tag)
        return message

    def _fill(self, target: Any, message: ProtoMessage, value: Any) -> None:
        for number, field in enumerate(message.fields):
            match message.kind:
                case "record" if field.field is None:
                    continue
                case "record":
                    name = field.field.name if field.field else ""
                    part = value.get(name, UNSET) if isinstance(value, dict) else getattr(value, name)
                case "tuple":
                    part = value[number]
                case "box":
                    part = value
                case _:
                    part = value if field.type == type(value).__name__ else None
            if part is not None and part is not UNSET:
                self._set(target, field, part)

    def _set(self, target: Any, field: ProtoField, value: Any) -> None:
        if field.label == "map":
            for key, item in value.items():
                if field.message is None:
                    getattr(target, field.name)[key] = plain(item)
                else:
                    self._fill(getattr(target, field.name)[key], self.messages[field.message], item)
        elif field.label == "repeated":
            for item in value:
                if field.message is None:
                    getattr(target, field.name).append(plain(item))
                else:
                    self._fill(getattr(target, field.name).add(), self.messages[field.message], item)
        elif field.message is None:
            setattr(target, field.name, plain(value))
        else:
            getattr(target, field.name).SetInParent()
            self._fill(getattr(target, field.name), self.messages[field.message], value)


def plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value
    return value.value if isinstance(value, enum.Enum) else msgspec.to_builtins(value)


@pytest.mark.parametrize("value", EXAMPLES, ids=lambda value: type(value).__name__)
def test_google_reads_what_is_written_and_the_other_way_round(value: Any) -> None:
    google = Google(type(value))
    written = encode(value)
    message = google.message(value)
    assert google.type.FromString(written) == message
    assert decoder(type(value)).decode(written) == value
    assert decoder(type(value)).decode(message.SerializeToString()) == value
    # What is left out is left out by both; the tag stands elsewhere.
    assert len(written) == message.ByteSize()


def fields(messages: list[ProtoMessage], index: int, depth: int) -> st.SearchStrategy[bytes]:
    """Fields of a message, mostly well formed, in any order and number."""
    message = messages[index]
    one = st.one_of([a_field(messages, field, depth) for field in message.fields] or [st.just(b"")])
    unknown = st.builds(lambda number, value: key(number, 2) + size(value) + value, st.integers(600, 700), st.binary())
    group = st.builds(
        lambda number, inside: key(number, 3) + inside + key(number, 4), st.integers(1, 700), unknown | one
    )
    return st.lists(one if depth == 0 else one | one | one | unknown | group, max_size=6).map(b"".join)


def a_field(messages: list[ProtoMessage], field: ProtoField, depth: int) -> st.SearchStrategy[bytes]:
    varint = st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1)).map(number)
    fixed = st.binary(min_size=8, max_size=8)
    texts = st.one_of(st.text(max_size=4).map(str.encode), st.sampled_from([b"buy", b"a", b"\xff"]))
    scalars = {
        "string": (2, texts.map(lengthy)),
        "bytes": (2, st.binary(max_size=4).map(lengthy)),
        "double": (1, fixed),
        "float": (5, fixed.map(lambda value: value[:4])),
    }
    if field.message is not None:
        inner = fields(messages, field.message, depth - 1) if depth > 0 else st.just(b"")
        wire, value = 2, inner.map(lengthy)
    else:
        wire, value = scalars.get(field.type, (0, varint))
    if field.number == 2047 and wire == 2:
        tags = [one.record.tag.encode() for one in messages if one.record and isinstance(one.record.tag, str)]
        value = st.sampled_from([b"", *tags]).map(lengthy)
    if field.label == "map":
        text = st.sampled_from([b"a", b"b", b"", b"\xff"]).map(lambda text: b"\n" + lengthy(text))
        held = value.map(lambda value: key(2, wire) + value)
        entry = st.lists(st.one_of(text, held, text, held, st.just(b"\x18\x05")), max_size=3).map(b"".join)
        wire, value = 2, entry.map(lengthy)
    elif field.label == "repeated" and wire != 2:
        packed = st.lists(value, max_size=3).map(b"".join).map(lengthy)
        packed_field = packed.map(lambda value: key(field.number, 2) + value)
        return st.one_of(packed_field, packed_field, value.map(lambda value: key(field.number, wire) + value))
    of_other_type = varint.map(lambda value: key(field.number, 0) + value)
    return st.one_of(*[value.map(lambda value: key(field.number, wire) + value)] * 9, of_other_type)


def number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def key(field: int, wire: int) -> bytes:
    return number(field << 3 | wire)


def size(value: bytes) -> bytes:
    return number(len(value))


def lengthy(value: bytes) -> bytes:
    return size(value) + value


ORACLES = {type_: Google(type_) for type_ in (PriceUpdate, Subscribe, *(one for one in CLASSES if one is not Texts))}


PAYLOADS = st.one_of([st.tuples(st.just(type_), fields(one.messages, 0, 3)) for type_, one in ORACLES.items()])


@settings(max_examples=400, deadline=None)
@given(PAYLOADS, st.none() | st.tuples(st.integers(0, 10_000), st.integers(0, 255)), st.none() | st.integers(0, 10_000))
def test_any_fields_mean_the_same_to_google(
    payload: tuple[Any, bytes], change: tuple[int, int] | None, cut: int | None
) -> None:
    type_, content = payload
    if change is not None and content:
        place = change[0] % len(content)
        content = content[:place] + bytes([change[1]]) + content[place + 1 :]
    if cut is not None:
        content = content[: cut % (len(content) + 1)]
    check_against_google(type_, content)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(list(ORACLES)), st.binary(max_size=40))
@example(Subscribe, b"\n\x01a\x08\x05\n\x01b")
@example(PriceUpdate, b"\x20" + b"\xff" * 9 + b"\x7f")
def test_any_bytes_mean_the_same_to_google(type_: Any, payload: bytes) -> None:
    check_against_google(type_, payload)


def check_against_google(type_: Any, payload: bytes) -> None:
    try:
        message = ORACLES[type_].type.FromString(payload)
    except GoogleDecodeError:
        fault_of(type_, payload)
        return
    # In Google's words the same message has one plain form; what a class asks beyond the format it asks of both.
    message.DiscardUnknownFields()
    canonical = message.SerializeToString()
    try:
        value = decoder(type_).decode(payload)
    except exceptions.DecodeError:
        fault_of(type_, canonical)
        return
    encoded = [msgspec.json.encode(one, order="deterministic") for one in (value, decoder(type_).decode(canonical))]
    assert encoded[0] == encoded[1]
