"""Which columns the messages of a class make: what the core's column builder is made from."""

import enum
import typing
from typing import Annotated, Any, Final, NamedTuple

from msgspec import NODEFAULT, UNSET

from ._shapes import Choice, Field, Foreign, Nested, Record, Scalar, Shape, Union, describe

__all__ = ["ColumnField", "ColumnFields", "column_fields"]

_DTYPES: Final[dict[tuple[str, str | None], str]] = {
    ("bool", None): "bool",
    ("int", None): "int64",
    ("int", "int64"): "int64",
    ("int", "uint64"): "uint64",
    ("int", "int32"): "int32",
    ("int", "uint32"): "uint32",
    ("float", None): "float64",
    ("float", "float"): "float32",
    ("text", None): "text",
    ("bytes", None): "bytes",
}
_INTEGERS: Final = {
    "int64": range(-(2**63), 2**63),
    "uint64": range(2**64),
    "int32": range(-(2**31), 2**31),
    "uint32": range(2**32),
}
_TYPES: Final[dict[str, type]] = {"bool": bool, "float64": float, "float32": float, "text": str, "bytes": bytes}


class ColumnField(NamedTuple):
    """One column."""

    name: str
    """Attribute, or key, of the messages."""
    encode_name: str
    """Name on the wire."""
    dtype: str
    is_nullable: bool
    choices: list[str] | list[int] | None
    """The only values, of an enum or a `Literal`."""
    has_default: bool
    """An absent field has the value `default`; else the message's own class knows, or it is at fault."""
    default: bool | int | float | str | bytes | None


class ColumnFields(NamedTuple):
    """The columns of a class."""

    is_dict: bool
    """Its messages are dictionaries, not instances with attributes."""
    fields: list[ColumnField]


def column_fields(type_: Any) -> ColumnFields:
    """Describe the columns that messages of `type_` make.

    Raises:
        TypeError: If it is no message class, or a field of it has no column form.
    """
    model = describe(type_)
    root = model.root.base if isinstance(model.root, Foreign) else model.root
    if not isinstance(root, Nested):
        raise TypeError(f"columns are made of one message class, not of {type_!r}")
    record = model.records[root.record]
    return ColumnFields(record.kind == "dict", [_column(record, field) for field in record.fields])


def _column(record: Record, field: Field) -> ColumnField:
    members = _members(field.shape)
    plain = [member for member in members if member != Scalar("null")]
    dtype, choices = _form(plain[0]) if len(plain) == 1 else (None, None)
    if dtype is None:
        what = f"field {field.name!r} of {record.type.__name__} has no column form: it is {field.type!r}"
        raise TypeError(f"{what}, columns are made of bool, int, float, str, bytes, enums and literals of one type")
    is_nullable = len(plain) < len(members)
    has_default, default = False, None
    if field.default is not NODEFAULT:
        has_default, default = True, field.default.value if isinstance(field.default, enum.Enum) else field.default
        if default is None or default is UNSET:
            is_nullable, default = True, None
        elif not _fits(default, dtype, choices):
            where = f"the default {field.default!r} of field {field.name!r} of {record.type.__name__}"
            raise TypeError(f"{where} is no {dtype}, which its column holds")
        elif dtype in {"float64", "float32"}:
            default = float(default)
    elif not field.is_required and field.factory is NODEFAULT:
        # A key that a dictionary need not have.
        is_nullable = has_default = True
    return ColumnField(field.name, field.encode_name, dtype, is_nullable, choices, has_default, default)


def _members(shape: Shape) -> list[Shape]:
    """What a field may be, each alone; constrained values as what they are without the constraint."""
    if isinstance(shape, Union):
        return [part for member in shape.members for part in _members(member)]
    if isinstance(shape, Foreign):
        origin = typing.get_origin(shape.type)
        if origin is Annotated and shape.base is not None:
            return _members(shape.base)
        if isinstance(shape.base, Union):
            members = [argument for argument in typing.get_args(shape.type) if argument is not type(UNSET)]
            return [part for argument in members for part in _members(describe(argument).root)]
    return [shape]


def _form(shape: Shape) -> tuple[str | None, list[str] | list[int] | None]:
    if isinstance(shape, Scalar):
        return _DTYPES.get((shape.kind, shape.wire)), None
    if isinstance(shape, Choice) and not shape.integers:
        return "text", list(shape.texts)
    if isinstance(shape, Choice) and not shape.texts:
        return "int64", list(shape.integers)
    return None, None


def _fits(default: Any, dtype: str, choices: list[str] | list[int] | None) -> bool:
    if choices is not None:
        return default in choices
    if dtype in _INTEGERS:
        return isinstance(default, int) and not isinstance(default, bool) and default in _INTEGERS[dtype]
    if dtype in {"float64", "float32"}:
        return isinstance(default, int | float) and not isinstance(default, bool)
    return isinstance(default, _TYPES[dtype])
