"""UTF-8 as CPython decodes it: valid where it says so, and refused at the very byte that shows it."""

import itertools

from hypothesis import given
from hypothesis import strategies as st
from tests.property.scale import BOUNDED, examples
from tests.property.seen import ours
from tests.support.memory import Link
from tests.support.wire import CLOSE, CONTINUATION, TEXT, frame

pytestmark = BOUNDED

# The borders of table 3-7 of the Unicode standard, from both sides.
LEADS = bytes.fromhex("007f80bfc0c1c2dfe0e1ecedeeeff0f1f3f4f5ff")
TAILS = bytes.fromhex("007f808f909fa0bfc0ff")


def is_valid(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def wrong_from(data: bytes) -> int | None:
    """How many bytes it takes until no others could make them right; None where some could."""
    for size in range(1, len(data) + 1):
        try:
            data[:size].decode()
        except UnicodeDecodeError as error:
            if error.reason != "unexpected end of data":
                return size
    return None


def judged(pieces: list[bytes]) -> bool:
    seen = ours(pieces, is_client=True)
    assert seen.violation in (None, 1007)
    return seen.violation is None


def check(data: bytes) -> None:
    """As one frame, as two frames cut anywhere, and as one frame that comes in two reads."""
    valid = is_valid(data)
    whole = frame(TEXT, data, masked=False)
    assert judged([whole]) is valid, data
    for at in range(len(data) + 1):
        parts = [frame(TEXT, data[:at], masked=False, fin=False), frame(CONTINUATION, data[at:], masked=False)]
        assert judged([b"".join(parts)]) is valid, (data, at)
        assert judged([whole[: 2 + at], whole[2 + at :]]) is valid, (data, at)


def test_every_two_bytes_are_judged_as_cpython_does() -> None:
    for first in range(256):
        for second in range(256):
            data = bytes([first, second])
            assert judged([frame(TEXT, data, masked=False)]) is is_valid(data), data


def test_borders_of_all_sequences_are_judged_as_cpython_does() -> None:
    for lead in LEADS:
        for tails in itertools.product(TAILS, repeat=2):
            check(bytes([lead, *tails]))
        for tails in itertools.product(TAILS[2:], repeat=3):
            data = bytes([lead, *tails])
            assert judged([frame(TEXT, data, masked=False)]) is is_valid(data), data


def test_wrong_byte_is_refused_when_it_comes_and_not_before() -> None:
    for lead, *tails in itertools.product(LEADS, TAILS, TAILS):
        data = b"ok" + bytes([lead, *tails])
        limit = wrong_from(data)
        link = Link()
        # A longer payload is announced: nothing but the bytes themselves can be wrong.
        link.receive(bytes([0x80 | TEXT, 100]))
        for at, byte in enumerate(data):
            link.receive(bytes([byte]))
            assert (link.connection.fault is not None) is (limit is not None and at + 1 >= limit), (data, at)


@given(st.lists(st.sampled_from(["a", "é", "€", "😀", "\ud800", "\U0010ffff"]) | st.binary(max_size=4), max_size=8))
@examples(200)
def test_any_text_is_judged_as_cpython_does(parts: list[str | bytes]) -> None:
    check(b"".join(one.encode("utf-8", "surrogatepass") if isinstance(one, str) else one for one in parts))


@given(st.binary(max_size=123) | st.text(max_size=30).map(str.encode))
@examples(200)
def test_close_reason_is_judged_as_cpython_does(reason: bytes) -> None:
    seen = ours([frame(CLOSE, b"\x03\xe8" + reason, masked=False)], is_client=True)
    assert (seen.closed, seen.violation) == ((1000, None) if is_valid(reason) else (None, 1007))


def test_long_texts_are_judged_as_cpython_does_wherever_the_fault_is() -> None:
    # Long enough for whatever looks at many bytes at a time, at every offset from its borders.
    for size in (15, 16, 17, 31, 32, 33, 63, 64, 65, 130):
        for at in range(size):
            for wrong in (b"\xff", b"\xc3", b"\xe2\x82", b"\xc3\xa9", b"\xed\xa0\x80"):
                data = b"a" * at + wrong + b"b" * (size - at)
                assert judged([frame(TEXT, data, masked=False)]) is is_valid(data), (size, at, wrong)
