"""What a type looks like on the wire: what the core compiles to a plan, and schemas are printed from.

`describe` takes a type apart once. What it cannot take apart becomes `Foreign`: that one value is msgspec's. Records
are kept in a list and referred to by index, so that classes may refer to themselves.
"""

import dataclasses
import enum
import types
import typing
from collections.abc import Callable
from inspect import getattr_static
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import NODEFAULT, UnsetType

from .messages import FieldId, Wire

__all__ = [
    "TAG_NUMBER",
    "Choice",
    "Field",
    "Fixed",
    "Foreign",
    "Model",
    "Nested",
    "Record",
    "Scalar",
    "Sequence",
    "Shape",
    "Table",
    "Union",
    "describe",
    "field_numbers",
]

TAG_NUMBER: Final = 2047
"""Protocol Buffers field number of the tag of a tagged class: the highest that takes two bytes."""


class Scalar(msgspec.Struct, frozen=True):
    """One plain value."""

    kind: Literal["null", "bool", "int", "float", "text", "bytes"]
    wire: str | None = None
    """Name of its Protocol Buffers type and of its column's, where the annotation says one (`UInt64`)."""


class Choice(msgspec.Struct, frozen=True):
    """One of some values: an enum or a `Literal`."""

    type: Any
    texts: dict[str, Any]
    """Value of each text."""
    integers: dict[int, Any]
    """Value of each integer."""


class Sequence(msgspec.Struct, frozen=True):
    """Any number of items of one shape."""

    kind: Literal["list", "tuple", "set", "frozenset"]
    item: "Shape"


class Fixed(msgspec.Struct, frozen=True):
    """A tuple of known length."""

    items: "tuple[Shape, ...]"


class Table(msgspec.Struct, frozen=True):
    """A `dict` with text as keys."""

    value: "Shape"


class Nested(msgspec.Struct, frozen=True):
    """An instance of a class: the index of its record."""

    record: int


class Foreign(msgspec.Struct, frozen=True):
    """A value that msgspec decodes."""

    type: Any
    base: "Shape | None" = None
    """Shape of what msgspec converts it from; None if there is no such shape."""


class Union(msgspec.Struct, frozen=True):
    """One of several shapes, told apart by the type of the value or by the tag of a record."""

    members: "tuple[Shape, ...]"


Shape: TypeAlias = Scalar | Choice | Sequence | Fixed | Table | Nested | Foreign | Union


class Field(msgspec.Struct, frozen=True):
    """One field of a record."""

    name: str
    """Its attribute, or key."""
    encode_name: str
    """Its name on the wire."""
    type: Any
    shape: Shape
    is_required: bool
    default: Any
    """Value of an absent field; NODEFAULT if there is none, or a factory."""
    factory: Any
    """Called for the value of an absent field; NODEFAULT if there is none."""
    number: int | None
    """Protocol Buffers field number, where the annotation says one."""


class Record(msgspec.Struct):
    """A class with fields."""

    type: Any
    """The class itself, without parameters."""
    origin: Any
    """The type as it was asked for, with its parameters."""
    kind: Literal["struct", "dataclass", "dict"]
    fields: tuple[Field, ...]
    tag_field: str | None = None
    tag: str | int | None = None
    array_like: bool = False
    forbids_unknown: bool = False
    post_init: Callable[..., object] | None = None
    """Runs on each new instance."""

    @property
    def is_foreign(self) -> bool:
        """No plan holds it: msgspec makes the instances, in the formats that it decodes."""
        return self.post_init is not None or isinstance(self.tag, int)


class Model(msgspec.Struct, frozen=True):
    """A described type."""

    root: Shape
    records: list[Record]


_SCALARS: Final[dict[Any, Scalar]] = {
    bool: Scalar("bool"),
    int: Scalar("int"),
    float: Scalar("float"),
    str: Scalar("text"),
    bytes: Scalar("bytes"),
    type(None): Scalar("null"),
    None: Scalar("null"),
}
_SEQUENCES: Final[dict[Any, Any]] = {list: "list", set: "set", frozenset: "frozenset"}
_CONSTRAINTS: Final = ("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length", "tz")
_NUMBERS: Final = range(1, 2**29)
_RESERVED: Final = range(19_000, 20_000)
"""Numbers that Protocol Buffers keeps for itself."""
_INT64: Final = range(-(2**63), 2**63)


def describe(type_: Any) -> Model:
    """Describe a type; that msgspec takes it is the caller's to check. What cannot be described is `Foreign`."""
    records: list[Record] = []
    return Model(_Description(records).shape(type_), records)


def field_numbers(record: Record) -> list[int]:
    """Protocol Buffers field numbers of a record's fields: counted from 1, and on from each that is said.

    Raises:
        ValueError: If a number is used twice, or is none that Protocol Buffers allows.
    """
    numbers: list[int] = []
    following = 1
    for field in record.fields:
        number = following if field.number is None else field.number
        where = f"field {field.name!r} of {record.type.__name__}"
        is_taken = number in _RESERVED or (number == TAG_NUMBER and record.tag is not None)
        if number not in _NUMBERS or is_taken:
            raise ValueError(f"{where} has number {number}, which Protocol Buffers or the tag needs: say another")
        if number in numbers:
            raise ValueError(f"{where} has number {number}, as an earlier one: say another")
        numbers.append(number)
        following = number + 1
    return numbers


class _Description:
    """One call of `describe`."""

    def __init__(self, records: list[Record]) -> None:
        self._records = records
        self._known: dict[Any, Shape] = {}

    def shape(self, type_: Any) -> Shape:
        inner, wire, is_constrained = _stripped(type_)
        shape = self._plain(inner, wire)
        if is_constrained:
            return Foreign(type_, shape if not isinstance(shape, Foreign) else shape.base)
        return shape

    def _plain(self, type_: Any, wire: str | None) -> Shape:
        try:
            scalar = _SCALARS.get(type_)
        except TypeError:  # An annotation that can't be hashed.
            return Foreign(type_)
        if scalar is not None:
            return Scalar(scalar.kind, wire) if wire else scalar
        origin, arguments = typing.get_origin(type_), typing.get_args(type_)
        if origin is typing.Union or origin is types.UnionType:
            return self._union(type_, arguments)
        if origin is Literal:
            return _literal(type_, arguments)
        if origin in _SEQUENCES:
            return self._sequence(type_, _SEQUENCES[origin], self.shape(arguments[0]))
        if origin is tuple:
            if len(arguments) == 2 and arguments[1] is Ellipsis:  # noqa: PLR2004  # `tuple[T, ...]`
                return Sequence("tuple", self.shape(arguments[0]))
            return Fixed(tuple(self.shape(argument) for argument in arguments))
        if origin is dict and arguments[0] is str:
            return Table(self.shape(arguments[1]))
        if isinstance(type_, enum.EnumMeta):
            return _enum(type_)
        if _is_struct(origin or type_):
            return self._record(type_, self._struct)
        if isinstance(type_, type) and _is_slotted_dataclass(type_):
            return self._record(type_, self._dataclass)
        if isinstance(type_, type) and typing.is_typeddict(type_):
            return self._record(type_, self._typed_dict)
        return Foreign(type_, _text_form(type_))

    def _sequence(self, type_: Any, kind: Literal["list", "set", "frozenset"], item: Shape) -> Shape:
        # What is in a set has to be hashable: msgspec makes tuples of its arrays, for a hook too.
        if kind == "list" or not _holds_foreign(item):
            return Sequence(kind, item)
        base = item.base if isinstance(item, Foreign) else None
        return Foreign(type_, None if base is None else Sequence(kind, base))

    def _union(self, type_: Any, arguments: tuple[Any, ...]) -> Shape:
        # UNSET is what a field is that was absent: nothing on the wire is it.
        members = tuple(self.shape(argument) for argument in arguments if argument is not UnsetType)
        if len(members) == 1:
            return members[0]
        if any(isinstance(member, Foreign) or self._has_integer_tag(member) for member in members):
            bases = [member.base if isinstance(member, Foreign) else member for member in members]
            return Foreign(type_, None if any(base is None for base in bases) else Union(tuple(filter(None, bases))))
        return Union(members)

    def _has_integer_tag(self, member: Shape) -> bool:
        return isinstance(member, Nested) and isinstance(self._records[member.record].tag, int)

    def _record(self, type_: Any, fill: Callable[[Any, Record], None]) -> Shape:
        if type_ in self._known:
            return self._known[type_]
        record = Record(typing.get_origin(type_) or type_, type_, "struct", ())
        nested = Nested(len(self._records))
        self._records.append(record)
        record.post_init = getattr(record.type, "__post_init__", None)
        self._known[type_] = nested
        fill(type_, record)
        return nested

    def _struct(self, type_: Any, record: Record) -> None:
        config = record.type.__struct_config__
        record.tag_field, record.tag = config.tag_field, config.tag
        record.array_like, record.forbids_unknown = config.array_like, config.forbid_unknown_fields
        record.fields = tuple(
            self._field(info.name, info.encode_name, info.type, info.default, info.default_factory)
            for info in msgspec.structs.fields(type_)
        )

    def _dataclass(self, type_: Any, record: Record) -> None:
        record.kind = "dataclass"
        hints = typing.get_type_hints(type_, include_extras=True)

        def known(value: Any) -> Any:
            return NODEFAULT if value is dataclasses.MISSING else value

        record.fields = tuple(
            self._field(field.name, field.name, hints[field.name], known(field.default), known(field.default_factory))
            for field in dataclasses.fields(type_)
        )

    def _typed_dict(self, type_: Any, record: Record) -> None:
        record.kind = "dict"
        fields: list[Field] = []
        for name, hint in typing.get_type_hints(type_, include_extras=True).items():
            is_required = name in type_.__required_keys__
            while typing.get_origin(hint) in {typing.Required, typing.NotRequired}:
                is_required = typing.get_origin(hint) is typing.Required
                (hint,) = typing.get_args(hint)  # noqa: PLW2901  # what stands inside is the hint
            field = self._field(name, name, hint, NODEFAULT, NODEFAULT)
            fields.append(msgspec.structs.replace(field, is_required=is_required))
        record.fields = tuple(fields)

    def _field(self, name: str, encode_name: str, hint: Any, default: Any, factory: Any) -> Field:
        numbers = [extra.number for extra in getattr(hint, "__metadata__", ()) if isinstance(extra, FieldId)]
        is_required = default is NODEFAULT and (factory is NODEFAULT or getattr(factory, "is_required", False))
        return Field(
            name=name,
            encode_name=encode_name,
            type=hint,
            shape=self.shape(hint),
            is_required=is_required,
            default=default,
            factory=factory,
            number=numbers[-1] if numbers else None,
        )


def _holds_foreign(shape: Shape) -> bool:
    match shape:
        case Foreign():
            return True
        case Sequence(item=inner) | Table(value=inner):
            return _holds_foreign(inner)
        case Fixed(items=inner) | Union(members=inner):
            return any(map(_holds_foreign, inner))
        case _:
            return False


def _stripped(type_: Any) -> tuple[Any, str | None, bool]:
    """A type without its annotations, the wire type that they say, and whether they constrain the value."""
    wire, is_constrained = None, False
    while True:
        if typing.get_origin(type_) is Annotated:
            for extra in type_.__metadata__:
                if isinstance(extra, Wire):
                    wire = extra.name
                elif isinstance(extra, msgspec.Meta):
                    is_constrained |= any(getattr(extra, name) is not None for name in _CONSTRAINTS)
            type_ = type_.__origin__
        elif typing.get_origin(type_) is typing.Final:
            (type_,) = typing.get_args(type_)
        elif hasattr(type_, "__supertype__"):  # A `NewType`.
            type_ = type_.__supertype__
        elif type(type_).__name__ == "TypeAliasType":  # `type X = ...`, from Python 3.12 on.
            type_ = type_.__value__
        else:
            return type_, wire, is_constrained


def _literal(type_: Any, values: tuple[Any, ...]) -> Shape:
    texts = {value: value for value in values if isinstance(value, str)}
    integers = {value: value for value in values if type(value) is int}
    if any(value not in _INT64 for value in integers) or len(texts) + len(integers) + (None in values) != len(values):
        return Foreign(type_)
    if None not in values:
        return Choice(type_, texts, integers)
    return Union((Choice(type_, texts, integers), Scalar("null"))) if len(values) > 1 else Scalar("null")


def _enum(type_: Any) -> Shape:
    values = {member.value: member for member in type_.__members__.values()}
    texts = {value: member for value, member in values.items() if type(value) is str}
    integers = {value: member for value, member in values.items() if type(value) is int and value in _INT64}
    if len(texts) != len(values) and len(integers) != len(values):
        return Foreign(type_)
    return Choice(type_, texts, integers)


def _is_struct(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, msgspec.Struct)


def _is_slotted_dataclass(type_: type) -> bool:
    if not dataclasses.is_dataclass(type_):
        return False
    names = [field.name for field in dataclasses.fields(type_)]
    return all(isinstance(getattr_static(type_, name, None), types.MemberDescriptorType) for name in names)


def _text_form(type_: Any) -> Shape | None:
    """The shape of a type that is written as text: dates, times, decimals, identifiers."""
    if isinstance(type_, type) and type_.__name__ in {"datetime", "date", "time", "timedelta", "Decimal", "UUID"}:
        return Scalar("text") if type_.__module__ in {"datetime", "decimal", "uuid"} else None
    return None
