"""Encode: every kind of value beside msgspec, hooks, changes under way, depth, and buffers of others."""

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import gc
import math
import sys
import threading
import uuid
from collections.abc import Callable
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

import msgspec
import pytest

from websocket_utils import exceptions
from websocket_utils._core import Encoder
from websocket_utils.messages import Message, PriceUpdate

Format = Literal["json", "msgpack"]
T = TypeVar("T")

both = pytest.mark.parametrize("format", ["json", "msgpack"])


def reference(format: Format, hook: Callable[[Any], Any] | None = None) -> Callable[[Any], bytes]:
    module = msgspec.json if format == "json" else msgspec.msgpack
    return module.Encoder(enc_hook=hook).encode


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


class Word(str, enum.Enum):
    A = "a\n"
    B = "ü"


class Permission(enum.Flag):
    READ = 1
    WRITE = 2


class Pair(enum.Enum):
    NESTED = Side.BUY


class TupleMember(tuple, enum.Enum):  # an enum has no slots
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


def outcome(encode: Callable[[Any], bytes], value: Any) -> tuple[bytes | None, str]:
    """What is written, or what is said."""
    try:
        return encode(value), ""
    except exceptions.EncodeError as error:
        assert error.__cause__ is not None
        assert str(error.__cause__) in str(error)
        return None, f"{type(error.__cause__).__name__}: {error.__cause__}"
    except Exception as error:  # noqa: BLE001  # whatever msgspec raises here is compared
        return None, f"{type(error).__name__}: {error}"


@both
@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_value_in_every_place_is_written_as_msgspec_writes_it(format: Format, value: Any) -> None:
    encode, expected = Encoder(format).encode, reference(format)
    places = [value, [value, 1, value], (value,), {"k": value, "l": value}, {"k": [[value]]}]
    places += [Level(value, value), Numbered(value), Sparse(value, value), Unset(b=value), Loose(value), Box(value)]
    places += [Slotted(value, value), Open(value, value), Flat(value, value), TaggedLevel(value), [Point(1, value)]]
    for place in places:
        # Twice: the class is known by then.
        assert outcome(encode, place) == outcome(expected, place) == outcome(encode, place)


@both
def test_kinds_of_values_are_told_apart_within_one_message(format: Format) -> None:
    values = [value for value in VALUES if outcome(reference(format), value)[0] is not None]
    assert len(values) > 200
    assert Encoder(format).encode(values) == reference(format)(values)


@both
def test_more_classes_than_are_remembered_are_all_written(format: Format) -> None:
    encode, expected = Encoder(format).encode, reference(format)
    classes = [msgspec.defstruct(f"Class{number}", [(f"field_{number}", int)]) for number in range(600)]
    for _ in range(2):
        for class_ in classes:
            assert encode([class_(1), class_(2)]) == expected([class_(1), class_(2)])


# --- hooks


def described(value: Any) -> Any:
    if isinstance(value, Plain):
        return {"plain": [1, Level(1.5, Side.BUY)]}
    if isinstance(value, complex):
        return [value.real, value.imag]
    if isinstance(value, range):
        return Plain()
    if value is int:
        return 2**63
    raise NotImplementedError(f"no form for {value!r}")


@both
@pytest.mark.parametrize(
    "value",
    [Plain(), 1j, range(3), int, {1j: Plain()}, [Plain(), 5], float, Level(1j, Plain()), *VALUES[-20:]],
    ids=lambda value: type(value).__name__,
)
def test_hook_is_asked_where_msgspec_asks_it(format: Format, value: Any) -> None:
    encode, expected = Encoder(format, enc_hook=described).encode, reference(format, described)
    for place in (value, [value], Numbered(value), {"k": value}, Slotted(value)):
        assert outcome(encode, place) == outcome(expected, place)


@both
def test_hook_for_a_key_is_asked(format: Format) -> None:
    def as_text(value: Any) -> str:
        return f"<{value}>"

    value = {1j: 1, 2j: {3j: 2}}
    assert Encoder(format, enc_hook=as_text).encode(value) == reference(format, as_text)(value)


@both
def test_what_a_hook_raises_passes_unless_it_refuses_the_value(format: Format) -> None:
    def fail(value: Any) -> Any:
        raise value.args[0] if isinstance(value, Exception) else KeyError("mine")

    encoder = Encoder(format, enc_hook=fail)
    with pytest.raises(KeyError, match="mine"):
        encoder.encode([object()])
    for refusal in (NotImplementedError("this one"), TypeError("this one"), ValueError("this one")):
        with pytest.raises(exceptions.EncodeError, match="can't encode a list: this one") as caught:
            encoder.encode([Exception(refusal)])
        assert caught.value.__cause__ is refusal


@both
def test_hook_that_gives_its_argument_back_ends_in_an_error(format: Format) -> None:
    calls = 0

    def same(value: Any) -> Any:
        nonlocal calls
        calls += 1
        return value

    with pytest.raises(exceptions.EncodeError, match="128"):
        Encoder(format, enc_hook=same).encode({"a": object()})
    assert calls < 200


@both
def test_hook_may_encode_with_the_same_encoder(format: Format) -> None:
    def inner(value: Any) -> Any:
        return encoder.encode([1, 2]) if isinstance(value, Plain) else [encoder.encode(Plain())]

    encoder = Encoder(format, enc_hook=inner)
    assert encoder.encode(["x" * 500, 1j, "y"]) == reference(format, inner)(["x" * 500, 1j, "y"])


def test_hook_must_be_callable_and_given_by_name() -> None:
    assert Encoder("json", enc_hook=None).encode([1]) == b"[1]"
    with pytest.raises(TypeError, match="callable"):
        Encoder("json", enc_hook=5)  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(TypeError):
        Encoder("json", repr)  # type: ignore[call-arg]  # the point of the test


# --- changes while a message is encoded


@both
@pytest.mark.parametrize("change", ["clear", "append"])
def test_list_that_a_hook_changes_is_an_error(format: Format, change: str) -> None:
    for depth in range(3):
        outer: list[Any] = ["first", Plain(), "x" * 100, [5] * 50]
        message: Any = outer
        for _ in range(depth):
            message = [message, "after"]

        def hook(_: Any, outer: list[Any] = outer) -> int:
            outer.clear() if change == "clear" else outer.append(1)
            gc.collect()
            return 1

        with pytest.raises(exceptions.EncodeError, match="a list changed size"):
            Encoder(format, enc_hook=hook).encode(message)


@both
@pytest.mark.parametrize("key", ["b", 2.5, (1, 2)], ids=repr)
@pytest.mark.parametrize("change", ["clear", "grow", "replace", "key"])
def test_dict_that_a_hook_changes_is_an_error_unless_its_keys_stay(format: Format, change: str, key: Any) -> None:
    if format == "json" and key == (1, 2):
        key = "other"
    message: dict[Any, Any] = {"a": 1, key: Plain(), "c": ["x" * 100]}

    def hook(_: Any) -> int:
        if change == "clear":
            message.clear()
        elif change == "grow":
            message.update((str(number), number) for number in range(100))
        elif change == "replace":
            message.update({name: [name] * 3 for name in message})
        else:
            message.clear()
            message.update(dict.fromkeys("defghijklmnopqrstuvwxyz"[:3], "new"))
        gc.collect()
        return 1

    encode = Encoder(format, enc_hook=hook).encode
    if change == "replace":
        assert encode(message) == reference(format)({"a": 1, key: 1, "c": ["c"] * 3})
    elif change == "key":
        # As many entries as before: those that come next are written, or there are too few.
        try:
            written = encode(message)
        except exceptions.EncodeError as error:
            assert "a dict changed size" in str(error)  # noqa: PT017  # either is right
        else:
            decoded = (msgspec.json if format == "json" else msgspec.msgpack).decode(written, strict=False)
            assert len(decoded) == 3
    else:
        with pytest.raises(exceptions.EncodeError, match="a dict changed size"):
            encode(message)


@both
def test_set_that_a_hook_changes_is_an_error(format: Format) -> None:
    message = {Plain(), 1, 2, 3}

    def hook(_: Any) -> int:
        message.clear()
        return 1

    with pytest.raises(exceptions.EncodeError, match="changed size"):
        Encoder(format, enc_hook=hook).encode(message)


@both
def test_message_whose_fields_a_hook_replaces_is_written_as_it_is_when_its_turn_comes(format: Format) -> None:
    class Three(msgspec.Struct):
        a: Any
        b: Any
        c: Any

    @dataclasses.dataclass
    class OpenThree:
        a: Any
        b: Any
        c: Any

    @dataclasses.dataclass(slots=True)
    class SlottedThree:
        a: Any
        b: Any
        c: Any

    for class_ in (Three, OpenThree, SlottedThree):
        message = class_([1] * 10, [Plain(), "x" * 50], ["y" * 50])

        def hook(_: Any, message: Any = message) -> int:
            message.a = message.b = None
            message.c = ["new"]
            gc.collect()
            return 7

        written = Encoder(format, enc_hook=hook).encode([message])
        assert written == reference(format)([class_([1] * 10, [7, "x" * 50], ["new"])])


@both
def test_message_that_a_hook_frees_is_written_to_its_end(format: Format) -> None:
    holder: list[Any] = [Level([Plain(), "x" * 60], ["y" * 60])]

    def hook(_: Any) -> int:
        holder[0] = None
        gc.collect()
        return 7

    assert Encoder(format, enc_hook=hook).encode(holder) == reference(format)([Level([7, "x" * 60], ["y" * 60])])


@both
def test_class_that_is_forgotten_while_a_hook_runs_is_written_to_its_end(format: Format) -> None:
    class_: Any = msgspec.defstruct("Passing", [("a", Any), ("b_" * 30, Any)])
    holder: list[Any] = [class_(Plain(), 5)]
    expected = reference(format)([class_(7, 5)])
    del class_
    plain = Encoder(format)

    def hook(_: Any) -> int:
        holder[0] = None
        for number in range(600):
            plain.encode(msgspec.defstruct(f"Class{number}", [("a", int)])(1))
        gc.collect()
        return 7

    assert Encoder(format, enc_hook=hook).encode(holder) == expected


@both
def test_member_whose_value_is_a_property_is_asked_for_it(format: Format) -> None:
    class Odd(enum.Enum):
        A = 1

    Odd.A._value_ = Odd.A  # type: ignore[assignment]  # the point of the test
    with pytest.raises(exceptions.EncodeError, match="128"):
        Encoder(format).encode([Odd.A])


# --- depth


def nested(levels: int, kind: str) -> Any:
    value: Any = 1
    for _ in range(levels):
        if kind == "list":
            value = [value]
        elif kind == "tuple":
            value = (value,)
        elif kind == "dict":
            value = {"a": value}
        elif kind == "key":
            value = {5: value}
        elif kind == "set":
            value = frozenset([value])
        elif kind == "array":
            value = Level(value, 1)
        elif kind == "struct":
            value = Numbered(value)
        elif kind == "sparse":
            value = Unset(b=value)
        elif kind == "slotted":
            value = Slotted(value)
        elif kind == "watched":
            value = Watched(value)
        elif kind == "mixed":
            value = OpenChildOfSlotted(value)
        elif kind == "attrs":
            value = LikeAttrs(value)
        else:
            value = Open(value)
    return value


KINDS = [
    "list",
    "tuple",
    "dict",
    "key",
    "set",
    "array",
    "struct",
    "sparse",
    "slotted",
    "open",
    "watched",
    "mixed",
    "attrs",
]


@both
@pytest.mark.parametrize("kind", KINDS)
def test_128_levels_are_written_and_one_more_is_an_error(format: Format, kind: str) -> None:
    encoder, out = Encoder(format), bytearray(b"kept")
    assert encoder.encode(nested(128, kind)) == reference(format)(nested(128, kind))
    with pytest.raises(exceptions.EncodeError, match="deeper than 128 levels"):
        encoder.encode_into(nested(129, kind), out)
    assert out == b"kept"
    assert encoder.encode([Side.BUY]) == reference(format)(["buy"])


@both
def test_deep_and_cyclic_messages_are_errors_on_a_small_stack(format: Format) -> None:
    lists: list[Any] = [1]
    lists.append(lists)
    dicts: dict[str, Any] = {}
    dicts["self"] = (dicts,)
    struct = Numbered()
    struct.x = struct
    open_, slotted = Open(1), Slotted(1)
    open_.a, slotted.a = [open_], {"s": slotted}
    messages = [lists, dicts, struct, open_, slotted, *(nested(100_000, kind) for kind in ("list", "tuple", "dict"))]
    messages += [nested(129, kind) for kind in KINDS]
    watched, mixed, attrs = Watched(1), OpenChildOfSlotted(1), LikeAttrs(1)
    watched.a, mixed.a, attrs.a = watched, mixed, attrs  # type: ignore[assignment]
    messages += [watched, mixed, attrs]

    def hook(value: Any) -> Any:
        return value

    said: list[str] = []

    def run() -> None:
        for encoder in (Encoder(format), Encoder(format, enc_hook=hook)):
            for message in messages:
                try:
                    encoder.encode(message)
                except exceptions.EncodeError as error:
                    said.append(str(error))
            encoder.encode(nested(128, "open"))
            encoder.encode(nested(128, "key"))
        try:
            Encoder(format, enc_hook=hook).encode([[object()]])
        except exceptions.EncodeError as error:
            said.append(str(error))

    before = threading.stack_size(128 * 1024)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join(30)
    finally:
        threading.stack_size(before)
    assert len(said) == 2 * len(messages) + 1
    assert all("deeper than 128 levels" in text for text in said)
    # Built deep, they must be taken apart flat.
    while messages:
        value = messages.pop()
        while type(value) in (list, tuple, dict) and value and value is not lists and value is not dicts:
            value = next(iter(value.values())) if type(value) is dict else value[0]


# --- encode_into

PRICE = PriceUpdate("SOL", "USDC", 187.25, 12, -5)


@both
@pytest.mark.parametrize(
    "make", [bytearray, lambda size: array.array("B", bytes(size)), lambda size: memoryview(bytearray(size))]
)
def test_buffer_is_written_from_the_offset_on(format: Format, make: Callable[[int], Any]) -> None:
    expected = reference(format)(PRICE)
    size = len(expected)
    for offset in (0, 3, 50):
        buffer = make(size + 50)
        assert Encoder(format).encode_into(PRICE, buffer, offset) == size
        end = b"" if isinstance(buffer, bytearray) else bytes(50 - offset)
        assert bytes(buffer) == bytes(offset) + expected + end


@both
def test_bytearray_grows_and_is_cut(format: Format) -> None:
    expected, buffer = reference(format)(PRICE), bytearray(b"ab")
    encoder = Encoder(format)
    assert encoder.encode_into(PRICE, buffer, -1) == len(expected)
    assert buffer == b"ab" + expected
    assert encoder.encode_into([], buffer, 1) == len(reference(format)([]))
    assert buffer == b"a" + reference(format)([])


@both
def test_buffer_that_is_too_small_says_what_is_needed_and_keeps_its_bytes(format: Format) -> None:
    size = len(reference(format)(PRICE))
    for buffer, offset, room in (
        (bytearray(size - 1), 0, size - 1),
        (bytearray(size + 5), 6, size - 1),
        (bytearray(5), -1, 0),
    ):
        with pytest.raises(ValueError, match=f"needs {size} bytes, the buffer has {room}"):
            Encoder(format).encode_into(PRICE, memoryview(buffer), offset)
        assert not any(buffer)


@both
def test_bad_buffers_and_offsets_are_refused(format: Format) -> None:
    encoder = Encoder(format)
    for offset in (-2, 5, 2**40):
        for buffer in (bytearray(4), memoryview(bytearray(4))):
            with pytest.raises(ValueError, match="offset"):
                encoder.encode_into(1, buffer, offset)
            assert bytes(buffer) == bytes(4)
    for refused in (b"bytes", memoryview(b"bytes"), memoryview(bytearray(8))[::2], "text", None, object()):
        with pytest.raises((BufferError, TypeError)):
            encoder.encode_into(1, refused)  # type: ignore[arg-type]  # the point of the test
    exported = bytearray(2)
    with memoryview(exported), pytest.raises(BufferError):
        encoder.encode_into([1, 2, 3, 4, 5, 6], exported)
    assert exported == bytes(2)


@both
@pytest.mark.parametrize("value", [object(), "\ud800", [1, object()], Level(1, object()), UNSET_FIELD])
def test_error_leaves_the_buffer_as_it_is(format: Format, value: Any) -> None:
    buffer = bytearray(b"0123456789")
    with pytest.raises(exceptions.EncodeError):
        Encoder(format).encode_into(value, buffer, 2)
    assert buffer == b"0123456789"


@both
def test_buffer_that_a_hook_cuts_is_grown_again(format: Format) -> None:
    buffer = bytearray(100)

    def hook(_: Any) -> int:
        buffer.clear()
        return 1

    encoder = Encoder(format, enc_hook=hook)
    assert encoder.encode_into([object()], buffer) == len(buffer)
    assert buffer == reference(format)([1])
    with pytest.raises(ValueError, match="behind the buffer's end"):
        encoder.encode_into([object()], buffer, 2)


# --- the method, and what it holds


def test_method_is_an_ordinary_one() -> None:
    encoder = Encoder()
    assert Encoder.encode(encoder, [1]) == b"[1]"
    assert Encoder.encode.__doc__
    assert Encoder.encode.__name__ == "encode"
    for arguments in ((), (1, 2)):
        with pytest.raises(TypeError):
            encoder.encode(*arguments)
    with pytest.raises(TypeError):
        Encoder.encode(5, [1])  # type: ignore[arg-type]  # the point of the test


@both
def test_reference_counts_stay_flat(format: Format) -> None:
    def hook(value: Any) -> Any:
        if isinstance(value, Plain):
            return [value.__class__.__name__]
        raise TypeError

    encoder = Encoder(format, enc_hook=hook)
    plain, side, text, moment = Plain(), Side.LEVELS, "text" * 5, datetime.date(2026, 1, 1)
    classes = (Level, Sparse, Slotted, Open, Plain, Side)
    good = [
        Level(plain, side),
        Sparse(text, text),
        Slotted(moment, plain),
        Open({text: side}, {5: text, plain: 1}),
        {text},
    ]
    del good[3].b[plain]
    bad = [good, {"k": [text, side, 1j]}, Unset(b=[UNSET_FIELD]), {1j: text}]
    watched = (plain, side, text, moment, good, bad, hook, encoder, *classes, *good, *bad)

    def run() -> list[int]:
        for _ in range(100):
            encoder.encode(good)
            for value in bad[1:]:
                with pytest.raises(exceptions.EncodeError):
                    encoder.encode(value)

        gc.collect()
        return [sys.getrefcount(value) for value in watched]

    run()
    assert run() == run()


def test_encoder_and_its_hook_are_collected() -> None:
    import weakref

    class Hook:
        encoder: Any = None

        def __call__(self, value: Any) -> Any:
            return value

    hook = Hook()
    hook.encoder = Encoder(enc_hook=hook)
    alive = weakref.ref(hook)
    del hook
    gc.collect()
    assert alive() is None
