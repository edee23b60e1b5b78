"""A server that publishes what another one does: the same numbers and history, and no silence about what is lost."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.integration.conftest import Network
from tests.integration.speaker import agreed
from tests.support.waiting import until

from websocket_utils import (
    Disconnected,
    Gap,
    HandshakeError,
    Namespace,
    Ping,
    Pong,
    PriceUpdate,
    Reconnected,
    Relay,
    WebSocketClient,
    WebSocketServer,
    relay,
    serve_relays,
)
from websocket_utils._filling import HistoryBegun, HistoryEnd, HistoryPart, HistoryWanted
from websocket_utils.authentication import Grant, Identity, KeyAuthentication

pytestmark = pytest.mark.usefixtures("loop_errors")

SECONDS = 15
KEPT = (Namespace("prices", history=100),)
CHANNEL = "prices:SOL"
KEY = "a key of more than sixteen bytes"


def price(number: int) -> PriceUpdate:
    return PriceUpdate("SOL", "USDC", float(number), timestamp=number)


def publish(server: WebSocketServer, first: int, last: int, channel: str = CHANNEL) -> int:
    """Publish so many; returns their epoch."""
    (epoch,) = {server.publish(channel, price(number)).epoch for number in range(first, last + 1)}
    return epoch


@contextlib.asynccontextmanager
async def source(*, serves: bool = True, namespaces: Any = KEPT, **settings: Any) -> AsyncIterator[WebSocketServer]:
    async with asyncio.timeout(SECONDS), WebSocketServer.bind("127.0.0.1:0", namespaces=namespaces, **settings) as one:
        if serves:
            serve_relays(one)
        yield one


@contextlib.asynccontextmanager
async def worker(
    followed: WebSocketServer, *, address: str = "127.0.0.1:0", **settings: Any
) -> AsyncIterator[tuple[WebSocketServer, Relay]]:
    """A server that has what another one has, before it listens."""
    relays: list[Relay] = []

    async def follow(server: WebSocketServer) -> None:
        relays.append(Relay(server, followed.url, **settings))
        await relays[0].open()

    async with WebSocketServer.bind(address, namespaces=KEPT, reuse_port=True, before=follow) as server:
        try:
            yield server, relays[0]
        finally:
            await relays[0].close()


class Strategy:
    """A client, and all it was told, with the places of its messages."""

    def __init__(self, client: WebSocketClient) -> None:
        self.client = client
        self.numbers: list[int] = []
        self.places: list[tuple[str, int, int, int] | None] = []
        self.events: list[Any] = []
        client.on(PriceUpdate, self._take)
        for kind in (Gap, Disconnected, Reconnected):
            client.on(kind, self.events.append)

    def _take(self, update: PriceUpdate) -> None:
        self.numbers.append(update.timestamp)
        self.places.append(self.client.current_position)


@contextlib.asynccontextmanager
async def strategy(server: WebSocketServer) -> AsyncIterator[Strategy]:
    async with WebSocketClient.connect(server.url, recover=True, max_reconnect_attempts=None) as client:
        one = Strategy(client)
        await client.subscribe("prices:*")
        yield one


def sequences(server: WebSocketServer, channel: str = CHANNEL) -> list[int]:
    return [sequence for sequence, _ in server._broadcaster.history(channel)]


async def test_relay_has_the_history_before_its_server_listens_and_publishes_with_the_same_numbers() -> None:
    async with source() as first:
        epoch = publish(first, 1, 50)
        async with worker(first) as (second, follower), strategy(second) as one:
            assert sequences(second) == list(range(1, 51))
            assert second._broadcaster.position(CHANNEL) == (epoch, 50)
            assert (follower.is_current, second.is_ready) == (True, True)
            publish(first, 51, 60)
            await until(lambda: one.numbers[-1:] == [60])
            # Its snapshot, then what came.
            assert one.places == [(CHANNEL, epoch, number, number - 1) for number in range(50, 61)]


async def test_history_of_many_parts_and_channels_arrives_in_order_while_more_is_published() -> None:
    async with source(namespaces=(Namespace("prices", history=5000),)) as first:
        channels = [f"prices:{number}" for number in range(5)]
        for channel in channels:
            publish(first, 1, 5000, channel)

        async def follow(server: WebSocketServer) -> None:
            relays.append(Relay(server, first.url))
            await relays[0].open()

        async def more() -> None:
            for number in range(5001, 5201):
                publish(first, number, number, channels[0])
                await asyncio.sleep(0)

        relays: list[Relay] = []
        publishing = asyncio.create_task(more())
        async with WebSocketServer.bind(
            "127.0.0.1:0", namespaces=(Namespace("prices", history=10_000),), before=follow
        ) as second:
            await publishing
            await until(lambda: sequences(second, channels[0])[-1] == 5200)
            assert sequences(second, channels[0]) == list(range(sequences(second, channels[0])[0], 5201))
            assert len(sequences(second, channels[0])) >= 5000
            assert [sequences(second, channel) for channel in channels[1:]] == [list(range(1, 5001))] * 4
            await relays[0].close()


async def test_history_that_has_lost_its_beginning_goes_on_where_it_is() -> None:
    async with source() as first:
        epoch = publish(first, 1, 250)
        async with worker(first) as (second, _):
            assert sequences(second) == list(range(151, 251))
            assert second._broadcaster.position(CHANNEL) == (epoch, 250)


async def test_client_goes_on_at_another_worker_with_nothing_lost_and_nothing_twice() -> None:
    async with source() as first, contextlib.AsyncExitStack() as stack:
        publish(first, 1, 1)
        second, _ = await stack.enter_async_context(worker(first))
        async with strategy(second) as one, worker(first, address="{}:{}".format(*second.local_addr)) as (third, _):
            publish(first, 2, 10)
            await until(lambda: one.numbers[-1:] == [10])
            for connection in second.connections:
                connection.abort()
            await second.close()
            publish(first, 11, 20)
            await until(lambda: one.numbers[-1:] == [20])
            assert len(third.connections) == 1
            assert one.numbers == list(range(1, 21))
            assert [type(event) for event in one.events] == [Disconnected, Reconnected]
            assert one.events[1].recovered


async def test_client_that_is_ahead_of_its_new_worker_has_lost_nothing() -> None:
    async with source() as first, worker(first) as (second, _):
        epoch = publish(first, 1, 10)
        await until(lambda: sequences(second)[-1:] == [10])
        async with strategy(second) as one:
            await until(lambda: one.numbers == [10])
            # As if another worker had brought it farther than this one is.
            one.client._links[0].recovery.positions.set(CHANNEL, epoch, 12)
            for connection in second.connections:
                connection.abort()
            await until(lambda: len(one.events) == 2)
            publish(first, 11, 14)
            await until(lambda: one.numbers[-1:] == [14])
            assert one.numbers == [10, 13, 14]
            assert [type(event) for event in one.events] == [Disconnected, Reconnected]
            assert one.events[1].recovered


async def test_what_a_relay_has_missed_its_clients_are_told() -> None:
    # Nothing is kept: what is published while the relay is away is lost to it.
    async with source(namespaces=()) as first, worker(first) as (second, follower):
        publish(first, 1, 3)
        async with strategy(second) as one:
            publish(first, 4, 5)
            await until(lambda: one.numbers[-1:] == [5])
            for connection in first.connections:
                connection.abort()
            publish(first, 6, 8)
            await until(lambda: not follower.is_current)
            assert not second.is_ready
            await follower.until_current()
            await until(lambda: second.is_ready)
            publish(first, 9, 9)
            await until(lambda: one.numbers[-1:] == [9])
            assert one.events == [Gap(CHANNEL, 5, 9)]


async def test_relay_that_loses_its_connection_brings_all_that_the_history_has() -> None:
    async with source() as first, worker(first) as (second, follower), strategy(second) as one:
        publish(first, 1, 5)
        await until(lambda: one.numbers[-1:] == [5])
        for connection in first.connections:
            connection.abort()
        publish(first, 6, 20)
        await until(lambda: not follower.is_current)
        await follower.until_current()
        publish(first, 21, 22)
        await until(lambda: one.numbers[-1:] == [22])
        assert one.numbers == list(range(1, 23))
        assert one.events == []


async def test_relay_that_loses_its_connection_while_the_history_comes_asks_for_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with source() as first:
        publish(first, 1, 50)
        asked = 0

        async def follow(server: WebSocketServer) -> None:
            one = Relay(server, first.url)
            relays.append(one)
            end = Relay._on_end

            def cut(self: Relay, message: HistoryEnd) -> None:
                nonlocal asked
                asked += 1
                if asked == 1:
                    # The parts are there, and their end is lost.
                    for connection in first.connections:
                        connection.abort()
                    return
                end(self, message)

            monkeypatch.setattr(Relay, "_on_end", cut)
            monkeypatch.setattr(Relay, "_on_part", lambda self, part: asked and on_part(self, part))
            await one.open()

        on_part = Relay._on_part
        relays: list[Relay] = []
        async with WebSocketServer.bind("127.0.0.1:0", namespaces=KEPT, before=follow) as second:
            assert asked == 2
            assert sequences(second) == list(range(1, 51))
            await relays[0].close()


async def test_broadcasts_are_broadcast() -> None:
    async with source() as first, worker(first) as (second, _), strategy(second) as one:
        assert first.broadcast(price(7)) == 1
        await until(lambda: one.numbers == [7])
        assert one.places == [None]


async def test_server_that_serves_no_relays_is_followed_without_its_history() -> None:
    async with source(serves=False) as first:
        publish(first, 1, 5)
        async with worker(first, of=PriceUpdate | Ping | Pong) as (second, _):
            # What every subscriber gets: the latest.
            await until(lambda: sequences(second) == [5])
            publish(first, 6, 7)
            await until(lambda: sequences(second) == [5, 6, 7])


async def test_other_patterns_are_not_followed() -> None:
    async with source() as first:
        publish(first, 1, 2)
        publish(first, 1, 2, "prices:JUP")
        async with worker(first, patterns=("prices:J*",)) as (second, _):
            publish(first, 3, 3)
            publish(first, 3, 3, "prices:JUP")
            await until(lambda: sequences(second, "prices:JUP") == [1, 2, 3])
            assert second._broadcaster.position(CHANNEL) is None


async def test_message_of_another_class_is_left_out_and_shows_in_the_numbers() -> None:
    async with source() as first, worker(first) as (second, _):
        publish(first, 1, 1)
        first.publish(CHANNEL, Ping())
        publish(first, 3, 3)
        await until(lambda: sequences(second) == [1, 3])
        async with worker(first, patterns=(CHANNEL,)) as (third, _):
            await until(lambda: sequences(third) == [1, 3])


async def test_relay_whose_key_is_wrong_is_refused() -> None:
    identity = Identity("worker", grants=(Grant("*", frozenset({"subscribe"})),))
    async with source(authenticate=KeyAuthentication({KEY: identity})) as first:
        with pytest.raises(HandshakeError, match="401"):
            async with worker(first, token=KEY[::-1]):
                pass
        async with worker(first, token=KEY) as (second, _):
            publish(first, 1, 2)
            await until(lambda: sequences(second) == [1, 2])


async def test_client_gets_no_history_that_it_may_not_subscribe_to() -> None:
    identity = Identity("limited", grants=(Grant("prices:JUP", frozenset({"subscribe"})),))
    async with source(authenticate=KeyAuthentication({KEY: identity})) as first:
        publish(first, 1, 2)
        publish(first, 1, 2, "prices:JUP")
        async with WebSocketClient.connect(first.url, codec="msgpack", token=KEY) as client:
            client.send(HistoryWanted(["*", CHANNEL, "prices:JUP"]))
            parts = []
            async for one in client.messages(HistoryBegun | HistoryPart | HistoryEnd):
                parts.append(one)
                if isinstance(one, HistoryEnd):
                    break
            assert [one.channel for one in parts if isinstance(one, HistoryPart)] == ["prices:JUP"]


async def test_what_comes_faster_than_the_history_does_not_pile_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(relay, "_MOST_WAITING", 10)
    monkeypatch.setattr(Relay, "_on_part", lambda *_: None)
    monkeypatch.setattr(Relay, "_on_end", lambda *_: None)
    async with source() as first:
        publish(first, 1, 5)

        async def follow(server: WebSocketServer) -> None:
            opening = Relay(server, first.url)
            relays.append(opening)
            task = asyncio.create_task(opening.open())
            await until(lambda: opening._filling == "coming")
            publish(first, 6, 20)
            await task

        relays: list[Relay] = []
        async with WebSocketServer.bind("127.0.0.1:0", namespaces=KEPT, before=follow) as second:
            await until(lambda: sequences(second)[-1:] == [20])
            assert "going on without it" in caplog.text
            await relays[0].close()


async def test_relay_that_reads_nothing_is_cut_and_its_next_connection_is_answered(plain: Network) -> None:
    async with source(max_send_queue=64 * 1024) as server:
        async with agreed(plain, server, "msgpack", receive_buffer=1024) as speaker:
            (connection,) = server.connections
            # One message always fits; more than the buffers of two sockets take.
            connection.send(bytes(16 << 20))
            await until(lambda: connection.send_queue_bytes > 64 * 1024)
            await speaker.say(HistoryWanted(["*"]))
            await until(lambda: not server.connections)
        assert server.stats().handler_errors == 0
        async with agreed(plain, server, "msgpack") as speaker:
            await speaker.say(HistoryWanted(["*"]))
            assert b"HistoryBegun" in await speaker.payload()
            assert b"HistoryEnd" in await speaker.payload()
