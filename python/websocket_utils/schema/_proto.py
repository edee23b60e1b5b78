"""Prints Protocol Buffers messages as a `.proto` file."""

import enum
import json
import re
from collections.abc import Iterator
from typing import Any, Final

from .._shapes import Choice, Fixed, Foreign
from ..messages import WsMessage
from ._messages import ProtoField, ProtoMessage, proto_model
from ._texts import class_text, field_texts, text_types

__all__ = ["proto"]

_PACKAGE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_BOX_TEXT: Final = "A value that needs a message of its own where it stands."
_TUPLE_TEXT: Final = "A row of a known number of values."
_UNION_TEXT: Final = "One of several messages: exactly one is there."


def proto(*types: Any, package: str | None = None) -> str:
    """The `.proto` file (proto3) of message classes and all that they refer to.

    Args:
        *types: Message classes, or unions of them; none: the standard messages.
        package: Protocol Buffers package of the messages; None leaves them without.

    Raises:
        TypeError: If a field has no form in Protocol Buffers, or a type is no message class; it names both.
        ValueError: If `package` is no name of a package.
    """
    if package is not None and not _PACKAGE.fullmatch(package):
        raise ValueError(f"{package!r} is no Protocol Buffers package: words of letters and digits, joined by dots")
    head = ['syntax = "proto3";']
    if package is not None:
        head.append(f"package {package};")
    messages = proto_model(*(types or (WsMessage,)))
    return "\n\n".join([*head, *("\n".join(_message_lines(message)) for message in messages)]) + "\n"


def _message_lines(message: ProtoMessage) -> Iterator[str]:
    record = message.record
    if record is not None:
        texts = field_texts(record)
        yield from _comment(class_text(record))
    else:
        texts = {}
        yield from _comment({"box": _BOX_TEXT, "tuple": _TUPLE_TEXT, "union": _UNION_TEXT}[message.kind])
    if not message.fields:
        yield f"message {message.name} {{}}"
        return
    yield f"message {message.name} {{"
    indent = "  "
    if message.kind == "union":
        yield "  oneof value {"
        indent = "    "
    for field in message.fields:
        if record is not None and field.field is None:
            text = f"Always {_literal(record.tag)}; may be left out where the receiver knows which message comes."
        else:
            text = "\n".join(filter(None, (texts.get(field.field.name) if field.field else None, _values(field))))
        yield from (indent + line for line in _comment(text))
        yield f"{indent}{_declaration(field)}"
    if message.kind == "union":
        yield "  }"
    yield "}"


def _declaration(field: ProtoField) -> str:
    type_ = field.type
    if field.label == "map":
        type_ = f"map<string, {type_}>"
    elif field.label in {"optional", "repeated"}:
        type_ = f"{field.label} {type_}"
    return f"{type_} {field.name} = {field.number};"


def _values(field: ProtoField) -> str:
    """What the type in the file does not say of a field's value."""
    shape = field.shape
    lines: list[str] = []
    if isinstance(shape, Choice):
        lines.append(f"One of {', '.join(map(_literal, (*shape.texts, *shape.integers)))}.")
    elif isinstance(shape, Fixed) and field.label == "repeated":
        lines.append(f"Exactly {len(shape.items)} of them.")
    elif isinstance(shape, Foreign):
        lines.extend(f"A {name} as text." for name in text_types(shape))
    if field.absent == "default" and field.field is not None:
        default = field.field.default.value if isinstance(field.field.default, enum.Enum) else field.field.default
        if isinstance(default, str | int | float):
            lines.append(f"Absent: {_literal(default)}.")
    return "\n".join(lines)


def _literal(value: object) -> str:
    """As JSON writes it: most languages read that."""
    return json.dumps(value)


def _comment(text: str) -> Iterator[str]:
    # Other line ends than \n, and NUL, would end the comment or the file.
    for line in text.splitlines():
        yield f"// {line}".replace("\0", "").rstrip()
