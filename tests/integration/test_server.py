import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from tests.integration.conftest import Network, RawPeer
from tests.support.waiting import until
from tests.support.wire import CLOSE, TEXT, close_code, close_frame, frame

from websocket_utils import (
    DecodeError,
    Message,
    Ping,
    Pong,
    PriceUpdate,
    WebSocketServer,
)
from websocket_utils._connection import ServerConnection

pytestmark = pytest.mark.usefixtures("loop_errors")

UPDATE = PriceUpdate(input_mint="SOL", output_mint="USDC", price=1.5, volume=7, timestamp=9)


class Order(Message):
    n: int


def said(**fields: Any) -> bytes:
    return frame(TEXT, json.dumps(fields).encode(), masked=True)


async def subscribed(server: WebSocketServer, channels: int) -> None:
    await until(lambda: sum(len(one.channels) for one in server.connections) == channels)


# --- publishing ---


async def test_published_updates_reach_the_subscribers_of_their_channel(network: Network) -> None:
    async with network.bind() as server, contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(network.connect(server.url)) for _ in range(3)]
        await clients[0].subscribe("a", "b")
        await clients[1].subscribe("a")
        await subscribed(server, 3)
        assert server.publish("a", UPDATE).subscribers == 2
        assert server.publish("b", UPDATE).subscribers == 1
        assert server.publish("c", UPDATE).subscribers == 0
        assert server.broadcast(Order(n=1)) == 3
        for client, many in zip(clients, (2, 1, 0), strict=True):
            for _ in range(many):
                assert await asyncio.wait_for(client.receive(PriceUpdate), 5) == UPDATE
            assert (await asyncio.wait_for(client.receive(Order), 5)).n == 1

        await clients[0].unsubscribe("a", "never subscribed to")
        await subscribed(server, 2)
        assert server.publish("a", UPDATE).subscribers == 1
        assert server.publish("b", UPDATE).subscribers == 1
        await clients[1].close()
        await until(lambda: len(server.connections) == 2)
        assert server.publish("a", UPDATE).subscribers == 0
        assert server.broadcast(UPDATE) == 2


async def test_clients_of_all_codecs_get_the_same_message(network: Network) -> None:
    async with (
        network.bind() as server,
        network.connect(server.url) as text,
        network.connect(server.url, codec="msgpack") as binary,
        network.connect(server.url, codec="protobuf") as tight,
    ):
        clients = (text, binary, tight)
        orders: list[tuple[ServerConnection, int]] = []
        server.on(Order, lambda connection, order: orders.append((connection, order.n)))
        for number, client in enumerate(clients, 1):
            client.send(Order(n=number))
        await until(lambda: len(orders) == 3)
        for client in clients:
            await client.subscribe("a")
        await subscribed(server, 3)
        for reached in (server.broadcast(UPDATE), server.publish("a", UPDATE).subscribers):
            assert reached == 3
            for client in clients:
                assert await asyncio.wait_for(client.receive(PriceUpdate | Order), 5) == UPDATE
        server.broadcast(UPDATE)
        for client, type_ in zip(clients, (str, bytes, bytes), strict=True):
            raw = await asyncio.wait_for(client.receive(str | bytes), 5)
            assert type(raw) is type_
        assert sorted(n for _, n in orders) == [1, 2, 3]
        assert {connection for connection, _ in orders} == server.connections


async def test_broadcast_and_send_to_one_keep_their_order(network: Network) -> None:
    async with network.pair() as (server, client):
        (connection,) = server.connections
        for number in range(0, 200, 2):
            server.broadcast(f"{number}")
            connection.send(f"{number + 1}")
            if number % 50 == 0:
                await asyncio.sleep(0)
        for number in range(200):
            assert await asyncio.wait_for(client.receive(str), 5) == f"{number}"


# --- receiving ---


async def test_handlers_may_be_functions_or_coroutine_functions(plain: Network) -> None:
    async with plain.pair() as (server, client):
        done = asyncio.Event()

        @server.on(Order)
        def at_once(connection: ServerConnection, order: Order) -> None:
            connection.send(f"at once {order.n}")

        @server.on(Order)
        async def later(connection: ServerConnection, order: Order) -> None:
            await done.wait()
            connection.send(f"later {order.n}")

        client.send(Order(n=1))
        assert await asyncio.wait_for(client.receive(str), 5) == "at once 1"
        done.set()
        assert await asyncio.wait_for(client.receive(str), 5) == "later 1"


async def test_handler_that_raises_is_logged_and_the_connection_goes_on(
    plain: Network, caplog: pytest.LogCaptureFixture
) -> None:
    async with plain.pair() as (server, client):

        def handler(connection: ServerConnection, order: Order) -> None:
            connection.send(Order(n=order.n + 1))
            raise ValueError(f"order {order.n}")

        async def slow_handler(connection: ServerConnection, order: Order) -> None:
            raise LookupError(f"later {order.n}")

        server.on(Order, handler)
        server.on(Order, slow_handler)
        for number in range(3):
            client.send(Order(n=number))
            answer = await asyncio.wait_for(client.receive(Order), 5)
            assert answer == Order(n=number + 1)
        await until(lambda: "later 0" in caplog.text)
        assert server.stats().handler_errors >= 3
        (record,) = (record for record in caplog.records if "order 0" in record.getMessage())
        assert (record.name, record.levelno) == ("websocket_utils.server", logging.ERROR)
        assert record.exc_info


async def test_message_that_is_none_goes_to_the_decode_error_handler(plain: Network) -> None:
    async with plain.pair() as (server, client):
        errors: list[DecodeError] = []
        server.on(Order, lambda connection, order: connection.send(order))
        server.on(DecodeError, errors.append)
        client.send('{"type":"Order","n":"one"}')
        client.send(Order(n=2))
        assert await asyncio.wait_for(client.receive(Order), 5) == Order(n=2)
        (error,) = errors
        assert error.path == "$.n"
        assert server.stats().decode_errors == 1


async def test_ping_message_is_answered_with_pong(network: Network) -> None:
    async with network.pair() as (_, client):
        client.send(Ping())
        assert await asyncio.wait_for(client.receive(), 5) == Pong()


async def test_cancelled_handlers_end_with_the_server(plain: Network) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def handler(connection: ServerConnection, order: Order) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with plain.pair() as (server, client):
        server.on(Order, handler)
        client.send(Order(n=1))
        await asyncio.wait_for(started.wait(), 5)
        await server.close()
        assert ended.is_set()


# --- limits ---


@pytest.mark.parametrize(
    "channels",
    [["fine", ""], ["x" * 257], [f"{number}" for number in range(1025)]],
    ids=["empty name", "long name", "too many"],
)
async def test_channel_beyond_a_limit_closes_the_connection_with_1008(plain: Network, channels: list[str]) -> None:
    async with plain.bind() as server, plain.raw_client(server) as peer:
        await peer.write(said(type="Subscribe", channels=channels))
        frames = await asyncio.gather(peer.frame(), peer.write(close_frame(1008, masked=True)))
        assert frames[0] is not None
        assert (frames[0].opcode, close_code(frames[0].payload)) == (CLOSE, 1008)
        assert b"channel" in frames[0].payload
        await until(lambda: not server.connections)
        assert server._broadcaster.channel_sizes() == {}


async def test_as_many_channels_as_are_allowed_may_be_subscribed_to_again(plain: Network) -> None:
    channels = [f"{number:0256}" for number in range(1024)]
    async with plain.bind() as server, plain.raw_client(server) as peer:
        await peer.write(said(type="Subscribe", channels=channels) * 2)
        await subscribed(server, 1024)
        assert server.publish(channels[-1], "x").subscribers == 1
        answer = await peer.frame()
        assert answer is not None
        assert answer.payload == b"x"


async def test_client_that_stops_reading_is_cut_and_the_others_get_all(network: Network) -> None:
    message = bytes(64 * 1024)
    async with network.bind(max_lag=1 << 20) as server, contextlib.AsyncExitStack() as stack:
        settings = {"max_inbox": 1 << 30}
        clients = [await stack.enter_async_context(network.connect(server.url, **settings)) for _ in range(9)]
        # It never reads: its socket's buffers fill up.
        await stack.enter_async_context(network.raw_client(server, receive_buffer=1024))

        def all_received(many: int) -> Callable[[], bool]:
            return lambda: all(one.stats().messages_received == many for one in clients)

        published = 0
        async with asyncio.timeout(15):
            while server.stats().connections == 10:
                server.broadcast(message)
                published += 1
                await until(all_received(published))
        assert server.stats().lag_disconnects == 1
        assert server.broadcast(message) == 9
        await until(all_received(published + 1))
        assert published * len(message) > 1 << 20
        await until(lambda: server.stats().log_bytes <= 512 * 1024)
        assert server.stats().lagging == 0


async def test_client_that_reads_on_in_time_gets_every_byte_in_order(network: Network) -> None:
    limits = {"max_lag": 64 << 20, "max_send_queue": 64 << 20}
    async with network.bind(**limits) as server, network.raw_client(server, receive_buffer=1024) as peer:
        (connection,) = server.connections
        expected = []
        # More than the buffers of two sockets take.
        for number in range(300):
            message = b"%d " % number * 10_000
            if number % 3 == 0:
                connection.send(message)
            else:
                server.broadcast(message)
            expected.append(message)
            if number % 20 == 0:
                await asyncio.sleep(0)
        await until(lambda: connection.send_queue_bytes > 0)
        assert server.stats().lagging == 1
        for message in expected:
            one = await peer.frame()
            assert one is not None
            assert one.payload == message
        await until(lambda: server.stats().log_bytes <= 512 * 1024)
        assert server.stats().lagging == 0


# --- life ---


async def test_close_tells_every_client_that_the_server_goes_away(network: Network) -> None:
    async with network.bind() as server, contextlib.AsyncExitStack() as stack:
        peers: list[RawPeer] = [await stack.enter_async_context(network.raw_client(server)) for _ in range(3)]

        async def answer(peer: RawPeer) -> int:
            one = await peer.frame()
            assert one is not None
            await peer.write(close_frame(1001, masked=True))
            assert await peer.frame() is None
            return close_code(one.payload)

        codes, _ = await asyncio.wait_for(
            asyncio.gather(asyncio.gather(*(answer(peer) for peer in peers)), server.close()), 5
        )
        assert codes == [1001, 1001, 1001]
        assert server.stats().connections == 0


async def test_what_was_published_before_close_leaves_before_the_close_frame(network: Network) -> None:
    async with network.bind(close_timeout=0.5) as server, network.raw_client(server) as peer:
        server.broadcast("last words")
        closing = asyncio.create_task(server.close())
        words, close = await peer.frame(), await peer.frame()
        assert words is not None
        assert close is not None
        assert (words.payload, close.opcode) == (b"last words", CLOSE)
        await peer.write(close_frame(1001, masked=True))
        await asyncio.wait_for(closing, 5)


async def test_close_waits_no_longer_than_its_deadline_for_who_does_not_answer(network: Network) -> None:
    async with (
        network.bind(close_timeout=0.1, max_lag=1 << 30) as server,
        network.raw_client(server),
        network.raw_client(server, receive_buffer=1024),
    ):
        # One does not answer the close frame; the other does not even read: it has no room for one.
        for connection in server.connections:
            connection.send(bytes(16 << 20))
        await asyncio.sleep(0)
        await asyncio.wait_for(server.close(), 3)
        assert server.stats().connections == 0


async def test_cancelled_close_aborts_the_connections(plain: Network) -> None:
    server = await plain.bind(close_timeout=60)
    async with plain.raw_client(server) as peer:
        closing = asyncio.create_task(server.close())
        assert await peer.frame() is not None
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert await peer.frame() is None
        await until(lambda: not server.connections)
        await asyncio.wait_for(server.close(), 1)


async def test_serve_forever_ends_when_cancelled_and_when_closed(plain: Network) -> None:
    async with plain.bind() as server:
        forever = asyncio.create_task(server.serve_forever())
        await asyncio.sleep(0)
        forever.cancel()
        with pytest.raises(asyncio.CancelledError):
            await forever
        forever = asyncio.create_task(server.serve_forever())
        await server.close()
        await asyncio.wait_for(forever, 1)


async def test_address_in_use_says_where_and_what_now(plain: Network) -> None:
    async with plain.bind() as server:
        _, port = server.local_addr
        with pytest.raises(OSError, match="in use") as caught:
            await WebSocketServer.bind(f"127.0.0.1:{port}")
        (note,) = caught.value.__notes__
        assert f"127.0.0.1:{port}" in note
        assert "port 0" in note


async def test_nobody_connects_to_a_closed_server(plain: Network) -> None:
    async with plain.bind() as server:
        await server.close()
        with pytest.raises(ConnectionRefusedError):
            await plain.connect(server.url)


async def test_stats_count_messages_and_deliveries(network: Network) -> None:
    async with network.bind() as server, contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(network.connect(server.url)) for _ in range(2)]
        server.on(Order, lambda connection, order: connection.send(b"12345"))
        for client in clients:
            client.send(Order(n=1))
            assert await asyncio.wait_for(client.receive(bytes), 5) == b"12345"
        server.broadcast(b"1234567890")
        for client in clients:
            assert await asyncio.wait_for(client.receive(bytes), 5) == b"1234567890"
        clients[0].send(b"nobody asked")
        await until(lambda: server.stats().unhandled == 1)
        before = server.stats()
        assert (before.connections, before.accepted, before.rejected) == (2, 2, 0)
        assert (before.messages_sent, before.deliveries) == (3, 4)
        assert before.bytes_sent == 2 * 5 + 2 * 10
        assert before.messages_received == 3
        assert before.bytes_received == 2 * len('{"type":"Order","n":1}') + len(b"nobody asked")
        await clients[0].close()
        await until(lambda: server.stats().connections == 1)
        after = server.stats()
        assert (after.messages_sent, after.deliveries, after.bytes_sent) == (3, 4, 30)


async def test_connection_says_who_it_is(plain: Network) -> None:
    async with plain.bind() as server, plain.raw_client(server) as peer:
        (connection,) = server.connections
        assert connection.path == "/feed"
        assert connection.remote_addr == peer.writer.get_extra_info("sockname")
        assert connection.is_open
        assert "open" in repr(connection)
        connection.close(4000, "enough")
        one = await peer.frame()
        assert one is not None
        assert (close_code(one.payload), one.payload[2:]) == (4000, b"enough")
        assert not connection.is_open
