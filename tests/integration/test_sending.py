import asyncio
import contextlib
import os
import socket
import threading
from typing import Any

import pytest
from tests.integration.conftest import Network, RawPeer
from tests.support.waiting import until
from tests.support.wire import BINARY, CLOSE, Frame, FrameReader, close_code, close_frame, frame

from websocket_utils import WebSocketClient
from websocket_utils.exceptions import ConnectionClosed, SendQueueFull

pytestmark = pytest.mark.usefixtures("loop_errors")

MANY = [b"%d " % number * 8_000 for number in range(300)]
# For all of it.
ROOM = 16 << 20


async def send_for_ever(client: WebSocketClient) -> None:
    while True:
        # Not awaited: what `send` itself raises.
        client.send(b"anybody there?")
        await asyncio.sleep(0)


class Reading:
    """A server that reads when it is told to: until then its socket's buffers fill up."""

    def __init__(self) -> None:
        self.may_read = asyncio.Event()
        self.frames: list[Frame] = []
        self.peer: RawPeer | None = None

    async def __call__(self, peer: RawPeer) -> None:
        self.peer = peer
        peer.reader._limit = 1024  # type: ignore[attr-defined]  # asyncio's own bound for what it reads ahead
        await peer.write(peer.answer())
        await asyncio.wait_for(self.may_read.wait(), 15)
        while (one := await peer.frame()) is not None:
            self.frames.append(one)
            if one.opcode == CLOSE:
                await peer.write(close_frame(1000, masked=False))
                return

    def reset(self) -> None:
        """End the connection the hard way."""
        assert self.peer is not None
        self.peer.writer.transport.abort()
        self.may_read.set()

    @property
    def messages(self) -> list[bytes]:
        return [one.payload for one in self.frames if one.opcode == BINARY]


async def test_first_message_of_a_turn_is_with_the_kernel_when_send_returns(plain: Network) -> None:
    async with plain.bind() as server, plain.raw_client(server) as peer:
        (connection,) = server.connections
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport has it
        await asyncio.sleep(0)
        descriptor = os.dup(peer.writer.get_extra_info("socket").fileno())
        with socket.socket(fileno=descriptor) as kernel:

            def arrived() -> list[bytes]:
                data = kernel.recv(1 << 16, socket.MSG_PEEK | socket.MSG_DONTWAIT)
                return [one.payload for one in FrameReader().feed(data)]

            # `resume_writing` for the bytes of the handshake has come once this one has left.
            connection.send("-1")
            await until(lambda: connection.send_queue_bytes == 0)
            await asyncio.sleep(0)
            for number in range(10):
                connection.send(f"{number}")
                assert arrived() == [b"-1", b"0"]
            await asyncio.sleep(0)
            assert arrived() == [b"%d" % number for number in range(-1, 10)]
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]  # as above


async def test_every_byte_arrives_in_order_when_the_server_reads_on(network: Network) -> None:
    reading = Reading()
    settings = {"reconnect": False, "ping_interval": None, "max_send_queue": ROOM}
    async with network.raw_server(reading) as url, network.connect(url, **settings) as client:
        for message in MANY:
            client.send(message)
        await asyncio.sleep(0)
        await until(lambda: client.stats().send_queue_bytes > 0)
        waiting = asyncio.ensure_future(client.send(b"last"))
        await asyncio.sleep(0)
        assert not waiting.done()
        reading.may_read.set()
        await asyncio.wait_for(waiting, 10)
        await client.close()
    assert reading.messages == [*MANY, b"last"]
    assert all(one.masked for one in reading.frames)


async def test_sender_that_awaits_is_kept_at_the_pace_of_its_reader(network: Network) -> None:
    reading = Reading()
    async with network.raw_server(reading) as url, network.connect(url, reconnect=False) as client:
        # Far more than the sockets' buffers of both ends take.
        messages = [b"%d" % number * 10_000 for number in range(1000)]
        sent: list[int] = []

        async def send_all() -> None:
            for message in messages:
                await client.send(message)
                sent.append(len(message))

        def has_stopped(history: list[int]) -> bool:
            history.append(len(sent))
            return len(history) > 20 and history[-20] == history[-1]

        sending = asyncio.create_task(send_all())
        history: list[int] = []
        await until(lambda: has_stopped(history))
        assert not sending.done()
        # What waits is what was sent last, however long nobody reads.
        assert client.stats().send_queue_bytes <= len(messages[-1]) + 14
        reading.may_read.set()
        await asyncio.wait_for(sending, 10)
        await client.close()
    assert reading.messages == messages


async def test_sender_that_awaits_is_told_when_the_connection_is_lost(network: Network) -> None:
    reading = Reading()
    async with network.raw_server(reading) as url, network.connect(url, reconnect=False) as client:
        sending = asyncio.ensure_future(client.send(bytes(14 << 20)))
        await until(lambda: client.stats().send_queue_bytes > 0)
        assert not sending.done()
        reading.reset()
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(sending, 5)
        with pytest.raises(ConnectionClosed):
            client.send("too late")


async def test_cancelled_sender_takes_nothing_back(network: Network) -> None:
    reading = Reading()
    async with (
        network.raw_server(reading) as url,
        network.connect(url, reconnect=False, max_send_queue=ROOM) as client,
    ):
        big = bytes(14 << 20)
        sending = asyncio.ensure_future(client.send(big))
        await until(lambda: client.stats().send_queue_bytes > 0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        client.send(b"next")
        reading.may_read.set()
        await client.close()
    assert reading.messages == [big, b"next"]


async def test_full_queue_raises_with_its_figures_and_sends_go_on_once_it_drained(network: Network) -> None:
    reading = Reading()
    message = bytes(100_000)
    limit = 1_000_000
    async with (
        network.raw_server(reading) as url,
        network.connect(url, reconnect=False, max_send_queue=limit) as client,
    ):
        sent = 0

        def send_until_full() -> SendQueueFull:
            nonlocal sent
            for _ in range(1000):
                try:
                    client.send(message)
                except SendQueueFull as error:
                    return error
                sent += 1
            raise AssertionError("never full")

        error = send_until_full()
        assert (error.limit, error.size) == (limit, 100_014)
        assert limit - 100_014 < error.queued <= limit
        assert client.stats().send_queue_bytes == error.queued
        reading.may_read.set()
        await asyncio.wait_for(client._connection.drain(), 10)
        client.send(b"goes on")
        await client.close()
    assert reading.messages == [message] * sent + [b"goes on"]


async def test_one_message_over_the_bound_passes_an_empty_queue(network: Network) -> None:
    reading = Reading()
    reading.may_read.set()
    message = bytes(16 << 20)
    async with (
        network.raw_server(reading) as url,
        network.connect(url, reconnect=False, max_send_queue=1000) as client,
    ):
        await asyncio.wait_for(client.send(message), 10)
        await client.close()
    assert reading.messages == [message]


async def test_close_waits_behind_all_that_was_sent(network: Network) -> None:
    reading = Reading()
    async with (
        network.raw_server(reading) as url,
        network.connect(url, reconnect=False, close_timeout=10, max_send_queue=ROOM) as client,
    ):
        for message in MANY:
            client.send(message)
        closing = asyncio.create_task(client.close(4001, "done"))
        await until(lambda: not client.is_connected)
        with pytest.raises(ConnectionClosed):
            client.send("behind the close frame")
        reading.may_read.set()
        await asyncio.wait_for(closing, 10)
    assert reading.messages == MANY
    assert close_code(reading.frames[-1].payload) == 4001


async def test_close_gives_up_on_a_peer_that_never_reads(network: Network) -> None:
    reading = Reading()
    async with (
        network.raw_server(reading) as url,
        network.connect(url, reconnect=False, close_timeout=0.1) as client,
    ):
        client.send(bytes(14 << 20))
        await asyncio.wait_for(client.close(), 3)
        reading.may_read.set()


async def test_sending_to_a_peer_that_is_gone_ends_in_connection_closed(network: Network) -> None:
    reading = Reading()
    async with network.raw_server(reading) as url, network.connect(url, reconnect=False) as client:
        reading.reset()

        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(send_for_ever(client), 5)
        with contextlib.suppress(ConnectionClosed):
            assert await asyncio.wait_for(client.receive(bytes), 5) is None


async def test_reader_that_is_behind_loses_nothing_when_the_peer_is_gone_and_close_does_not_hang(
    plain: Network,
) -> None:
    messages = [b"%d" % number * 100 for number in range(50)]

    async def script(peer: RawPeer) -> None:
        await peer.write(peer.answer())
        await peer.write(b"".join(frame(BINARY, message, masked=False) for message in messages))
        # Closing with the client's bytes unread resets the connection.
        await asyncio.wait_for(peer.reader.readexactly(1), 5)
        peer.writer.transport.abort()

    async with plain.raw_server(script) as url, plain.connect(url, reconnect=False, max_inbox=1) as client:
        await until(lambda: client.stats().inbox_messages > 0)
        # Reading is paused: only sending can find out.
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(send_for_ever(client), 5)
        first = await asyncio.wait_for(client.receive(bytes), 5)
        assert first == messages[0]
        await asyncio.wait_for(client.close(), 1)


async def test_methods_raise_on_another_thread(plain: Network) -> None:
    async with plain.pair() as (server, client):
        (connection,) = server.connections
        raised: list[Any] = []

        def elsewhere() -> None:
            calls = (
                lambda: client.send("x"),
                lambda: connection.send("x"),
                lambda: server.broadcast("x"),
                lambda: server.publish("a", "x"),
                lambda: client.receive(str),
                connection.close,
            )
            for call in calls:
                try:
                    call()
                except RuntimeError as error:
                    raised.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        await asyncio.to_thread(thread.join, 5)
        assert len(raised) == 6
        assert all("call_soon_threadsafe" in str(error) for error in raised)
        client.send("unharmed")
        server.broadcast("unharmed")
        assert await asyncio.wait_for(client.receive(str), 5) == "unharmed"


async def test_both_sides_flood_each_other_and_lose_nothing(network: Network) -> None:
    settings = {"max_send_queue": 256 << 20, "max_lag": 256 << 20, "max_inbox": 256 << 20}
    async with network.pair(server=settings, client=settings) as (server, client):
        echoed = [b"%d" % number * 300 for number in range(1000)]
        server.on(bytes, lambda connection, message: connection.send(message))
        for number, message in enumerate(echoed):
            client.send(message)
            if number % 500 == 0:
                await asyncio.sleep(0)
        received: list[bytes] = []
        async with asyncio.timeout(10):
            async for batch in client.batches(bytes):
                received += batch
                if len(received) >= len(echoed):
                    break
        assert received == echoed
