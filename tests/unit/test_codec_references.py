"""References to shared objects, and memory, stay flat over many decodes: a bounded run of `make references`."""

import msgspec
import pytest
from tests.property.codec import references
from tests.property.codec.chance import Format
from tests.property.codec.comparing import FORMATS
from tests.property.codec.references import CASES, keeps

from websocket_utils.messages import Message

DECODES = 10_000


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", CASES)
def test_decodes_keep_no_references_and_no_memory(name: str, format: Format) -> None:
    kept = keeps(name, format, DECODES)
    assert kept.is_flat, kept
    # Both were tried, often.
    assert DECODES * 0.2 < kept.refused < kept.decodes * 0.9


def test_references_that_are_kept_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    hoard: list[object] = []

    def make() -> int:
        hoard.append(references.UNSHARED)
        return 1

    class Hoarder(Message):
        number: int = msgspec.field(default_factory=make)

    monkeypatch.setitem(references.CASES, "hoarder", (Hoarder, [{}], [1]))
    kept = keeps("hoarder", "json", DECODES)
    assert not kept.is_flat
    assert kept.references > DECODES / 4


def test_memory_that_is_kept_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    hoard: list[object] = []

    def make() -> int:
        hoard.append(object())
        return 1

    class Hoarder(Message):
        number: int = msgspec.field(default_factory=make)

    monkeypatch.setitem(references.CASES, "hoarder", (Hoarder, [{}], [1]))
    kept = keeps("hoarder", "json", DECODES)
    assert not kept.is_flat
    assert kept.blocks > DECODES / 4
