"""Values of every kind that a message may hold, and what msgspec makes of them."""

import collections
import dataclasses
import datetime
import decimal
import enum
import math
import uuid
from collections.abc import Callable
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

import msgspec

from websocket_utils import exceptions
from websocket_utils.messages import Message, PriceUpdate

Format = Literal["json", "msgpack"]
T = TypeVar("T")


def reference(format: Format, hook: Callable[[Any], Any] | None = None) -> Callable[[Any], bytes]:
    if format == "json":
        return msgspec.json.Encoder(enc_hook=hook).encode
    return msgspec.msgpack.Encoder(enc_hook=hook).encode


def outcome(encode: Callable[[Any], bytes], value: Any) -> tuple[bytes | None, str]:
    """What is written, or what is said."""
    try:
        return encode(value), ""
    except exceptions.EncodeError as error:
        reason = error.__cause__
        is_told = reason is not None and str(reason) in str(error)
        return None, f"{type(reason).__name__}: {reason}" if is_told else "no reason"
    except Exception as error:  # noqa: BLE001  # whatever msgspec raises here is compared
        return None, f"{type(error).__name__}: {error}"


class Flat(Message):
    name: str
    price: float


class Level(msgspec.Struct, array_like=True):
    price: Any
    size: Any


class TaggedLevel(msgspec.Struct, array_like=True, tag=True):
    price: Any


class Nothing(msgspec.Struct):
    pass


class NothingInArray(msgspec.Struct, array_like=True):
    pass


class OnlyTag(msgspec.Struct, array_like=True, tag="only"):
    pass


class Numbered(msgspec.Struct, tag_field="kind", tag=-7):
    x: Any = None


class Sparse(msgspec.Struct, omit_defaults=True, rename="camel"):
    needed_first: Any
    small_number: Any = 300
    some_list: Any = msgspec.field(default_factory=list)
    some_dict: Any = msgspec.field(default_factory=dict)
    some_set: Any = msgspec.field(default_factory=set)
    other: Any = msgspec.field(default_factory=lambda: [])  # a factory that is no builtin


class SparseTagged(Sparse, tag="s", kw_only=True):
    late: Any = msgspec.UNSET


class SparseArray(msgspec.Struct, array_like=True, omit_defaults=True):
    a: Any = 1
    b: Any = 2


class Unset(msgspec.Struct):
    a: Any = msgspec.UNSET
    b: Any = msgspec.UNSET
    c: Any = msgspec.UNSET


class UnsetTagged(Unset, tag=True):
    pass


class Box(msgspec.Struct, Generic[T], frozen=True, gc=False):
    content: T


class Loose(msgspec.Struct, dict=True, weakref=True):
    x: Any


LONG_NAME = "a_name_that_does_not_fit_the_piece_that_is_copied_in_whole"
Wide = msgspec.defstruct("Wide", [(f"field_{number}", Any, msgspec.UNSET) for number in range(20)])
Long = msgspec.defstruct(
    "Long", [(LONG_NAME, Any, msgspec.UNSET), (LONG_NAME + "_2", Any, msgspec.UNSET)], tag=LONG_NAME
)
Renamed = msgspec.defstruct("Renamed", [("a", Any), ("b", Any)], rename={"a": "", "b": "ü€😀"})


@dataclasses.dataclass(slots=True)
class Slotted:
    a: Any
    b: Any = None
    constant: ClassVar[int] = 5


@dataclasses.dataclass(slots=True)
class SlottedChild(Slotted):
    c: Any = 1


@dataclasses.dataclass
class Open:
    a: Any
    b: Any = None
    constant: ClassVar[int] = 5
    only_at_the_start: dataclasses.InitVar[int] = 3


@dataclasses.dataclass
class OpenChildOfSlotted(Slotted):
    d: Any = 1


@dataclasses.dataclass
class Computed:
    a: int

    @property
    def double(self) -> int:
        return self.a * 2


Computed.__dataclass_fields__["double"] = Computed.__dataclass_fields__["a"]


@dataclasses.dataclass
class Watched:
    a: int

    def __getattribute__(self, name: str) -> Any:
        return object.__getattribute__(self, name)


@dataclasses.dataclass(slots=True)
class Empty:
    pass


class LikeAttrs:
    """What msgspec takes for a class made by attrs."""

    __attrs_attrs__ = ()

    def __init__(self, a: Any, b: Any = None, _private: Any = 1) -> None:
        self.a, self.b, self._private = a, b, _private


class SlotsLikeAttrs(LikeAttrs):
    __attrs_attrs__ = ()
    __slots__ = ("_hidden", "y_first", "z_last")

    def __init__(self, a: Any, y_first: Any) -> None:
        super().__init__(a)
        self.y_first, self._hidden = y_first, 5


class Side(enum.Enum):
    BUY = "buy"
    SELL = 2
    LEVELS = (1, [2])
    NOTHING = None


class Size(enum.IntEnum):
    SMALL = 1
    HUGE = 2**63


class Word(str, enum.Enum):  # noqa: UP042  # the older way is another class to msgspec
    A = "a\n"
    B = "ü"


class Permission(enum.Flag):
    READ = 1
    WRITE = 2


class Pair(enum.Enum):
    NESTED = Side.BUY


class TupleMember(tuple[int, int], enum.Enum):  # an enum has no slots
    A = (1, 2)


class Point(NamedTuple):
    x: int
    y: Any


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Items(list):  # type: ignore[type-arg]
    def __iter__(self) -> Any:
        raise AssertionError("msgspec does not ask")


class Mapping(dict):  # type: ignore[type-arg]
    def items(self) -> Any:
        raise AssertionError("msgspec does not ask")


class Group(set):  # type: ignore[type-arg]
    pass


class Plain:
    pass


UTC = datetime.UTC
IN_TOKYO = datetime.timezone(datetime.timedelta(hours=9))
LACKING = Open(1, 2)
del LACKING.b
LACKING_SLOT = Slotted(1, 2)
del LACKING_SLOT.b
EXTRA = Open(1, 2)
EXTRA.extra = 3  # type: ignore[attr-defined]
REORDERED = Open(1, 2)
del REORDERED.a
REORDERED.a = 5
UNSET_FIELD = Level(1, 2)
del UNSET_FIELD.size
UNSET_NAME = Flat("a", 1.0)
del UNSET_NAME.name

INTEGERS = [sign * (1 << shift) + near for shift in range(66) for near in (-1, 0, 1) for sign in (1, -1)]
FLOATS = [0.0, -0.0, 1.0, -1.5, 187.4, 0.1 + 0.2, 1e-5, 9.9e-6, 1e7, 1e15, 1e16, 1.7e308, 5e-324, 1e22, 123456789.125]
TEXTS = [
    "",
    "a",
    "SOL-USDC",
    'quote " and \\',
    "\0\x1f\n\x7f",
    "ü€😀",
    "x" * 31,
    "x" * 32,
    "y" * 300,
    "z" * 70_000,
    "é" * 40,
]

VALUES: list[Any] = [
    None,
    True,
    False,
    *INTEGERS,
    10**30,
    *FLOATS,
    math.inf,
    -math.inf,
    math.nan,
    *TEXTS,
    "\ud800",
    b"",
    b"a",
    b"ab",
    bytes(range(256)),
    b"x" * 70_000,
    bytearray(b"abc"),
    memoryview(b"abcd"),
    memoryview(b"abcd")[::2],
    [],
    [1, [2.5, ["x"]], None],
    list(range(20)),
    ["x"] * 70_000,
    (),
    (1, "a", (2.5,)),
    {},
    {"a": 1, "b": {"c": [1]}},
    {str(number): number for number in range(20)},
    {1: 2, -3: 4, 2**63: 5, 2**64 - 1: 6, 2**64: 7},
    {1.5: 2, 0.1: 3},
    {math.nan: 1, math.inf: 2},
    {True: 1},
    {None: 1},
    {b"key": 1},
    {Text("key"): 1},
    {Side.BUY: 1, Side.SELL: 2},
    {Size.SMALL: 1, Word.A: 2},
    {(1, 2): 3},
    {frozenset([1]): 3},
    {Box(1): 2},
    {datetime.date(2026, 1, 2): 1},
    {uuid.UUID(int=5): 1},
    {decimal.Decimal("1.5"): 1},
    {"\ud800": 1},
    {object: 1},
    set(),
    {5},
    {1, 2, 3},
    frozenset("ab"),
    frozenset(),
    Group([1]),
    Group(),
    Flat("a", 1.0),
    PriceUpdate("SOL", "USDC", 187.25, 12, -5),
    Level(187.5, 3),
    Level(msgspec.UNSET, 1),
    TaggedLevel([1]),
    [Level(1.5, 2), Level(2.5, 1)],
    Nothing(),
    NothingInArray(),
    OnlyTag(),
    Numbered(),
    Sparse(1),
    Sparse(msgspec.UNSET),
    Sparse(1, 300, [1], {"a": 1}, {5}, []),
    Sparse(1, 301),
    Sparse(1, some_list=(), some_set=set(), some_dict=Mapping()),
    SparseTagged(needed_first=1),
    SparseTagged(needed_first=1, late=[Sparse(2)]),
    SparseArray(),
    Unset(),
    Unset(b=1),
    Unset(c=1),
    Unset(a=1, c=Unset(b=2)),
    UnsetTagged(),
    UnsetTagged(b=1),
    Box(Box(Flat("x", 2.0))),
    Loose([1]),
    Wide(),
    Wide(*range(20)),
    Wide(1, field_7=2),
    Long(),
    Long(1),
    Long(1, 2),
    Renamed(1, 2),
    UNSET_FIELD,
    UNSET_NAME,
    Slotted(1, [2]),
    Slotted(1, msgspec.UNSET),
    Slotted(msgspec.UNSET, 1),
    SlottedChild(1, 2, 3),
    Open(1, Slotted(2)),
    Open(msgspec.UNSET, 1),
    OpenChildOfSlotted(1, 2),
    Computed(4),
    Watched(4),
    LikeAttrs(1, [2]),
    LikeAttrs(msgspec.UNSET),
    SlotsLikeAttrs(1, 2),
    LikeAttrs,
    Empty(),
    LACKING,
    LACKING_SLOT,
    EXTRA,
    REORDERED,
    Slotted,
    Side.BUY,
    Side.SELL,
    Side.LEVELS,
    Side.NOTHING,
    Size.SMALL,
    Size.HUGE,
    Word.A,
    Word.B,
    Permission.READ,
    Permission.READ | Permission.WRITE,
    Pair.NESTED,
    TupleMember.A,
    Point(1, [2]),
    Text("a"),
    Number(1),
    Items([1, 2]),
    Mapping(a=1),
    collections.OrderedDict(a=1),
    collections.defaultdict(int, a=1),
    collections.Counter("aab"),
    collections.deque([1]),
    datetime.datetime(2026, 1, 2, 3, 4, 5, 6),  # without a zone, too
    datetime.datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
    datetime.datetime(2026, 1, 2, 3, 4, 5, 6, IN_TOKYO),
    datetime.date(2026, 1, 2),
    datetime.time(1, 2, 3),
    datetime.timedelta(days=1, seconds=3),
    uuid.UUID(int=2**100),
    decimal.Decimal("1.50"),
    msgspec.Raw(b"[1, 2]"),
    msgspec.msgpack.Ext(5, b"data"),
    msgspec.UNSET,
    msgspec.NODEFAULT,
    Plain(),
    object(),
    Plain,
    int,
    range(3),
    1j,
    ...,
]
