"""The client's opening handshake on a transport in memory: what the network hardly ever does."""

import asyncio
import gc
from collections.abc import Callable
from typing import Any, cast

import pytest
from tests.integration.raw_peer import accept_value
from tests.support.memory import MemoryTransport
from tests.support.wire import FrameReader

from websocket_utils import WebSocketClient
from websocket_utils._handshake import Opened
from websocket_utils._requesting import ClientOpening


class Socket:
    def fileno(self) -> int:
        return -1


class Transport(MemoryTransport):
    def get_extra_info(self, name: str) -> Any:
        return {"socket": Socket()}[name]

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        pass

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol


class Taker:
    def __init__(self) -> None:
        self.calls: list[object] = []

    def feed_bytes(self, data: bytes) -> None:
        self.calls.append(data)

    def connection_lost(self, exc: BaseException | None = None) -> None:
        self.calls.append(exc)


class Dial:
    """A handshake whose request has left."""

    def __init__(self, take: Callable[[Opened], Any] | None = None) -> None:
        self.taker = Taker()
        self.transport = Transport()
        self.opening = ClientOpening(
            "ws://h",
            lambda key: key.encode(),
            subprotocols=(),
            compression=None,
            take=take or self._take,
            is_secure=False,
            watches_errors=False,
        )
        self.transport.protocol = cast("Any", self.opening)
        self.opening.connection_made(cast("Any", self.transport))

    def _take(self, opened: Opened) -> Any:
        assert opened.transport is cast("Any", self.transport)
        return self.taker

    def receive(self, data: bytes) -> None:
        self.opening.get_buffer(-1)[: len(data)] = data
        self.opening.buffer_updated(len(data))

    async def answer(self, early: bytes) -> None:
        # The request leaves behind the call that made the connection.
        await asyncio.sleep(0)
        key = self.transport.writes[0].decode()
        head = (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept_value(key)}\r\n\r\n"
        )
        self.receive(head.encode() + early)


@pytest.mark.parametrize("is_handed_over", [False, True], ids=["before the handover", "after it"])
async def test_end_that_is_told_to_the_opening_reaches_the_taker(is_handed_over: bool) -> None:
    dial, end = Dial(), ConnectionResetError()
    await dial.answer(b"early")
    dial.receive(b" more")
    if is_handed_over:
        # TLS transports look up whom they tell when they ask the loop to: it may be the opening still.
        await asyncio.sleep(0)
    dial.opening.connection_lost(end)
    await asyncio.sleep(0)
    assert await dial.opening.done is cast("Any", dial.taker)
    assert dial.taker.calls == [b"early more", end]


async def test_what_is_sent_on_taking_over_does_not_pass_what_the_transport_holds() -> None:
    client = WebSocketClient.connect("ws://h", when_down="queue", ping_interval=None)._opened
    messages = [bytes([number]) * 70_000 for number in range(5)]
    for message in messages:
        client.send(message)
    client._links[0].lifecycle.dial(0.0)
    dial = Dial(client._links[0]._take)
    dial.transport.room = 100_000
    await dial.answer(b"")
    written = len(dial.transport.writes)
    client.send(b"later")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(dial.transport.writes) == written
    dial.transport.drain()
    frames = FrameReader().feed(b"".join(dial.transport.writes[1:]))
    assert [one.payload for one in frames] == [*messages, b"later"]


async def test_request_leaves_when_the_transport_watches_its_socket_and_not_on_one_that_is_closing() -> None:
    dial, closed = Dial(), Dial()
    # A transport begins to watch behind `connection_made`; a failed write in there would end it before.
    assert dial.transport.writes == []
    closed.opening.abort()
    await asyncio.sleep(0)
    assert len(dial.transport.writes) == 1
    assert closed.transport.writes == []
    for one in (dial, closed):
        one.opening.connection_lost(None)


async def test_end_of_a_dial_that_nobody_waits_for_any_more_is_silent() -> None:
    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    dial = Dial()
    dial.opening.connection_lost(None)
    del dial
    gc.collect()
    await asyncio.sleep(0)
    assert said == []
