"""Encode: every kind of value beside msgspec, hooks, and buffers of others."""

import array
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.support.values import (
    UNSET_FIELD,
    VALUES,
    Box,
    Flat,
    Format,
    Level,
    Loose,
    Numbered,
    Open,
    Plain,
    Point,
    Side,
    Slotted,
    Sparse,
    TaggedLevel,
    Unset,
    outcome,
    reference,
)

from websocket_utils import exceptions
from websocket_utils._core import Encoder
from websocket_utils.messages import PriceUpdate

both = pytest.mark.parametrize("format", ["json", "msgpack"])


@both
@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_value_in_every_place_is_written_as_msgspec_writes_it(format: Format, value: Any) -> None:
    encode, expected = Encoder(format).encode, reference(format)
    places = [value, [value, 1, value], (value,), {"k": value, "l": value}, {"k": [[value]]}]
    places += [Level(value, value), Numbered(value), Sparse(value, value), Unset(b=value), Loose(value), Box(value)]
    places += [Slotted(value, value), Open(value, value), Flat(value, value), TaggedLevel(value), [Point(1, value)]]
    for place in places:
        # Twice: the class is known by then.
        assert outcome(encode, place) == outcome(expected, place) == outcome(encode, place)


@both
def test_kinds_of_values_are_told_apart_within_one_message(format: Format) -> None:
    values = [value for value in VALUES if outcome(reference(format), value)[0] is not None]
    assert len(values) > 200
    assert Encoder(format).encode(values) == reference(format)(values)


@both
def test_more_classes_than_are_remembered_are_all_written(format: Format) -> None:
    encode, expected = Encoder(format).encode, reference(format)
    classes = [msgspec.defstruct(f"Class{number}", [(f"field_{number}", int)]) for number in range(600)]
    for _ in range(2):
        for class_ in classes:
            assert encode([class_(1), class_(2)]) == expected([class_(1), class_(2)])


# --- hooks


def described(value: Any) -> Any:
    if isinstance(value, Plain):
        return {"plain": [1, Level(1.5, Side.BUY)]}
    if isinstance(value, complex):
        return [value.real, value.imag]
    if isinstance(value, range):
        return Plain()
    if value is int:
        return 2**63
    raise NotImplementedError(f"no form for {value!r}")


@both
@pytest.mark.parametrize(
    "value",
    [Plain(), 1j, range(3), int, {1j: Plain()}, [Plain(), 5], float, Level(1j, Plain()), *VALUES[-20:]],
    ids=lambda value: type(value).__name__,
)
def test_hook_is_asked_where_msgspec_asks_it(format: Format, value: Any) -> None:
    encode, expected = Encoder(format, enc_hook=described).encode, reference(format, described)
    for place in (value, [value], Numbered(value), {"k": value}, Slotted(value)):
        assert outcome(encode, place) == outcome(expected, place)


@both
def test_hook_for_a_key_is_asked(format: Format) -> None:
    def as_text(value: Any) -> str:
        return f"<{value}>"

    value = {1j: 1, 2j: {3j: 2}}
    assert Encoder(format, enc_hook=as_text).encode(value) == reference(format, as_text)(value)


@both
def test_what_a_hook_raises_passes_unless_it_refuses_the_value(format: Format) -> None:
    def fail(value: Any) -> Any:
        raise value.args[0] if isinstance(value, Exception) else KeyError("mine")

    encoder = Encoder(format, enc_hook=fail)
    with pytest.raises(KeyError, match="mine"):
        encoder.encode([object()])
    for refusal in (NotImplementedError("this one"), TypeError("this one"), ValueError("this one")):
        with pytest.raises(exceptions.EncodeError, match="can't encode a list: this one") as caught:
            encoder.encode([Exception(refusal)])
        assert caught.value.__cause__ is refusal


@both
def test_hook_that_gives_its_argument_back_ends_in_an_error(format: Format) -> None:
    calls = 0

    def same(value: Any) -> Any:
        nonlocal calls
        calls += 1
        return value

    with pytest.raises(exceptions.EncodeError, match="128"):
        Encoder(format, enc_hook=same).encode({"a": object()})
    assert calls < 200


@both
def test_hook_may_encode_with_the_same_encoder(format: Format) -> None:
    def inner(value: Any) -> Any:
        return encoder.encode([1, 2]) if isinstance(value, Plain) else [encoder.encode(Plain())]

    encoder = Encoder(format, enc_hook=inner)
    assert encoder.encode(["x" * 500, 1j, "y"]) == reference(format, inner)(["x" * 500, 1j, "y"])


def test_hook_must_be_callable_and_given_by_name() -> None:
    assert Encoder("json", enc_hook=None).encode([1]) == b"[1]"
    with pytest.raises(TypeError, match="callable"):
        Encoder("json", enc_hook=5)  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(TypeError):
        Encoder("json", repr)  # type: ignore[call-arg]  # the point of the test


# --- encode_into

PRICE = PriceUpdate("SOL", "USDC", 187.25, 12, -5)


@both
@pytest.mark.parametrize(
    "make", [bytearray, lambda size: array.array("B", bytes(size)), lambda size: memoryview(bytearray(size))]
)
def test_buffer_is_written_from_the_offset_on(format: Format, make: Callable[[int], Any]) -> None:
    expected = reference(format)(PRICE)
    size = len(expected)
    for offset in (0, 3, 50):
        buffer = make(size + 50)
        assert Encoder(format).encode_into(PRICE, buffer, offset) == size
        end = b"" if isinstance(buffer, bytearray) else bytes(50 - offset)
        assert bytes(buffer) == bytes(offset) + expected + end


@both
def test_bytearray_grows_and_is_cut(format: Format) -> None:
    expected, buffer = reference(format)(PRICE), bytearray(b"ab")
    encoder = Encoder(format)
    assert encoder.encode_into(PRICE, buffer, -1) == len(expected)
    assert buffer == b"ab" + expected
    assert encoder.encode_into([], buffer, 1) == len(reference(format)([]))
    assert buffer == b"a" + reference(format)([])


@both
def test_buffer_that_is_too_small_says_what_is_needed_and_keeps_its_bytes(format: Format) -> None:
    size = len(reference(format)(PRICE))
    for buffer, offset, room in (
        (bytearray(size - 1), 0, size - 1),
        (bytearray(size + 5), 6, size - 1),
        (bytearray(5), -1, 0),
    ):
        with pytest.raises(ValueError, match=f"needs {size} bytes, the buffer has {room}"):
            Encoder(format).encode_into(PRICE, memoryview(buffer), offset)
        assert not any(buffer)


@both
def test_bad_buffers_and_offsets_are_refused(format: Format) -> None:
    encoder = Encoder(format)
    for offset in (-2, 5, 2**40):
        for buffer in (bytearray(4), memoryview(bytearray(4))):
            with pytest.raises(ValueError, match="offset"):
                encoder.encode_into(1, buffer, offset)
            assert bytes(buffer) == bytes(4)
    for refused in (b"bytes", memoryview(b"bytes"), memoryview(bytearray(8))[::2], "text", None, object()):
        with pytest.raises((BufferError, TypeError)):
            encoder.encode_into(1, refused)  # type: ignore[arg-type]  # the point of the test
    exported = bytearray(2)
    with memoryview(exported), pytest.raises(BufferError):
        encoder.encode_into([1, 2, 3, 4, 5, 6], exported)
    assert exported == bytes(2)


@both
@pytest.mark.parametrize("value", [object(), "\ud800", [1, object()], Level(1, object()), UNSET_FIELD])
def test_error_leaves_the_buffer_as_it_is(format: Format, value: Any) -> None:
    buffer = bytearray(b"0123456789")
    with pytest.raises(exceptions.EncodeError):
        Encoder(format).encode_into(value, buffer, 2)
    assert buffer == b"0123456789"


@both
def test_buffer_that_a_hook_cuts_is_grown_again(format: Format) -> None:
    buffer = bytearray(100)

    def hook(_: Any) -> int:
        buffer.clear()
        return 1

    encoder = Encoder(format, enc_hook=hook)
    assert encoder.encode_into([object()], buffer) == len(buffer)
    assert buffer == reference(format)([1])
    with pytest.raises(ValueError, match="behind the buffer's end"):
        encoder.encode_into([object()], buffer, 2)


# --- the method, and what it holds


def test_methods_are_ordinary_ones() -> None:
    encoder, out = Encoder(), bytearray()
    assert Encoder.encode(encoder, [1]) == b"[1]"
    assert Encoder.encode_into(encoder, [1], out) == 3
    for method in (Encoder.encode, Encoder.encode_into):
        assert method.__doc__
        assert method.__name__ in repr(method)
    wrong: list[tuple[Any, ...]] = [(), (1, 2)]
    for arguments in wrong:
        with pytest.raises(TypeError):
            encoder.encode(*arguments)
    wrong = [(), (1,), (1, out, 0, 0), (1, out, "0"), (1, out, 1.0)]
    for arguments in wrong:
        with pytest.raises(TypeError):
            encoder.encode_into(*arguments)
    with pytest.raises(OverflowError):
        encoder.encode_into(1, out, 2**70)
    with pytest.raises(TypeError):
        Encoder.encode(5, [1])  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(TypeError):
        Encoder.encode_into(out, [1], out)  # type: ignore[arg-type]  # the point of the test
    assert out == b"[1]"


@both
def test_object_that_answers_by_itself_is_asked_for_each_value_once(format: Format) -> None:
    class Counting(Slotted):
        asked = 0

        def __getattribute__(self, name: str) -> Any:
            type(self).asked += name == "a"
            return object.__getattribute__(self, name)

    written = Encoder(format).encode(Counting(1))
    assert Counting.asked == 1
    assert written == reference(format)(Counting(1))
