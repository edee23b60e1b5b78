"""Protocol Buffers messages of described types: what is printed as `.proto`, and what a codec compiles.

Most shapes are a field of their own. Those that Protocol Buffers can't hold where they stand (a list in a list, None
in a list, a list that may be absent, a tuple of different items, a union) get a message of their own around them.
"""

import enum
import math
from collections.abc import Iterable
from typing import Any, Final, Literal, TypeAlias, TypeGuard

import msgspec
from msgspec import NODEFAULT

from .._shapes import (
    TAG_NUMBER,
    Choice,
    Field,
    Fixed,
    Foreign,
    Model,
    Nested,
    Record,
    Scalar,
    Sequence,
    Shape,
    Table,
    Union,
    describe,
    field_numbers,
)
from ._names import FieldNames, MessageNames, camel_case, record_name, snake_case, type_name

__all__ = ["ProtoField", "ProtoMessage", "model_of", "proto_messages", "proto_model"]

# Where a type is expected, `.proto` files understand these as something else than the name of a message.
# fmt: off  # a word a line would fill a page
_TAKEN: Final = frozenset[str](
    (
        "bool",
        "bytes",
        "double",
        "enum",
        "extend",
        "extensions",
        "false",
        "fixed32",
        "fixed64",
        "float",
        "group",
        "import",
        "int32",
        "int64",
        "map",
        "max",
        "message",
        "oneof",
        "option",
        "optional",
        "package",
        "public",
        "repeated",
        "required",
        "reserved",
        "returns",
        "rpc",
        "service",
        "sfixed32",
        "sfixed64",
        "sint32",
        "sint64",
        "stream",
        "string",
        "syntax",
        "to",
        "true",
        "uint32",
        "uint64",
        "weak",
    )
)
# fmt: on

Label: TypeAlias = Literal["singular", "optional", "repeated", "map", "oneof"]
Absent: TypeAlias = Literal["zero", "none", "default", "missing", "error"]


class ProtoField(msgspec.Struct, frozen=True):
    """One field of a Protocol Buffers message."""

    name: str
    """Its name in the `.proto` file, unique in the message."""
    number: int
    type: str
    """Protocol Buffers type of the value, of an item, of a map's value: a scalar's name or a message's."""
    label: Label
    """How often it occurs. The keys of a map are strings; all fields of one message that say oneof are one choice."""
    absent: Absent
    """What it means that nothing came: the zero value of the type or nothing in it, None, the default of `field`,
    a key that is left out of the `dict`, or an error."""
    message: int | None
    """Index of the message, where `type` is one."""
    shape: Shape
    """What it holds in Python; of a repeated field and of a map the whole value. With None in a union taken out."""
    field: Field | None
    """The field of the class; None for the tag and in messages that no class stands behind."""


class ProtoMessage(msgspec.Struct):
    """One Protocol Buffers message."""

    name: str
    """Its name in the `.proto` file, unique among all."""
    kind: Literal["record", "box", "tuple", "union"]
    """A class; a message around the one value of its only field; around the items of a tuple, each a field; around
    one of several classes, exactly one of whose fields is there."""
    record: Record | None
    """The class, where it is one."""
    fields: tuple[ProtoField, ...] = ()
    """In the order in which they are written: the tag, where there is one, and then as they are declared."""


def proto_model(*types: Any) -> list[ProtoMessage]:
    """Messages of classes and all that they refer to.

    Args:
        *types: Message classes, or unions of them.

    Raises:
        TypeError: If a field has no form in Protocol Buffers, or a type is no message class; it names both.
    """
    return proto_messages(model_of(types))


def proto_messages(model: Model) -> list[ProtoMessage]:
    """Messages of a described type: message n is that of record n, behind them are those that no class stands behind.

    Raises:
        TypeError: If a field has no form in Protocol Buffers; it names class and field.
    """
    return _Messages(model).build()


def model_of(types: Iterable[Any]) -> Model:
    """Describe message classes together, so that what they share is described once.

    Raises:
        TypeError: If one of them is neither a message class nor a union of them.
    """
    types = tuple(types)
    model = describe(tuple.__class_getitem__(types))
    items = model.root.items if isinstance(model.root, Fixed) else ()
    for type_, shape in zip(types, items, strict=True):
        try:
            base = _base(shape)
            members = base.members if isinstance(base, Union) else (base,)
            is_message = all(isinstance(_base(member), Nested) for member in members)
        except _NoForm:
            is_message = False
        if not is_message:
            raise TypeError(f"{type_name(type_)} is no message class: give a Struct, a slotted dataclass, a TypedDict")
    return model


class _NoForm(Exception):
    """A shape has no form; the text says why."""


class _Messages:
    """One call of `proto_messages`."""

    def __init__(self, model: Model) -> None:
        self._records = model.records
        self._names = MessageNames(_TAKEN)
        self._messages = [
            ProtoMessage(self._names.add(record_name(record)), "record", record) for record in model.records
        ]

    def build(self) -> list[ProtoMessage]:
        for message, record in zip(tuple(self._messages), self._records, strict=True):
            self._fill(message, record)
        return self._messages

    def _fill(self, message: ProtoMessage, record: Record) -> None:
        names = FieldNames()
        fields: list[ProtoField] = []
        if record.tag is not None and record.tag_field is not None:
            tag = Scalar("text" if isinstance(record.tag, str) else "int")
            fields.append(
                ProtoField(
                    names.add(record.tag_field), TAG_NUMBER, _scalar_type(tag), "singular", "zero", None, tag, None
                )
            )
        try:
            numbers = field_numbers(record)
        except ValueError as error:
            raise TypeError(str(error)) from error
        for field, number in zip(record.fields, numbers, strict=True):
            place = f"{message.name}{camel_case(field.encode_name)}"
            try:
                fields.append(self._field(field, number, names.add(field.encode_name), place))
            except _NoForm as error:
                raise TypeError(
                    f"field {field.name!r} of {record.type.__name__} has no form in Protocol Buffers: {error}"
                ) from None
        message.fields = tuple(fields)

    def _field(self, field: Field, number: int, name: str, place: str) -> ProtoField:
        shape, may_be_none = _without_none(field.shape)
        absent = _absent(field, shape, may_be_none)
        return self._value(shape, place, name=name, number=number, absent=absent, field=field)

    def _value(
        self, shape: Shape, place: str, *, name: str, number: int, absent: Absent, field: Field | None = None
    ) -> ProtoField:
        """The field of a shape that is not None; `place` begins the names of messages that it needs."""
        base = _base(shape)
        is_never_empty = isinstance(base, Fixed)
        has_presence = absent in {"none", "default", "missing"}
        message: int | None
        label: Label
        if isinstance(base, Table) or _is_repeated(base):
            if has_presence and not is_never_empty:
                # Empty and absent are the same to Protocol Buffers here, and not to us.
                message, label = self._box(shape, place), "optional"
                type_ = self._messages[message].name
            else:
                type_, message = self._item(base, place)
                label = "map" if isinstance(base, Table) else "repeated"
                absent = "error" if is_never_empty and not has_presence else absent
        else:
            type_, message = self._single(shape, place)
            label = "optional" if has_presence else "singular"
            absent = "error" if message is not None and not has_presence else absent
        return ProtoField(name, number, type_, label, absent, message, shape, field)

    def _item(self, base: Sequence | Table | Fixed, place: str) -> tuple[str, int | None]:
        """Type of the items of a repeated field or of the values of a map, and the message that it is."""
        if isinstance(base, Sequence):
            item, place = base.item, f"{place}Item"
        elif isinstance(base, Table):
            item, place = base.value, f"{place}Value"
        else:
            return self._single(base.items[0], place)
        _, may_be_none = _without_none(item)
        if may_be_none or isinstance(_base(item), Table) or _is_repeated(_base(item)):
            message = self._box(item, place)
            return self._messages[message].name, message
        return self._single(item, place)

    def _single(self, shape: Shape, place: str) -> tuple[str, int | None]:
        """Type of one value that is neither None nor many, and the message that it is."""
        base = _base(shape)
        if isinstance(base, Scalar):
            return _scalar_type(base), None
        if isinstance(base, Choice):
            if base.texts and base.integers:
                raise _NoForm("its values are texts and integers")
            return "string" if base.texts else "int64", None
        if isinstance(base, Nested):
            message = base.record
        elif isinstance(base, Fixed):
            message = self._tuple(base, place)
        elif isinstance(base, Union):
            message = self._union(base, place)
        else:  # Lists and tables are asked for as what they hold.
            raise _NoForm("it is many values")
        return self._messages[message].name, message

    def _box(self, shape: Shape, place: str) -> int:
        index, message = self._add(place, "box")
        inner, may_be_none = _without_none(shape)
        is_many = isinstance(_base(inner), Table) or _is_repeated(_base(inner))
        name = "items" if is_many and not may_be_none else "value"
        absent: Absent = "none" if may_be_none else "zero"
        # The value may need a box of its own: an absent list in a list.
        inside = f"{place}Value" if may_be_none else place
        message.fields = (self._value(inner, inside, name=name, number=1, absent=absent),)
        return index

    def _tuple(self, shape: Fixed, place: str) -> int:
        index, message = self._add(place, "tuple")
        fields: list[ProtoField] = []
        for number, item in enumerate(shape.items, 1):
            inner, may_be_none = _without_none(item)
            absent: Absent = "none" if may_be_none else "zero"
            fields.append(
                self._value(inner, f"{place}Item{number}", name=f"item_{number}", number=number, absent=absent)
            )
        message.fields = tuple(fields)
        return index

    def _union(self, shape: Union, place: str) -> int:
        index, message = self._add(place, "union")
        # The choice itself is called `value`, and shares the scope of its fields.
        names = FieldNames("value")
        fields: list[ProtoField] = []
        for number, member in enumerate(shape.members, 1):
            nested = _base(member)
            if not isinstance(nested, Nested) or self._records[nested.record].tag is None:
                raise _NoForm("a union may hold tagged classes and None")
            type_ = self._messages[nested.record].name
            fields.append(
                ProtoField(names.add(snake_case(type_)), number, type_, "oneof", "error", nested.record, member, None)
            )
        message.fields = tuple(fields)
        return index

    def _add(self, place: str, kind: Literal["box", "tuple", "union"]) -> tuple[int, ProtoMessage]:
        message = ProtoMessage(self._names.add(place), kind, None)
        self._messages.append(message)
        return len(self._messages) - 1, message


def _base(shape: Shape) -> Shape:
    """What a value is on the wire, whoever makes it."""
    while isinstance(shape, Foreign):
        if shape.base is None:
            raise _NoForm(f"{type_name(shape.type)} can be anything, or is not known here")
        shape = shape.base
    return shape


def _without_none(shape: Shape) -> tuple[Shape, bool]:
    """A shape with None taken out, and whether it was in."""
    if isinstance(shape, Foreign) and shape.base is not None:
        base, may_be_none = _without_none(shape.base)
        return (Foreign(shape.type, base), True) if may_be_none else (shape, False)
    if not isinstance(shape, Union):
        return shape, False
    members = tuple(member for member in shape.members if not _is_none(member))
    if len(members) == len(shape.members):
        return shape, False
    return members[0] if len(members) == 1 else Union(members), True


def _is_none(shape: Shape) -> bool:
    return isinstance(shape, Scalar) and shape.kind == "null"


def _is_repeated(base: Shape) -> TypeGuard[Sequence | Fixed]:
    """Whether it is a repeated field; of tuples of known length, those of one kind of number or text are."""
    if isinstance(base, Fixed):
        first = base.items[0] if base.items else None
        is_plain = isinstance(first, Scalar) and first.kind in {"int", "float", "text"}
        return is_plain and all(item == first for item in base.items)
    return isinstance(base, Sequence)


def _scalar_type(scalar: Scalar) -> str:
    match scalar.kind:
        case "null":
            raise _NoForm("it is always None")
        case "int":
            return scalar.wire if scalar.wire in {"uint64", "int64", "uint32", "int32"} else "int64"
        case "float":
            return "float" if scalar.wire == "float" else "double"
        case "text":
            return "string"
        case "bool" | "bytes":
            return scalar.kind


def _absent(field: Field, shape: Shape, may_be_none: bool) -> Absent:
    """What the absence of a class's field means, before its shape is looked at."""
    if may_be_none:
        if field.is_required or field.default is None:
            return "none"
        raise _NoForm("None is written as an absent field, so that it must be the default too, or there must be none")
    if field.is_required:
        return "zero"
    if field.default is NODEFAULT and field.factory is NODEFAULT:
        return "missing"
    return "zero" if _is_zero(field, _base(shape)) else "default"


def _is_zero(field: Field, base: Shape) -> bool:
    """Whether the default is what Protocol Buffers takes for an absent value anyway."""
    if isinstance(base, Sequence | Table):
        is_empty = field.default in ((), frozenset())
        return is_empty or field.factory in {list, dict, set, frozenset, tuple}
    default = field.default.value if isinstance(field.default, enum.Enum) else field.default
    if not isinstance(base, Scalar | Choice) or type(default) not in {bool, int, float, str, bytes} or default:
        return False
    return not (isinstance(default, float) and math.copysign(1.0, default) < 0)
