"""Types of fields: how each is written in Python, and random values of it as they travel."""

import base64
import datetime
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from tests.property.codec.chance import Chance

__all__ = ["LEAVES", "Shape", "Wire", "array_of", "fixed_tuple", "mapping_of", "optional", "union_of"]

# Makes a value as it travels: builtins that msgspec encodes, some of them spelled already (`msgspec.Raw`). The second
# argument is what is left of the depth that classes which contain themselves may take.
Wire = Callable[[Chance, int], Any]


class Shape(NamedTuple):
    """A type of a field."""

    text: str
    wire: Wire
    # Expressions of values that a field of it may have by default.
    defaults: tuple[str, ...] = ()
    # What it may be told from in a union: of each kind there may be one.
    kinds: frozenset[str] = frozenset()
    hashable: bool = False
    # It names a class that is not made yet.
    forward: bool = False


def optional(shape: Shape) -> Shape:
    """`X | None`."""

    def wire(chance: Chance, budget: int) -> Any:
        return None if budget < 0 or chance.often(0.3) else shape.wire(chance, budget)

    kinds = shape.kinds | {"null"}
    return Shape(f"{shape.text} | None", wire, ("None", "None", *shape.defaults), kinds, shape.hashable, shape.forward)


def union_of(shapes: Sequence[Shape]) -> Shape:
    """A union of shapes of different kinds."""

    def wire(chance: Chance, budget: int) -> Any:
        return chance.one_of(shapes).wire(chance, budget)

    return Shape(
        " | ".join(shape.text for shape in shapes),
        wire,
        tuple(default for shape in shapes for default in shape.defaults),
        frozenset[str]().union(*(shape.kinds for shape in shapes)),
        all(shape.hashable for shape in shapes),
        any(shape.forward for shape in shapes),
    )


def _count(chance: Chance, budget: int) -> int:
    if budget < 0:
        return 0
    if chance.often(0.03):
        return chance.one_of([15, 16, 17, 40])
    return chance.below(4)


def array_of(container: str, item: Shape) -> Shape:
    """`list[X]` and the like; `container` is how it is written around its item."""

    def wire(chance: Chance, budget: int) -> Any:
        return [item.wire(chance, budget - 1) for _ in range(_count(chance, budget))]

    name = container.partition("[")[0]
    defaults = {
        "list": ("[]", "field(default_factory=list)"),
        "set": ("set()", "field(default_factory=set)"),
        "frozenset": ("frozenset()", "field(default_factory=frozenset)"),
        "tuple": ("()", "field(default_factory=tuple)"),
    }.get(name, ())
    hashable = name in {"frozenset", "tuple"} and item.hashable
    return Shape(container.format(item.text), wire, defaults, frozenset({"array"}), hashable, item.forward)


def fixed_tuple(items: Sequence[Shape]) -> Shape:
    """`tuple[X, Y]`."""

    def wire(chance: Chance, budget: int) -> Any:
        values = [item.wire(chance, budget - 1) for item in items]
        if chance.slip(0.05):
            return values[:-1] if chance.often(0.5) else [*values, chance.anything(1)]
        return values

    text = ", ".join(item.text for item in items) or "()"
    return Shape(
        f"tuple[{text}]",
        wire,
        (),
        frozenset({"array"}),
        all(item.hashable for item in items),
        any(item.forward for item in items),
    )


def mapping_of(key: Shape, item: Shape) -> Shape:
    """`dict[K, X]`."""

    def wire(chance: Chance, budget: int) -> Any:
        made = {}
        for _ in range(_count(chance, budget)):
            name = key.wire(chance, 0)
            if not isinstance(name, str | int | float):
                name = "odd"
            made[name if chance.format == "msgpack" else str(name)] = item.wire(chance, budget - 1)
        return made

    defaults = ("{}", "field(default_factory=dict)")
    return Shape(f"dict[{key.text}, {item.text}]", wire, defaults, frozenset({"object"}), False, item.forward)


def _leaf(text: str, kinds: str, wire: Callable[[Chance], Any], *defaults: str, hashable: bool = True) -> Shape:
    def with_slips(chance: Chance, _: int) -> Any:
        return chance.anything(2) if chance.slip(0.03) else wire(chance)

    return Shape(text, with_slips, defaults, frozenset(kinds.split()), hashable)


def _integer(chance: Chance) -> Any:
    number = chance.integer()
    if chance.slip(0.1):
        # Quoted, as exchanges write it.
        return chance.one_of([str(number), f" {number}", f"{number}.0", f"{number}x", ""])
    if chance.format == "json" and chance.slip(0.1):
        return chance.numeral() if chance.often(0.5) else msgspec.Raw(f"{number}.0".encode())
    return float(number) if chance.slip(0.05) else number


def _float(chance: Chance) -> Any:
    if chance.often(0.08):
        return chance.integer()
    number = chance.float()
    if chance.slip(0.1):
        return chance.one_of([repr(number), f"+{number}", f"{number}x", "nan", "inf", "-Infinity", "1_0", "1e5"])
    return chance.numeral() if chance.format == "json" and chance.often(0.06) else number


def _bool(chance: Chance) -> Any:
    if chance.slip(0.1):
        return chance.one_of(["true", "false", "True", "FALSE", "1", "0", 1, 0, "t", 2, 1.0])
    return chance.often(0.5)


def _none(chance: Chance) -> Any:
    return chance.one_of(["null", "None", "NULL", 0]) if chance.slip(0.2) else None


def _bytes(chance: Chance) -> Any:
    data = chance.bytes()
    if chance.format == "msgpack" and chance.often(0.9):
        return data
    text = base64.b64encode(data).decode()
    return text[:-1] if chance.slip(0.1) else text


def _moment(chance: Chance) -> datetime.datetime:
    moment = datetime.datetime(chance.below(9999) + 1, chance.below(12) + 1, chance.below(28) + 1)
    moment += datetime.timedelta(seconds=chance.below(86_400), microseconds=chance.below(10**6))
    match chance.below(3):
        case 0:
            return moment
        case 1:
            return moment.replace(tzinfo=datetime.UTC)
        case _:
            minutes = chance.below(2880) - 1440
            zone = datetime.timezone(datetime.timedelta(minutes=min(max(minutes, -1439), 1439)))
            return moment.replace(tzinfo=zone)


def _datetime(chance: Chance) -> Any:
    moment = _moment(chance)
    match chance.below(12):
        case 0 if chance.slips:
            return chance.number()
        case 1 if chance.format == "msgpack":
            return msgspec.msgpack.Ext(-1, chance.randbytes(chance.one_of([4, 8, 12])))
        case 2:
            return moment.isoformat(" ")
        case 3:
            return moment.isoformat().lower() + "z"
        case 4 if chance.slips:
            return moment.isoformat()[:-1]
        case _:
            return moment.isoformat().replace("+00:00", "Z")


def _timedelta(chance: Chance) -> Any:
    if chance.slip(0.2):
        return chance.number()
    texts = ["PT0S", "P1D", "-P1DT2H", "PT1.5S", "PT0.000001S", "PT36H", "P2W", "pt1s", "P", "PT", "P1Y", "PT1e5S"]
    return (
        chance.one_of(texts if chance.slips else texts[:6])
        if chance.often(0.6)
        else f"PT{chance.below(10**6)}.{chance.below(10**6)}S"
    )


def _decimal(chance: Chance) -> Any:
    match chance.below(4):
        case 0:
            return chance.number()
        case 1 if chance.slips:
            return chance.one_of(["NaN", "Infinity", "1e400", "-0.00", "1.50", "0x1", "", " 1", "\uff11"])
        case _:
            return str(chance.float())


def _uuid(chance: Chance) -> Any:
    digits = f"{chance.getrandbits(128):032x}"
    match chance.below(6):
        case 0:
            return digits
        case 1 if chance.format == "msgpack":
            return chance.randbytes(16)
        case 2 if chance.slips:
            return digits[:-1]
        case _:
            parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
            return "-".join(parts).upper() if chance.often(0.1) else "-".join(parts)


def _choice(*values: Any) -> Callable[[Chance], Any]:
    def wire(chance: Chance) -> Any:
        value = chance.one_of(values)
        if chance.slip(0.1):
            return chance.text() if isinstance(value, str) else chance.integer()
        return str(value) if isinstance(value, int) and chance.slip(0.05) else value

    return wire


def _within(right: Callable[[Chance], Any], any_: Callable[[Chance], Any]) -> Callable[[Chance], Any]:
    """Values within a constraint mostly, else any of the type."""
    return lambda chance: any_(chance) if chance.slip(0.3) else right(chance)


_TEXT: Final = _leaf("str", "str", Chance.text, "''", "'x'", "'é'")
_INT: Final = _leaf("int", "int", _integer, "0", "1", "-5", "2**64 - 1", "field(default_factory=lambda: 7)")
_FLOAT: Final = _leaf("float", "float", _float, "0.0", "-0.0", "1.5")
_BOOL: Final = _leaf("bool", "bool", _bool, "False", "True")
_PLAIN: Final = [_TEXT, _TEXT, _INT, _INT, _FLOAT, _FLOAT, _BOOL]
_NAMED: Final = [
    _leaf("Side", "str", _choice("buy", "sell", "é", ""), "Side.BUY"),
    _leaf("Venue", "str", _choice("a", "b b"), "Venue.A"),
    _leaf("Level", "int", _choice(0, 1, -5, 2**40), "Level.ZERO"),
    _leaf("Code", "int", _choice(0, 1, 2, 3, 4, 17), "Code.C3"),
    _leaf("Forgiving", "str", _choice("yes", "no"), "Forgiving.YES"),
    _leaf("Literal['a', 'bc', 'é']", "str", _choice("a", "bc", "é"), "'a'"),
    _leaf("Literal[1, 2, -3]", "int", _choice(1, 2, -3), "1"),
    _leaf("Literal['on', 1, None]", "str int null", _choice("on", 1, None), "None"),
]
_MARKED: Final = [
    _leaf("UInt64", "int", _integer, "0"),
    _leaf("Int32", "int", _integer, "0"),
    _leaf("Float32", "float", _float, "0.0"),
    _leaf("Annotated[str, 'a note']", "str", Chance.text),
]
_FOREIGN: Final = [
    _leaf("datetime.datetime", "str", _datetime, "datetime.datetime(2020, 1, 2)"),
    _leaf("Annotated[datetime.datetime, Meta(tz=True)]", "str", _datetime),
    _leaf("datetime.date", "str", lambda chance: _moment(chance).date().isoformat()),
    _leaf("datetime.time", "str", lambda chance: _moment(chance).timetz().isoformat()),
    _leaf("datetime.timedelta", "str", _timedelta, "datetime.timedelta(1)"),
    _leaf("decimal.Decimal", "str", _decimal, "decimal.Decimal('1.50')"),
    _leaf("uuid.UUID", "str", _uuid),
    _leaf("Annotated[int, Meta(ge=0)]", "int", _within(lambda chance: chance.integer(0), _integer), "3"),
    _leaf(
        "Annotated[int, Meta(gt=-10, lt=100)]", "int", _within(lambda chance: chance.integer(-10, 100), _integer), "3"
    ),
    _leaf("Annotated[int, Meta(multiple_of=5)]", "int", _within(lambda chance: chance.below(99) * 5, _integer)),
    _leaf("Annotated[float, Meta(gt=0)]", "float", _within(lambda chance: abs(chance.float()), _float), "1.0"),
    _leaf("Annotated[float, Meta(ge=0, le=1e6)]", "float", _within(lambda chance: chance.below(10**8) / 100, _float)),
    _leaf("Annotated[str, Meta(min_length=1)]", "str", _within(lambda chance: chance.text() + "é", Chance.text)),
    _leaf("Annotated[str, Meta(max_length=5)]", "str", _within(lambda chance: chance.text()[:5], Chance.text)),
    # Called an object and an array too, so that no union has it beside one.
    _leaf(
        "Annotated[str, Meta(pattern='^[A-Z]')]",
        "str object array",
        _within(lambda chance: "Z" + chance.text(), Chance.text),
    ),
    _leaf("Annotated[bytes, Meta(max_length=8)]", "str", _bytes),
    _leaf(
        "Annotated[list[int], Meta(max_length=2)]",
        "array",
        lambda chance: [_integer(chance) for _ in range(chance.below(4 if chance.slips else 3))],
        hashable=False,
    ),
    _leaf(
        "Annotated[dict[str, int], Meta(min_length=1)]",
        "object",
        lambda chance: {chance.text(): _integer(chance) for _ in range(chance.below(3) + (not chance.slips))},
        hashable=False,
    ),
    _leaf("Custom", "custom", lambda chance: chance.anything(2)),
]
_OPEN: Final = [
    _leaf("bytes", "str", _bytes, "b''", "b'x'"),
    _leaf("bytearray", "str", _bytes, hashable=False),
    _leaf("None", "null", _none, "None"),
    _leaf("Any", "any", lambda chance: chance.anything(3), "None", "1", hashable=False),
    _leaf("Raw", "any", lambda chance: chance.anything(3), hashable=False),
    _leaf("list", "array", lambda chance: [chance.anything(2) for _ in range(chance.below(4))], "[]", hashable=False),
    _leaf(
        "dict",
        "object",
        lambda chance: {chance.text(): chance.anything(2) for _ in range(chance.below(4))},
        "{}",
        hashable=False,
    ),
]
LEAVES: Final = (_PLAIN, _PLAIN, _PLAIN, _NAMED, _MARKED, _FOREIGN, _OPEN)
