"""Two readers of the same bytes: ours, and wsproto's, which others wrote from the same RFC.

Up to the first violation both must see the same messages, pings and close; and both must see a violation, or none. What
differs on purpose, all of it in our being stricter or sooner:

- We refuse a frame as soon as a byte of it is wrong; wsproto refuses it once its header (or, of a control frame, its
  payload) is whole. A stream that ends in between is therefore continued before it is called valid.
- We refuse messages over the limit (1009). wsproto has none, and waits for what was announced.
- We refuse endless fragments without payload. wsproto does not.
- Close code 1014 (bad gateway) is registered and taken by us; wsproto does not know it.
"""

from collections.abc import Callable

import pytest
from hostile._mutations import Mutator
from hypothesis import given
from hypothesis import strategies as st
from tests.property.scale import BOUNDED, examples, scaled
from tests.property.seen import Seen, cut, ours, theirs
from tests.support.memory import BOTH_ROLES
from tests.support.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_frame, frame

pytestmark = BOUNDED

TOO_BIG = 1009
BAD_GATEWAY = 1014
# What a header and the payload of a control frame may lack: enough for the judge to make up its mind.
REST = bytes(140)


def compare(data: bytes, *, is_client: bool, seed: int = 0) -> Seen:
    """Hold both readers to each other; returns what ours saw."""
    found = ours(cut(data, seed), is_client=is_client)
    judged = theirs([data], is_client=is_client)
    if found.closed == BAD_GATEWAY:
        assert (judged.closed, judged.violation) == (None, 1002)
        judged = judged._replace(closed=BAD_GATEWAY, violation=None)
    if found.violation is not None and judged.violation is None and judged.closed is None:
        if found.violation == TOO_BIG:
            return found
        judged = theirs([data, REST], is_client=is_client)
    assert (found.violation is None) == (judged.violation is None), (found, judged, data)
    assert found.before_the_end() == judged.before_the_end(), (found, judged, data)
    return found


@BOTH_ROLES
@pytest.mark.parametrize("block", range(4))
def test_mutated_streams_are_read_alike(is_client: bool, block: int) -> None:
    violations = 0
    for seed in range(block * scaled(400), (block + 1) * scaled(400)):
        data = Mutator(seed, masked=not is_client).frames()
        violations += compare(data, is_client=is_client, seed=seed).violation is not None
    # Neither all nor none: the mutations hit, and leave streams that go on.
    assert scaled(100) < violations < scaled(390)


PAYLOADS = st.binary(max_size=140) | st.text(max_size=40).map(str.encode) | st.sampled_from([b"\xff", b"\xed\xa0\x80"])
OPCODES = st.sampled_from([TEXT, BINARY, CONTINUATION, PING, PONG, CLOSE, 3, 11])
FRAMES: st.SearchStrategy[Callable[[bool], bytes]] = st.builds(
    lambda opcode, payload, fin, reserved, flip: (
        lambda masked: frame(opcode, payload, masked=masked ^ flip, fin=fin, reserved_bits=reserved)
    ),
    OPCODES,
    PAYLOADS,
    st.booleans(),
    st.sampled_from([0, 0, 0, 0, 0, 0, 1, 2, 4]),
    st.sampled_from([False] * 9 + [True]),
)


@BOTH_ROLES
@given(frames=st.lists(FRAMES, max_size=8), seed=st.integers(0, 1000), less=st.integers(0, 9))
@examples(200)
def test_streams_of_any_frames_are_read_alike(
    is_client: bool, frames: list[Callable[[bool], bytes]], seed: int, less: int
) -> None:
    data = b"".join(build(not is_client) for build in frames)
    compare(data[: len(data) - less], is_client=is_client, seed=seed)


@BOTH_ROLES
@given(data=st.binary(max_size=60), seed=st.integers(0, 1000))
@examples(200)
def test_any_bytes_are_read_alike(is_client: bool, data: bytes, seed: int) -> None:
    compare(data, is_client=is_client, seed=seed)


@BOTH_ROLES
def test_every_first_byte_and_kind_of_length_are_read_alike(is_client: bool) -> None:
    for first in range(256):
        for second in (0, 1, 2, 125, 126, 127, 128, 129, 130, 253, 254, 255):
            compare(bytes([first, second]) + REST, is_client=is_client)


@BOTH_ROLES
def test_violations_get_the_same_close_code(is_client: bool) -> None:
    masked = not is_client
    streams = {
        1002: [
            frame(3, b"", masked=masked),
            frame(TEXT, b"", masked=not masked),
            frame(TEXT, b"", masked=masked, reserved_bits=1),
            frame(CONTINUATION, b"x", masked=masked),
            frame(TEXT, b"x", masked=masked, fin=False) + frame(TEXT, b"x", masked=masked),
            frame(PING, b"x", masked=masked, fin=False),
            frame(PING, bytes(126), masked=masked),
            frame(BINARY, bytes(5), masked=masked, length_size=2),
            frame(BINARY, bytes(300), masked=masked, length_size=8),
            frame(CLOSE, b"\x03", masked=masked),
            close_frame(1005, masked=masked),
        ],
        1007: [
            frame(TEXT, b"\xff", masked=masked),
            frame(TEXT, b"\xc3", masked=masked),
            frame(CLOSE, b"\x03\xe8\xff", masked=masked),
        ],
    }
    for code, cases in streams.items():
        for data in cases:
            assert ours([data], is_client=is_client).violation == code, data
            assert theirs([data, REST], is_client=is_client).violation == code, data
