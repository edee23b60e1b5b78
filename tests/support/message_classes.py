"""Message classes in which each rule of the schemas occurs."""

import datetime
import decimal
import enum
import uuid
from dataclasses import dataclass, field
from typing import Annotated, Generic, Literal, NotRequired, TypedDict, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from websocket_utils import Message
from websocket_utils.messages import FieldId, Float32, Int32, UInt32, UInt64

T = TypeVar("T")


class Side(enum.Enum):
    BUY = "buy"
    SELL = "sell"


class Level(enum.IntEnum):
    NONE = 0
    TOP = 1


class Scalars(Message):
    """Every plain value.

    With a text of two paragraphs.
    """

    flag: bool
    count: int
    size: UInt64
    small: UInt32
    delta: Int32
    price: float
    """In quote units, */ per base unit."""
    rough: Float32
    name: str
    blob: bytes
    side: Side
    level: Level
    venue: Literal["a", 'b"c']
    code: Literal[1, 2] | None


class Defaults(Message, rename="camel"):
    zero_int: int = 0
    zero_float: float = 0.0
    negative_zero: float = -0.0
    empty_text: str = ""
    no: bool = False
    none_yet: Level = Level.NONE
    empty_list: list[int] = []  # noqa: RUF012  # msgspec makes one for each instance
    empty_tuple: tuple[str, ...] = ()
    empty_table: dict[str, int] = {}  # noqa: RUF012  # as above
    three: int = 3
    half: float = 0.5
    yes: bool = True
    side: Side = Side.SELL
    maybe: int | None = None
    perhaps: str | UnsetType = UNSET
    some: list[int] = msgspec.field(default_factory=lambda: [1])
    pair: tuple[float, float] = (1.0, 2.0)
    maybe_list: list[float] | None = None
    maybe_table: dict[str, float] | None = None


class Quote(Message):
    bid: float
    ask: float


class Halt(Message):
    reason: str = ""


class Nesting(Message):
    book: list[tuple[float, float]]
    rows: list[list[int]]
    mixed: tuple[int, str, Quote]
    empty: tuple[()]
    gaps: list[int | None]
    lists_or_not: list[list[int] | None]
    table: dict[str, Quote]
    tables: dict[str, dict[str, int]]
    list_of_tables: list[dict[str, bool]]
    event: Quote | Halt
    events: list[Quote | Halt]
    event_or_not: Quote | Halt | None
    names: set[str]
    codes: frozenset[int]
    quote: Quote
    quote_or_not: Quote | None


class Tree(Message):
    """Refers to itself."""

    value: int
    left: "Tree | None" = None
    right: "Tree | None" = None
    others: "list[Tree]" = []  # noqa: RUF012  # msgspec makes one for each instance


class Box(Struct, Generic[T]):
    item: T


class Generics(Message):
    number: Box[int]
    text: Box[str]
    both: Box[dict[str, float]]


class Texts(Message):
    """What is written as text."""

    at: datetime.datetime
    day: datetime.date
    amount: decimal.Decimal
    id: uuid.UUID | None
    ticker: Annotated[str, Meta(min_length=1)]
    quantity: Annotated[int, Meta(ge=0, le=100, description="Lots of 100.")]


class Numbered(Message):
    first: Annotated[float, FieldId(7)]
    second: int
    third: Annotated[str, FieldId(1)]


class Odd(Message, tag_field="$kind", tag="odd one"):
    kebab: int = msgspec.field(name="kebab-case")
    digit: int = msgspec.field(name="1st")
    foo_bar: int
    foo_bar_2: int
    foo_bar_camel: int = msgspec.field(name="fooBar")
    message: int
    optional: int
    package: int
    string: str
    map: dict[str, int]
    map_entry: int = msgspec.field(name="MapEntry")
    repeated: list[str]


class Row(Struct, array_like=True, tag=True):
    price: float
    size: int = 0
    note: str = ""


class Numeral(Struct, tag=3, tag_field="op"):
    rows: list[Row]


@dataclass(slots=True)
class Account:
    owner: str
    limits: list[int] = field(default_factory=list)


class Ticket(TypedDict):
    """A `dict` with known keys."""

    number: int
    note: NotRequired[str]
    lines: NotRequired[list[str]]


class Holders(Message):
    account: Account
    ticket: Ticket


class Checked(Struct):
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")


class Ranges(Message):
    range: Checked
    ranges: list[Checked]


CLASSES = [
    Scalars,
    Defaults,
    Nesting,
    Tree,
    Generics,
    Texts,
    Numbered,
    Odd,
    Numeral,
    Holders,
    Ranges,
]
"""All of them; the others are held by these."""
