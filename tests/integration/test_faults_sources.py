"""Several servers of one stream: one after the other, one as a spare, or all at once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.integration.quiet import frozen, quiet  # noqa: F401  # fixtures, used by every test
from tests.integration.strategy import AT_ONCE, JSON, nothing_left, price, watched  # noqa: F401  # one is a fixture
from tests.support.waiting import until

from websocket_utils import Disconnected, Gap, PriceUpdate, Promoted, Reconnected, WebSocketClient
from websocket_utils.testing import FaultServer, Reset

pytestmark = pytest.mark.usefixtures("nothing_left")


def connect(*servers: FaultServer, **settings: Any) -> Any:
    return WebSocketClient.connect(
        [server.url for server in servers],
        **{"subprotocols": JSON, "reconnect": AT_ONCE, "max_reconnect_attempts": None, **settings},
    )


def merged(*servers: FaultServer, **settings: Any) -> Any:
    return connect(*servers, **{"key": ("input_mint", "timestamp"), "of": PriceUpdate, **settings})


def used_and_spare(client: WebSocketClient, first: FaultServer, second: FaultServer) -> tuple[FaultServer, FaultServer]:
    """Both are dialled at once, and the one that answers first is listened to."""
    return (first, second) if client.url == first.url else (second, first)


@contextlib.asynccontextmanager
async def servers() -> AsyncIterator[tuple[FaultServer, FaultServer]]:
    async with asyncio.timeout(10), FaultServer() as first, FaultServer() as second:
        yield first, second


# --- failover ---


async def test_next_server_takes_over_where_the_preferred_one_is_gone_and_hands_back_when_it_returns() -> None:
    async with (
        servers() as (first, second),
        connect(first, second, stable_after=0.2) as client,
        watched(client) as seen,
    ):
        await client.subscribe("a")
        assert second.accepted == 0
        first.refuse()
        first.reset_all()
        await seen.until_seen(("Reconnected", 2))
        assert client.url == second.url
        assert second.subscriptions == {0: ["a"]}
        second.publish(price(1), "a")
        await seen.until_seen(1)
        first.listen()
        # Stable, it looks for the preferred one, which is live before this one is left.
        await seen.until_seen(("Promoted", 3))
        assert client.url == first.url
        await first.until_subscribed("a")
        first.publish(price(2), "a")
        await seen.until_seen(2)
        assert seen.words == [
            ("Disconnected", 1),
            ("Gap", "a"),
            ("Reconnected", 2),
            1,
            ("Gap", "a"),
            ("Promoted", 3),
            ("Reconnected", 3),
            2,
        ]
        assert seen.of(Promoted)[0].source == first.url
        await second.until(lambda: second.close_codes == [1000])


async def test_servers_are_dialled_in_their_order_at_the_first_connect_too() -> None:
    async with servers() as (first, second):
        first.refuse()
        async with connect(first, second, timeout=5) as client:
            assert client.url == second.url
            assert (first.accepted, second.accepted) == (0, 1)


# --- standby ---


async def publish(*sources: FaultServer) -> None:
    number = 0
    while True:
        number += 1
        for server in sources:
            server.publish(price(number), "a")
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("how", ["reset", "drop", "close", "silence"])
async def test_spare_takes_over_with_nothing_lost_and_nothing_twice(how: str) -> None:
    async with (
        servers() as (first, second),
        merged(first, second, mode="standby", ping_interval=0.1, ping_timeout=0.1) as client,
        watched(client) as seen,
    ):
        await client.subscribe("a")
        for server in (first, second):
            await server.until_subscribed("a")
        used, spare = used_and_spare(client, first, second)
        publishing = asyncio.create_task(publish(used, spare))
        try:
            await seen.until(lambda: len(seen.numbers) >= 20)
            match how:
                case "reset":
                    used.strike(Reset())
                case "drop":
                    used.drop_all()
                case "close":
                    used.close_all(1001)
                case _:
                    used.go_silent()
            await seen.until(lambda: seen.of(Promoted))
            last = seen.numbers[-1]
            await seen.until(lambda: seen.numbers[-1] >= last + 20)
        finally:
            publishing.cancel()
        # Every number from the first one seen.
        assert seen.numbers == list(range(seen.numbers[0], seen.numbers[-1] + 1))
        (promoted,) = seen.of(Promoted)
        assert promoted.source == spare.url
        # In the turn of the loss: no timer and no dial lies between.
        assert promoted.gap_ns < 20_000_000
        for kind in (Disconnected, Gap, Reconnected):
            assert seen.of(kind) == []
        # The first one is a spare now, connected and subscribed.
        await used.until(lambda: used.accepted == 2)
        await used.until_subscribed("a")


async def test_promotion_is_done_in_the_turn_that_sees_the_loss() -> None:
    async with servers() as (first, second), merged(first, second, mode="standby") as client:
        await client.subscribe("a")
        await second.until_subscribed("a")
        await until(lambda: all(link.session is not None and link.session.is_restored for link in client._links))
        told: list[Any] = []
        client.on(Promoted, told.append)
        used, spare = used_and_spare(client, first, second)
        active = next(link.session for link in client._links if link.url == used.url)
        assert active is not None
        active.connection_lost(active.connection, None)
        assert [item.source for item in told] == [spare.url]
        assert client.is_connected
        await client.send("to the new one")
        await spare.received_at_least(2)
        assert spare.received[-1] == "to the new one"
        active.connection.abort()


async def test_no_spare_is_an_outage_that_the_first_one_back_ends() -> None:
    async with servers() as (first, second), merged(first, second, mode="standby") as client, watched(client) as seen:
        await client.subscribe("a")
        await second.until_subscribed("a")
        for server in (first, second):
            server.refuse()
            server.reset_all()
        await seen.until(lambda: seen.of(Disconnected))
        await until(lambda: not client.is_connected)
        second.listen()
        await seen.until(lambda: seen.of(Reconnected))
        await second.until_subscribed("a")
        second.publish(price(1), "a")
        await seen.until_seen(1)
        assert len(seen.of(Disconnected)) == len(seen.of(Reconnected)) == 1
        assert client.url == second.url


# --- race ---


async def test_race_delivers_each_message_once_and_is_blind_only_without_any_server() -> None:
    async with servers() as (first, second), merged(first, second, mode="race") as client, watched(client) as seen:
        await client.subscribe("a")
        for server in (first, second):
            await server.until_subscribed("a")
        for number in range(1, 11):
            # By turns the one and the other is ahead.
            for server in (first, second) if number % 2 else (second, first):
                server.publish(price(number), "a")
                await until(lambda: sum(leg.messages for leg in client.stats().legs) >= 1)
        await until(lambda: [leg.messages for leg in client.stats().legs] == [10, 10])
        await seen.until(lambda: len(seen.numbers) == 10)
        assert sorted(seen.numbers) == list(range(1, 11))
        legs = client.stats().legs
        assert [leg.source for leg in legs] == [first.url, second.url]
        assert sum(leg.wins for leg in legs) == sum(leg.duplicates for leg in legs) == 10
        assert all(leg.is_live for leg in legs)
        # One is gone: masked, and not told as a loss.
        first.refuse()
        first.reset_all()
        await until(lambda: [leg.is_live for leg in client.stats().legs] == [False, True])
        second.publish(price(11), "a")
        await seen.until_seen(11)
        assert seen.of(Disconnected) == []
        assert client.state == "live"
        # All are gone.
        second.refuse()
        second.reset_all()
        await seen.until(lambda: seen.of(Disconnected))
        assert not client.is_connected
        first.listen()
        await seen.until(lambda: seen.of(Reconnected))
        assert seen.of(Reconnected)[0].downtime_ns > 0
        await first.until_subscribed("a")
        first.publish(price(12), "a")
        await seen.until_seen(12)
        assert len(seen.numbers) == 12
