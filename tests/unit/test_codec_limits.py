"""What a payload may ask for: levels of nesting, on any stack, and sizes that it declares and does not have."""

import threading
import time
import tracemalloc
from collections.abc import Callable
from typing import Any, Literal

import msgspec
import pytest

from websocket_utils import Decoder, exceptions
from websocket_utils.messages import Message, Ping

Format = Literal["json", "msgpack"]
# What musl gives a thread; glibc gives 8 MiB.
SMALL_STACK = 128 * 1024


class Node(msgspec.Struct):
    a: "Node | list[Node] | int" = 0
    b: list["Node"] = msgspec.field(default_factory=list)


class Chain(msgspec.Struct, array_like=True):
    rest: "Chain | int" = 0


class Places(Message):
    items: list[Any] = msgspec.field(default_factory=list)
    table: dict[str, Any] = msgspec.field(default_factory=dict)
    anything: Any = None
    node: Node | None = None
    raw: msgspec.Raw = msgspec.Raw(b"")


# How a container with one value in it begins and ends.
ARRAYS = {
    "json": [(b"[", b"]"), (b"[ ", b"\n]")],
    "msgpack": [(b"\x91", b""), (b"\xdc\0\1", b""), (b"\xdd\0\0\0\1", b"")],
}
OBJECTS = {
    "json": [(b'{"a":', b"}"), (b'{ "a" : ', b" }")],
    "msgpack": [(b"\x81\xa1a", b""), (b"\xde\0\1\xa1a", b""), (b"\xdf\0\0\0\1\xd9\1a", b"")],
}
LEVELS = [1, 127, 128, 129, 1000, 100_000]


def nested(format: Format, kind: str, levels: int, spelling: int = 0) -> bytes:
    """A number in so many containers."""
    opening, closing = {"array": ARRAYS, "object": OBJECTS}[kind][format][spelling]
    return opening * levels + (b"1" if format == "json" else b"\x01") + closing * levels


def in_message(format: Format, field: str, value: bytes) -> bytes:
    if format == "json":
        return b'{"type":"Places","' + field.encode() + b'":' + value + b"}"
    return b"\x82\xa4type\xa6Places" + bytes([0xA0 + len(field)]) + field.encode() + value


def accepts(type_: Any, format: Format, payload: bytes) -> bool:
    """Whether a payload is accepted; one that is too deep must be told to be so."""
    try:
        Decoder(type_, format=format).decode(payload)
    except exceptions.DecodeError as error:
        refused = error
    else:
        return True
    assert "128 levels" in str(refused)
    assert refused.raw == payload
    return False


def on_a_small_stack(work: Callable[[], None]) -> None:
    """Run it in a thread with little stack; what it raises is raised here."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # handed to the caller
            raised.append(error)

    before = threading.stack_size(SMALL_STACK)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    if raised:
        raise raised[0]


@pytest.mark.parametrize("stack", ["the main thread's", "a small"])
@pytest.mark.parametrize("kind", ["array", "object"])
@pytest.mark.parametrize("format", ["json", "msgpack"])
def test_nesting_is_limited_to_128_levels_in_every_place(format: Format, kind: str, stack: str) -> None:
    def check() -> None:
        for levels in LEVELS:
            for spelling in range(len(ARRAYS[format])):
                payload = nested(format, kind, levels, spelling)
                assert accepts(Any, format, payload) is (levels <= 128), levels
                for field in ("unknown", "anything", "raw"):
                    # The message itself is a level.
                    payload = in_message(format, field, nested(format, kind, levels, spelling))
                    for type_ in (Places, Places | Ping, Any, dict[str, Any]):
                        assert accepts(type_, format, payload) is (levels < 128), (levels, field, type_)
                field = "items" if kind == "array" else "table"
                payload = in_message(format, field, nested(format, kind, levels, spelling))
                assert accepts(Places, format, payload) is (levels < 128), (levels, field)

    on_a_small_stack(check) if stack == "a small" else check()


@pytest.mark.parametrize("stack", ["the main thread's", "a small"])
@pytest.mark.parametrize("format", ["json", "msgpack"])
def test_classes_that_contain_themselves_are_limited_to_128_levels(format: Format, stack: str) -> None:
    def check() -> None:
        for levels in LEVELS:
            deep = levels <= 128
            assert accepts(Node, format, nested(format, "object", levels)) is deep
            assert accepts(Chain, format, nested(format, "array", levels)) is deep
            assert accepts(Node | None, format, nested(format, "object", levels)) is deep
            assert accepts(Places, format, in_message(format, "node", nested(format, "object", levels))) is (
                levels < 128
            )

    on_a_small_stack(check) if stack == "a small" else check()


@pytest.mark.parametrize("format", ["json", "msgpack"])
def test_nesting_without_an_end_is_refused(format: Format) -> None:
    for kind in ("array", "object"):
        opening = {"array": ARRAYS, "object": OBJECTS}[kind][format][0][0]
        for type_ in (Any, Places, Node, Chain, list[Any]):
            for payload in (opening * 100_000, in_message(format, "unknown", opening * 100_000)):
                assert not accepts(type_, format, payload)


@pytest.mark.parametrize("format", ["json", "msgpack"])
def test_many_containers_beside_each_other_are_no_nesting(format: Format) -> None:
    inner = nested(format, "array", 100)
    payload = b"[" + b",".join([inner] * 1000) + b"]" if format == "json" else b"\xdc\x03\xe8" + inner * 1000
    assert accepts(list[Any], format, payload)
    assert accepts(Places, format, in_message(format, "unknown", payload))


def test_brackets_in_strings_are_no_nesting() -> None:
    text = b'"' + b'[{\\"' * 500 + b'"'
    for field in ("unknown", "anything"):
        assert accepts(Places, "json", in_message("json", field, text))


MOST = b"\xff\xff\xff\xff"
# A head, what it declares at most, and fewer bytes behind it.
DECLARED = {
    "array32": b"\xdd" + MOST,
    "array32 of few": b"\xdd" + MOST + b"\x01\x02\x03",
    "array16": b"\xdc\xff\xff\x01",
    "map32": b"\xdf" + MOST,
    "map32 of few": b"\xdf" + MOST + b"\xa1a\x01\xa1b\x02",
    "map16": b"\xde\xff\xff\xa1a\x01",
    "str32": b"\xdb" + MOST + b"abc",
    "str16": b"\xda\xff\xffabc",
    "str8": b"\xd9\xffabc",
    "bin32": b"\xc6" + MOST + b"abc",
    "bin16": b"\xc5\xff\xffabc",
    "bin8": b"\xc4\xffabc",
    "ext32": b"\xc9" + MOST + b"\x05abc",
    "ext16": b"\xc8\xff\xff\x05abc",
    "array32 in array32": b"\xdd" + MOST + b"\xdd" + MOST + b"\xdd" + MOST,
    "map32 in array32": b"\xdd" + MOST + b"\xdf" + MOST + b"\xa1a\xdd" + MOST,
}


class Row(msgspec.Struct, array_like=True):
    price: float
    size: float


class Side(msgspec.Struct, tag="side"):
    rows: list[Row] = msgspec.field(default_factory=list)


class Wide(Message):
    ints: list[int] = msgspec.field(default_factory=list)
    floats: list[float] = msgspec.field(default_factory=list)
    texts: list[str] = msgspec.field(default_factory=list)
    rows: list[Row] = msgspec.field(default_factory=list)
    pair: tuple[int, int] = (0, 0)
    many: tuple[int, ...] = ()
    names: set[str] = msgspec.field(default_factory=set)
    fixed: frozenset[int] = frozenset()
    table: dict[str, int] = msgspec.field(default_factory=dict)
    tables: dict[str, list[int]] = msgspec.field(default_factory=dict)
    row: Row | None = None
    node: Node | None = None
    side: Side | Ping | None = None
    text: str = ""
    data: bytes = b""
    raw: msgspec.Raw = msgspec.Raw(b"")
    anything: Any = None


@pytest.mark.parametrize("name", DECLARED)
def test_declared_size_takes_no_memory_that_the_input_does_not_have(name: str) -> None:
    value = DECLARED[name]
    fields = [*Wide.__struct_fields__, "unknown", "type"]
    heads = [b"\x81", b"\xde\0\1", b"\xdf\0\0\0\1", b"\x82\xa4type\xa4Wide", b"\xdf" + MOST]
    payloads = [head + bytes([0xA0 + len(field)]) + field.encode() + value for field in fields for head in heads]
    # In the place of a key, and alone.
    payloads += [b"\x81" + value, value]
    types: list[Any] = [Wide, Wide | Ping, Any, dict[str, Any], list[int], list[Row], Row, Node, Side, tuple[int, ...]]
    decoders = [Decoder(type_, format="msgpack") for type_ in types]
    before = time.monotonic()
    tracemalloc.start()
    try:
        for payload in payloads:
            for decoder in decoders:
                with pytest.raises(exceptions.DecodeError):
                    decoder.decode(payload)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # What one declared item would take for each of 2**32, even of 2**16, is far more.
    assert peak < 1 << 19
    assert time.monotonic() - before < 10


def test_declared_size_within_the_input_is_believed_only_as_far_as_it_goes() -> None:
    """Each head promises as many items as bytes follow it: no place may take memory for what it was promised."""
    levels, size = 120, 60_000
    payload = (b"\xdc" + size.to_bytes(2, "big")) * levels + b"\x01" * size
    for type_ in (Any, list[Any], Wide):
        whole = payload if type_ is not Wide else b"\x81\xa8anything" + payload
        tracemalloc.start()
        try:
            with pytest.raises(exceptions.DecodeError):
                Decoder(type_, format="msgpack").decode(whole)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        # Lists of 60 000 places in each of 120 levels would take 57 MB.
        assert peak < 16 << 20, type_
