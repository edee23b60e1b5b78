"""The codec against msgspec, on random types, values and mutations: some of what `make differential-codec` compares.

The seed is another one in each run, unless CODEC_SEED says which; the head of pytest's report tells it.
"""

from collections.abc import Callable

import msgspec
import pytest
from tests.property.codec.chance import Chance
from tests.property.codec.comparing import compare
from tests.property.codec.judging import Difference, Judge, canonical
from tests.property.codec.scheme import Scheme, scheme
from tests.property.codec.shapes import LEAVES
from tests.property.codec.walking import depth, respelled, snake_case
from tests.property.scale import BOUNDED, CODEC_SEED, scaled

pytestmark = BOUNDED

CASES = 100_000


@pytest.mark.usefixtures("plain_collections")
def test_any_type_any_value_any_mutation(record_property: Callable[[str, object], None]) -> None:
    record_property("seed", CODEC_SEED)
    found = compare(scaled(CASES), CODEC_SEED)
    assert not found.failures, "\n".join([f"CODEC_SEED={CODEC_SEED}", *map(str, found.failures)])
    assert found.cases >= scaled(CASES)
    # The generator is worth something only if much of what it makes is accepted, and much is not.
    assert 0.1 < found.accepted / found.cases < 0.9
    assert found.no_types < found.types / 10


def test_every_scheme_is_the_same_of_the_same_seed() -> None:
    for index in range(20):
        one, other = scheme(f"3:{index}"), scheme(f"3:{index}")
        assert one.source == other.source
        with one.loaded():
            wires = [_wires(one, index) for _ in range(2)]
        assert wires[0] == wires[1]


def _wires(made: Scheme, seed: int) -> list[str]:
    chance = Chance(seed)
    return [repr(msgspec.json.encode(made.wire(chance))) for _ in range(5)]


def test_all_styles_of_classes_and_shapes_are_made() -> None:
    sources = "\n".join(scheme(f"5:{index}").source.partition("ROOT")[0] for index in range(400))
    for word in (
        "(NamedTuple)",
        "(TypedDict",
        "@dataclasses.dataclass(slots=True",
        "class Fill0(Message",
        "Generic[T]",
        "[int]",
        "array_like=True",
        "kw_only=True",
        "forbid_unknown_fields=True",
        "frozen=True",
        "gc=False",
        "rename=",
        "tag_field=",
        "def __post_init__",
        "NotRequired[",
        "Required[",
        "frozenset[",
        "set[",
        "tuple[()]",
        "dict[str, ",
        "Literal[",
        "Side",
        "Level",
        "UNSET",
        "Raw",
        "Any",
        "Custom",
        "UUID",
        "Decimal",
        "timedelta",
        "pattern=",
        "multiple_of=",
        "field(name=",
        "UInt64",
        "bytearray",
    ):
        assert word in sources, word


def test_judge_sees_a_wrong_value_and_a_wrong_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Scheme("plain", "ROOT = float\n", LEAVES[0][4], [], [])
    with made.loaded():
        for text, wrong in ((b"0.0", -0.0), (b"1", 1), (b"1.0", True)):
            judge = Judge(made, "json", strict=True)
            judge.check(text, closely=True)
            monkeypatch.setattr(judge, "_ours", lambda _, wrong=wrong: wrong)
            with pytest.raises(Difference):
                judge.check(text, closely=True)
        judge = Judge(made, "json", strict=True)
        monkeypatch.setattr(judge, "_ours", lambda _: 0.0)
        with pytest.raises(Difference, match="one refuses"):
            judge.check(b"x")


def test_canonical_forms_tell_apart_what_equality_does_not() -> None:
    values: list[object] = [0, 0.0, -0.0, False, [], (), set(), frozenset(), {}, "", b"", bytearray(), None]
    assert len({repr(canonical(value)) for value in values}) == len(values)
    assert canonical(msgspec.Raw(b"1")) == canonical(msgspec.Raw(b"1")) != canonical(msgspec.Raw(b"2"))


@pytest.mark.parametrize(
    ("payload", "levels"),
    [(b"1", 0), (b"[]", 1), (b'{"a[":"{[","b":[[{}]]}', 4), (b'["\\"[",[1]', 2), (b"[[[", 3)],
)
def test_depth_of_json_is_counted_outside_of_strings(payload: bytes, levels: int) -> None:
    assert depth(payload, "json") == levels


@pytest.mark.parametrize(
    ("payload", "levels"),
    [(b"\x01", 0), (b"\x90", 1), (b"\x82\xa1[\xa1{\xa1b\x91\x91\x80", 4), (b"\xdc\0\1\xdd\0\0\0\1\xc4\1\x91", 2)],
)
def test_depth_of_messagepack_is_counted_in_containers(payload: bytes, levels: int) -> None:
    assert depth(payload, "msgpack") == levels


def test_tags_are_respelled_at_top_level_only() -> None:
    tags = {"foo_bar": "FooBar"}
    assert snake_case("FooBar") == "foo_bar"
    payload = b'{"a":{"type":"foo_bar"}, "t\\u0079pe" : "foo_bar"}'
    assert respelled(payload, "json", "type", tags) == payload[:-9] + b'FooBar"}'
    packed = msgspec.msgpack.encode({"a": {"type": "foo_bar"}, "type": "foo_bar"})
    assert msgspec.msgpack.decode(respelled(packed, "msgpack", "type", tags)) == {
        "a": {"type": "foo_bar"},
        "type": "FooBar",
    }


@pytest.mark.parametrize(
    ("name", "snake"), [("PriceUpdate", "price_update"), ("HTTPReply0", "http_reply0"), ("Order_Book", "order_book")]
)
def test_snake_case_is_that_of_the_core(name: str, snake: str) -> None:
    assert snake_case(name) == snake
