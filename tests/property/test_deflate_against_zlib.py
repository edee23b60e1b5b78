"""permessage-deflate (RFC 7692) against the standard library's zlib, both ways, however it is cut."""

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property.scale import BOUNDED, examples, scaled
from tests.property.seen import cut, every_two, ours
from tests.support.memory import BOTH_ROLES, Link
from tests.support.wire import BINARY, COMPRESSED, CONTINUATION, DEFLATE_TAIL, PING, TEXT, Deflater, Inflater, frame

pytestmark = BOUNDED

Agreement = tuple[int, bool, int, bool]
AGREEMENTS: list[Agreement] = [
    (bits, takeover, bits, takeover) for bits in (9, 10, 12, 15) for takeover in (True, False)
]
WORDS = (b"price", b"SOL", b"USDC", b'{"volume":', b"0123456789", b"\x00" * 40, b"\xff\xfe")


def fragments(payload: bytes, cuts: int, seed: int, *, masked: bool, opcode: int = BINARY) -> bytes:
    """One compressed message in fragments, with pings in between (RFC 7692 section 6.1)."""
    pieces = cut(payload, seed, most=cuts + 1)
    wire = b""
    for at, piece in enumerate(pieces):
        wire += frame(
            CONTINUATION if at else opcode,
            piece,
            masked=masked,
            fin=at == len(pieces) - 1,
            reserved_bits=0 if at else COMPRESSED,
        )
        wire += frame(PING, b"between", masked=masked)
    return wire


def message(chance: random.Random) -> bytes:
    size = chance.choice((0, 1, 5, 100, 1000, 5000, 40_000))
    if chance.random() < 0.2:
        return chance.randbytes(size)
    return b"".join(chance.choice(WORDS) for _ in range(size // 8 + 1))[:size]


@BOTH_ROLES
@pytest.mark.parametrize("agreement", AGREEMENTS, ids=str)
def test_messages_of_zlib_are_inflated_however_they_are_cut(is_client: bool, agreement: Agreement) -> None:
    chance = random.Random(5)
    for seed in range(scaled(12)):
        messages = [message(chance) for _ in range(6)]
        peer = Deflater(agreement[2], takeover=agreement[3])
        data = b"".join(
            fragments(peer.payload(one), chance.randrange(4), chance.randrange(1000), masked=not is_client)
            if chance.random() < 0.8
            else frame(BINARY, one, masked=not is_client)
            for one in messages
        )
        found = ours(cut(data, seed), is_client=is_client, deflate=agreement)
        assert found.messages == messages
        assert found.violation is None


@BOTH_ROLES
@pytest.mark.parametrize("agreement", AGREEMENTS, ids=str)
def test_messages_of_ours_are_inflated_by_zlib(is_client: bool, agreement: Agreement) -> None:
    chance = random.Random(6)
    link = Link(is_client=is_client, deflate=agreement, compression_threshold=chance.choice((0, 100)))
    peer = Inflater(agreement[0], takeover=agreement[1])
    for _ in range(scaled(40)):
        messages = [message(chance) for _ in range(chance.randrange(1, 4))]
        for one in messages:
            link.connection.send(one, compress=chance.choice((None, True, False)))
        link.loop.turn()
        assert [peer.message(one) for one in link.sent()] == messages


# The first four are sequences that a compressor which was reset in the middle of its work did not survive.
@pytest.mark.parametrize("seed", [17, 35, 192, 197, *range(scaled(12))])
def test_messages_behind_some_that_get_no_smaller_are_inflated_by_zlib(seed: int) -> None:
    chance = random.Random(seed)
    bits = chance.choice((9, 10, 12, 15))
    sizes = (chance.choice((300, 4000, 65_535, 65_536, 70_000)) for _ in range(8))
    messages = [
        chance.randbytes(size) if chance.random() < 0.7 else bytes(chance.choices(b"abcdefgh0123", k=size))
        for size in sizes
    ]
    link = Link(is_client=False, deflate=(bits, True, 15, True), max_send_queue=1 << 24)
    peer = Inflater(bits)
    for one in messages:
        link.connection.send(one, compress=True)
        link.loop.turn()
        assert [peer.message(found) for found in link.sent()] == [one]


@BOTH_ROLES
def test_compressed_stream_is_the_same_in_any_two_reads(is_client: bool) -> None:
    peer = Deflater()
    texts = ["żółć €😀 " * 5, "", "again: żółć €😀 " * 5]
    data = b"".join(
        fragments(peer.payload(text.encode()), 3, at, masked=not is_client, opcode=TEXT)
        for at, text in enumerate(texts)
    )
    agreement = (15, True, 15, True)
    whole = ours([data], is_client=is_client, deflate=agreement)
    assert whole.messages == [text.encode() for text in texts]
    for pieces in every_two(data):
        assert ours(pieces, is_client=is_client, deflate=agreement) == whole, len(pieces[0])


@BOTH_ROLES
@pytest.mark.parametrize("agreement", [(15, True, 15, True), (9, False, 9, False)], ids=str)
def test_both_ends_of_ours_understand_each_other(is_client: bool, agreement: Agreement) -> None:
    chance = random.Random(7)
    messages = [message(chance) for _ in range(30)]
    sender = Link(is_client=not is_client, deflate=agreement, max_send_queue=1 << 24)
    for one in messages:
        sender.connection.send(one, compress=True)
    sender.loop.turn()
    found = ours(cut(b"".join(sender.transport.writes), 3), is_client=is_client, deflate=agreement)
    assert found.messages == messages


def inflated(payload: bytes) -> bytes | None:
    """What zlib makes of a whole compressed message; None where it is none.

    A message ends where the tail that its sender took off completes a block (RFC 7692 section 7.2.2). zlib alone would
    wait for more; a final empty block behind it shows where it is. Messages with final blocks of their own are judged
    by examples, in `tests/unit/test_deflate_connection.py`.
    """
    stream = zlib.decompressobj(-15)
    try:
        data = stream.decompress(payload + DEFLATE_TAIL)
        is_final = stream.eof
        more = stream.decompress(b"\x03\x00")
    except zlib.error:
        return None
    return data if stream.eof and not (is_final or more or stream.unused_data) else None


@given(payload=st.binary(max_size=60), seed=st.integers(0, 1000))
@examples(300)
def test_noise_is_refused_or_means_what_zlib_says(payload: bytes, seed: int) -> None:
    data = frame(BINARY, payload, masked=False, reserved_bits=COMPRESSED)
    found = ours(cut(data, seed), is_client=True, deflate=(15, True, 15, True))
    expected = inflated(payload)
    if expected is not None:
        assert (found.messages, found.violation) == ([expected], None)
    else:
        assert found.violation in (None, 1002, 1007)


@given(flips=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 7)), max_size=3), seed=st.integers(0, 1000))
@examples(300)
def test_damaged_message_is_refused_or_means_what_zlib_says(flips: list[tuple[int, int]], seed: int) -> None:
    damaged = bytearray(Deflater().payload(b"".join(WORDS) * 30 + bytes(range(256))))
    for place, bit in flips:
        damaged[place % len(damaged)] ^= 1 << bit
    payload = bytes(damaged)
    data = frame(BINARY, payload, masked=False, reserved_bits=COMPRESSED)
    found = ours(cut(data, seed), is_client=True, deflate=(15, True, 15, True))
    expected = inflated(payload)
    if expected is not None:
        assert (found.messages, found.violation) == ([expected], None)
    else:
        assert found.violation in (None, 1002, 1007)


@BOTH_ROLES
@pytest.mark.parametrize("over", [-1, 0, 1])
def test_limit_counts_inflated_bytes_to_the_very_byte(is_client: bool, over: int) -> None:
    limit = 10_000
    for size in (1, 100, limit):
        payload = Deflater().payload(bytes(limit + over))
        pieces = [payload[at : at + size] for at in range(0, len(payload), size)]
        data = b"".join(
            frame(
                CONTINUATION if at else BINARY,
                piece,
                masked=not is_client,
                fin=at == len(pieces) - 1,
                reserved_bits=0 if at else COMPRESSED,
            )
            for at, piece in enumerate(pieces)
        )
        found = ours([data], is_client=is_client, max_message_size=limit, deflate=(15, True, 15, True))
        assert found.violation == (1009 if over > 0 else None), size
        assert found.messages == ([] if over > 0 else [bytes(limit + over)])
