"""msgspec is the judge: any class, any value, any bytes give what msgspec gives, or an error where it gives one."""

import contextlib
import gc
import math
import sys
import tracemalloc
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from websocket_utils import exceptions
from websocket_utils._core import Decoder, Encoder
from websocket_utils.messages import Message, Ping, PriceUpdate, Subscribe, WsMessage

REFERENCES = {"json": msgspec.json, "msgpack": msgspec.msgpack}
REFUSALS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

SCALARS: list[Any] = [bool, int, float, str, type(None)]
TYPES = st.one_of(
    st.sampled_from(SCALARS),
    st.sampled_from([str | None, int | None, float | None, int | float, int | str | None, bool | None]),
    st.sampled_from([list[str], list[int], list[float], list[str] | None, list[list[int]], list[str | None]]),
)
NAMES = st.text(st.characters(codec="utf-8", categories=["Ll", "Lu"]), min_size=1, max_size=20).filter(str.isidentifier)
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(codec="utf-8"), max_size=80),
        st.text("ab", max_size=70),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def values_of(type_: Any) -> st.SearchStrategy[Any]:
    """Values that belong to a type of `TYPES`."""
    if type_ is int:
        return st.integers(-(2**63), 2**64 - 1)
    if type_ is float:
        return st.floats(allow_nan=False, allow_infinity=False)
    if type_ is str:
        return st.text(st.characters(codec="utf-8"), max_size=80)
    return st.from_type(type_).filter(lambda value: not has_odd_number(value))


def has_odd_number(value: Any) -> bool:
    """True if a value holds a number that has no form in every format."""
    if isinstance(value, list):
        return any(has_odd_number(item) for item in value)
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, str):
        return not value.isascii()
    return isinstance(value, int) and not -(2**63) <= value < 2**64


@st.composite
def classes(draw: st.DrawFn) -> type[msgspec.Struct]:
    """A message class that has a plan."""
    # Names that stay different when they are renamed, from each other and from the tag field.
    names = draw(st.lists(NAMES.filter(lambda name: name.lower() != "type"), max_size=6, unique_by=str.upper))
    fields: list[Any] = [(name, draw(TYPES)) for name in names]
    for index in range(draw(st.integers(0, len(fields))), len(fields)):
        name, type_ = fields[index]
        fields[index] = (
            name,
            type_,
            draw(values_of(type_).filter(lambda value: value == [] or not isinstance(value, list))),
        )
    gc_followed = draw(st.booleans())
    return msgspec.defstruct(
        "Made",
        fields,
        bases=draw(st.sampled_from([(Message,), (msgspec.Struct,)])),
        frozen=draw(st.booleans()),
        gc=gc_followed,
        weakref=gc_followed and draw(st.booleans()),
        kw_only=draw(st.booleans()),
        forbid_unknown_fields=draw(st.booleans()),
        rename=draw(st.sampled_from([None, "camel", "upper"])),
    )


def outcome(decode: Any, payload: bytes) -> Any:
    """A decode's value in a form that tells apart what `==` doesn't (0.0 and -0.0, 1 and 1.0), or "refused"."""
    try:
        value = decode(payload)
    except (*REFUSALS, exceptions.DecodeError):
        return "refused"
    return repr(value), gc.is_tracked(value), type(value)


@st.composite
def mutated(draw: st.DrawFn, payload: bytes) -> bytes:
    """A payload with some bytes changed, removed, repeated or added."""
    data = bytearray(payload)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        end = draw(st.integers(at, min(at + 6, len(data))))
        data[at:end] = draw(
            st.one_of(
                st.binary(max_size=3),
                st.sampled_from([b'"', b"\\", b"0", b"-", b"e9", b" ", b",", b"}", b"\xff", b"null", b"[", b"\xc0"]),
            )
        )
    return bytes(data)


@pytest.mark.parametrize("format", ["json", "msgpack"])
@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), class_=classes())
def test_any_class_any_value_any_mutation(
    format: Literal["json", "msgpack"], data: st.DataObject, class_: type[msgspec.Struct]
) -> None:
    reference = REFERENCES[format]
    ours, theirs = Decoder(class_, format=format), reference.Decoder(class_)
    assert ours.plan == "compiled"
    info = msgspec.inspect.type_info(class_)
    assert isinstance(info, msgspec.inspect.StructType)
    hints = class_.__annotations__
    fields = {
        field.encode_name: data.draw(
            st.one_of(values_of(hints[field.name]), VALUES)
            if data.draw(st.integers(0, 5)) == 0
            else values_of(hints[field.name])
        )
        for field in info.fields
        if data.draw(st.integers(0, 9)) < 9
    }
    if data.draw(st.booleans()):
        fields = {"extra": data.draw(VALUES), **fields}
    if info.tag is not None and data.draw(st.booleans()):
        fields = {"type": info.tag, **fields}
    payload = reference.encode(fields)
    if format == "json" and data.draw(st.booleans()):
        payload = msgspec.json.format(payload, indent=data.draw(st.integers(0, 2)))
    for candidate in (payload, data.draw(mutated(payload)), data.draw(mutated(payload))):
        assert outcome(ours.decode, candidate) == outcome(theirs.decode, candidate)
    message = outcome(ours.decode, payload)
    if message != "refused":
        instance = ours.decode(payload)
        assert instance == theirs.decode(payload)
        assert Encoder(format).encode(instance) == reference.encode(instance)


@pytest.mark.parametrize("format", ["json", "msgpack"])
@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_bytes(format: Literal["json", "msgpack"], data: st.DataObject) -> None:
    reference = REFERENCES[format]
    golden = reference.encode(
        data.draw(st.sampled_from([PriceUpdate("SOL", "é", 1.5, 2**64 - 1, -3), Subscribe(["a", "\n"]), Ping()]))
    )
    payload = data.draw(st.one_of(mutated(golden), st.binary(max_size=60)))
    for type_ in (PriceUpdate, Subscribe, WsMessage):
        assert outcome(Decoder(type_, format=format).decode, payload) == outcome(
            reference.Decoder(type_).decode, payload
        )


def test_the_same_short_text_is_the_same_object() -> None:
    first, second = (
        Decoder(PriceUpdate).decode(b'{"input_mint":"So1111","output_mint":"U","price":1,"timestamp":1}')
        for _ in range(2)
    )
    packed = Decoder(PriceUpdate, format="msgpack").decode(msgspec.msgpack.encode(first))
    assert first.input_mint is second.input_mint is packed.input_mint
    assert first.output_mint is second.output_mint


def test_instances_are_as_msgspec_makes_them() -> None:
    class Weak(Message, weakref=True, dict=True):
        x: int
        y: list[int] = msgspec.field(default_factory=list)

    for class_, payload in (
        (Weak, b'{"x":1}'),
        (Subscribe, b'{"channels":[]}'),
        (PriceUpdate, b'{"input_mint":"","output_mint":"","price":0,"timestamp":0}'),
    ):
        ours, theirs = Decoder(class_).decode(payload), msgspec.json.decode(payload, type=class_)
        assert ours == theirs
        assert gc.is_tracked(ours) == gc.is_tracked(theirs)
        assert sys.getsizeof(ours) == sys.getsizeof(theirs)
        assert sys.getrefcount(ours) == sys.getrefcount(theirs)


def test_default_factories_run_for_each_message_and_their_errors_pass() -> None:
    made: list[int] = []

    def make() -> int:
        made.append(1)
        if len(made) > 2:
            raise ZeroDivisionError
        return len(made)

    class Numbered(Message):
        number: int = msgspec.field(default_factory=make)
        items: list[int] = msgspec.field(default_factory=list)

    decoder = Decoder(Numbered)
    assert decoder.plan == "compiled"
    first, second = decoder.decode(b"{}"), decoder.decode(b"{}")
    assert (first.number, second.number) == (1, 2)
    assert first.items is not second.items
    with pytest.raises(ZeroDivisionError):
        decoder.decode(b"{}")


@pytest.mark.parametrize("format", ["json", "msgpack"])
def test_memory_and_reference_counts_stay_flat(format: Literal["json", "msgpack"]) -> None:
    encoder, reference = Encoder(format), REFERENCES[format]
    price = PriceUpdate("SOL" * 30, "USDC", 187.25, 2**63, -5)
    valid = [
        encoder.encode(price),
        encoder.encode(Subscribe(["a", "b" * 100])),
        reference.encode({"type": "price_update", "input_mint": "a"}),
    ]
    invalid = [
        valid[0][:-9],
        valid[0] + b"x",
        valid[1].replace(b"a", b"\xff"),
        reference.encode({"channels": ["x", 1]}),
        reference.encode({"type": "No"}),
    ]
    decoders = [Decoder(type_, format=format) for type_ in (PriceUpdate, Subscribe, WsMessage)]

    def work(rounds: int) -> None:
        for _ in range(rounds):
            for decoder in decoders:
                for payload in (*valid, *invalid):
                    with contextlib.suppress(exceptions.DecodeError):
                        encoder.encode(decoder.decode(payload))

    shared = (None, PriceUpdate, Subscribe, 0, exceptions.DecodeError, price.output_mint)
    work(200)
    gc.collect()
    counts = [sys.getrefcount(item) for item in shared]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        work(4200)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 20_000
    assert all(abs(sys.getrefcount(item) - count) < 50 for item, count in zip(shared, counts, strict=True))
