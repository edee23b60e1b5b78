"""Strategies that are slower than their feed: what they get, and that no peer is taken for dead because of them."""

import asyncio
import functools
import time
from typing import Any

import pytest
from tests.integration.quiet import frozen, quiet  # noqa: F401  # fixtures, used by every test
from tests.integration.strategy import AT_ONCE, JSON, nothing_left, price, watched  # noqa: F401  # one is a fixture
from tests.support.waiting import until

from websocket_utils import (
    Conflate,
    Disconnected,
    DropOldest,
    HeartbeatTimeout,
    Ping,
    PriceUpdate,
    Reconnected,
    WebSocketClient,
)
from websocket_utils.testing import FaultConnection, FaultServer, NoPong, Serve

pytestmark = pytest.mark.usefixtures("nothing_left")

INTERVAL = TIMEOUT = 0.1


def connect(server: FaultServer, **settings: Any) -> Any:
    return WebSocketClient.connect(
        server.url,
        **{
            "subprotocols": JSON,
            "reconnect": AT_ONCE,
            "ping_interval": INTERVAL,
            "ping_timeout": TIMEOUT,
            **settings,
        },
    )


# --- liveness ---


@pytest.mark.filterwarnings("ignore:Executing")
async def test_handler_that_blocks_the_loop_is_no_reason_to_take_the_peer_for_dead() -> None:
    async with asyncio.timeout(10), FaultServer() as server, connect(server) as client:
        handled: list[int] = []

        def compute(update: PriceUpdate) -> None:
            # Longer than a peer has for its pong.
            time.sleep(3 * TIMEOUT)  # the fault of this test
            handled.append(update.timestamp)

        client.on(PriceUpdate, compute)
        lost: list[Disconnected] = []
        client.on(Disconnected, lost.append)
        await client.subscribe("a")

        def has_handled(count: int) -> bool:
            return len(handled) == count

        for number in range(1, 5):
            server.publish(price(number), "a")
            await until(functools.partial(has_handled, number))
            # Between two of them the loop has a moment, in which timers are overdue and pongs wait to be read.
            await asyncio.sleep(0.02)
        assert lost == []
        assert client.epoch == 1


@pytest.mark.filterwarnings("ignore:Executing")
async def test_loop_that_is_blocked_right_behind_a_ping_does_not_cost_the_peer_its_life() -> None:
    async with asyncio.timeout(10), FaultServer() as server, connect(server) as client:

        def has_asked(count: int) -> bool:
            return bool(client._heartbeat._nonce >= count)

        def has_heard(count: int) -> bool:
            return bool(client.stats().rtt.count >= count)

        for count in range(1, 4):
            # A ping has left; for longer than its pong has, nothing can be read.
            await until(functools.partial(has_asked, count))
            time.sleep(3 * TIMEOUT)  # noqa: ASYNC251  # the fault of this test
            await until(functools.partial(has_heard, count))
        assert (client.epoch, server.accepted) == (1, 1)


async def test_reader_that_does_not_read_holds_the_peer_and_nobody_is_taken_for_dead() -> None:
    async with (
        asyncio.timeout(10),
        FaultServer() as server,
        connect(server, max_inbox_messages=100) as client,
    ):
        await client.subscribe("a")
        stream = client.events(PriceUpdate)
        for number in range(1000):
            # In all more than one read takes.
            server.publish(price(number, "x" * 4000), "a")
        await until(lambda: client.stats().inbox_messages >= 100)
        # Long enough for the heartbeat to have its say.
        await asyncio.sleep(3 * (INTERVAL + TIMEOUT))
        assert client.stats().state == "live"
        # Held in the socket and at the peer, not here.
        assert client.stats().inbox_messages < 1000
        items = [await anext(stream) for _ in range(1000)]
        assert [item.timestamp for item in items] == list(range(1000))
        assert client.stats().inbox_dropped == 0
        assert (client.epoch, server.accepted) == (1, 1)


class Answers:
    """How a server answers `Ping` messages, whose peers have no ping frames."""

    def __init__(self) -> None:
        self.pings = 0
        self.connections: set[int] = set()

    def on_message(self, connection: FaultConnection, message: str | bytes) -> None:
        if message == '{"type":"Ping"}':
            self.pings += 1
            self.connections.add(connection.number)


async def test_peer_that_answers_ping_messages_alone_is_alive_to_a_heartbeat_of_messages() -> None:
    answers = Answers()
    async with (
        asyncio.timeout(10),
        FaultServer([NoPong()], on_message=answers.on_message) as server,
        connect(server, heartbeat="message", ping_interval=0.05) as client,
        watched(client) as seen,
    ):
        await client.subscribe("a")
        await server.until(lambda: answers.pings >= 5)
        await until(lambda: client.stats().rtt.count >= 4)
        # The peer may ask as well.
        server.publish(Ping())
        await server.until(lambda: '{"type":"Pong"}' in server.received)
        # None of it is data.
        assert seen.words == []
        assert (client.epoch, answers.connections) == (1, {0})
        # And one that answers nothing is dead.
        server.then(Serve())
        server.go_silent()
        await seen.until_seen(("Reconnected", 2))
        assert isinstance(seen.of(Disconnected)[0].error, HeartbeatTimeout)
        await server.until(lambda: answers.connections == {0, 1})


# --- what a slow reader gets ---


async def received(client: WebSocketClient, count: int) -> None:
    """Wait until the client has read so many messages, acknowledgements not counted."""
    await until(lambda: client.stats().messages_received - client.stats().connects == count)


async def test_conflating_reader_gets_the_latest_of_each_key_and_all_events_in_their_place() -> None:
    async with (
        asyncio.timeout(10),
        FaultServer() as server,
        connect(server, slow=Conflate("output_mint", PriceUpdate)) as client,
    ):
        await client.subscribe("a")
        stream = client.events(PriceUpdate)
        for number in range(1, 101):
            server.publish(price(number, f"T{number % 4}"), "a")
        await received(client, 100)
        server.reset_all()
        await server.until(lambda: server.subscriptions.get(1) == ["a"])
        for number in range(101, 201):
            server.publish(price(number, f"T{number % 4}"), "a")
        await received(client, 200)
        await until(lambda: client.state == "live")
        items: list[Any] = []
        while len(items) < 11:
            items.append(await anext(stream))
        before = [item.timestamp for item in items[:4]]
        assert sorted(before) == [97, 98, 99, 100]
        assert [type(item).__name__ for item in items[4:6]] == ["Disconnected", "Gap"]
        after = [item for item in items[6:] if not isinstance(item, Reconnected)]
        assert sorted(item.timestamp for item in after) == [197, 198, 199, 200]
        assert client.stats().inbox_conflated == 200 - 8
        assert client.stats().inbox_dropped == 0


async def test_dropping_reader_gets_the_latest_messages_and_all_events() -> None:
    async with (
        asyncio.timeout(10),
        FaultServer() as server,
        connect(server, slow=DropOldest(), max_inbox_messages=10) as client,
    ):
        await client.subscribe("a")
        stream = client.events(PriceUpdate)
        for number in range(1, 101):
            server.publish(price(number), "a")
        await received(client, 100)
        server.reset_all()
        await until(lambda: client.epoch == 2 and client.state == "live")
        assert client.stats().inbox_dropped == 90
        items = [await anext(stream) for _ in range(13)]
        assert [item.timestamp for item in items[:10]] == list(range(91, 101))
        assert [type(item).__name__ for item in items[10:]] == ["Disconnected", "Gap", "Reconnected"]


async def test_every_item_has_the_time_at_which_it_came_off_the_socket() -> None:
    async with asyncio.timeout(10), FaultServer() as server, connect(server) as client:
        await client.subscribe("a")
        stream = client.events(PriceUpdate, with_timestamps=True)
        began = time.time_ns()
        server.publish(price(1), "a")
        await received(client, 1)
        read = time.time_ns()
        server.reset_all()
        await until(lambda: client.epoch == 2 and client.state == "live")
        items = [await anext(stream) for _ in range(4)]
        assert [type(item).__name__ for _, item in items] == ["PriceUpdate", "Disconnected", "Gap", "Reconnected"]
        moments = [moment for moment, _ in items]
        # Of the read, however late it is taken; and in the order of the stream.
        assert began <= moments[0] <= read
        assert moments == sorted(moments)
        server.publish(price(2), "a")
        assert (await anext(stream))[0] == client.last_received_ns
        assert client.stats().message_age.count >= 1
