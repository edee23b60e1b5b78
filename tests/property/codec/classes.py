"""Random classes, as the Python text that makes them, and random values of them as they travel."""

import dataclasses
from typing import Any, Final, Literal

from tests.property.codec.chance import Chance
from tests.property.codec.shapes import Shape

__all__ = ["Field", "Made"]

# Keys that a message has beside its fields: near misses of their names too.
_STRANGERS: Final = ["extra", "", "é", "type", "x" * 40, "Price", "a\\b"]


@dataclasses.dataclass(slots=True)
class Field:
    """A field of a class that is made."""

    name: str
    shape: Shape
    # Its default as it is written, None for a required field.
    default: str | None = None
    # Another name on the wire, given to this field alone.
    wire_name: str | None = None
    # `Required` or `NotRequired` of a `TypedDict`.
    presence: str | None = None

    @property
    def annotation(self) -> str:
        """How its type is written: as a string where it names a class that is not made yet."""
        text = self.shape.text
        if self.default == "UNSET":
            text = f"{text} | UnsetType"
        if self.presence:
            text = f"{self.presence}[{text}]"
        return repr(text) if self.shape.forward else text


@dataclasses.dataclass(slots=True)
class Made:
    """A class of any style."""

    name: str
    style: Literal["struct", "dataclass", "typed_dict", "named_tuple"]
    fields: list[Field] = dataclasses.field(default_factory=list)
    # What stands between the parentheses behind its name, or those of its decorator.
    options: dict[str, str] = dataclasses.field(default_factory=dict)
    bases: list[str] = dataclasses.field(default_factory=list)
    # Further lines of its body.
    body: list[str] = dataclasses.field(default_factory=list)
    tag: str | int | None = None
    tag_field: str = "type"
    # The type in place of `T`, for a generic class.
    argument: str | None = None
    # Names on the wire by position, once the class is there.
    wire_names: tuple[str, ...] = ()

    @property
    def reference(self) -> str:
        """How it is named as a type."""
        return self.name if self.argument is None else f"{self.name}[{self.argument}]"

    @property
    def is_array(self) -> bool:
        """Whether it travels as an array."""
        return self.style == "named_tuple" or "array_like" in self.options

    @property
    def is_hashable(self) -> bool:
        """Whether values can stand in a set, as far as their fields can."""
        frozen = self.style == "named_tuple" or ("frozen" in self.options and "eq" not in self.options)
        return frozen and all(field.shape.hashable for field in self.fields)

    def source(self) -> str:
        """The text that makes it."""
        options = ", ".join(f"{name}={value}" for name, value in self.options.items())
        match self.style:
            case "struct":
                head = f"class {self.name}({', '.join([*(self.bases or ['msgspec.Struct']), options]).rstrip(', ')}):"
            case "dataclass":
                head = f"@dataclasses.dataclass({options})\nclass {self.name}:"
            case "typed_dict":
                head = f"class {self.name}({', '.join(['TypedDict', options]).rstrip(', ')}):"
            case _:
                head = f"class {self.name}(NamedTuple):"
        lines = [self._line(field) for field in self.fields]
        return "\n    ".join([head, *lines, *self.body] if lines or self.body else [head, "pass"])

    def _line(self, field: Field) -> str:
        default = field.default
        if field.wire_name is not None:
            if default is None:
                default = f"field(name={field.wire_name!r})"
            elif default.startswith("field("):
                default = f"field(name={field.wire_name!r}, {default.removeprefix('field(')}"
            elif default in {"[]", "{}", "set()", "frozenset()", "()"}:
                default = f"field(name={field.wire_name!r}, default_factory=lambda: {default})"
            else:
                default = f"field(name={field.wire_name!r}, default={default})"
        elif self.style == "dataclass" and default is not None:
            if default.startswith("field("):
                default = f"dataclasses.{default}"
            elif default in {"[]", "{}", "set()"}:
                default = f"dataclasses.field(default_factory=lambda: {default})"
        elif self.style == "named_tuple" and default is not None and default.startswith("field("):
            default = "()"
        return f"{field.name}: {field.annotation}" + (f" = {default}" if default is not None else "")

    def bind(self, namespace: dict[str, Any]) -> None:
        """Learn the names on the wire from the class that the text made."""
        found = getattr(namespace[self.name], "__struct_encode_fields__", None)
        self.wire_names = found if found is not None else tuple(field.name for field in self.fields)
        if self.style == "struct":
            # A class with keyword-only fields has them behind the others.
            names = namespace[self.name].__struct_fields__
            by_name = {field.name: field for field in self.fields}
            self.fields = [by_name[name] for name in names]

    def wire(self, chance: Chance, budget: int, *, in_union: bool = False) -> Any:
        """A value of it as it travels; one in a union needs its tag."""
        if chance.slip(0.01):
            return chance.anything(2)
        budget -= 1
        return self._array(chance, budget, in_union) if self.is_array else self._object(chance, budget, in_union)

    def _array(self, chance: Chance, budget: int, in_union: bool) -> list[Any]:
        values = [] if self.tag is None else [self.tag]
        if values and chance.slip(0.02):
            values = [chance.anything(0)] if in_union else []
        values += [field.shape.wire(chance, budget) for field in self.fields]
        if chance.slip(0.1):
            values = values[: chance.below(len(values) + 1)]
        if chance.often(0.05):
            values.append(chance.anything(2))
        return values

    def _object(self, chance: Chance, budget: int, in_union: bool) -> dict[str, Any]:
        made: dict[str, Any] = {}
        is_tagged = self.tag is not None and (not chance.slip(0.02) if in_union else chance.often(0.6))
        tag_at = chance.below(len(self.fields) + 1) if chance.often(0.3) else 0
        stranger_at = chance.below(len(self.fields) + 1) if chance.often(0.1) else -1
        complete = budget >= 0 and chance.often(0.5)
        for at, (name, field) in enumerate(zip(self.wire_names, self.fields, strict=True)):
            if at == tag_at and is_tagged:
                made[self.tag_field] = self.tag
            if at == stranger_at:
                self._add_stranger(chance, made, name)
            optional = field.default is not None or field.presence == "NotRequired"
            if not complete and (chance.often(0.5) if optional else chance.slip(0.02)):
                continue
            made[name] = field.shape.wire(chance, budget)
        if tag_at == len(self.fields) and is_tagged:
            made[self.tag_field] = self.tag
        if stranger_at == len(self.fields):
            self._add_stranger(chance, made, "")
        return made

    @staticmethod
    def _add_stranger(chance: Chance, made: dict[str, Any], name: str) -> None:
        strangers = [name + "x", name[:-1], name.upper(), name.replace("_", ""), chance.one_of(_STRANGERS)]
        made[chance.one_of(strangers)] = _deep(chance) if chance.often(0.005) else chance.anything(2)


def _deep(chance: Chance) -> Any:
    """A value about as deep as it may be."""
    value: Any = 1
    for _ in range(chance.below(12) + 120):
        value = [value] if chance.often(0.5) else {"a": value}
    return value
