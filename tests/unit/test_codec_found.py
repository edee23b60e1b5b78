"""Cases that the comparison with msgspec found, each as small as it can be."""

import enum
from typing import Any, Literal

import msgspec
import pytest
from tests.property.codec.chance import Format
from tests.property.codec.prelude import Custom, dec_hook

from websocket_utils import DecodeError, Decoder


class FooBar(msgspec.Struct, tag=True):
    a: int = 0


class Sparse(msgspec.Struct):
    a: int | msgspec.UnsetType = msgspec.UNSET
    b: int = 1


@pytest.mark.parametrize(
    "payload",
    [
        b'{"a":1,"type":"foo_bar"}',
        b'{"\\u0061":1,"type":"foo_bar"}',
        b'{"t\\u0079pe":"foo_bar","a":1}',
        b'{"u":{"\\u0061":1},"type":"foo_bar","a":1}',
        b'{"u":["\\u0061"],"type":"foo_bar","a":1}',
        b'{"u":1E400,"type":"foo_bar","a":1}',
    ],
)
def test_other_spelling_of_a_tag_is_read_behind_anything_that_is_valid(payload: bytes) -> None:
    exact = payload.replace(b"foo_bar", b"FooBar")
    assert msgspec.json.decode(exact, type=FooBar) == FooBar(1)
    assert Decoder(FooBar).decode(exact) == FooBar(1)
    assert Decoder(FooBar).decode(payload) == FooBar(1)


def test_field_that_is_unset_by_default_is_unset() -> None:
    assert Decoder(Sparse).decode(b"{}").a is msgspec.UNSET
    assert Decoder(Sparse).decode(b'{"b":2}') == Sparse(b=2)
    assert Decoder(Sparse, format="msgpack").decode(b"\x80").a is msgspec.UNSET


class Held(msgspec.Struct):
    items: set[Custom]


@pytest.mark.parametrize("format", ["json", "msgpack"])
def test_arrays_in_a_set_come_to_a_hook_as_msgspec_hands_them_over(format: Format) -> None:
    module = msgspec.json if format == "json" else msgspec.msgpack
    payload = module.encode({"items": [["a", 1]]})
    theirs = module.decode(payload, type=Held, dec_hook=dec_hook)
    ours = Decoder(Held, format=format, dec_hook=dec_hook).decode(payload)
    assert repr(ours) == repr(theirs)


class Sizes(msgspec.Struct, array_like=True):
    price: int
    sizes: list[float] = []


@pytest.mark.parametrize(
    ("type_", "payload"), [(list[list[float]], b"[[]]]"), (Sizes, b"[1,[]]]"), (Sizes, b"[1,[ ]]]")]
)
def test_bracket_too_many_behind_an_empty_list_of_floats_is_refused(type_: Any, payload: bytes) -> None:
    assert Decoder(type_).decode(payload[:-1]) == msgspec.json.decode(payload[:-1], type=type_)
    with pytest.raises(DecodeError):
        Decoder(type_).decode(payload)


class Level(enum.Enum):
    LOW = -5


class Venue(enum.Enum):
    LAB = "lab"


@pytest.mark.parametrize("format", ["json", "msgpack"])
def test_union_of_an_enum_of_texts_and_one_of_integers_has_the_values_of_both(format: Format) -> None:
    module = msgspec.json if format == "json" else msgspec.msgpack
    for type_ in (Level | float | Venue, Venue | float | Level, Literal[7] | Venue | None):
        for value in (-5, -5.0, "lab", 7, 1.5, None):
            payload = module.encode(value)
            try:
                theirs = repr(module.decode(payload, type=type_))
            except msgspec.ValidationError:
                with pytest.raises(DecodeError):
                    Decoder(type_, format=format).decode(payload)
            else:
                assert repr(Decoder(type_, format=format).decode(payload)) == theirs


@pytest.mark.parametrize(
    "type_", [bytes | None, Venue | None, Venue | bool, Literal["null", "1"] | None, Venue | float]
)
@pytest.mark.parametrize("text", ["null", "NULL", "true", "1", "1.5", "lab", "Zm9v"])
def test_text_that_may_mean_something_else_where_not_strict_is_what_msgspec_makes_of_it(type_: Any, text: str) -> None:
    payload = msgspec.json.encode(text)
    try:
        theirs = repr(msgspec.json.decode(payload, type=type_, strict=False))
    except msgspec.ValidationError:
        with pytest.raises(DecodeError):
            Decoder(type_, strict=False).decode(payload)
    else:
        assert repr(Decoder(type_, strict=False).decode(payload)) == theirs
