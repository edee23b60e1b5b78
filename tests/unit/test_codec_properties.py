"""What decoded values are beside being right, which tests/property/test_codec_against_msgspec.py holds them to."""

import gc
import sys

import msgspec
import pytest

from websocket_utils import Decoder
from websocket_utils.messages import Message, PriceUpdate, Subscribe


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
