"""JSON Schema of message classes: msgspec's, with our rules about tags."""

from collections.abc import Iterable
from typing import Any, Final, cast

import msgspec

from .._shapes import Fixed, Foreign, Nested, Record, Shape, Union
from ..messages import WsMessage
from ._messages import model_of
from ._names import snake_case
from ._texts import field_texts

__all__ = ["json_schema"]

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE: Final = "#/$defs/"


def json_schema(*types: Any) -> dict[str, Any]:
    """JSON Schema (2020-12) of message classes: any of them is valid.

    A message's tag is valid in both spellings and, where there is one class, may be missing. In messages that are held
    by another, tags are as msgspec writes them.

    Args:
        *types: Message classes, or unions of them; none: the standard messages.

    Raises:
        TypeError: If a field has no form in JSON, or a type is no message class; it names both.
    """
    model = model_of(types or (WsMessage,))
    components, names = _components(model.records)
    for record, name in zip(model.records, names, strict=True):
        _complete(components[name], record)
    roots = list(dict.fromkeys(_roots(model.root)))
    held = _references(components)
    entries: list[str] = []
    for index in roots:
        name = names[index]
        top = name if name not in held else _unused(f"{name}Message", components)
        components[top] = _as_message(components[name], model.records[index], is_alone=len(roots) == 1)
        entries.append(top)
    schema: dict[str, Any] = {"$schema": _DIALECT}
    if len(entries) == 1:
        schema["$ref"] = _REFERENCE + entries[0]
    else:
        schema["anyOf"] = [{"$ref": _REFERENCE + name} for name in entries]
    return schema | {"$defs": components}


def _components(records: list[Record]) -> tuple[dict[str, Any], list[str]]:
    """Msgspec's schemas by name, and the name of each record's."""
    types = [record.origin for record in records]
    try:
        references, components = msgspec.json.schema_components(types, ref_template=_REFERENCE + "{name}")
    except TypeError as error:
        raise _culprit(records, error) from error
    return dict(components), [str(reference["$ref"]).removeprefix(_REFERENCE) for reference in references]


def _culprit(records: list[Record], error: TypeError) -> TypeError:
    # The classes that others hold stand behind them in the list: whose own field it is, is found first.
    for record in reversed(records):
        for field in record.fields:
            try:
                msgspec.json.schema(field.type)
            except TypeError as reason:
                return TypeError(f"field {field.name!r} of {record.type.__name__} has no form in JSON Schema: {reason}")
    return error


def _roots(shape: Shape) -> Iterable[int]:
    match shape:
        case Nested():
            yield shape.record
        case Fixed(items=several) | Union(members=several):
            for one in several:
                yield from _roots(one)
        case Foreign(base=base) if base is not None:
            yield from _roots(base)
        case _:
            pass


def _complete(schema: dict[str, Any], record: Record) -> None:
    """Add what msgspec does not know: the texts of fields, and which are required in spite of a default."""
    texts = field_texts(record)
    if record.array_like:
        start = 0 if record.tag is None else 1
        places = schema["prefixItems"][start:]
        schema["minItems"] = start + max((n for n, one in enumerate(record.fields, 1) if one.is_required), default=0)
    else:
        places = [schema["properties"][field.encode_name] for field in record.fields]
        required = [field.encode_name for field in record.fields if field.is_required]
        if record.tag is not None and record.tag_field is not None:
            required.insert(0, record.tag_field)
        schema["required"] = required
    for field, place in zip(record.fields, places, strict=True):
        if field.name in texts:
            place.setdefault("description", texts[field.name])


def _as_message(schema: dict[str, Any], record: Record, *, is_alone: bool) -> dict[str, Any]:
    """The schema of a class as a message of its own, where both spellings of its tag are read."""
    if record.array_like or record.tag_field is None or not isinstance(record.tag, str):
        return schema
    spellings = list(dict.fromkeys((record.tag, snake_case(record.tag))))
    message = schema | {"properties": schema["properties"] | {record.tag_field: {"enum": spellings}}}
    if is_alone:
        message["required"] = [name for name in schema["required"] if name != record.tag_field]
    return message


def _references(schema: object) -> set[str]:
    """Names of the schemas that others refer to."""
    match schema:
        case {"$ref": str(reference)}:
            return {reference.removeprefix(_REFERENCE)}
        case dict():
            return set[str]().union(*map(_references, cast("dict[str, object]", schema).values()))
        case list():
            return set[str]().union(*map(_references, cast("list[object]", schema)))
        case _:
            return set()


def _unused(wanted: str, used: Iterable[str]) -> str:
    name, count = wanted, 1
    while name in used:
        count += 1
        name = f"{wanted}{count}"
    return name
