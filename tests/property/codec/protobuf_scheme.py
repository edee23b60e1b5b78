"""Random classes whose messages Protocol Buffers can hold, as the Python text that makes them."""

import contextlib
import sys
import types
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from tests.property.codec.chance import Chance

__all__ = ["ProtobufScheme", "protobuf_scheme"]

_HEAD: Final = """\
from tests.property.codec.prelude import *
from websocket_utils.messages import FieldId, Int64, UInt32

"""
# Types of one value, and defaults of them: the zero value among these is no default on the wire.
_LEAVES: Final[dict[str, tuple[str, ...]]] = {
    "bool": ("False", "True"),
    "int": ("0", "3", "-(2**63)"),
    "float": ("0.0", "-0.0", "0.1"),
    "str": ("''", "'SOL'"),
    "bytes": ("b''", "b'x'"),
    "UInt64": ("0", "2**64 - 1"),
    "UInt32": ("0", "2**32 - 1"),
    "Int32": ("0", "-(2**31)"),
    "Int64": ("0", "5"),
    "Float32": ("0.0", "0.5"),
    "Side": ("Side.SELL", "Side.NONE"),
    "Level": ("Level.ZERO", "Level.LOW"),
    "Code": ("Code.C0", "Code.C17"),
    "Literal['a', 'b c']": ("'b c'",),
    "Literal['', 'x']": ("''", "'x'"),
    "Literal[0, 1, -3]": ("0", "-3"),
    "datetime.datetime": (),
    "datetime.date": (),
    "datetime.timedelta": (),
    "decimal.Decimal": ("decimal.Decimal('1.50')",),
    "uuid.UUID": (),
    "Annotated[int, Meta(ge=-5, le=1000)]": ("0", "7"),
    "Annotated[str, Meta(min_length=1)]": ("'a'",),
    "Annotated[float, Meta(gt=0)]": ("1.5",),
    "Annotated[UInt64, Meta(multiple_of=2)]": ("0", "4"),
}
_TAG_NUMBER: Final = 2047
_ITEMS_OF_SETS: Final = ("bool", "int", "str", "bytes", "UInt64", "Int32", "Side", "Literal['a', 'b c']")
_WORDS: Final = ("price", "size", "symbol", "x", "side", "bid_price", "A", "message", "optional", "f1", "aB", "note")


class _Typed(NamedTuple):
    text: str
    defaults: tuple[str, ...] = ()


class ProtobufScheme:
    """Classes, and the one that a message is of."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source
        self.type: Any = None

    @contextlib.contextmanager
    def loaded(self) -> Iterator[None]:
        """Make the classes, in a module that is there as long as this lasts."""
        module = types.ModuleType(self.name)
        sys.modules[self.name] = module
        try:
            exec(compile(self.source, self.name, "exec"), module.__dict__)
            self.type = module.__dict__["ROOT"]
            yield
        finally:
            del sys.modules[self.name]


def protobuf_scheme(seed: str) -> ProtobufScheme:
    """The scheme of a seed."""
    builder = _Builder(Chance(seed))
    for _ in range(1 + builder.chance.below(4)):
        builder.add_class()
    if len(builder.tagged) > 1 and builder.chance.often(0.2):
        root = " | ".join(builder.chance.sample(builder.tagged, 2))
    else:
        root = builder.classes[-1]
    source = "\n\n".join([*builder.lines, f"ROOT = {root}\n"])
    return ProtobufScheme(f"protobuf_scheme_{seed.replace(':', '_')}", _HEAD + source)


class _Builder:
    def __init__(self, chance: Chance) -> None:
        self.chance = chance
        self.lines: list[str] = []
        self.classes: list[str] = []
        # Those of them that can be members of a union.
        self.tagged: list[str] = []

    def add_class(self) -> None:
        chance = self.chance
        name = f"C{len(self.classes)}"
        style = chance.one_of(["struct", "struct", "struct", "message", "dataclass", "dict"])
        options = {"kw_only": "True"}
        match style:
            case "struct":
                is_tagged = chance.often(0.4)
                if is_tagged:
                    options["tag"] = chance.one_of(["True", f"'{name.lower()}'"])
                if chance.often(0.2):
                    options["forbid_unknown_fields"] = "True"
                if chance.often(0.2):
                    options["rename"] = "'camel'"
                head = f"class {name}(msgspec.Struct, {_joined(options)}):"
            case "message":
                is_tagged = True
                head = f"class {name}(Message, {_joined(options)}):"
            case "dataclass":
                is_tagged = False
                head = f"@dataclasses.dataclass(slots=True, kw_only=True)\nclass {name}:"
            case _:
                is_tagged = False
                head = f"class {name}(TypedDict):"
        count = chance.below(7) if chance.often(0.97) else 70
        names = [f"f{index}_" for index in range(count)] if count > len(_WORDS) else chance.sample(_WORDS, count)
        number = 0
        fields = []
        for field in names:
            typed = self._typed(name, style)
            text = typed.text
            number += 1
            is_own = chance.often(0.15)
            number += chance.one_of([1, 1, 14, 1000]) if is_own else 0
            if number == _TAG_NUMBER or is_own:
                number += number == _TAG_NUMBER
                text = f"Annotated[{text}, FieldId({number})]"
            fields.append(self._field(field, text, typed.defaults, style))
        self.lines.append("\n    ".join([head, *(fields or ["pass"])]))
        self.classes.append(name)
        if is_tagged:
            self.tagged.append(name)

    def _field(self, name: str, text: str, defaults: tuple[str, ...], style: str) -> str:
        chance = self.chance
        if style == "dict":
            # An absent key and None would be the same.
            is_left_out = "None" not in text and chance.often(0.3)
            return f"{name}: {f'NotRequired[{text}]' if is_left_out else text}"
        if not defaults or chance.often(0.5):
            return f"{name}: {text}"
        default = chance.one_of(defaults)
        if default == "UNSET":
            return f"{name}: {text} | UnsetType = UNSET"
        if default[0] in "[{" or default.startswith("set("):
            factory = "field" if style != "dataclass" else "dataclasses.field"
            return f"{name}: {text} = {factory}(default_factory=lambda: {default})"
        return f"{name}: {text} = {default}"

    def _typed(self, own: str, style: str) -> _Typed:
        """The type of a field."""
        chance = self.chance
        match chance.below(10):
            case 0 if style != "dict":
                # Its own class is not there yet: as text, all of it.
                return _Typed(chance.one_of([f"'{own} | None'", f"'list[{own}]'", f"'dict[str, {own}]'"]))
            case 1 | 2:
                text = self._whole(2)
                return _Typed(f"{text} | None", ("None",))
            case 3 if style in ("struct", "message"):
                return _Typed(self._leaf().text, ("UNSET",))
            case 4 | 5 | 6:
                return self._many(2)
            case _:
                return self._leaf() if chance.often(0.7) else _Typed(self._whole(2))

    def _leaf(self) -> _Typed:
        text = self.chance.one_of(list(_LEAVES))
        return _Typed(text, _LEAVES[text])

    def _whole(self, depth: int) -> str:
        """Any type but None."""
        chance = self.chance
        if self.classes and chance.often(0.4):
            if len(self.tagged) > 1 and chance.often(0.4):
                return " | ".join(chance.sample(self.tagged, 2))
            return chance.one_of(self.classes)
        return self._many(depth - 1).text if depth and chance.often(0.4) else self._leaf().text

    def _many(self, depth: int) -> _Typed:
        chance = self.chance
        item = self._whole(depth)
        if chance.often(0.15):
            item = f"{item} | None"
        match chance.below(9):
            case 0 | 1 | 2:
                return _Typed(f"list[{item}]", ("[]",))
            case 3:
                return _Typed(f"tuple[{item}, ...]", ("()",))
            case 4:
                leaf = self._leaf().text
                return _Typed(f"tuple[{', '.join([leaf] * (1 + chance.below(3)))}]")
            case 5:
                return _Typed(f"tuple[{', '.join(self._whole(depth) for _ in range(chance.below(4))) or '()'}]")
            case 6:
                kind = chance.one_of(["set", "frozenset"])
                return _Typed(f"{kind}[{chance.one_of(_ITEMS_OF_SETS)}]", (f"{kind}()",))
            case _:
                return _Typed(f"dict[str, {item}]", ("{}",))


def _joined(options: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items())
