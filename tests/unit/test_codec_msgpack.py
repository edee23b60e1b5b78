"""MessagePack, case by case: what is decoded, what is refused and where, what is written."""

import struct
from typing import Any

import msgpack
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


PRICE = PriceUpdate("SOL", "USDC", 187.25, 12, -5)
PRICE_MAP = {"type": "PriceUpdate", **{name: getattr(PRICE, name) for name in PriceUpdate.__struct_fields__}}
PRICE_BYTES = msgpack.packb(PRICE_MAP)
BOOK_MAP = {"type": "Book", "flag": True, "count": 1, "ratio": 0.5, "name": "x"}


def decoder(type_: Any) -> Decoder[Any]:
    return Decoder(type_, format="msgpack")


def test_golden_bytes_both_ways() -> None:
    assert Encoder("msgpack").encode(PRICE) == PRICE_BYTES
    assert decoder(PriceUpdate).decode(PRICE_BYTES) == PRICE


@pytest.mark.parametrize("position", range(6))
@pytest.mark.parametrize("tag", ["PriceUpdate", "price_update"])
@pytest.mark.parametrize("type_", [PriceUpdate, WsMessage])
def test_tag_is_found_in_any_position(position: int, tag: str, type_: Any) -> None:
    fields = [(key, value) for key, value in PRICE_MAP.items() if key != "type"]
    fields.insert(position, ("type", tag))
    assert decoder(type_).decode(msgpack.packb(dict(fields))) == PRICE


def test_tag_is_optional_for_one_class() -> None:
    fields = {key: value for key, value in PRICE_MAP.items() if key != "type"}
    assert decoder(PriceUpdate).decode(msgpack.packb(fields)) == PRICE
    with pytest.raises(exceptions.DecodeError, match="no tag"):
        decoder(WsMessage).decode(msgpack.packb(fields))


def test_unknown_fields_of_every_kind_are_skipped() -> None:
    for size in (0, 5, 40, 300, 70_000):
        for value in ("x" * size, b"x" * size, [1] * size, {str(index): index for index in range(size)}):
            extra = {**BOOK_MAP, "extra": value, "levels": [1, 2.5]}
            assert decoder(Book).decode(msgpack.packb(extra)) == Book(True, 1, 0.5, "x", None, [1.0, 2.5])
    for size in (1, 2, 4, 8, 16, 3, 300, 70_000):
        extra = {"extra": msgpack.ExtType(5, b"x" * size), **BOOK_MAP}
        assert decoder(Book).decode(msgpack.packb(extra)) == Book(True, 1, 0.5, "x")


@pytest.mark.parametrize(
    "value",
    [
        0,
        127,
        128,
        255,
        256,
        65535,
        65536,
        2**32 - 1,
        2**32,
        2**63,
        2**64 - 1,
        -1,
        -32,
        -33,
        -128,
        -129,
        -32769,
        -(2**31) - 1,
        -(2**63),
    ],
)
def test_integers_of_every_width(value: int) -> None:
    book = Book(False, value, 0.0, "")
    written = Encoder("msgpack").encode(book)
    assert written == msgspec.msgpack.encode(book)
    assert decoder(Book).decode(written) == book
    as_float = decoder(Book).decode(msgpack.packb({**BOOK_MAP, "ratio": value})).ratio
    assert type(as_float) is float
    assert as_float == float(value)


@pytest.mark.parametrize(
    "head",
    [
        b"\xcc\x05",
        b"\xcd\0\x05",
        b"\xce\0\0\0\x05",
        b"\xcf" + b"\0" * 7 + b"\x05",
        b"\xd0\x05",
        b"\xd1\0\x05",
        b"\xd2\0\0\0\x05",
        b"\xd3" + b"\0" * 7 + b"\x05",
    ],
)
def test_integers_need_not_be_in_their_shortest_form(head: bytes) -> None:
    payload = msgpack.packb(BOOK_MAP).replace(b"count\x01", b"count" + head)
    assert decoder(Book).decode(payload).count == 5


def test_text_of_every_width_and_float32() -> None:
    for size in (0, 31, 32, 255, 256, 65_535, 65_536):
        book = Book(True, 1, 0.5, "é" + "x" * size, "y" * size)
        written = Encoder("msgpack").encode(book)
        assert written == msgspec.msgpack.encode(book)
        assert decoder(Book).decode(written) == book
    payload = msgpack.packb({**BOOK_MAP, "ratio": 0.1}, use_single_float=True)
    assert decoder(Book).decode(payload).ratio == struct.unpack("f", struct.pack("f", 0.1))[0]


def test_keys_need_not_be_in_their_shortest_form() -> None:
    payload = PRICE_BYTES.replace(b"\xa4type", b"\xd9\x04type").replace(b"\xa5price", b"\xda\0\x05price")
    for type_ in (PriceUpdate, WsMessage):
        assert decoder(type_).decode(payload) == PRICE
        assert decoder(type_).decode(payload.replace(b"\xabPriceUpdate", b"\xacprice_update")) == PRICE


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("flag", 1),
        ("count", 1.5),
        ("count", "1"),
        ("count", True),
        ("ratio", "1"),
        ("name", b"x"),
        ("name", None),
        ("note", 1),
        ("levels", {}),
        ("levels", ["x"]),
    ],
)
def test_wrong_type_names_path_and_offset(field: str, value: Any) -> None:
    payload = msgpack.packb({**BOOK_MAP, field: value})
    with pytest.raises(exceptions.DecodeError) as caught:
        decoder(Book).decode(payload)
    assert caught.value.format == "msgpack"
    assert caught.value.raw == payload
    assert caught.value.path.startswith(f"$.{field}")
    is_item = isinstance(value, list)
    assert caught.value.offset == payload.index(field.encode()) + len(field) + is_item


@pytest.mark.parametrize("type_", [PriceUpdate, WsMessage, Book, Subscribe])
def test_every_truncation_and_trailing_byte_is_refused(type_: Any) -> None:
    for payload in (PRICE_BYTES, msgpack.packb(BOOK_MAP), msgpack.packb({"type": "Subscribe", "channels": ["a", "b"]})):
        for cut in range(len(payload)):
            with pytest.raises(exceptions.DecodeError):
                decoder(type_).decode(payload[:cut])
        with pytest.raises(exceptions.DecodeError):
            decoder(type_).decode(payload + b"\0")


@pytest.mark.parametrize(
    "payload",
    [
        b"\xc1",
        b"\x81\xa1a\xc1",
        b"\xdf\xff\xff\xff\xff",
        b"\x82\xa4type\xa9Subscribe\xa8channels\xdd\xff\xff\xff\xff",
        b"\x82\xa4type\xa9Subscribe\xa8channels\x91\xdb\xff\xff\xff\xffa",
        b"\x82\xa4type\xa9Subscribe\xa8channels\x91\xa1\xff",
        b"\x82\xa4type\xa9Subscribe\x01\x90",
    ],
)
def test_malformed_input_is_refused(payload: bytes) -> None:
    for type_ in (Subscribe, Subscribe | Ping):
        with pytest.raises(exceptions.DecodeError):
            decoder(type_).decode(payload)


@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1a", b"\xdc\0\x01", b"\xde\0\x01\xa1a"])
@pytest.mark.parametrize("levels", [100, 127, 128, 1000, 100_000])
def test_nesting_is_limited(opening: bytes, levels: int) -> None:
    payload = b"\x82\xa4type\xa4Ping\xa1u" + opening * levels + b"\x01"
    for type_ in (Ping, Ping | Pong, Any):
        if levels <= 127:
            decoder(type_).decode(payload)
        else:
            with pytest.raises(exceptions.DecodeError, match="128 levels"):
                decoder(type_).decode(payload)
