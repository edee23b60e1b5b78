"""Protocol Buffers, case by case and against Google's library: what is decoded, refused, and written."""

import datetime
import gc
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta, Raw, Struct
from tests.support.message_classes import (
    Account,
    Checked,
    Halt,
    Holders,
    Level,
    Quote,
    Ranges,
    Side,
    Tree,
)

from websocket_utils import Message, exceptions
from websocket_utils._core import Decoder, Encoder
from websocket_utils.messages import FieldId, Float32, Int32, Ping, PriceUpdate, Subscribe, UInt32, UInt64, WsMessage

PRICE = PriceUpdate("SOL", "USDC", 187.25, 300, -5)
PRICE_TAG = b"\xfa\x7f\x0bPriceUpdate"
PRICE_FIELDS = b"\n\x03SOL\x12\x04USDC\x19\x00\x00\x00\x00\x00h\x67@\x20\xac\x02\x28" + b"\xfb" + b"\xff" * 8 + b"\x01"


def decoder(type_: Any) -> Decoder[Any]:
    return Decoder(type_, format="protobuf")


def encode(message: Any) -> bytes:
    return Encoder("protobuf").encode(message)


def lengthy(value: bytes) -> bytes:
    """A value of at most 16 383 bytes behind its length."""
    size = len(value)
    return (bytes([size]) if size < 0x80 else bytes([size & 0x7F | 0x80, size >> 7])) + value


def fault_of(type_: Any, payload: bytes) -> exceptions.DecodeError:
    with pytest.raises(exceptions.DecodeError) as caught:
        decoder(type_).decode(payload)
    assert caught.value.format == "protobuf"
    assert caught.value.raw == payload
    return caught.value


# --- tags ---


def test_golden_bytes_both_ways() -> None:
    assert encode(PRICE) == PRICE_TAG + PRICE_FIELDS
    assert decoder(PriceUpdate).decode(PRICE_TAG + PRICE_FIELDS) == PRICE


@pytest.mark.parametrize("tag", ["PriceUpdate", "price_update"])
@pytest.mark.parametrize("type_", [PriceUpdate, WsMessage])
def test_tag_is_found_first_and_last_in_both_spellings(tag: str, type_: Any) -> None:
    field = b"\xfa\x7f" + lengthy(tag.encode())
    assert decoder(type_).decode(field + PRICE_FIELDS) == PRICE
    assert decoder(type_).decode(PRICE_FIELDS + field) == PRICE


def test_tag_is_optional_for_one_class_and_needed_for_several() -> None:
    assert decoder(PriceUpdate).decode(PRICE_FIELDS) == PRICE
    error = fault_of(WsMessage, PRICE_FIELDS)
    assert (error.path, error.offset) == ("$", len(PRICE_FIELDS))
    assert "no tag" in str(error)


@pytest.mark.parametrize("type_", [PriceUpdate, WsMessage])
def test_tag_of_another_class_is_refused(type_: Any) -> None:
    error = fault_of(type_, b"\xfa\x7f\x05Other" + PRICE_FIELDS)
    assert (error.path, error.offset) == ("$.type", 3)
    assert "Other" in str(error)


# --- faults ---


class Strict(Message, forbid_unknown_fields=True):
    side: Side
    level: Level
    pair: tuple[int, int]
    texts: list[str]
    table: dict[str, Annotated[int, Meta(ge=0)]]
    at: datetime.datetime | None = None
    quotes: list[Quote] = []  # noqa: RUF012  # msgspec makes one for each instance


NEGATIVE = b"\xff" * 9 + b"\x01"
VALID = b"\n\x03buy\x10\x01\x1a\x02\x01\x02"


@pytest.mark.parametrize(
    ("payload", "path", "offset", "text"),
    [
        (b"\n\x04hold" + VALID[5:], "$.side", 2, "expected one of 'buy', 'sell', got \"hold\""),
        (VALID[5:], "$.side", 6, "missing required field"),
        (VALID + b"\x10\x05", "$.level", 12, "expected one of 0, 1, got 5"),
        (VALID[:7], "$.pair", 7, "missing required field"),
        (VALID[:7] + b"\x1a\x01\x01", "$.pair", 9, "expected 2 items, got 1"),
        (VALID + b'"\x01a"\x01\xff', "$.texts[1]", 16, "UTF-8"),
        (
            VALID + b"*\x05\n\x01a\x10\x05*\x0e\n\x01b\x10" + b"\xff" * 9 + b"\x01",
            "$.table[...]",
            20,
            "Expected `int` >= 0",
        ),
        (VALID + b"2\x01x", "$.at", 13, "Invalid RFC3339"),
        (VALID + b":\x02\x09\x01", "$.quotes[0]", 13, "the input ends"),
        (VALID + b"\xa0\x06\x01", "$", 11, "unknown field with number 100"),
        (VALID + b"\x0c", "$", 11, "group"),
        (VALID + b"\x00\x01", "$", 11, "key"),
        (VALID + b"\x10" + b"\xff" * 11, "$", 12, "more bytes"),
        (VALID[:-1], "$", 7, "the input ends"),
    ],
)
def test_fault_says_what_and_where(payload: bytes, path: str, offset: int, text: str) -> None:
    assert decoder(Strict).decode(VALID) == Strict(Side.BUY, Level.TOP, (1, 2), [], {})
    error = fault_of(Strict, payload)
    assert (error.path, error.offset) == (path, offset)
    assert text in str(error)


def test_fault_says_what_was_expected_and_what_came() -> None:
    error = fault_of(Strict, VALID + b"\x10\x05")
    assert (error.expected, error.got) == ("one of 0, 1", "5")
    error = fault_of(Strict, VALID[:7] + b"\x1a\x01\x01")
    assert (error.expected, error.got) == ("2 items", "1 items")


def test_nesting_is_limited_to_128_levels() -> None:
    tree = Tree(0)
    for _ in range(127):
        tree = Tree(0, tree)
    written = encode(tree)
    assert decoder(Tree).decode(written) == tree
    with pytest.raises(exceptions.EncodeError, match="deeper than 128 levels"):
        encode(Tree(0, tree))
    error = fault_of(Tree, b"\x12" + lengthy(written[len(b"\xfa\x7f\x04Tree") :]))
    assert error.path == "$" + ".left" * 128
    assert "deeper than 128 levels" in str(error)


def test_code_of_a_class_runs_and_its_complaint_is_a_fault() -> None:
    written = encode(Ranges(Checked(1, 2), [Checked(3, 4)]))
    error = fault_of(Ranges, written.replace(b"\x08\x03", b"\x08\x05"))
    assert (error.path, str(error).count("low is above high")) == ("$.ranges[0]", 1)
    assert isinstance(error.__cause__, msgspec.ValidationError)


def test_what_a_default_raises_is_raised() -> None:
    def fail() -> list[int]:
        raise LookupError("no default today")

    class Failing(Message):
        items: list[int] = msgspec.field(default_factory=fail)

    with pytest.raises(LookupError, match="no default today"):
        decoder(Failing).decode(b"")


@pytest.mark.parametrize("type_", [int, list[PriceUpdate], PriceUpdate | None, dict[str, int]])
def test_type_that_is_no_message_class_is_refused(type_: Any) -> None:
    with pytest.raises(TypeError):
        decoder(type_)


@pytest.mark.parametrize("shape", [Any, Raw, int | str, dict[int, str], Literal[1, "a"]])
def test_field_without_form_is_named(shape: Any) -> None:
    formless = msgspec.defstruct("Formless", [("fine", int), ("odd", shape)])
    with pytest.raises(TypeError, match="'odd' of Formless"):
        decoder(formless)
    with pytest.raises(exceptions.EncodeError, match="'odd' of Formless"):
        encode(formless(1, 1))


def test_raw_decoders_hand_out_payloads() -> None:
    assert decoder(bytes).decode(b"\xff") == b"\xff"
    assert decoder(bytes).plan == "raw"
    assert decoder(PriceUpdate).plan == "compiled"


# --- values that can't be written ---


class Numbers(Message):
    small: Int32 = 0
    unsigned: UInt32 = 0
    wide: int = 0
    big: UInt64 = 0
    ratio: float = 0.0
    rough: Float32 = 0.0
    flag: bool = False
    name: str = ""
    blob: bytes = b""
    pair: tuple[int, int] = (1, 2)
    side: Side = Side.BUY
    quote: Quote | None = None
    events: list[Quote | Halt] = []  # noqa: RUF012  # msgspec makes one for each instance


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("small", 2**31, "from -2147483648 to 2147483647, got 2147483648"),
        ("small", -(2**31) - 1, "got -2147483649"),
        ("unsigned", -1, "from 0 to 4294967295, got -1"),
        ("unsigned", 2**32, "got 4294967296"),
        ("wide", 2**63, "to 9223372036854775807, got 9223372036854775808"),
        ("wide", True, "expected int, got bool"),
        ("wide", 1.0, "expected int, got float"),
        ("wide", None, "expected int, got NoneType"),
        ("big", -1, "from 0 to 18446744073709551615, got -1"),
        ("big", 2**64, "got 18446744073709551616"),
        ("big", 10**5000, "expected an integer"),
        ("ratio", "1", "expected float, got str"),
        ("ratio", 10**400, "beyond the range"),
        ("rough", 1e300, "beyond the range of a 32-bit float"),
        ("flag", 1, "expected bool, got int"),
        ("name", b"x", "expected str, got bytes"),
        ("name", "\ud800", "surrogates"),
        ("blob", "x", "expected bytes, got str"),
        ("pair", (1, 2, 3), "expected 2 items, got 3"),
        ("side", "buy", "expected a member of the enum, got str"),
        ("quote", Halt(), "expected Quote, got Halt"),
        ("events", [Quote(1.0, 1.0), Ping()], "expected one of the classes of the union, got Ping"),
    ],
    ids=lambda part: part if isinstance(part, str) else "value",
)
def test_value_without_form_is_named_and_nothing_is_written(field: str, value: Any, text: str) -> None:
    buffer = bytearray(b"before")
    with pytest.raises(exceptions.EncodeError) as caught:
        Encoder("protobuf").encode_into(Numbers(**{field: value}), buffer, 6)
    assert buffer == b"before"
    assert caught.value.format == "protobuf"
    assert text in str(caught.value)
    assert f"$.{field}" in str(caught.value)


def test_integers_are_written_for_floats_and_subclasses_for_their_base() -> None:
    class Name(str):
        __slots__ = ()

    blob: Any = bytearray(b"y")
    written = encode(Numbers(ratio=3, name=Name("x"), wide=Level.TOP, blob=blob))
    assert decoder(Numbers).decode(written) == Numbers(ratio=3.0, name="x", wide=1, blob=b"y")


def test_dict_with_a_key_too_few_or_too_many_is_refused() -> None:
    for ticket in ({}, {"number": 1, "other": 2}):
        with pytest.raises(exceptions.EncodeError, match="ticket"):
            encode(Holders(Account("me"), ticket))  # type: ignore[arg-type]  # what is wrong is the point


def test_object_that_is_no_message_is_refused() -> None:
    for value in ({"a": 1}, [PRICE], 5, object()):
        with pytest.raises(exceptions.EncodeError):
            encode(value)


def test_encoding_into_a_buffer_replaces_its_end() -> None:
    buffer = bytearray(b"0123456789")
    assert Encoder("protobuf").encode_into(Ping(), buffer, 4) == 7
    assert buffer == b"0123\xfa\x7f\x04Ping"


# --- objects ---


def test_same_text_is_the_same_object() -> None:
    one, other = (decoder(PriceUpdate).decode(encode(PRICE)) for _ in range(2))
    assert one.input_mint is other.input_mint


def test_collector_follows_what_can_be_part_of_a_cycle() -> None:
    assert not gc.is_tracked(decoder(PriceUpdate).decode(encode(PRICE)))
    assert gc.is_tracked(decoder(Subscribe).decode(encode(Subscribe(["a"]))))


def test_dataclass_and_numbered_fields() -> None:
    @dataclass(slots=True)
    class Order:
        price: Annotated[float, FieldId(7)]
        count: int = 2

    assert encode(Order(1.0)) == b"\x39\x00\x00\x00\x00\x00\x00\xf0\x3f\x40\x02"
    assert decoder(Order).decode(b"\x40\x05") == Order(0.0, 5)


def test_long_texts_and_many_items() -> None:
    class Long(Struct):
        text: str
        items: list[int]
        quotes: list[Quote]

    value = Long("é" * 100_000, list(range(-5000, 5000)), [Quote(float(n), 0.5) for n in range(1000)])
    assert decoder(Long).decode(encode(value)) == value
