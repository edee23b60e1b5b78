"""Frames in and out of a connection that lives in memory: no socket, no event loop, no system call.

Measured: what the connection does for each read or turn, from the bytes to a Python callback per message, and from
Python calls to the bytes handed to the transport. `mask` cases differ from their neighbours in nothing but the mask, so
the difference is its price. Not measured: sockets, decoding into classes (`bench_codec.py`).
"""

from collections.abc import Callable
from typing import Any

import pytest

from websocket_utils._core import Connection, Inbox

# One read of the feed in `bench_receive.py`.
MESSAGES = 512
MASK = bytes((0x12, 0x34, 0x56, 0x78))
SIZES = (122, 1024, 16_384)


class Loop:
    """Takes what a connection schedules, and runs nothing: the bench ends each turn itself."""

    def call_soon(self, callback: Callable[..., object], *arguments: object) -> None:
        pass

    def create_future(self) -> None:
        raise AssertionError("nothing waits here")

    def get_debug(self) -> bool:
        return False


class Transport:
    """Takes all bytes at once."""

    def __init__(self) -> None:
        self.written = 0

    def write(self, data: bytes) -> None:
        self.written += len(data)


class Owner:
    """Wants to know nothing."""


def connection(*, is_client: bool, received: Callable[..., object] = lambda _: None) -> tuple[Connection, Transport]:
    loop: Any = Loop()
    transport: Any = Transport()
    inbox = Inbox(loop, lambda error: None, lambda awaitable: None, limit=1 << 22)
    inbox.on(bytes, received)
    made = Connection(
        is_client=is_client,
        format="json",
        inbox=inbox,
        owner=Owner(),
        transport=transport,
        event_loop=loop,
        descriptor=-1,
        watched_descriptor=-1,
        transport_busy=False,
        max_message_size=1 << 24,
        max_send_queue=1 << 24,
    )
    return made, transport


def frame(payload: bytes, *, masked: bool) -> bytes:
    """One binary frame (RFC 6455 section 5.2)."""
    size = len(payload)
    head = bytes((size,)) if size < 126 else bytes((126,)) + size.to_bytes(2, "big")
    if not masked:
        return b"\x82" + head + payload
    body = bytes(byte ^ MASK[place % 4] for place, byte in enumerate(payload))
    return b"\x82" + bytes((head[0] | 0x80,)) + head[1:] + MASK + body


def messages_in(size: int) -> int:
    """Messages of a read: as many as fit in 64 KiB, at most those of the feed."""
    return min(MESSAGES, 65_536 // (size + 14))


@pytest.mark.parametrize("masked", [False, True], ids=["plain", "mask"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size}B")
@pytest.mark.benchmark(group="frame/receive")
def test_receive(benchmark: Any, size: int, masked: bool) -> None:
    """A read full of frames, a callback for each. Only servers receive masked frames, only clients unmasked ones."""
    payload = bytes(place % 251 for place in range(size))
    seen: list[bytes] = []
    checked, _ = connection(is_client=not masked, received=seen.append)
    wire = frame(payload, masked=masked) * messages_in(size)
    _read(checked, wire)
    assert seen == [payload] * messages_in(size)

    timed, _ = connection(is_client=not masked)
    benchmark.extra_info["messages"] = messages_in(size)
    benchmark(_read, timed, wire)


@pytest.mark.parametrize("masked", [False, True], ids=["plain", "mask"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size}B")
@pytest.mark.benchmark(group="frame/send")
def test_send(benchmark: Any, size: int, masked: bool) -> None:
    """A turn of messages, one call each, and its end. Only clients mask."""
    payload = bytes(place % 251 for place in range(size))
    timed, transport = connection(is_client=masked)
    count = messages_in(size)
    _turn(timed, payload, count)
    assert transport.written == count * len(frame(payload, masked=masked))

    benchmark.extra_info["messages"] = count
    benchmark(_turn, timed, payload, count)


def _read(into: Connection, wire: bytes) -> None:
    # The buffer is lent until `buffer_updated` returns, and frames are unmasked in it: it is filled anew each time.
    into.get_buffer(-1)[: len(wire)] = wire
    into.buffer_updated(len(wire))


def _turn(on: Connection, payload: bytes, count: int) -> None:
    for _ in range(count):
        on.send(payload)
    on.end_turn()
