"""However a stream is cut into reads, the same comes out of it; and what one end encodes the other one decodes."""

import pytest
from hostile._mutations import Mutator
from hypothesis import given
from hypothesis import strategies as st
from tests.property.scale import BOUNDED, examples, scaled
from tests.property.seen import cut, every_two, ours
from tests.support.memory import BOTH_ROLES, Link
from tests.support.wire import BINARY, CONTINUATION, PING, TEXT, close_frame, frame

pytestmark = BOUNDED


def conversation(*, masked: bool) -> bytes:
    """Every form of length but the longest, fragments, control frames in between, and an end."""
    return b"".join(
        [
            frame(TEXT, "żółć €😀".encode(), masked=masked),
            frame(TEXT, "żółć €😀".encode()[:8], masked=masked, fin=False),
            frame(PING, b"between", masked=masked),
            frame(CONTINUATION, b"", masked=masked, fin=False),
            frame(CONTINUATION, "żółć €😀".encode()[8:], masked=masked),
            frame(BINARY, bytes(range(126)), masked=masked),
            frame(BINARY, b"", masked=masked),
            frame(BINARY, bytes(200), masked=masked),
            close_frame(1001, "bye", masked=masked),
            b"what comes behind a close frame is not looked at",
        ]
    )


@BOTH_ROLES
def test_conversation_is_the_same_in_any_two_reads(is_client: bool) -> None:
    data = conversation(masked=not is_client)
    whole = ours([data], is_client=is_client)
    assert len(whole.messages) == 5
    assert (whole.pings, whole.closed, whole.violation) == ([b"between"], 1001, None)
    for pieces in every_two(data):
        assert ours(pieces, is_client=is_client) == whole, len(pieces[0])


@BOTH_ROLES
def test_conversation_is_the_same_byte_by_byte(is_client: bool) -> None:
    data = conversation(masked=not is_client)
    assert ours([bytes([byte]) for byte in data], is_client=is_client) == ours([data], is_client=is_client)


@BOTH_ROLES
def test_mutated_streams_are_the_same_however_they_are_cut(is_client: bool) -> None:
    for seed in range(scaled(300)):
        data = Mutator(seed, masked=not is_client).frames()
        whole = ours([data], is_client=is_client)
        for again in range(4):
            assert ours(cut(data, again), is_client=is_client) == whole, (seed, again)


@BOTH_ROLES
def test_short_mutated_streams_are_the_same_in_any_two_reads(is_client: bool) -> None:
    streams = (Mutator(seed, masked=not is_client).frames() for seed in range(scaled(400)))
    short = [data for data in streams if len(data) < 200]
    assert len(short) > scaled(30)
    for data in short:
        whole = ours([data], is_client=is_client)
        for pieces in every_two(data):
            assert ours(pieces, is_client=is_client) == whole, (len(pieces[0]), data)


MESSAGES = st.lists(st.text(max_size=80) | st.binary(max_size=300), max_size=6)


@BOTH_ROLES
@given(messages=MESSAGES, seed=st.integers(0, 1000))
@examples(200)
def test_what_one_end_sends_the_other_receives(is_client: bool, messages: list[str | bytes], seed: int) -> None:
    sender = Link(is_client=not is_client)
    for message in messages:
        sender.connection.send(message)
    sender.loop.turn()
    wire = b"".join(sender.transport.writes)
    found = ours(cut(wire, seed), is_client=is_client)
    assert found.messages == [one.encode() if isinstance(one, str) else one for one in messages]
    assert found.violation is None


@BOTH_ROLES
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 300_000])
def test_message_of_any_form_of_length_arrives_as_it_was_sent(is_client: bool, size: int) -> None:
    message = bytes(number * 7 % 251 for number in range(size))
    sender = Link(is_client=not is_client)
    sender.connection.send(message)
    found = ours([b"".join(sender.transport.writes)], is_client=is_client)
    assert found.messages == [message]
