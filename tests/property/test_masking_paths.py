"""Masks (RFC 6455 section 5.3): what takes many bytes at a time gives what a plain loop gives, wherever it begins."""

import random

from tests.property.scale import BOUNDED
from tests.property.seen import ours
from tests.support.memory import Link
from tests.support.wire import BINARY, CONTINUATION, FrameReader, xor

pytestmark = BOUNDED

SIZES = range(201)
ALIGNMENTS = range(16)


def masked_frame(payload: bytes, key: bytes, *, opcode: int = BINARY, fin: bool = True) -> bytes:
    size = len(payload)
    length = bytes([0x80 | size]) if size <= 125 else bytes([0x80 | 126]) + size.to_bytes(2, "big")
    plain = bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
    assert plain == xor(payload, key)
    return bytes([fin << 7 | opcode]) + length + key + plain


def test_payload_of_any_length_at_any_alignment_is_unmasked() -> None:
    chance = random.Random(1)
    for size in SIZES:
        payload, key = chance.randbytes(size), chance.randbytes(4)
        data = masked_frame(payload, key)
        for alignment in ALIGNMENTS:
            # A frame in front moves the payload in the read buffer; whether it comes in the same read moves it too.
            front = masked_frame(bytes(alignment), key)
            assert ours([front + data], is_client=False).messages == [bytes(alignment), payload], (size, alignment)


def test_payload_that_comes_in_parts_is_unmasked_with_the_key_where_it_was() -> None:
    chance = random.Random(2)
    for size in (1, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 64, 65, 127, 200):
        payload, key = chance.randbytes(size), chance.randbytes(4)
        data = masked_frame(payload, key)
        for at in range(len(data) + 1):
            assert ours([data[:at], data[at:]], is_client=False).messages == [payload], (size, at)
            assert ours([data[:at], data[at : at + 1], data[at + 1 :]], is_client=False).messages == [payload]


def test_fragments_begin_their_key_anew() -> None:
    chance = random.Random(3)
    for size in range(40):
        payload = chance.randbytes(size)
        for at in range(size + 1):
            first = masked_frame(payload[:at], chance.randbytes(4), fin=False)
            second = masked_frame(payload[at:], chance.randbytes(4), opcode=CONTINUATION)
            assert ours([first + second], is_client=False).messages == [payload], (size, at)


def test_payload_of_any_length_is_masked_wherever_it_is_written() -> None:
    chance = random.Random(4)
    for size in SIZES:
        payload = chance.randbytes(size)
        link = Link()
        for alignment in (0, 1, 2, 3, 5, 7, 11):
            # All of one turn are written behind each other.
            link.connection.send(bytes(alignment))
            link.connection.send(payload)
        link.loop.turn()
        frames = FrameReader().feed(b"".join(link.transport.writes))
        assert [one.payload for one in frames[1::2]] == [payload] * 7, size
        assert all(one.masked for one in frames)
