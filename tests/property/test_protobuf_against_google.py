"""Protocol Buffers against Google's library, on random classes, messages and mutations of their bytes.

The seed is another one in each run, unless CODEC_SEED says which; the head of pytest's report tells it.
"""

from collections.abc import Callable

import msgspec
import pytest
from tests.property.codec.protobuf_comparing import compare_protobuf
from tests.property.codec.protobuf_judging import ProtobufDifference, ProtobufJudge
from tests.property.codec.protobuf_scheme import protobuf_scheme
from tests.property.scale import BOUNDED, CODEC_SEED, scaled

pytestmark = BOUNDED

CASES = 40_000


class Price(msgspec.Struct):
    """What the judge is asked about."""

    bid: float
    size: int


def test_any_class_any_message_any_mutation(record_property: Callable[[str, object], None]) -> None:
    record_property("seed", CODEC_SEED)
    found = compare_protobuf(scaled(CASES), CODEC_SEED)
    assert not found.failures, "\n".join([f"CODEC_SEED={CODEC_SEED}", *map(str, found.failures)])
    assert found.cases >= scaled(CASES)
    # The generator is worth something only if much of what it makes is accepted, and much is not.
    assert 0.2 < found.accepted / found.cases < 0.9


def test_judge_sees_a_wrong_value_and_a_wrong_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = ProtobufJudge(Price)
    payload = b"\x09" + bytes(7) + b"\x80\x10\x05"
    judge.check(payload, is_valid=True)
    for bid, size in ((0.0, 5), (-0.0, 6), (-0.0, True)):
        wrong = ProtobufJudge(Price)
        monkeypatch.setattr(wrong, "decoder", _Stubborn(Price(bid, size)))
        with pytest.raises(ProtobufDifference, match="decoded"):
            wrong.check(payload)
        with pytest.raises(ProtobufDifference, match="one refuses"):
            wrong.check(b"\x09")
    monkeypatch.setattr(judge, "encoder", _Stubborn(Price(0.0, 0)))
    with pytest.raises(ProtobufDifference, match="encoded"):
        judge.check(payload, is_valid=True)


class _Stubborn:
    """Always has the same answer."""

    def __init__(self, value: Price) -> None:
        self.value = value

    def decode(self, _: bytes) -> Price:
        return self.value

    def encode(self, _: Price) -> bytes:
        return b""


def test_all_styles_of_classes_and_types_are_made() -> None:
    sources = "\n".join(protobuf_scheme(f"5:{index}").source for index in range(300))
    for word in (
        "(TypedDict)",
        "@dataclasses.dataclass(slots=True",
        "(Message",
        "forbid_unknown_fields=True",
        "rename=",
        "tag=",
        "UNSET",
        "NotRequired[",
        "FieldId(",
        "frozenset[",
        "tuple[()]",
        "dict[str, ",
        "Literal[",
        "Meta(",
        "timedelta",
        "ROOT = C0 | ",
        "f69_",
    ):
        assert word in sources, word
