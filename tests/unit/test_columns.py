"""Columns against the objects that the same bytes decode to."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
import pytest
from tests.support.rows import FORMATS, Every, columns_of, example, random_message, value_of

from websocket_utils import Decoder, Encoder, Int32, Message, PriceUpdate, UInt32, UInt64, decode_columns
from websocket_utils.exceptions import DecodeError


class Flags(msgspec.Struct):
    """Fields without any tag."""

    on: bool
    count: int = 0


def price(number: int, symbol: str = "SOL") -> bytes:
    return msgspec.json.encode(PriceUpdate(symbol, "USDC", number + 0.5, volume=number, timestamp=number))


# --- values ---


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("format", FORMATS)
def test_columns_hold_what_the_objects_of_the_same_bytes_hold(format: Literal["json", "msgpack"], seed: int) -> None:
    random = Random(seed)
    messages = [random_message(random) for _ in range(200)]
    columns = columns_of(messages, format)
    assert len(columns) == len(messages)
    assert columns.names == Every.__struct_fields__
    for name, column in columns.to_dict().items():
        expected = [value_of(message, name) for message in messages]
        assert repr(column.tolist()) == repr(expected), name
        assert column.null_count == expected.count(None)


@pytest.mark.parametrize("seed", range(5))
def test_fields_in_any_order_with_spaces_strange_ones_and_ones_that_come_twice(seed: int) -> None:
    random = Random(seed)
    frames = []
    for _ in range(200):
        pairs = list(msgspec.json.decode(msgspec.json.encode(random_message(random))).items())
        twice = [(name, value) for name, value in pairs if name in {"maybe_text", "a_bool", "an_int32"}]
        pairs += [(f"strange {number}", {"a": [number]}) for number in range(random.randint(0, 3))]
        random.shuffle(pairs)
        pairs = [("maybe_text", "first"), ("a_bool", True), ("an_int32", 1), *pairs] if random.random() < 0.5 else pairs
        pairs = [*pairs, *twice] if random.random() < 0.5 else pairs
        inner = b" , ".join(msgspec.json.encode(key) + b" : " + msgspec.json.encode(value) for key, value in pairs)
        frames.append(b"{" + inner + b"}")
    decoded = [msgspec.json.decode(frame, type=Every) for frame in frames]
    for name, column in decode_columns(Every, frames).to_dict().items():
        assert repr(column.tolist()) == repr([value_of(message, name) for message in decoded]), name


@pytest.mark.parametrize("format", FORMATS)
def test_missing_fields_have_their_defaults(format: Literal["json", "msgpack"]) -> None:
    fields = msgspec.to_builtins(example(1), builtin_types=(bytes,)) if format == "msgpack" else None
    fields = fields or msgspec.to_builtins(example(1))
    for name in [name for name in fields if name.startswith("maybe") or name.endswith("default")]:
        del fields[name]
    columns = decode_columns(Every, [FORMATS[format](fields)] * 2, format=format)
    assert columns["maybe_int"].tolist() == [None, None]
    assert columns["maybe_text"].tolist() == [None, None]
    assert columns["with_default"].tolist() == [5, 5]
    assert columns["text_default"].tolist() == ["none", "none"]


def test_default_factory_is_called_for_each_message_that_lacks_the_field() -> None:
    numbers: Iterator[int] = iter(range(10))

    class Numbered(Message):
        name: str
        number: int = msgspec.field(default_factory=lambda: next(numbers))

    frames = [b'{"type":"Numbered","name":"a"}', b'{"type":"Numbered","name":"b","number":7}'] * 2
    assert decode_columns(Numbered, frames)["number"].tolist() == [0, 7, 1, 7]


def test_columns_of_classes_that_are_no_messages() -> None:
    @dataclass(slots=True)
    class Point:
        x: float
        y: float = 0.0

    class Quote(TypedDict):
        bid: float
        note: NotRequired[str]

    points = decode_columns(Point, [b'{"x":1.5}', b'{"y":2,"x":0}'])
    assert [points["x"].tolist(), points["y"].tolist()] == [[1.5, 0.0], [0.0, 2.0]]
    quotes = decode_columns(Quote, [b'{"bid":1.5}', b'{"bid":2,"note":"n"}'])
    assert [quotes["bid"].tolist(), quotes["note"].tolist()] == [[1.5, 2.0], [None, "n"]]
    assert decode_columns(Flags, [b'{"on":true}'])["count"].tolist() == [0]


def test_messages_that_no_plan_holds_make_columns_too() -> None:
    class Checked(Message, rename="camel"):
        base_price: Annotated[float, msgspec.Meta(gt=0)]
        maybe_size: Annotated[int, msgspec.Meta(ge=0)] | None
        seen: bool | msgspec.UnsetType = msgspec.UNSET

        def __post_init__(self) -> None:
            self.base_price *= 2

    good = [b'{"type":"Checked","basePrice":1.5,"maybeSize":null}', b'{"basePrice":2,"maybeSize":3,"seen":false}']
    columns = decode_columns(Checked, good)
    assert {name: column.tolist() for name, column in columns.to_dict().items()} == {
        "base_price": [3.0, 4.0],
        "maybe_size": [None, 3],
        "seen": [None, False],
    }
    with pytest.raises(DecodeError, match=r"> 0\.0") as raised:
        decode_columns(Checked, [good[0], b'{"basePrice":-1,"maybeSize":null}'])
    assert raised.value.path == "$.basePrice"


def test_numbers_in_quotes_are_read_where_that_is_asked_for() -> None:
    frames = [b'{"input_mint":"SOL","output_mint":"USDC","price":"1.5","timestamp":"3"}']
    columns = decode_columns(PriceUpdate, frames, strict=False)
    assert (columns["price"].tolist(), columns["timestamp"].tolist()) == ([1.5], [3])
    with pytest.raises(DecodeError):
        decode_columns(PriceUpdate, frames)
    lenient = Decoder(PriceUpdate, strict=False)
    assert decode_columns(lenient, frames)["price"].tolist() == [1.5]


@pytest.mark.parametrize("make", [bytearray, memoryview, lambda frame: memoryview(bytearray(frame))])
def test_frames_are_any_objects_with_a_buffer_from_any_iterable(make: Callable[[bytes], Any]) -> None:
    columns = decode_columns(PriceUpdate, (make(price(number)) for number in range(3)))
    assert columns["volume"].tolist() == [0, 1, 2]


# --- what is refused ---


@pytest.mark.parametrize(
    ("annotation", "value", "marker"),
    [
        (int, 2**63, "UInt64"),
        (Int32, 2**31, "Int64"),
        (Int32, 2**63, "UInt64"),
        (UInt32, 2**32, "Int64"),
        (UInt32, -1, "Int64"),
        (UInt64, -1, "Int64"),
        (int | None, 2**63, "UInt64"),
        (UInt64, 2**64, None),
        (int, -(2**63) - 1, None),
    ],
)
def test_integer_outside_of_its_column_is_an_error_that_names_the_marker(
    annotation: Any, value: int, marker: str | None
) -> None:
    number = msgspec.defstruct("Number", [("before", str), ("number", annotation)], rename={"number": "n"})
    good, bad = b'{"before":"a","n":1}', b'{"before":"b","n":%d}' % value
    with pytest.raises(DecodeError) as raised:
        decode_columns(number, [good, bad, good])
    assert (raised.value.path, raised.value.raw) == ("$.n", bad)
    assert (f"`{marker}`" in str(raised.value)) is (marker is not None)
    assert raised.value.__notes__ == ["in frame 1 of those given"]


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        price(1) + b" 1",
        price(1)[:-1],
        b'{"type":"Other"}',
        price(1).replace(b"1.5", b'"1.5"'),
        price(1).replace(b"SOL", b"\xff"),
        b'{"type":"PriceUpdate","input_mint":"SOL"}',
    ],
)
def test_frame_that_is_no_such_message_is_an_error(bad: bytes) -> None:
    with pytest.raises(DecodeError) as raised:
        decode_columns(PriceUpdate, [price(1), bad])
    assert raised.value.raw == bad
    with pytest.raises(DecodeError) as expected:
        Decoder(PriceUpdate).decode(bad)
    assert str(raised.value) == str(expected.value)


class Book(Message):
    symbol: str
    bids: list[float]


class Nested(Message):
    price: PriceUpdate


class Mixed(Message):
    value: int | str


class Unclear(Message):
    value: Any


class Mismatched(Message):
    value: int = "none"  # type: ignore[assignment]  # what is tested


@pytest.mark.parametrize(
    ("type_", "field"),
    [(Book, "bids"), (Nested, "price"), (Mixed, "value"), (Unclear, "value"), (Mismatched, "value")],
)
def test_class_with_a_field_that_has_no_column_is_refused_by_name(type_: Any, field: str) -> None:
    with pytest.raises(TypeError, match=f"'{field}' of {type_.__name__}"):
        decode_columns(type_, [])


@pytest.mark.parametrize("type_", [int, list[int], PriceUpdate | Every, bytes, Any])
def test_type_that_is_no_message_class_is_refused(type_: Any) -> None:
    with pytest.raises(TypeError, match="one message class"):
        decode_columns(type_, [])


def test_frames_that_are_no_buffers_are_refused() -> None:
    with pytest.raises(TypeError):
        decode_columns(PriceUpdate, ["text"])  # type: ignore[list-item]  # what is tested
    with pytest.raises(ValueError, match="unknown format"):
        decode_columns(PriceUpdate, [], format="raw")  # type: ignore[arg-type]  # what is tested


BOTH: tuple[Literal["json", "protobuf"], ...] = ("json", "protobuf")


def test_columns_of_protocol_buffers_are_those_of_json() -> None:
    updates = [PriceUpdate("SOL", "USDC", 1.5 + number, number, -number) for number in range(5)]
    frames = {each: [Encoder(each).encode(update) for update in updates] for each in BOTH}
    one, other = (decode_columns(PriceUpdate, frames[each], format=each) for each in BOTH)
    for name in PriceUpdate.__struct_fields__:
        assert list(one[name]) == list(other[name]) == [getattr(update, name) for update in updates]
    with pytest.raises(DecodeError):
        decode_columns(PriceUpdate, [frames["protobuf"][0][:-1]], format="protobuf")
