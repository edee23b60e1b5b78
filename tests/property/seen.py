"""What one end sees of a byte stream: ours in memory, and the judge `wsproto` beside it."""

import itertools
import random
from collections.abc import Iterable
from typing import NamedTuple

from tests.support.memory import Link
from tests.support.wire import CLOSE, PONG, close_code
from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

__all__ = ["MOST", "Seen", "cut", "every_two", "ours", "theirs"]

# The biggest message that can be allowed at all: the judge knows no limit.
MOST = (1 << 32) - 1
# One read brings at most this much.
_READ = 1 << 16


class Seen(NamedTuple):
    """All that came out of a stream, up to its first violation or its close frame."""

    messages: list[bytes]
    pings: list[bytes]
    # The code of the peer's close frame, 1005 where it has none; None where no close frame came.
    closed: int | None
    # The close code that a violation asks for; None where there was none.
    violation: int | None

    def before_the_end(self) -> tuple[list[bytes], list[bytes], int | None]:
        """Everything but the violation."""
        return self.messages, self.pings, self.closed


def ours(
    pieces: Iterable[bytes],
    *,
    is_client: bool,
    max_message_size: int = MOST,
    deflate: tuple[int, bool, int, bool] | None = None,
) -> Seen:
    """What our end makes of a stream that comes in `pieces`, one read each."""
    link = Link(is_client=is_client, max_inbox=1 << 30, max_message_size=max_message_size, deflate=deflate)
    for piece in pieces:
        for start in range(0, len(piece), _READ):
            link.receive(piece[start : start + _READ])
    assert link.faults == []
    messages = link.queued()
    # Answers leave at once, but for those that wait behind a read's end.
    frames = link.sent()
    fault = link.connection.fault
    closes = [one for one in frames if one.opcode == CLOSE]
    assert {one.opcode for one in frames} <= {PONG, CLOSE}
    assert {one.masked for one in frames} <= {is_client}
    assert len(closes) <= 1
    assert not closes or frames[-1] is closes[0], "something was sent behind the close frame"
    if fault is not None:
        assert closes
        assert close_code(closes[0].payload) == fault[0]
    closed = None
    if closes and fault is None:
        # A close frame is answered with its own code, or with none (RFC 6455 section 5.5.1).
        closed = close_code(closes[0].payload) if closes[0].payload else 1005
    return Seen(
        messages,
        [one.payload for one in frames if one.opcode == PONG],
        closed,
        fault[0] if fault is not None else None,
    )


def theirs(pieces: Iterable[bytes], *, is_client: bool) -> Seen:
    """What wsproto makes of it."""
    judge = FrameProtocol(client=is_client, extensions=[])
    messages: list[bytes] = []
    pings: list[bytes] = []
    parts: list[bytes] = []
    closed: int | None = None
    try:
        for piece in pieces:
            judge.receive_bytes(piece)
            if closed is not None:
                continue
            for frame in judge.received_frames():
                if frame.opcode is Opcode.CLOSE:
                    assert isinstance(frame.payload, tuple)
                    closed = int(frame.payload[0])
                elif frame.opcode is Opcode.PING:
                    pings.append(_data(frame.payload))
                elif frame.opcode in (Opcode.TEXT, Opcode.BINARY):
                    parts.append(_data(frame.payload))
                    if frame.message_finished:
                        messages.append(b"".join(parts))
                        parts.clear()
    except ParseFailed as error:
        return Seen(messages, pings, closed, int(error.code))
    return Seen(messages, pings, closed, None)


def _data(payload: object) -> bytes:
    return payload.encode() if isinstance(payload, str) else bytes(payload)  # type: ignore[call-overload]  # bytes or bytearray there


def every_two(data: bytes) -> Iterable[list[bytes]]:
    """Every way to get `data` in two reads."""
    return ([data[:at], data[at:]] for at in range(len(data) + 1))


def cut(data: bytes, seed: int, *, most: int = 8) -> list[bytes]:
    """Cut `data` at random places, the same of the same seed."""
    chance = random.Random(seed)
    edges = [0, *sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(most))), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]
