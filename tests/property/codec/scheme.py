"""What one series of cases decodes: a type with everything it is made of, from a seed."""

import sys
import types
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tests.property.codec.chance import Chance
from tests.property.codec.classes import Field, Made
from tests.property.codec.shapes import LEAVES, Shape, array_of, fixed_tuple, mapping_of, optional, union_of

__all__ = ["Scheme", "scheme"]

_PRELUDE: Final = "from tests.property.codec.prelude import *"
_NAMES: Final = [
    "a",
    "b",
    "px",
    "qty",
    "price",
    "price2",
    "priceMax",
    "symbol",
    "order_id",
    "input_mint",
    "output_mint",
    "bids",
    "asks",
    "x1",
    "ts",
    "time_stamp",
    "user_name_of_the_account_that_asked",
    "übung",
    "kind",
    "_hidden",
]
_WIRE_NAMES: Final = ["", "é", "a/b", "e", "E", "a b", "p" * 31, "p" * 32, "p" * 33, "p" * 300, "😀", "\x7f"]
_RENAMES: Final = ["'camel'", "'kebab'", "'pascal'", "'upper'", "'lower'", "lambda name: name + '!'"]
_STEMS: Final = ["PriceTick", "Fill", "HTTPReply", "Order_Book", "L2Book", "ping", "Node"]
_TAGS: Final[list[str | int]] = [True, "Some_Tag", "é", 3]
# A text, an integer and a float.
_STANDARD: Final = (LEAVES[0][0], LEAVES[0][2], LEAVES[0][4])
# Values for a field by what its `__post_init__` does; `{0}` is the name of a field.
_CHECKS: Final = [
    ["def __post_init__(self):", "    if not self.{0}:", "        raise ValueError('empty')"],
    ["def __post_init__(self):", "    if self.{0} == 'SOL' or self.{0} == 1:", "        raise TypeError('no')"],
    ["def __post_init__(self):", "    if self.{0} == 'SOL' or self.{0} == 1:", "        raise KeyError('other')"],
]
_CHANGE: Final = ["def __post_init__(self):", "    object.__setattr__(self, '{0}', (self.{0}, 1))"]
_CHANGE_STRUCT: Final = ["def __post_init__(self):", "    msgspec.structs.force_setattr(self, '{0}', (self.{0}, 1))"]


class Scheme:
    """A type to decode, and where its values come from."""

    def __init__(self, name: str, source: str, root: Shape, members: list[Made], made: list[Made]) -> None:
        self.name = name
        self.source = source
        self._root = root
        self.namespace: dict[str, Any] = {}
        self._made = made
        # Classes that are told apart by tags at top level, in either spelling.
        self.members = members
        self.type: Any = None

    @property
    def hooks(self) -> bool:
        """Whether it takes hooks to decode and encode it."""
        return "Custom" in self.source

    @contextmanager
    def loaded(self) -> Iterator[None]:
        """Make the classes, in a module that is there as long as this lasts."""
        module = types.ModuleType(self.name)
        sys.modules[self.name] = module
        try:
            exec(compile(self.source, self.name, "exec"), module.__dict__)
            self.namespace = module.__dict__
            self.type = self.namespace["ROOT"]
            for made in self._made:
                made.bind(self.namespace)
            yield
        finally:
            del sys.modules[self.name]

    def wire(self, chance: Chance) -> Any:
        """A value of the type as it travels, wrong in places now and then."""
        chance.slips = chance.often(0.25)
        return self._root.wire(chance, 3)


class _Builder:
    def __init__(self, chance: Chance) -> None:
        self.chance = chance
        self.made: list[Made] = []
        # Classes whose fields are being chosen: a field may name them.
        self.open: list[Made] = []
        self.parts: list[str] = []

    def shape(self, depth: int) -> Shape:
        chance = self.chance
        if depth <= 0 or chance.often(0.5):
            return chance.one_of(chance.one_of(LEAVES))
        match chance.below(12):
            case 0 | 1:
                return optional(self.plain(depth - 1))
            case 2 | 3:
                return array_of("list[{}]", self.shape(depth - 1))
            case 4:
                return self.collection(depth)
            case 5:
                return fixed_tuple([self.shape(depth - 1) for _ in range(chance.below(4))])
            case 6:
                key = LEAVES[0][0] if chance.often(0.8) else chance.one_of([*LEAVES[0], *LEAVES[3]])
                return mapping_of(key, self.shape(depth - 1))
            case 7:
                return self.scalars()
            case 8 | 9:
                return self.instance(self.any_class(depth - 1))
            case 10:
                return self.tagged_union(depth - 1)
            case _:
                return self.again(depth)

    def plain(self, depth: int) -> Shape:
        """A shape that may stand in a union with None."""
        while "null" in (found := self.shape(depth)).kinds or "any" in found.kinds or "custom" in found.kinds:
            pass
        return found

    def collection(self, depth: int) -> Shape:
        chance = self.chance
        if chance.often(0.5):
            forms = ["tuple[{}, ...]", "collections.abc.Sequence[{}]", "list[{}]"]
            return array_of(chance.one_of(forms), self.shape(depth - 1))
        while not (item := self.shape(depth - 1)).hashable:
            pass
        return array_of(chance.one_of(["set[{}]", "frozenset[{}]"]), item)

    def scalars(self) -> Shape:
        """A union of scalars of different kinds."""
        found: list[Shape] = []
        for _ in range(4):
            leaf = self.chance.one_of(self.chance.one_of(LEAVES))
            taken = frozenset[str]().union(*(shape.kinds for shape in found))
            if not leaf.kinds & (taken | {"any", "custom"}):
                found.append(leaf)
        return union_of(found) if found else LEAVES[0][0]

    def again(self, depth: int) -> Shape:
        """A class that contains itself."""
        if not self.open:
            return self.instance(self.any_class(depth - 1))
        target = self.chance.one_of(self.open)
        shape = self.instance(target)._replace(forward=True)
        match self.chance.below(4):
            case 0:
                return array_of("list[{}]", shape)
            case 1:
                return mapping_of(LEAVES[0][0], shape)
            case _:
                return optional(shape)

    def instance(self, made: Made) -> Shape:
        """A field of a class."""
        kind = frozenset({"array" if made.is_array else "object"})
        hashable = made not in self.open and made.is_hashable
        return Shape(made.reference, made.wire, (), kind, hashable)

    def tagged_union(self, depth: int) -> Shape:
        members = self.tagged_classes(depth)
        shapes = [
            Shape(one.reference, lambda chance, budget, one=one: one.wire(chance, budget, in_union=True))  # type: ignore[misc]  # mypy does not infer a lambda with a default
            for one in members
        ]
        union = union_of(shapes)._replace(kinds=frozenset({"array" if members[0].is_array else "object"}))
        return optional(union) if self.chance.often(0.2) else union

    def tagged_classes(self, depth: int) -> list[Made]:
        chance = self.chance
        field = chance.one_of(["type", "type", "t", "kind_of", "é"])
        kind = chance.one_of(["name", "name", "text", "number"])
        is_array = chance.often(0.2)
        members = []
        for at in range(chance.below(3) + 2):
            text = f"{chance.one_of(['tag', 'Tag', 'é'])}{at}"
            tags: dict[str, str | int] = {"name": True, "text": text, "number": at * 7 - 7}
            members.append(self.struct(depth, tag=tags[kind], tag_field=field, is_array=is_array))
        return members

    def standard(self) -> list[Made]:
        """One of the library's own messages, or some."""
        text, integer, number = (
            Shape(name, leaf.wire) for name, leaf in zip(("str", "int", "float"), _STANDARD, strict=True)
        )
        texts = array_of("list[{}]", text)
        fields = {
            "PriceUpdate": [
                Field("input_mint", text),
                Field("output_mint", text),
                Field("price", number),
                Field("volume", integer, "0"),
                Field("timestamp", integer),
            ],
            "AccountUpdate": [
                Field("pubkey", text),
                Field("lamports", integer),
                Field("slot", integer),
                Field("timestamp", integer),
            ],
            "Subscribe": [Field("channels", texts), Field("positions", texts, "[]"), Field("slow", text, '""')],
            "Ping": [],
            "Pong": [],
        }
        names = list(fields)
        self.chance.shuffle(names)
        members = [Made(name, "struct", fields[name], tag=name) for name in names[: self.chance.below(len(names)) + 1]]
        self.made += members
        return members

    def any_class(self, depth: int) -> Made:
        chance = self.chance
        if self.made and chance.often(0.2):
            return chance.one_of(self.made)
        match chance.below(10):
            case 0:
                return self.typed_dict(depth)
            case 1:
                return self.named_tuple(depth)
            case 2 | 3:
                return self.dataclass(depth)
            case 4 | 5:
                return self.struct(depth, tag=chance.one_of(_TAGS))
            case _:
                return self.struct(depth)

    def fields(self, depth: int, made: Made) -> list[Field]:
        chance = self.chance
        size = chance.below(6) + 1 if chance.often(0.95) else chance.one_of([0, 0, 0, 15, 16, 17, 63, 64, 65, 130])
        names = list(_NAMES)
        chance.shuffle(names)
        names = (names + [f"field_{number}" for number in range(120)])[:size]
        self.open.append(made)
        found = [Field(name, self.shape(depth if at < 8 else 0)) for at, name in enumerate(names)]
        self.open.remove(made)
        return found

    def add_defaults(self, fields: list[Field], *, sort: bool, unset: bool) -> list[Field]:
        for field in fields:
            if self.chance.often(0.4) and field.shape.defaults:
                field.default = self.chance.one_of(field.shape.defaults)
            elif unset and self.chance.often(0.08) and not field.shape.kinds & {"any", "custom"}:
                field.default = "UNSET"
        return sorted(fields, key=lambda field: field.default is not None) if sort else fields

    def name(self) -> str:
        return f"{self.chance.one_of(_STEMS)}{len(self.made) + len(self.open)}"

    def finish(self, made: Made) -> Made:
        self.made.append(made)
        self.parts.append(made.source())
        return made

    def struct(
        self, depth: int, tag: str | int | bool | None = None, tag_field: str = "type", is_array: bool | None = None
    ) -> Made:
        chance = self.chance
        made = Made(self.name(), "struct", tag_field=tag_field)
        if tag is not None:
            made.tag = made.name if tag is True else tag
            if tag is True and tag_field == "type" and chance.often(0.5):
                made.bases = ["Message"]
            else:
                made.options = {"tag": repr(tag), "tag_field": repr(tag_field)}
        if chance.often(0.12) if is_array is None else is_array:
            made.options["array_like"] = "True"
        for option, share in (
            ("frozen", 0.25),
            ("kw_only", 0.2),
            ("forbid_unknown_fields", 0.15),
            ("omit_defaults", 0.1),
            ("weakref", 0.05),
            ("order", 0.05),
        ):
            if chance.often(share):
                made.options[option] = "True"
        if "weakref" not in made.options and chance.often(0.2):
            made.options["gc"] = "False"
        elif chance.often(0.05):
            made.options["dict"] = "True"
        if "order" not in made.options and chance.often(0.03):
            made.options["eq"] = "False"
        made.fields = self.add_defaults(self.fields(depth, made), sort="kw_only" not in made.options, unset=True)
        if chance.often(0.2):
            made.options["rename"] = chance.one_of(_RENAMES)
        if made.fields and chance.often(0.15):
            chance.one_of(made.fields).wire_name = chance.one_of(_WIRE_NAMES)
        self.add_post_init(made)
        self.make_generic(made)
        return self.finish(made)

    def make_generic(self, made: Made) -> None:
        """Let one of its fields be of a type that is given where the class is named."""
        chance = self.chance
        candidates = [field for field in made.fields if not field.shape.forward and field.default is None]
        if made.tag is not None or made.bases or not candidates or not chance.often(0.12):
            return
        field = chance.one_of(candidates)
        argument, field.shape = field.shape.text, field.shape._replace(text="T")
        made.bases = ["msgspec.Struct", "Generic[T]"]
        made.argument = argument

    def add_post_init(self, made: Made) -> None:
        chance = self.chance
        if not made.fields or not chance.often(0.08):
            return
        change = _CHANGE_STRUCT if made.style == "struct" else _CHANGE
        lines = chance.one_of([*_CHECKS, change])
        name = chance.one_of(made.fields).name
        made.body = [line.format(name) for line in lines]

    def dataclass(self, depth: int) -> Made:
        chance = self.chance
        made = Made(self.name(), "dataclass")
        for option, share in (("slots", 0.7), ("frozen", 0.3), ("kw_only", 0.2)):
            if chance.often(share):
                made.options[option] = "True"
        made.fields = self.add_defaults(self.fields(depth, made), sort="kw_only" not in made.options, unset=False)
        self.add_post_init(made)
        return self.finish(made)

    def typed_dict(self, depth: int) -> Made:
        chance = self.chance
        made = Made(self.name(), "typed_dict")
        is_total = chance.often(0.5)
        if not is_total:
            made.options["total"] = "False"
        made.fields = self.fields(depth, made)
        for field in made.fields:
            if chance.often(0.25):
                field.presence = "NotRequired" if is_total else "Required"
            elif not is_total:
                field.presence = "NotRequired"
            if field.shape.text == "Raw" and field.presence != "NotRequired":
                # No value is one of it.
                field.shape = field.shape._replace(text="Any")
        return self.finish(made)

    def named_tuple(self, depth: int) -> Made:
        made = Made(self.name(), "named_tuple")
        fields = [field for field in self.fields(depth, made) if not field.name.startswith("_")]
        made.fields = self.add_defaults(fields, sort=True, unset=False)
        return self.finish(made)

    def root(self) -> tuple[Shape, list[Made]]:
        chance = self.chance
        which = chance.below(20)
        if which < 3:
            members = self.standard() if chance.often(0.3) else self.tagged_classes(2)
            text = " | ".join(member.reference for member in members)
            shape = Shape(text, lambda chance, budget: chance.one_of(members).wire(chance, budget, in_union=True))
            return shape, members
        if which < 15:
            made = self.struct(3, tag=True if chance.often(0.5) else None)
            return self.instance(made), [made] if made.tag is not None else []
        if which < 18:
            return self.instance(self.any_class(3)), []
        # What is taken as it is has no format.
        while "str" in (shape := self.shape(3)).kinds or shape.text == "Raw":
            pass
        return shape, []


def scheme(seed: str) -> Scheme:
    """The scheme of a seed: the same seed makes the same."""
    builder = _Builder(Chance(seed))
    root, members = builder.root()
    source = "\n\n".join([_PRELUDE, *builder.parts, f"ROOT = {root.text}\n"])
    return Scheme(f"scheme_{zlib.crc32(seed.encode())}", source, root, members, builder.made)
