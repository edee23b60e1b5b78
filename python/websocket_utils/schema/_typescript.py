"""Prints message classes as TypeScript types of their JSON form."""

import enum
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from .._shapes import (
    Choice,
    Field,
    Fixed,
    Foreign,
    Nested,
    Record,
    Scalar,
    Sequence,
    Shape,
    Table,
    Union,
)
from ..messages import WsMessage
from ._messages import model_of
from ._names import MessageNames, record_name
from ._texts import class_text, field_texts, text_types

__all__ = ["typescript"]

# Names that TypeScript gives a meaning, and that of the union of all printed messages.
# fmt: off  # a word a line would fill a page
_TAKEN: Final = frozenset[str](
    (
        "AnyMessage",
        "Array",
        "Record",
        "any",
        "as",
        "async",
        "await",
        "bigint",
        "boolean",
        "break",
        "case",
        "catch",
        "class",
        "const",
        "continue",
        "debugger",
        "declare",
        "default",
        "delete",
        "do",
        "else",
        "enum",
        "export",
        "extends",
        "false",
        "finally",
        "for",
        "function",
        "if",
        "implements",
        "import",
        "in",
        "instanceof",
        "interface",
        "let",
        "never",
        "new",
        "null",
        "number",
        "object",
        "package",
        "private",
        "protected",
        "public",
        "return",
        "static",
        "string",
        "super",
        "switch",
        "symbol",
        "this",
        "throw",
        "true",
        "try",
        "type",
        "typeof",
        "undefined",
        "unknown",
        "var",
        "void",
        "while",
        "with",
        "yield",
    )
)
# fmt: on
_IDENTIFIER: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_SCALARS: Final = {"null": "null", "bool": "boolean", "int": "number", "float": "number", "text": "string"}
_SMALL: Final = frozenset(("int32", "uint32"))
_EXACT_INTEGER: Final = 2**53
_BIG_TEXT: Final = "JSON.parse rounds integers beyond 2**53 - 1."
_BIGINT_TEXT: Final = "A bigint beyond 2**53 - 1."
_BIGINT: Final = "number | bigint"
_BYTES_TEXT: Final = "Bytes in base64."


def typescript(*types: Any, bigint: bool = False) -> str:
    """TypeScript types of message classes and all that they refer to, as they are in JSON.

    A field that has a default in Python may be missing. Of several tagged classes, `AnyMessage` is the union.

    Args:
        *types: Message classes, or unions of them; none: the standard messages.
        bigint: Whether the reader has a parser that gives integers beyond 2**53 - 1 as `bigint`, as the client in
            edge/browser/ does: their type says so. Default: they are `number`, as `JSON.parse` gives them.

    Raises:
        TypeError: If a field has no form in JSON, or a type is no message class; it names both.
    """
    return _Printer(types or (WsMessage,), _BIGINT if bigint else "number").text()


class _Printer:
    """One call of `typescript`."""

    def __init__(self, types: tuple[Any, ...], big: str) -> None:
        self._model = model_of(types)
        # The type of integers that may be beyond what `number` holds, and what a comment says of them.
        self._big = big
        self._big_text = _BIGINT_TEXT if big == _BIGINT else _BIG_TEXT
        self._taken = MessageNames(_TAKEN)
        self._names = [self._taken.add(record_name(record)) for record in self._model.records]
        self._enums: dict[Any, str] = {}
        self._enum_texts: list[str] = []

    def text(self) -> str:
        blocks = [
            "\n".join(self._declaration(name, record))
            for name, record in zip(self._names, self._model.records, strict=True)
        ]
        tagged = [name for name, record in self._roots() if record.tag is not None]
        if len(tagged) > 1:
            blocks.append(f"export type AnyMessage =\n{_alternatives(tagged)};")
        return "\n\n".join(blocks + self._enum_texts) + "\n"

    def _roots(self) -> Iterator[tuple[str, Record]]:
        shapes = list(self._model.root.items) if isinstance(self._model.root, Fixed) else []
        seen: set[int] = set()
        for shape in shapes:
            for member in _members(shape):
                if isinstance(member, Nested) and member.record not in seen:
                    seen.add(member.record)
                    yield self._names[member.record], self._model.records[member.record]

    def _declaration(self, name: str, record: Record) -> Iterator[str]:
        yield from _comment(class_text(record), "")
        texts = field_texts(record)
        if record.array_like:
            yield from self._tuple(name, record, texts)
            return
        yield f"export interface {name} {{"
        if record.tag is not None and record.tag_field is not None:
            yield f"  {_property(record.tag_field)}: {json.dumps(record.tag)};"
        for field in record.fields:
            yield from _comment(self._field_text(field, texts), "  ")
            mark = "" if field.is_required else "?"
            yield f"  {_property(field.encode_name)}{mark}: {self._field_type(field, record)};"
        yield "}"

    def _tuple(self, name: str, record: Record, texts: dict[str, str]) -> Iterator[str]:
        """A class that is written as an array."""
        # An item may be missing only where all behind it are missing too.
        required = max((n for n, field in enumerate(record.fields, 1) if field.is_required), default=0)
        items: list[tuple[str, str, str, str]] = []
        if record.tag is not None and record.tag_field is not None:
            items.append((record.tag_field, "", json.dumps(record.tag), ""))
        for n, field in enumerate(record.fields, 1):
            mark = "" if n <= required else "?"
            items.append((field.encode_name, mark, self._field_type(field, record), self._field_text(field, texts)))
        is_labelled = all(_IDENTIFIER.fullmatch(label) for label, *_ in items)
        yield f"export type {name} = ["
        for label, mark, type_, text in items:
            yield from _comment(text, "  ")
            yield f"  {label}{mark}: {type_}," if is_labelled else f"  {_grouped(type_) if mark else type_}{mark},"
        yield "];"

    def _field_type(self, field: Field, record: Record) -> str:
        try:
            return self._type(field.shape)
        except TypeError as error:
            raise TypeError(
                f"field {field.name!r} of {record.type.__name__} has no form in TypeScript: {error}"
            ) from error

    def _type(self, shape: Shape) -> str:
        match shape:
            case Scalar(kind="bytes"):
                return "string"
            case Scalar(kind="int") if shape.wire not in _SMALL:
                return self._big
            case Scalar():
                return _SCALARS[shape.kind]
            case Choice():
                return self._choice(shape)
            case Sequence():
                return f"{_grouped(self._type(shape.item))}[]"
            case Fixed():
                return f"[{', '.join(map(self._type, shape.items))}]"
            case Table():
                return f"Record<string, {self._type(shape.value)}>"
            case Nested():
                return self._names[shape.record]
            case Union():
                return _any_of(map(self._type, shape.members))
            case Foreign(base=Scalar(kind="int")) if _is_bounded(shape.type):
                return "number"
            case Foreign(base=base):
                return _of_schema(*_schema(shape.type), frozenset(), self._big) if base is None else self._type(base)

    def _choice(self, shape: Choice) -> str:
        values = [*map(json.dumps, shape.texts), *map(self._literal, shape.integers)]
        if not (isinstance(shape.type, type) and issubclass(shape.type, enum.Enum)):
            return " | ".join(values)
        if shape.type not in self._enums:
            name = self._enums[shape.type] = self._taken.add(shape.type.__name__)
            self._enum_texts.append(f"export type {name} =\n{_alternatives(values)};")
        return self._enums[shape.type]

    def _literal(self, value: int) -> str:
        return f"{value}n" if abs(value) >= _EXACT_INTEGER and self._big == _BIGINT else str(value)

    def _field_text(self, field: Field, texts: dict[str, str]) -> str:
        notes = dict.fromkeys(_notes(field.shape, self._big_text))
        return "\n".join(filter(None, (texts.get(field.name), *notes)))


def _members(shape: Shape) -> Iterator[Shape]:
    if isinstance(shape, Foreign) and shape.base is not None:
        yield from _members(shape.base)
    elif isinstance(shape, Union):
        for member in shape.members:
            yield from _members(member)
    else:
        yield shape


def _schema(type_: Any) -> tuple[Any, dict[str, Any]]:
    """JSON Schema of a type that is msgspec's alone, and of what it refers to."""
    (schema,), components = msgspec.json.schema_components([type_], ref_template="{name}")
    return schema, components


def _of_schema(schema: dict[str, Any], components: dict[str, Any], inside: frozenset[str], integer: str) -> str:
    """The type that a JSON Schema describes; where it refers to itself, what it holds is left open."""

    def of(one: Any) -> str:
        return _of_schema(one, components, inside, integer)

    match schema:
        case {"$ref": str(name)}:
            is_known = name in inside
            return "unknown" if is_known else _of_schema(components[name], components, inside | {name}, integer)
        case {"anyOf": members}:
            return _any_of(map(of, members))
        case {"enum": values}:
            return " | ".join(map(json.dumps, values))
        case {"type": "array", "prefixItems": items}:
            required = schema.get("minItems", 0)
            return (
                f"[{', '.join(of(item) if n < required else f'{_grouped(of(item))}?' for n, item in enumerate(items))}]"
            )
        case {"type": "array"}:
            items = schema.get("items")
            return f"{_grouped(of(items))}[]" if isinstance(items, dict) else "unknown[]"
        case {"type": "object", "properties": properties}:
            required = schema.get("required", ())
            return _inline({key: (of(value), key in required) for key, value in properties.items()})
        case {"type": "object"}:
            values = schema.get("additionalProperties")
            return f"Record<string, {of(values) if isinstance(values, dict) else 'unknown'}>"
        case {"type": str(name)}:
            return integer if name == "integer" else name
        case _:
            return "unknown"


def _inline(properties: dict[str, tuple[str, bool]]) -> str:
    inside = "; ".join(
        f"{_property(key)}{'' if is_required else '?'}: {type_}" for key, (type_, is_required) in properties.items()
    )
    return f"{{ {inside} }}" if inside else "Record<string, unknown>"


def _notes(shape: Shape, big: str) -> Iterator[str]:
    """What a type of TypeScript does not say of the values."""
    match shape:
        case Scalar(kind="int") if shape.wire not in _SMALL:
            yield big
        case Scalar(kind="bytes"):
            yield _BYTES_TEXT
        case Choice() if any(abs(value) >= _EXACT_INTEGER for value in shape.integers):
            yield big
        case Sequence():
            yield from _notes(shape.item, big)
        case Table():
            yield from _notes(shape.value, big)
        case Fixed(items=several) | Union(members=several):
            for one in several:
                yield from _notes(one, big)
        case Foreign(base=Scalar(kind="int")):
            if not _is_bounded(shape.type):
                yield big
        case Foreign(base=base) if base is not None:
            yield from (f"A {name} as text." for name in text_types(shape))
            yield from _notes(base, big)
        case _:
            pass


def _is_bounded(type_: Any) -> bool:
    """Whether its constraints keep an integer within what JavaScript's numbers hold exactly."""
    metas = [extra for extra in getattr(type_, "__metadata__", ()) if isinstance(extra, msgspec.Meta)]
    lows = [meta.ge for meta in metas if meta.ge is not None]
    lows += [meta.gt + 1 for meta in metas if meta.gt is not None]
    highs = [meta.le for meta in metas if meta.le is not None]
    highs += [meta.lt - 1 for meta in metas if meta.lt is not None]
    return bool(lows and highs) and max(lows) > -_EXACT_INTEGER and min(highs) < _EXACT_INTEGER


def _any_of(types: Iterable[str]) -> str:
    several = dict.fromkeys(types)
    if _BIGINT in several:
        several.pop("number", None)
    return " | ".join(several)


def _alternatives(members: list[str]) -> str:
    return "\n".join(f"  | {member}" for member in members)


def _grouped(type_: str) -> str:
    return f"({type_})" if " | " in type_ else type_


def _property(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) else json.dumps(name)


def _comment(text: str, indent: str) -> Iterator[str]:
    lines = text.replace("*/", "* /").splitlines()
    if len(lines) == 1:
        yield f"{indent}/** {lines[0]} */"
    elif lines:
        yield f"{indent}/**"
        yield from (f"{indent} * {line}".rstrip() for line in lines)
        yield f"{indent} */"
