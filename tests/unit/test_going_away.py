"""What a client does when its server says that it goes away."""

import asyncio
import math
from collections.abc import AsyncIterator

import pytest
from tests.support.waiting import until

from websocket_utils import Disconnected, GoAway, PriceUpdate, Reconnected, WebSocketClient
from websocket_utils.testing import MemoryNetwork, MemoryPeer, MemoryServer

URL = "ws://exchange.test/"
UPDATE = PriceUpdate("SOL", "USDC", 1.0, timestamp=1)
OURS = ["websocket-utils.json"]

pytestmark = pytest.mark.virtual_clock


@pytest.fixture
async def network() -> AsyncIterator[MemoryNetwork]:
    async with MemoryNetwork(latency=0.001) as network:
        yield network


async def taken(server: MemoryServer) -> MemoryPeer:
    peer = await server.peer()
    await peer.acknowledge()
    return peer


def seen_by(client: WebSocketClient) -> list[object]:
    seen: list[object] = []

    for kind in (Reconnected, Disconnected, GoAway):
        client.on(kind, seen.append)
    return seen


async def subscribed(server: MemoryServer, client: WebSocketClient) -> MemoryPeer:
    serving = asyncio.create_task(taken(server))
    await client.subscribe("prices")
    return await serving


async def test_successor_is_live_at_the_time_that_the_server_named_and_the_strategy_sees_no_gap_in_time(
    network: MemoryNetwork,
) -> None:
    server = network.listen(URL)
    async with asyncio.timeout(3600), WebSocketClient.connect(URL, subprotocols=OURS) as client:
        seen = seen_by(client)
        old = await subscribed(server, client)
        told = asyncio.get_running_loop().time()
        old.send(GoAway(3.0, "service restart"))
        new = await taken(server)
        assert server.dials[1] - told == pytest.approx(3.0, abs=0.01)
        assert (await old.until_closed()).received is not None
        assert [(type(one), getattr(one, "downtime_ns", None)) for one in seen] == [(Reconnected, 0)]
        assert client.epoch == 2
        new.send(UPDATE)
        assert await client.receive() == UPDATE


async def test_refused_successor_is_tried_again_and_the_old_connection_is_used_meanwhile(
    network: MemoryNetwork,
) -> None:
    server = network.listen(URL)
    async with asyncio.timeout(3600), WebSocketClient.connect(URL, subprotocols=OURS) as client:
        seen = seen_by(client)
        old = await subscribed(server, client)
        network.refuse(URL)
        old.send(GoAway(0.5))
        await asyncio.sleep(2)
        old.send(UPDATE)
        assert await client.receive() == UPDATE
        network.restore(URL)
        await taken(server)
        await old.until_closed()
        assert [type(one) for one in seen] == [Reconnected]


async def test_connection_that_is_closed_before_its_successor_is_there_is_dialled_as_ever(
    network: MemoryNetwork,
) -> None:
    server = network.listen(URL)
    async with asyncio.timeout(3600), WebSocketClient.connect(URL, subprotocols=OURS) as client:
        seen = seen_by(client)
        old = await subscribed(server, client)
        old.send(GoAway(30.0))
        old.close(1012, "service restart")
        await taken(server)
        await until(lambda: client.is_connected)
        # Nothing is left of the notice: the new connection stays.
        await asyncio.sleep(60)
        assert [type(one) for one in seen] == [Disconnected, Reconnected]
        assert client.epoch == 2


async def test_notice_of_another_endpoint_is_followed_to_the_next_one_when_the_first_refuses(
    network: MemoryNetwork,
) -> None:
    server, other = network.listen(URL), network.listen("ws://other.test/")
    async with asyncio.timeout(3600), WebSocketClient.connect([URL, "ws://other.test/"], subprotocols=OURS) as client:
        old = await subscribed(server, client)
        network.refuse(URL)
        old.send(GoAway(0.0))
        await taken(other)
        await until(lambda: client.epoch == 2)
        assert client.url == "ws://other.test/"


@pytest.mark.parametrize("after", [-1.0, math.inf, math.nan, 1e300])
async def test_time_that_is_none_does_no_harm(network: MemoryNetwork, after: float) -> None:
    server = network.listen(URL)
    async with asyncio.timeout(3600), WebSocketClient.connect(URL, codec="msgpack") as client:
        old = await subscribed(server, client)
        old.send(GoAway(after))
        await taken(server)
        assert server.dials[1] - server.dials[0] < 301
        await old.until_closed()


async def test_repeated_notices_are_one(network: MemoryNetwork) -> None:
    server = network.listen(URL)
    async with asyncio.timeout(3600), WebSocketClient.connect(URL, subprotocols=OURS) as client:
        old = await subscribed(server, client)
        for _ in range(100):
            old.send(GoAway(1.0))
        await asyncio.sleep(0.5)
        assert len(client._links[0]._timers) == 1
        await taken(server)
        await old.until_closed()
        assert len(server.dials) == 2
        assert client.stats().unhandled == 0


async def test_server_without_our_subprotocol_says_nothing_by_it(network: MemoryNetwork) -> None:
    server = network.listen(URL)
    async with asyncio.timeout(3600), WebSocketClient.connect(URL) as client:
        seen = seen_by(client)
        peer = await server.peer()
        peer.send(GoAway(0.0))
        await asyncio.sleep(60)
        # A message like any other.
        assert seen == [GoAway(0.0)]
        assert len(server.dials) == 1
