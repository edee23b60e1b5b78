"""Sequences of frames against a model of RFC 6455 section 5.4 that fits on a page."""

import itertools
import random

import pytest
from tests.property.scale import BOUNDED, scaled
from tests.property.seen import Seen, ours
from tests.support.memory import BOTH_ROLES
from tests.support.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame

pytestmark = BOUNDED

RESERVED = 3
Step = tuple[int, bool]
STEPS: list[Step] = [
    (opcode, fin) for opcode in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG, RESERVED) for fin in (True, False)
]


def expected(steps: list[tuple[int, bool, bytes]]) -> Seen:
    """What the RFC says becomes of these frames."""
    messages: list[bytes] = []
    pings: list[bytes] = []
    parts: list[bytes] | None = None
    for opcode, fin, payload in steps:
        is_wrong = (
            opcode == RESERVED
            or (opcode >= CLOSE and not fin)
            or (opcode == CONTINUATION and parts is None)
            or (opcode in (TEXT, BINARY) and parts is not None)
        )
        if is_wrong:
            return Seen(messages, pings, None, 1002)
        if opcode == CLOSE:
            return Seen(messages, pings, 1005, None)
        if opcode == PING:
            pings.append(payload)
        elif opcode != PONG:
            parts = [*(parts or []), payload]
            if fin:
                messages.append(b"".join(parts))
                parts = None
    return Seen(messages, pings, None, None)


def check(steps: tuple[Step, ...], *, is_client: bool) -> None:
    """Hold one sequence to the model; each frame but a close frame has a payload of its own."""
    with_payload = [(opcode, fin, b"" if opcode == CLOSE else b"%d" % at) for at, (opcode, fin) in enumerate(steps)]
    data = b"".join(frame(opcode, payload, masked=not is_client, fin=fin) for opcode, fin, payload in with_payload)
    assert ours([data], is_client=is_client) == expected(with_payload), steps


@BOTH_ROLES
@pytest.mark.parametrize("length", [1, 2, 3])
def test_every_sequence_of_up_to_three_frames_is_read_as_the_model_does(is_client: bool, length: int) -> None:
    for steps in itertools.product(STEPS, repeat=length):
        check(steps, is_client=is_client)


@BOTH_ROLES
def test_long_sequences_are_read_as_the_model_does(is_client: bool) -> None:
    chance = random.Random(3)
    # Mostly what may come, so that sequences live long enough to get anywhere.
    likely: list[Step] = [(TEXT, False), (CONTINUATION, False), (CONTINUATION, True), (PING, True), (BINARY, True)]
    for _ in range(scaled(4000)):
        steps = tuple(chance.choice(STEPS if chance.random() < 0.1 else likely) for _ in range(12))
        check(steps, is_client=is_client)
