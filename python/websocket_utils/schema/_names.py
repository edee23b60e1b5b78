"""Names of messages and fields as other languages want them: identifiers, each once."""

import re
import types
import typing
from typing import Any

from .._shapes import Record

__all__ = ["FieldNames", "MessageNames", "camel_case", "identifier", "record_name", "snake_case", "type_name"]


class MessageNames:
    """Makes names of messages that are not in use yet, nor taken by the language."""

    def __init__(self, taken: frozenset[str]) -> None:
        self._used = set(taken)

    def add(self, wanted: str) -> str:
        """The wanted name, with a number behind it where it is in use."""
        wanted = name = identifier(wanted)
        count = 1
        while name in self._used:
            count += 1
            name = f"{wanted}{count}"
        self._used.add(name)
        return name


class FieldNames:
    """Makes names of the fields of one message that are not in use yet."""

    def __init__(self, *used: str) -> None:
        self._used: set[str] = set()
        for name in used:
            self._used |= _claims(name)

    def add(self, wanted: str) -> str:
        """The wanted name, with a number behind it where it is in use."""
        wanted = name = identifier(wanted)
        count = 1
        while not self._used.isdisjoint(_claims(name)):
            count += 1
            name = f"{wanted}_{count}"
        self._used |= _claims(name)
        return name


def _claims(name: str) -> set[str]:
    """What a field needs for itself in its message: its name, its name in JSON, the message that a map's entry is."""
    camel = camel_case(name)
    return {f"name {name}", f"JSON {camel}", f"name {camel}Entry"}


def identifier(name: str) -> str:
    """A name with letters, digits and underscores of ASCII alone."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return name if name and not name[0].isdigit() else f"_{name}"


def camel_case(name: str) -> str:
    """`order_id` as `OrderId`."""
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]", name))


def snake_case(name: str) -> str:
    """`PriceUpdate` as `price_update`: by the rule for the second spelling of tags, `snake_case` of the core's plan."""
    words = ""
    for index, letter in enumerate(name):
        if letter.isupper() and index > 0:
            before, following = name[index - 1], name[index + 1 : index + 2]
            if before != "_" and (not before.isupper() or following.islower()):
                words += "_"
        words += letter.lower()
    return words


def record_name(record: Record) -> str:
    """The name of a class, with its parameters: `Box[int]` as `BoxInt`."""
    return "".join((record.type.__name__, *map(_parameter_name, typing.get_args(record.origin))))


def _parameter_name(type_: Any) -> str:
    origin, arguments = typing.get_origin(type_), typing.get_args(type_)
    if origin is typing.Annotated:
        return _parameter_name(arguments[0])
    if origin is typing.Union or origin is types.UnionType:
        return "Or".join(_parameter_name(argument) for argument in arguments)
    own = camel_case("None" if type_ is type(None) else getattr(origin or type_, "__name__", str(origin or type_)))
    return own + "".join(_parameter_name(argument) for argument in arguments)


def type_name(type_: Any) -> str:
    """A type as its author would write it."""
    return str(type_.__qualname__) if isinstance(type_, type) and not typing.get_args(type_) else str(type_)
