"""What the authors of classes wrote about them: docstrings of classes, and of fields where the source is at hand."""

import ast
import inspect
import textwrap
import typing
from typing import Any

import msgspec

from .._shapes import Foreign, Record

__all__ = ["class_text", "field_texts", "text_types"]


def class_text(record: Record) -> str:
    """The docstring of a class; empty if it has none of its own."""
    text = record.type.__dict__.get("__doc__")
    # Dataclasses without one get their signature.
    if not isinstance(text, str) or text.startswith(f"{record.type.__name__}("):
        return ""
    return inspect.cleandoc(text).strip()


def field_texts(record: Record) -> dict[str, str]:
    """The texts of those fields that have one, by name: a string below the field, or `Meta(description=...)`."""
    texts: dict[str, str] = {}
    for owner in reversed(record.type.__mro__):
        if owner.__module__ not in {"builtins", "msgspec", "typing"}:
            texts |= _strings_below_fields(owner)
    for field in record.fields:
        for extra in getattr(field.type, "__metadata__", ()):
            if isinstance(extra, msgspec.Meta) and extra.description:
                texts[field.name] = inspect.cleandoc(extra.description).strip()
    return texts


def _strings_below_fields(type_: Any) -> dict[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(type_)))
    except (OSError, TypeError, SyntaxError):  # Made by a program, or its source is not installed.
        return {}
    if not tree.body or not isinstance(body := tree.body[0], ast.ClassDef):
        return {}
    texts: dict[str, str] = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            match below:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    texts[field.target.id] = inspect.cleandoc(text).strip()
                case _:
                    pass
    return texts


def text_types(shape: Foreign) -> list[str]:
    """Which types a value that travels as text is of: `datetime`, `Decimal`; empty where it is any text or no text."""
    if shape.base is None:
        return []
    types = [one for one in (shape.type, *typing.get_args(shape.type)) if isinstance(one, type)]
    return [one.__name__ for one in types if one.__module__ in {"datetime", "decimal", "uuid"}]
