"""What is left behind by many decodes, valid and invalid: references to shared objects, and blocks of memory."""

import contextlib
import dataclasses
import datetime
import decimal
import enum
import gc
import sys
import time
import uuid
from collections.abc import Iterator
from typing import Annotated, Any, Final, Generic, Literal, NamedTuple, TypedDict, TypeVar

import msgspec
from tests.property.codec.chance import Format

from websocket_utils import Decoder, exceptions
from websocket_utils.messages import Message, PriceUpdate, WsMessage

__all__ = ["CASES", "Kept", "keeps"]

T = TypeVar("T")


class Side(enum.Enum):
    BUY = "buy"
    SELL = "sell"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Plain(Message):
    symbol: str
    price: float
    size: int
    live: bool
    note: str | None = None
    levels: list[float] = msgspec.field(default_factory=list)


class Choices(Message):
    side: Side
    level: Level
    kind: Literal["limit", "market"]
    code: Literal[1, 2, None] = None


class Inner(msgspec.Struct, frozen=True):
    a: int
    b: str = "inner"


class Nested(Message):
    one: Inner
    many: list[Inner]
    named: dict[str, Inner]
    pair: tuple[str, float]
    row: tuple[Inner, ...]
    names: set[str]
    fixed: frozenset[int]
    maybe: Inner | None = None


class Buy(msgspec.Struct, tag="buy", tag_field="kind"):
    size: float


class Sell(msgspec.Struct, tag="sell", tag_field="kind"):
    size: float
    note: str = ""


class Orders(Message, forbid_unknown_fields=True):
    orders: list[Buy | Sell]


class Row(msgspec.Struct, array_like=True):
    price: float
    size: float
    note: str = "none"


class TaggedRow(msgspec.Struct, array_like=True, tag=7):
    row: Row


class Checked(msgspec.Struct):
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")


class Foreign(msgspec.Struct):
    at: datetime.datetime
    price: decimal.Decimal
    id: uuid.UUID
    count: Annotated[int, msgspec.Meta(ge=0)]
    name: Annotated[str, msgspec.Meta(max_length=4)]
    data: bytes
    raw: msgspec.Raw
    rest: Any


@dataclasses.dataclass(slots=True)
class Point:
    x: float
    y: float
    tags: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Loose:
    x: int
    y: str = "loose"


class Table(TypedDict, total=False):
    name: str
    size: int


class Named(NamedTuple):
    x: int
    y: str = "named"


class Node(msgspec.Struct):
    value: int
    children: list["Node"] = []
    next: "Node | None" = None


class Page(msgspec.Struct, Generic[T]):
    items: list[T]
    total: int = 0


class Sparse(msgspec.Struct, rename="camel", kw_only=True, gc=False):
    first_name: str | msgspec.UnsetType = msgspec.UNSET
    last_name: str


_INNER: Final = {"a": 1, "b": "text"}
# Of each type, values that are accepted, as they travel, and values that are not.
CASES: Final[dict[str, tuple[Any, list[Any], list[Any]]]] = {
    "message": (
        Plain,
        [{"symbol": "SOL", "price": 1.5, "size": 2**64 - 1, "live": True, "note": "x" * 100, "levels": [1, 2.5]}],
        [{"symbol": 1}, {"symbol": "SOL", "price": 1.5, "size": 1, "live": True, "levels": [1, "2"]}],
    ),
    "standard messages": (
        WsMessage,
        [
            {"type": "price_update", "input_mint": "So1", "output_mint": "U", "price": 1, "timestamp": 5},
            {"type": "Subscribe", "channels": ["a", "b" * 100], "more": {"a": [1, {"b": None}]}},
        ],
        [{"type": "None"}, {"type": "PriceUpdate", "input_mint": "a"}, {"channels": []}],
    ),
    "enums": (
        Choices,
        [{"side": "buy", "level": 2, "kind": "limit", "code": 1}, {"side": "sell", "level": 1, "kind": "market"}],
        [{"side": "no"}, {"side": "buy", "level": 3}, {"side": "buy", "level": 1, "kind": "none"}],
    ),
    "nested": (
        Nested,
        [
            {
                "one": _INNER,
                "many": [_INNER, {"a": 2}],
                "named": {"first": _INNER, "second": {"a": 3}},
                "pair": ["left", 0.5],
                "row": [_INNER, _INNER],
                "names": ["x", "y", "x"],
                "fixed": [1, 2, 300],
                "maybe": _INNER,
            }
        ],
        [{"one": _INNER, "many": [_INNER, {"a": "2"}]}, {"one": {}}, {"one": _INNER, "many": [], "named": {"x": 1}}],
    ),
    "unions": (
        Orders,
        [{"orders": [{"kind": "buy", "size": 1.5}, {"size": 2, "kind": "sell", "note": "n"}]}],
        [{"orders": [{"kind": "buy", "size": 1.5}, {"kind": "none"}]}, {"orders": [], "other": 1}],
    ),
    "arrays": (list[Row], [[[1, 2.5], [3, 4, "note"]]], [[[1, 2.5], [1]], [[1, 2.5], [1, "2"]]]),
    "tagged arrays": (TaggedRow, [[7, [1.5, 2.5, "note"]]], [[8, [1, 2]], [7, [1, "x"]], [7]]),
    "checks": (Checked, [{"low": 1, "high": 2000}], [{"low": 2, "high": 1}, {"low": 2}]),
    "through msgspec": (
        list[Foreign],
        [
            [
                {
                    "at": "2024-01-02T03:04:05.123Z",
                    "price": "1.50",
                    "id": "6a8e6a0e-9d3c-4f0b-8f3c-0123456789ab",
                    "count": 5000,
                    "name": "name",
                    "data": b"abc",
                    "raw": {"a": [1, 2]},
                    "rest": {"b": ["text", 1.5, None]},
                }
            ]
        ],
        [[{"at": "yesterday"}], [{"at": "2024-01-02T03:04:05Z", "price": "1", "id": "1"}], [{"count": -1}]],
    ),
    "dataclasses": (
        Point | None,
        [{"x": 1.5, "y": 2.5, "tags": ["a", "long" * 30]}, {"x": 1, "y": 2}],
        [{"x": 1.5, "tags": []}, {"x": 1.5, "y": "2"}],
    ),
    "dataclasses without slots": (Loose, [{"x": 5000, "y": "text"}, {"x": 1}], [{}, {"x": "1"}]),
    "typed dicts": (Table, [{"name": "text", "size": 5000}, {}], [{"name": 1}, {"name": "text", "size": "1"}]),
    "named tuples": (Named, [[5000, "text"], [1]], [[], ["x"], [1, 2]]),
    "trees": (
        Node,
        [{"value": 5000, "children": [{"value": 1, "next": {"value": 2}}], "next": {"value": 3}}],
        [{"value": 1, "children": [{"value": 1, "next": {"value": "2"}}]}],
    ),
    "generics": (Page[Inner], [{"items": [_INNER, _INNER], "total": 5000}], [{"items": [{"a": None}]}]),
    "renamed": (Sparse, [{"lastName": "last", "firstName": "first"}, {"lastName": "l"}], [{"first_name": "x"}, {}]),
}


class Kept(msgspec.Struct, kw_only=True):
    """What the decodes of one type left behind."""

    name: str
    format: Format
    decodes: int
    refused: int
    seconds: float
    # The most that the count of references to one shared object changed.
    references: int
    # Blocks of memory more than before.
    blocks: int

    @property
    def is_flat(self) -> bool:
        """Whether nothing grew with the number of decodes."""
        return self.references < _NOISE and self.blocks < _NOISE


# References and blocks that come and go with the interpreter's own work.
_NOISE: Final = 60


def keeps(name: str, format: Format, decodes: int) -> Kept:
    """Decode payloads of a type that often, valid and invalid ones in turn, and count what is left."""
    type_, _, _ = CASES[name]
    payloads = list(_payloads(name, format))
    decode = Decoder(type_, format=format).decode

    def work(rounds: int) -> int:
        refused = 0
        for _ in range(rounds):
            for payload in payloads:
                try:
                    decode(payload)
                except exceptions.DecodeError:
                    refused += 1
        return refused

    shared = _shared(type_)
    rounds = max(decodes // len(payloads), 1)
    work(min(rounds, 300))
    # Tuples that it has looked at are freed in another way: none is alive across it.
    gc.collect()
    counts, blocks = [sys.getrefcount(item) for item in shared], sys.getallocatedblocks()
    began = time.perf_counter()
    refused = work(rounds)
    seconds = time.perf_counter() - began
    gc.collect()
    blocks = sys.getallocatedblocks() - blocks
    changes = [abs(sys.getrefcount(item) - count) for item, count in zip(shared, counts, strict=True)]
    return Kept(
        name=name,
        format=format,
        decodes=rounds * len(payloads),
        refused=refused,
        seconds=seconds,
        references=max(changes),
        blocks=blocks,
    )


def _payloads(name: str, format: Format) -> Iterator[bytes]:
    encode = msgspec.json.encode if format == "json" else msgspec.msgpack.encode
    _, valid, invalid = CASES[name]
    for value in valid:
        payload = encode(value)
        # Twice, so that about as many are accepted as are refused.
        yield from (payload, payload, payload[: len(payload) // 2], payload + payload[:1])
        if format == "json":
            yield msgspec.json.format(payload, indent=2)
    for value in invalid:
        yield encode(value)


def _shared(type_: Any) -> list[Any]:
    """Objects that many values share: a reference that is not given back shows in their counts."""
    found: list[Any] = [None, True, False, 0, 1, 2, "", (), type_, exceptions.DecodeError, PriceUpdate, UNSHARED]
    found += [msgspec.UNSET, *Side, *Level, Inner, Row, Node, Buy, Sell]
    for kind in (type_, *getattr(type_, "__args__", ())):
        with contextlib.suppress(AttributeError):
            found += [*kind.__struct_defaults__, *kind.__struct_fields__]
    return found


# One that no decode knows: shows what the measurement itself changes.
UNSHARED: Final = object()
