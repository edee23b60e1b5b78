"""JSON, case by case: what is decoded, what is refused and where, what is written."""

import json
import math
import struct
from typing import Any, Literal

import msgspec
import pytest

from websocket_utils import exceptions
from websocket_utils._core import Decoder, Encoder
from websocket_utils.messages import Message, Ping, Pong, PriceUpdate, Subscribe, WsMessage


class Book(Message):
    flag: bool
    count: int
    ratio: float
    name: str
    note: str | None = None
    levels: list[float] = msgspec.field(default_factory=list)
    mixed: int | str | None = None


PRICE = PriceUpdate("SOL", "USDC", 187.25, 12, -5)
PRICE_JSON = b'{"type":"PriceUpdate","input_mint":"SOL","output_mint":"USDC","price":187.25,"volume":12,"timestamp":-5}'
BOOK = b'{"type":"Book","flag":true,"count":1,"ratio":0.5,"name":"x"}'


def in_book(field: str, value: str) -> bytes:
    """A `Book` in which one field's value is this JSON text."""
    texts = {"flag": "true", "count": "1", "ratio": "0.5", "name": '"x"', field: value}
    return ('{"type":"Book",' + ",".join(f'"{name}":{text}' for name, text in texts.items()) + "}").encode()


def test_golden_bytes_both_ways() -> None:
    assert Encoder("json").encode(PRICE) == PRICE_JSON
    assert Decoder(PriceUpdate).decode(PRICE_JSON) == PRICE


@pytest.mark.parametrize("type_", [PriceUpdate, WsMessage, Book, Book | Ping, Ping, Subscribe])
def test_plan_of_flat_classes_is_compiled(type_: Any) -> None:
    assert Decoder(type_).plan == "compiled"
    assert Decoder(type_, format="msgpack").plan == "compiled"


@pytest.mark.parametrize(
    "payload",
    [
        PRICE_JSON,
        PRICE_JSON.replace(b"PriceUpdate", b"price_update"),
        PRICE_JSON.replace(b'"type":"PriceUpdate",', b""),
        json.dumps(json.loads(PRICE_JSON)).encode(),
        json.dumps(json.loads(PRICE_JSON), indent=2).encode() + b" \r\n\t",
        json.dumps(dict(reversed(json.loads(PRICE_JSON).items()))).encode(),
        PRICE_JSON.replace(b'"price"', b'"extra":{"a":[1,{"b":null}],"c":"\\"}]"},"price"'),
        PRICE_JSON.replace(b'"price":187.25', b'"price":"wrong","price":187.25').replace(b'"wrong"', b"1e3"),
        PRICE_JSON.replace(b'"SOL"', b'"\\u0053OL"'),
        PRICE_JSON.replace(b'"price"', b'"\\u0070rice"'),
    ],
    ids=["canonical", "snake", "no-tag", "spaces", "indented", "reversed", "unknown", "twice", "escape", "escaped-key"],
)
def test_spelling_of_a_message_does_not_matter(payload: bytes) -> None:
    assert Decoder(PriceUpdate).decode(payload) == PRICE
    if b"type" in payload:
        assert Decoder(WsMessage).decode(payload) == PRICE


@pytest.mark.parametrize("position", range(6))
@pytest.mark.parametrize("tag", ["PriceUpdate", "price_update"])
@pytest.mark.parametrize("type_", [PriceUpdate, WsMessage])
def test_tag_is_found_in_any_position(position: int, tag: str, type_: Any) -> None:
    fields = [(key, value) for key, value in json.loads(PRICE_JSON).items() if key != "type"]
    fields.insert(position, ("type", tag))
    for separators in ((",", ":"), (", ", ": ")):
        assert Decoder(type_).decode(json.dumps(dict(fields), separators=separators).encode()) == PRICE


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("count", "18446744073709551615", 2**64 - 1),
        ("count", "18446744073709551616", 2**64),
        ("count", "9223372036854775808", 2**63),
        ("count", "-9223372036854775808", -(2**63)),
        ("count", "-9223372036854775809", -(2**63) - 1),
        ("count", "-0", 0),
        ("count", "1" + "0" * 40, 10**40),
        ("count", "1.0", 1),
        ("ratio", "1", 1.0),
        ("ratio", "-0", 0.0),
        ("ratio", "-0.0", -0.0),
        ("ratio", "0.1", 0.1),
        ("ratio", "1e22", 1e22),
        ("ratio", "1e23", 1e23),
        ("ratio", "1.7976931348623157e308", 1.7976931348623157e308),
        ("ratio", "5e-324", 5e-324),
        ("ratio", "1e-400", 0.0),
        ("ratio", "9007199254740993", 9007199254740992.0),
        ("ratio", "18446744073709551615", 18446744073709551616.0),
        ("ratio", "123456789012345678901234567890", 123456789012345678901234567890.0),
        ("ratio", "0.30000000000000000000000000000000000004", 0.3),
        ("name", '""', ""),
        ("name", '"a\\u0000b"', "a\0b"),
        ("name", '"\\ud83d\\ude00\\n"', "\U0001f600\n"),
        ("name", '"é€😀"', "é€😀"),
        ("name", '"' + "x" * 1000 + '"', "x" * 1000),
        ("note", "null", None),
        ("note", '"n"', "n"),
        ("levels", "[]", []),
        ("levels", "[ 1 , 2.5,-3 ]", [1.0, 2.5, -3.0]),
        ("mixed", "1", 1),
        ("mixed", '"1"', "1"),
        ("mixed", "null", None),
    ],
)
def test_values_are_those_of_msgspec(field: str, text: str, value: Any) -> None:
    payload = in_book(field, text)
    try:
        expected = getattr(msgspec.json.decode(payload, type=Book), field)
    except msgspec.ValidationError:
        with pytest.raises(exceptions.DecodeError):
            Decoder(Book).decode(payload)
        return
    got = getattr(Decoder(Book).decode(payload), field)
    assert type(got) is type(expected)
    assert repr(got) == repr(expected) == repr(value)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("flag", "1"),
        ("flag", "null"),
        ("flag", '"true"'),
        ("count", "1.5"),
        ("count", '"1"'),
        ("count", "true"),
        ("ratio", '"0.5"'),
        ("ratio", "null"),
        ("ratio", "1e400"),
        ("name", "1"),
        ("name", "null"),
        ("note", "1"),
        ("mixed", "1.5"),
        ("levels", "{}"),
        ("levels", '[1,"2"]'),
    ],
)
def test_wrong_type_names_path_and_offset(field: str, text: str) -> None:
    payload = in_book(field, text)
    with pytest.raises(exceptions.DecodeError) as caught:
        Decoder(Book).decode(payload)
    error = caught.value
    assert error.format == "json"
    assert error.raw == payload
    assert error.path.startswith(f"$.{field}")
    assert error.offset is not None
    start = payload.index(f'"{field}":'.encode()) + len(field) + 3
    assert start <= error.offset < start + len(text)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b" ",
        b"{",
        b"nul",
        b"[]",
        b"1",
        BOOK + b"x",
        BOOK + BOOK,
        BOOK[:-1] + b",}",
        BOOK.replace(b"true", b"tru"),
        BOOK.replace(b"true", b"truely"),
        BOOK.replace(b'"count":1', b'"count":01'),
        BOOK.replace(b'"count":1', b'"count":+1'),
        BOOK.replace(b'"count":1', b'"count":1.'),
        BOOK.replace(b'"count":1', b'"count":-'),
        BOOK.replace(b'"count":1', b'"count":'),
        BOOK.replace(b'"count":1', b'"count"1'),
        BOOK.replace(b'"count":1', b"count:1"),
        BOOK.replace(b'"count":1', b'"count":1 2'),
        BOOK.replace(b'"count":1', b'"count":1,,"u":2'),
        BOOK.replace(b'"count":1', b'"count":1,"u":[1,]'),
        BOOK.replace(b'"count":1', b'"count":1,"u":{"a":1,}'),
        BOOK.replace(b'"count":1', b'"count":1,"u":nope'),
        BOOK.replace(b'"count":1', b'"count":1,"u":"\\x"'),
        BOOK.replace(b'"count":1', b'"count":1,"u":"\x01"'),
        BOOK.replace(b'"x"', b'"\xff"'),
        BOOK.replace(b'"x"', b'"\xed\xa0\x80"'),
        BOOK.replace(b'"x"', b'"\\ud800"'),
        BOOK.replace(b'"x"', b'"a\nb"'),
        BOOK.replace(b'"x"', b'"a\x00b"'),
        b"\xef\xbb\xbf" + BOOK,
        BOOK.replace(b"0.5", b"NaN"),
        BOOK.replace(b"0.5", b"Infinity"),
        BOOK.replace(b"0.5", b".5"),
    ],
)
def test_malformed_input_is_refused(payload: bytes) -> None:
    for type_ in (Book, Book | Ping):
        with pytest.raises(exceptions.DecodeError) as caught:
            Decoder(type_).decode(payload)
        assert caught.value.raw == payload
        with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
            msgspec.json.decode(payload, type=type_)


@pytest.mark.parametrize("type_", [PriceUpdate, WsMessage])
def test_every_truncation_is_refused(type_: Any) -> None:
    decoder = Decoder(type_)
    snake = PRICE_JSON.replace(b"PriceUpdate", b"price_update")
    for payload in (PRICE_JSON, snake, json.dumps(json.loads(PRICE_JSON)).encode()):
        for cut in range(len(payload)):
            with pytest.raises(exceptions.DecodeError):
                decoder.decode(payload[:cut])


def test_missing_field_is_named() -> None:
    payload = b'{"type":"Book","flag":true,"count":1,"ratio":1}'
    with pytest.raises(exceptions.DecodeError, match="missing required field `name`"):
        Decoder(Book).decode(payload)


def test_unknown_tag_is_named_with_those_accepted() -> None:
    payload = b'{"type":"Trade"}'
    with pytest.raises(exceptions.DecodeError, match=r"'Trade'.*Ping, Pong") as caught:
        Decoder(Ping | Pong).decode(payload)
    assert caught.value.path == "$.type"
    assert caught.value.offset == payload.index(b"Trade")
    with pytest.raises(exceptions.DecodeError, match=r"'Trade'.*Ping"):
        Decoder(Ping).decode(payload)


def test_union_without_tag_names_those_accepted() -> None:
    with pytest.raises(exceptions.DecodeError, match=r"no tag.*`type`.*Ping, Pong"):
        Decoder(Ping | Pong).decode(b"{}")


def test_offset_counts_in_the_original_when_the_tag_was_respelled() -> None:
    payload = b'{"type":"price_update","input_mint":"a","output_mint":"b","price":1,"timestamp":1,}'
    with pytest.raises(exceptions.DecodeError) as caught:
        Decoder(WsMessage).decode(payload)
    assert caught.value.offset == len(payload) - 1


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("levels", [100, 127, 128, 129, 1000, 100_000])
def test_nesting_is_limited(opening: bytes, levels: int) -> None:
    closing = b"]" if opening == b"[" else b"}"
    middle = b"1"
    payload = b'{"type":"Ping","u":' + opening * levels + middle + closing * levels + b"}"
    for type_ in (Ping, Ping | Pong, Any):
        decoder = Decoder(type_)
        if levels <= 127:
            decoder.decode(payload)
        else:
            with pytest.raises(exceptions.DecodeError, match="128 levels"):
                decoder.decode(payload)


def test_brackets_in_strings_are_not_nesting() -> None:
    text = "[{\\" * 500
    assert Decoder(dict[str, str]).decode(json.dumps({"a": text}).encode()) == {"a": text}


def test_raw_types_take_the_payload_as_it_is() -> None:
    assert Decoder(bytes).decode(b"\xff") == b"\xff"
    assert Decoder(str).decode("é".encode()) == "é"
    assert Decoder(bytes | str).decode(b"x") == "x"
    assert Decoder(bytes | str, format="msgpack").decode(b"x") == b"x"
    with pytest.raises(exceptions.DecodeError) as caught:
        Decoder(str).decode(b"a\xff")
    assert caught.value.format == "raw"
    with pytest.raises(exceptions.DecodeError, match="binary"):
        Decoder(str, format="msgpack").decode(b"x")


@pytest.mark.parametrize("type_", [1, "PriceUpdate", Ping | dict, object()])
def test_what_is_no_type_is_a_type_error(type_: Any) -> None:
    with pytest.raises((TypeError, NameError)):
        Decoder(type_)


def test_any_buffer_is_decoded() -> None:
    for buffer in (PRICE_JSON, bytearray(PRICE_JSON), memoryview(b"xx" + PRICE_JSON)[2:]):
        assert Decoder(PriceUpdate).decode(buffer) == PRICE
    with pytest.raises(BufferError):
        Decoder(PriceUpdate).decode(memoryview(PRICE_JSON)[::2])
    with pytest.raises(TypeError):
        Decoder(PriceUpdate).decode("text")  # type: ignore[arg-type]  # the point of the test


def test_floats_are_written_as_msgspec_writes_them() -> None:
    class Wave(Message, tag=False):
        x: float

    encoder, reference = Encoder("json"), msgspec.json.Encoder()
    bits = 0x9E3779B97F4A7C15
    for _ in range(50_000):
        bits = (bits * 6364136223846793005 + 1442695040888963407) % 2**64
        for value in (struct.unpack("<d", struct.pack("<Q", bits))[0], bits / 2**32, (bits >> 40) / 1000):
            assert encoder.encode(Wave(value)) == reference.encode(Wave(value))
    edges = [
        0.0,
        -0.0,
        1.0,
        1e15,
        1e16,
        1e17,
        123456789012345680.0,
        1e-4,
        1e-5,
        1.5e-5,
        1e-6,
        5e-324,
        1.7976931348623157e308,
    ]
    for value in [*edges, *(-edge for edge in edges), math.nan, math.inf, -math.inf]:
        assert encoder.encode(Wave(value)) == reference.encode(Wave(value))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        0,
        -1,
        2**63 - 1,
        -(2**63),
        2**64 - 1,
        1.5,
        "",
        "é\U0001f600",
        '"\\\b\f\n\r\t\0\x1f\x7f/',
        [],
        ["a"],
        [1, None, "b", 2.5],
    ],
)
@pytest.mark.parametrize("format", ["json", "msgpack"])
def test_values_of_any_planned_type_are_written_as_msgspec_writes_them(
    value: Any, format: Literal["json", "msgpack"]
) -> None:
    class Holder(Message):
        x: Any
        y: Any = 1

    reference = msgspec.json if format == "json" else msgspec.msgpack
    assert Encoder(format).encode(Holder(value)) == reference.encode(Holder(value))


@pytest.mark.parametrize("format", ["json", "msgpack"])
@pytest.mark.parametrize("value", [object(), 2**64, "\ud800", [[object()]]])
def test_values_without_a_form_are_encode_errors(value: Any, format: Literal["json", "msgpack"]) -> None:
    class Holder(Message):
        x: Any

    reference = msgspec.json if format == "json" else msgspec.msgpack
    try:
        expected = reference.encode(Holder(value))
    except Exception:  # noqa: BLE001  # whatever msgspec raises here is to become an EncodeError
        with pytest.raises(exceptions.EncodeError, match="Holder") as caught:
            Encoder(format).encode(Holder(value))
        assert caught.value.format == format
        assert caught.value.__cause__ is not None
    else:
        assert Encoder(format).encode(Holder(value)) == expected


def test_encode_into_writes_behind_the_offset_and_cuts() -> None:
    buffer = bytearray(b"0123456789" * 20)
    written = Encoder("json").encode_into(PRICE, buffer, 4)
    assert written == len(PRICE_JSON)
    assert buffer == b"0123" + PRICE_JSON
    with pytest.raises(ValueError, match="behind the buffer's end"):
        Encoder("json").encode_into(PRICE, buffer, len(buffer) + 1)
    with pytest.raises(ValueError, match="unknown format"):
        Encoder("xml")  # type: ignore[arg-type]  # the point of the test


def test_other_objects_are_encoded_by_msgspec() -> None:
    assert Encoder("json").encode({"op": "subscribe", "args": ["a"]}) == b'{"op":"subscribe","args":["a"]}'
    assert Encoder("msgpack").encode([1, 2]) == b"\x92\x01\x02"
