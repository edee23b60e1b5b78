"""Encode under attack: what hooks change meanwhile, depth, cycles, small stacks, references."""

import dataclasses
import datetime
import enum
import gc
import sys
import threading
import weakref
from typing import Any

import msgspec
import pytest
from tests.support.values import (
    UNSET_FIELD,
    Format,
    Level,
    LikeAttrs,
    Numbered,
    Open,
    OpenChildOfSlotted,
    Plain,
    Side,
    Slotted,
    Sparse,
    Unset,
    Watched,
    reference,
)

from websocket_utils import exceptions
from websocket_utils._core import Encoder

both = pytest.mark.parametrize("format", ["json", "msgpack"])

# --- changes while a message is encoded


@both
@pytest.mark.parametrize("change", ["clear", "append"])
def test_list_that_a_hook_changes_is_an_error(format: Format, change: str) -> None:
    for depth in range(3):
        outer: list[Any] = ["first", Plain(), "x" * 100, [5] * 50]
        message: Any = outer
        for _ in range(depth):
            message = [message, "after"]

        def hook(_: Any, outer: list[Any] = outer) -> int:
            outer.clear() if change == "clear" else outer.append(1)
            gc.collect()
            return 1

        with pytest.raises(exceptions.EncodeError, match="a list changed size"):
            Encoder(format, enc_hook=hook).encode(message)


@both
@pytest.mark.parametrize("key", ["b", 2.5, (1, 2)], ids=repr)
@pytest.mark.parametrize("change", ["clear", "grow", "replace", "key"])
def test_dict_that_a_hook_changes_is_an_error_unless_its_keys_stay(format: Format, change: str, key: Any) -> None:
    if format == "json" and key == (1, 2):
        key = "other"
    message: dict[Any, Any] = {"a": 1, key: Plain(), "c": ["x" * 100]}

    def hook(_: Any) -> int:
        if change == "clear":
            message.clear()
        elif change == "grow":
            message.update((str(number), number) for number in range(100))
        elif change == "replace":
            message.update({name: [name] * 3 for name in message})
        else:
            message.clear()
            message.update(dict.fromkeys("defghijklmnopqrstuvwxyz"[:3], "new"))
        gc.collect()
        return 1

    encode = Encoder(format, enc_hook=hook).encode
    if change == "replace":
        assert encode(message) == reference(format)({"a": 1, key: 1, "c": ["c"] * 3})
    elif change == "key":
        # As many entries as before: those that come next are written, or there are too few.
        try:
            written = encode(message)
        except exceptions.EncodeError as error:
            assert "a dict changed size" in str(error)  # noqa: PT017  # either is right
        else:
            decoded = (msgspec.json if format == "json" else msgspec.msgpack).decode(written, strict=False)
            assert len(decoded) == 3
    else:
        with pytest.raises(exceptions.EncodeError, match="a dict changed size"):
            encode(message)


@both
def test_set_that_a_hook_changes_is_an_error(format: Format) -> None:
    message = {Plain(), 1, 2, 3}

    def hook(_: Any) -> int:
        message.clear()
        return 1

    with pytest.raises(exceptions.EncodeError, match="changed size"):
        Encoder(format, enc_hook=hook).encode(message)


@both
def test_message_whose_fields_a_hook_replaces_is_written_as_it_is_when_its_turn_comes(format: Format) -> None:
    class Three(msgspec.Struct):
        a: Any
        b: Any
        c: Any

    @dataclasses.dataclass
    class OpenThree:
        a: Any
        b: Any
        c: Any

    @dataclasses.dataclass(slots=True)
    class SlottedThree:
        a: Any
        b: Any
        c: Any

    for class_ in (Three, OpenThree, SlottedThree):
        message = class_([1] * 10, [Plain(), "x" * 50], ["y" * 50])

        def hook(_: Any, message: Any = message) -> int:
            message.a = message.b = None
            message.c = ["new"]
            gc.collect()
            return 7

        written = Encoder(format, enc_hook=hook).encode([message])
        assert written == reference(format)([class_([1] * 10, [7, "x" * 50], ["new"])])


@both
def test_message_that_a_hook_frees_is_written_to_its_end(format: Format) -> None:
    holder: list[Any] = [Level([Plain(), "x" * 60], ["y" * 60])]

    def hook(_: Any) -> int:
        holder[0] = None
        gc.collect()
        return 7

    assert Encoder(format, enc_hook=hook).encode(holder) == reference(format)([Level([7, "x" * 60], ["y" * 60])])


@both
def test_class_that_is_forgotten_while_a_hook_runs_is_written_to_its_end(format: Format) -> None:
    class_: Any = msgspec.defstruct("Passing", [("a", Any), ("b_" * 30, Any)])
    holder: list[Any] = [class_(Plain(), 5)]
    expected = reference(format)([class_(7, 5)])
    del class_
    plain = Encoder(format)

    def hook(_: Any) -> int:
        holder[0] = None
        for number in range(600):
            plain.encode(msgspec.defstruct(f"Class{number}", [("a", int)])(1))
        gc.collect()
        return 7

    assert Encoder(format, enc_hook=hook).encode(holder) == expected


@both
def test_member_whose_value_is_a_property_is_asked_for_it(format: Format) -> None:
    class Odd(enum.Enum):
        A = 1

    Odd.A._value_ = Odd.A  # type: ignore[assignment]  # the point of the test
    with pytest.raises(exceptions.EncodeError, match="128"):
        Encoder(format).encode([Odd.A])


# --- depth


def nested(levels: int, kind: str) -> Any:
    value: Any = 1
    for _ in range(levels):
        if kind == "list":
            value = [value]
        elif kind == "tuple":
            value = (value,)
        elif kind == "dict":
            value = {"a": value}
        elif kind == "key":
            value = {5: value}
        elif kind == "set":
            value = frozenset([value])
        elif kind == "array":
            value = Level(value, 1)
        elif kind == "struct":
            value = Numbered(value)
        elif kind == "sparse":
            value = Unset(b=value)
        elif kind == "slotted":
            value = Slotted(value)
        elif kind == "watched":
            value = Watched(value)
        elif kind == "mixed":
            value = OpenChildOfSlotted(value)
        elif kind == "attrs":
            value = LikeAttrs(value)
        else:
            value = Open(value)
    return value


KINDS = [
    "list",
    "tuple",
    "dict",
    "key",
    "set",
    "array",
    "struct",
    "sparse",
    "slotted",
    "open",
    "watched",
    "mixed",
    "attrs",
]


@both
@pytest.mark.parametrize("kind", KINDS)
def test_128_levels_are_written_and_one_more_is_an_error(format: Format, kind: str) -> None:
    encoder, out = Encoder(format), bytearray(b"kept")
    assert encoder.encode(nested(128, kind)) == reference(format)(nested(128, kind))
    with pytest.raises(exceptions.EncodeError, match="deeper than 128 levels"):
        encoder.encode_into(nested(129, kind), out)
    assert out == b"kept"
    assert encoder.encode([Side.BUY]) == reference(format)(["buy"])


@both
def test_deep_and_cyclic_messages_are_errors_on_a_small_stack(format: Format) -> None:
    lists: list[Any] = [1]
    lists.append(lists)
    dicts: dict[str, Any] = {}
    dicts["self"] = (dicts,)
    struct = Numbered()
    struct.x = struct
    open_, slotted = Open(1), Slotted(1)
    open_.a, slotted.a = [open_], {"s": slotted}
    messages = [lists, dicts, struct, open_, slotted, *(nested(100_000, kind) for kind in ("list", "tuple", "dict"))]
    messages += [nested(129, kind) for kind in KINDS]
    watched, mixed, attrs = Watched(1), OpenChildOfSlotted(1), LikeAttrs(1)
    watched.a, mixed.a, attrs.a = watched, mixed, attrs  # type: ignore[assignment]
    messages += [watched, mixed, attrs]

    def hook(value: Any) -> Any:
        return value

    said: list[str] = []

    def run() -> None:
        for encoder in (Encoder(format), Encoder(format, enc_hook=hook)):
            for message in messages:
                try:
                    encoder.encode(message)
                except exceptions.EncodeError as error:
                    said.append(str(error))
            encoder.encode(nested(128, "open"))
            encoder.encode(nested(128, "key"))
        try:
            Encoder(format, enc_hook=hook).encode([[object()]])
        except exceptions.EncodeError as error:
            said.append(str(error))

    before = threading.stack_size(128 * 1024)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join(30)
    finally:
        threading.stack_size(before)
    assert len(said) == 2 * len(messages) + 1
    assert all("deeper than 128 levels" in text for text in said)
    # Built deep, they must be taken apart flat.
    while messages:
        value = messages.pop()
        while type(value) in (list, tuple, dict) and value and value is not lists and value is not dicts:
            value = next(iter(value.values())) if type(value) is dict else value[0]


@both
def test_reference_counts_stay_flat(format: Format) -> None:
    def hook(value: Any) -> Any:
        if isinstance(value, Plain):
            return [value.__class__.__name__]
        raise TypeError

    encoder = Encoder(format, enc_hook=hook)
    plain, side, text, moment = Plain(), Side.LEVELS, "text" * 5, datetime.date(2026, 1, 1)
    classes = (Level, Sparse, Slotted, Open, Plain, Side)
    good: list[Any] = [
        Level(plain, side),
        Sparse(text, text),
        Slotted(moment, plain),
        Open({text: side}, {5: text}),
        {text},
    ]
    bad: list[Any] = [{"k": [text, side, 1j]}, Unset(b=[UNSET_FIELD]), {1j: text}]
    watched = (plain, side, text, moment, good, bad, hook, encoder, *classes, *good, *bad)

    def run() -> list[int]:
        for _ in range(100):
            encoder.encode(good)
            for value in bad:
                with pytest.raises(exceptions.EncodeError):
                    encoder.encode(value)

        gc.collect()
        return [sys.getrefcount(value) for value in watched]

    run()
    assert run() == run()


def test_encoder_and_its_hook_are_collected() -> None:
    class Hook:
        encoder: Any = None

        def __call__(self, value: Any) -> Any:
            return value

    hook = Hook()
    hook.encoder = Encoder(enc_hook=hook)
    alive = weakref.ref(hook)
    del hook
    gc.collect()
    assert alive() is None
