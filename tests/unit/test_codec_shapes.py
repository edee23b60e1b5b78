"""Classes of every shape: held by a plan, with the values and the errors of msgspec."""

import dataclasses
import datetime
import decimal
import enum
import threading
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Generic, Literal, NotRequired, TypedDict, TypeVar

import msgspec
import pytest

from websocket_utils import exceptions
from websocket_utils._core import Decoder
from websocket_utils.messages import Message, Ping, PriceUpdate

T = TypeVar("T")
REFERENCES: dict[str, Any] = {"json": msgspec.json, "msgpack": msgspec.msgpack}


class Side(enum.Enum):
    BUY = "buy"
    SELL = "sell"


class Status(enum.IntEnum):
    OPEN = 0
    FILLED = 7
    BUST = -1


class Leg(Message):
    venue: str
    size: float = 0.0


class Add(msgspec.Struct, tag="add", tag_field="op"):
    price: float


class Cancel(msgspec.Struct, tag="cancel", tag_field="op"):
    order: int


class Level(msgspec.Struct, array_like=True):
    price: float
    size: float
    count: int = 1


class TaggedLevel(msgspec.Struct, array_like=True, tag="level", forbid_unknown_fields=True):
    price: float


class TaggedTrade(msgspec.Struct, array_like=True, tag="trade"):
    price: float
    side: Side


class Tree(msgspec.Struct):
    name: str
    children: "list[Tree]" = []


class Page(msgspec.Struct, Generic[T]):
    items: list[T]
    after: T | None = None


class Checked(Message):
    low: float
    high: float

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low lies above high")


@dataclasses.dataclass(slots=True)
class Point:
    x: int
    y: float = 0.5
    names: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True, frozen=True, kw_only=True)
class FrozenPoint:
    x: int = 3


@dataclasses.dataclass
class LoosePoint:
    x: int


class Options(TypedDict):
    size: int
    note: NotRequired[str]


class Strange(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True, kw_only=True):
    order_id: int
    sent_at: datetime.datetime | None = None
    size_limit: Annotated[int, msgspec.Meta(ge=0)] = 5
    exact: decimal.Decimal | None = None
    key: uuid.UUID | None = None
    blob: bytes = b""
    anything: Any = None
    raw: msgspec.Raw = msgspec.Raw()


BOOK = msgspec.defstruct(
    "Book", [("bids", list[tuple[float, float]]), ("asks", list[list[float]]), ("totals", dict[str, float])]
)

GOOD: list[tuple[Any, list[Any]]] = [
    (Side, ["buy", "sell"]),
    (Status, [0, 7, -1]),
    (Literal["a", "b", 1, None], ["a", 1, None]),
    (list[Leg], [[], [{"type": "Leg", "venue": "x", "size": 1.5}, {"venue": "y"}]]),
    (Leg | None, [None, {"venue": "x"}]),
    (Add | Cancel, [{"op": "add", "price": 1}, {"order": 3, "op": "cancel"}]),
    (list[Add | Cancel | None], [[{"op": "add", "price": 1}, None, {"op": "cancel", "order": 3}]]),
    (Level, [[1, 2.5], [1.0, 2.5, 9], [1, 2, 3, "more"]]),
    (TaggedLevel, [["level", 1.5]]),
    (list[TaggedLevel | TaggedTrade], [[["level", 1.5], ["trade", 2, "buy", None]]]),
    (Tree, [{"name": "a", "children": [{"name": "b", "children": [{"name": "c"}]}]}]),
    (Page[int], [{"items": [1, 2], "after": 3}]),
    (Page[Leg], [{"items": [{"venue": "x"}]}]),
    (Point, [{"x": 1}, {"y": 2, "x": 1, "names": ["é"], "more": {}}]),
    (FrozenPoint, [{}, {"x": 4}]),
    (Options, [{"size": 1}, {"note": "n", "size": 2, "more": 1}]),
    (dict[str, list[int]], [{}, {"a": [1], "é": [], "a\n": [2]}]),
    (set[int], [[1, 2, 2], []]),
    (frozenset[str], [["a", "b"]]),
    (tuple[int, ...], [[], [1, 2]]),
    (tuple[int, str, None], [[1, "a", None]]),
    (list[tuple[Side, float]], [[["buy", 1], ["sell", 2.5]]]),
    (BOOK, [{"bids": [[1, 2], [1.5, 2.25]], "asks": [[3, 4.5]], "totals": {"a": 1, "b": 0.25}}]),
    (
        Strange,
        [
            {"orderId": 1},
            {
                "orderId": 2,
                "sentAt": "2026-11-27T10:00:00Z",
                "sizeLimit": 7,
                "exact": "1.10",
                "key": "00000000-0000-0000-0000-000000000001",
                "anything": {"a": [1, {"b": None}]},
                "raw": [1, "x"],
            },
        ],
    ),
    (Checked | Ping, [{"type": "Ping"}, {"type": "Checked", "low": 1, "high": 2}]),
]
BAD: list[tuple[Any, Any, str, str | None, str | None]] = [
    (list[Leg], [{"venue": "x"}, {"venue": 1}], "$[1].venue", "str", "int"),
    (BOOK, {"bids": [[1, 2], [1, "x"]], "asks": [], "totals": {}}, "$.bids[1][1]", "float", "str"),
    (BOOK, {"bids": [[1, 2, 3]], "asks": [], "totals": {}}, "$.bids[0]", "`array` of length 2", None),
    (BOOK, {"bids": [], "asks": []}, "$", "field totals", "no such field"),
    (BOOK, {"bids": [], "asks": [], "totals": {"a": "x"}}, "$.totals[...]", "float", "str"),
    (Side, "hold", "$", None, None),
    (list[Status], [0, 7, 8], "$[2]", None, None),
    (
        Tree,
        {"name": "a", "children": [{"name": "b", "children": [{}]}]},
        "$.children[0].children[0]",
        "field name",
        None,
    ),
    (Page[int], {"items": ["x"]}, "$.items[0]", "int", "str"),
    (Point, {"x": "1"}, "$.x", "int", "str"),
    (Options, {"note": "n"}, "$", "field size", "no such field"),
    (Strange, {"orderId": 1, "sizeLimit": -1}, "$.sizeLimit", "`int` >= 0", None),
    (Strange, {"orderId": 1, "other": 1}, "$", None, None),
    (Checked, {"low": 2, "high": 1}, "$", None, None),
    (list[Checked], [{"low": 1, "high": 2}, {"low": 2, "high": 1}], "$[1]", None, None),
]


@pytest.mark.parametrize("format", ["json", "msgpack"])
@pytest.mark.parametrize(("type_", "values"), GOOD)
def test_value_of_any_shape_is_that_of_msgspec(
    format: Literal["json", "msgpack"], type_: Any, values: list[Any]
) -> None:
    reference = REFERENCES[format]
    decoder = Decoder(type_, format=format)
    assert decoder.plan == "compiled"
    for value in values:
        payload = reference.encode(value)
        decoded, expected = decoder.decode(payload), reference.decode(payload, type=type_)
        assert decoded == expected
        # Two `Raw` never have one repr.
        assert type_ is Strange or repr(decoded) == repr(expected)


@pytest.mark.parametrize("format", ["json", "msgpack"])
@pytest.mark.parametrize(("type_", "value", "path", "expected", "got"), BAD)
def test_error_names_path_offset_and_what_came(
    format: Literal["json", "msgpack"], type_: Any, value: Any, path: str, expected: str | None, got: str | None
) -> None:
    payload = REFERENCES[format].encode(value)
    with pytest.raises(exceptions.DecodeError) as caught:
        Decoder(type_, format=format).decode(payload)
    error = caught.value
    assert (error.path, error.expected) == (path, expected)
    if got is not None:
        assert error.got == got
    assert error.raw == payload
    assert error.offset is not None
    fault = REFERENCES[format].decode(payload)
    for step in path.removeprefix("$").replace("[...]", ".a").replace("[", ".").replace("]", "").split(".")[1:]:
        fault = fault[int(step) if step.isdigit() else step]
    assert payload[error.offset :].startswith(REFERENCES[format].encode(fault))


@pytest.mark.parametrize("type_", [LoosePoint, datetime.datetime, Any, Annotated[str, msgspec.Meta(max_length=3)]])
def test_what_no_plan_holds_is_decoded_by_msgspec(type_: Any) -> None:
    assert Decoder(type_).plan == "msgspec"


@pytest.mark.parametrize(
    ("type_", "payload", "value"),
    [
        (float, b'"25.35190000"', 25.3519),
        (float, b'"100"', 100.0),
        (float, b"100", 100.0),
        (float, b'"-1.5e3"', -1500.0),
        (float | None, b'"0.1"', 0.1),
        (float | None, b'"null"', None),
        (int, b'"18446744073709551615"', 2**64 - 1),
        (int, b'"-12"', -12),
        (bool, b'"true"', True),
        (list[float], b'["1.5",2,"3"]', [1.5, 2.0, 3.0]),
        (float, b'" 1.5"', None),
        (float, b'"1.5x"', None),
        (float, b'""', None),
        (float, b'"0x1"', None),
        (int, b'"1.5"', None),
    ],
)
def test_quoted_numbers_are_read_where_the_decoder_is_not_strict(type_: Any, payload: bytes, value: Any) -> None:
    def outcome(decode: Callable[[bytes], Any]) -> Any:
        try:
            return decode(payload)
        except (msgspec.ValidationError, exceptions.DecodeError):
            return "refused"

    expected = outcome(msgspec.json.Decoder(type_, strict=False).decode)
    assert repr(outcome(Decoder(type_, strict=False).decode)) == repr(expected)
    if value is not None:
        assert repr(expected) == repr(value)


def test_hook_decides_about_types_of_its_own() -> None:
    class Mint:
        def __init__(self, text: str) -> None:
            self.text = text

    class Transfer(Message):
        mint: Mint
        amount: int

    def hook(type_: Any, value: Any) -> Any:
        if value == "stop":
            raise KeyboardInterrupt
        if value == "bad":
            raise ValueError("no mint")
        return Mint(value)

    decoder = Decoder(Transfer, dec_hook=hook)
    assert decoder.plan == "compiled"
    transfer = decoder.decode(b'{"mint":"So111","amount":5}')
    assert (transfer.mint.text, transfer.amount) == ("So111", 5)
    with pytest.raises(exceptions.DecodeError, match="no mint"):
        decoder.decode(b'{"mint":"bad","amount":5}')
    with pytest.raises(KeyboardInterrupt):
        decoder.decode(b'{"mint":"stop","amount":5}')


def test_absent_field_that_may_be_unset_is_unset() -> None:
    class Patch(msgspec.Struct):
        price: float | msgspec.UnsetType | None = msgspec.UNSET

    decoder = Decoder(Patch)
    assert decoder.decode(b"{}").price is msgspec.UNSET
    assert decoder.decode(b'{"price":null}').price is None
    assert decoder.decode(b'{"price":1}').price == 1.0


@pytest.mark.parametrize("format", ["json", "msgpack"])
def test_recursive_class_is_read_as_deep_as_128_levels_on_a_small_stack(format: Literal["json", "msgpack"]) -> None:
    def nested(levels: int) -> bytes:
        value: dict[str, Any] = {"name": "leaf"}
        for _ in range(levels):
            value = {"name": "n", "children": [value]}
        return REFERENCES[format].encode(value)  # type: ignore[no-any-return]  # a module as a value has no types

    decoder = Decoder(Tree, format=format)
    outcomes: list[Any] = []

    def decode() -> None:
        # A level is an object and a list: 63 of them and the leaf make 127 levels.
        outcomes.append(decoder.decode(nested(63)))
        for levels in (64, 300):
            try:
                outcomes.append(decoder.decode(nested(levels)))
            except exceptions.DecodeError as error:
                outcomes.append(str(error))

    size = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=decode)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(size)
    tree, just_over, far_over = outcomes
    assert tree.children[0].name == "n"
    assert "128 levels" in just_over
    assert "128 levels" in far_over


def test_decoder_of_another_strictness_can_be_asked_for_with_a_price_that_is_quoted() -> None:
    payload = b'{"type":"PriceUpdate","input_mint":"a","output_mint":"b","price":"1.5","timestamp":1}'
    with pytest.raises(exceptions.DecodeError):
        Decoder(PriceUpdate).decode(payload)
    assert Decoder(PriceUpdate, strict=False).decode(payload).price == 1.5


@pytest.mark.parametrize("format", ["json", "msgpack", "protobuf"])
def test_factory_of_a_message_that_is_refused_is_not_asked_more_than_twice(
    format: Literal["json", "msgpack", "protobuf"],
) -> None:
    asked: list[int] = []

    def refuse() -> int:
        asked.append(1)
        raise ZeroDivisionError

    class Numbered(Message):
        number: int = msgspec.field(default_factory=refuse)

    payload = {"json": b"{}", "msgpack": b"\x80", "protobuf": b""}[format]
    with pytest.raises(ZeroDivisionError):
        Decoder(Numbered, format=format).decode(payload)
    # By the plan, and by the complete decoder, whose word counts.
    assert len(asked) <= 2
