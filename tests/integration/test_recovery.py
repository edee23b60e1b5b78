"""Connections killed over and over: nothing is lost or doubled while history covers it, and told where it does not."""

import asyncio
from typing import Any

import pytest
from tests.integration.conftest import Network
from tests.integration.strategy import AT_ONCE, Seen, price, watched

from websocket_utils import (
    Conflate,
    Disconnected,
    DropOldest,
    Gap,
    Lagged,
    Namespace,
    PriceUpdate,
    Reconnected,
    WebSocketClient,
    WebSocketServer,
)
from websocket_utils.testing import ChaosProxy

pytestmark = pytest.mark.usefixtures("loop_errors")

KEPT = Namespace("kept", history=100_000, history_size=64 * 1024 * 1024)
SHORT = Namespace("short", history=3)
CODECS = pytest.mark.parametrize("codec", ["json", "msgpack", "protobuf"])


def connect(url: str, codec: Any = "json", **settings: Any) -> Any:
    given = {"recover": True, "reconnect": AT_ONCE, "max_reconnect_attempts": None, **settings}
    return WebSocketClient.connect(url, codec=codec, **given)


async def publish(server: WebSocketServer, channels: list[str], first: int, last: int, a_turn: int = 50) -> None:
    """Publish messages with these numbers, to one channel after the other."""
    for number in range(first, last + 1):
        server.publish(channels[number % len(channels)], price(number, channels[number % len(channels)]))
        if number % a_turn == 0:
            await asyncio.sleep(0)


async def until_last(seen: Seen, number: int) -> None:
    await seen.until(lambda: number in set(seen.numbers[-50:]), seconds=60)


@CODECS
@pytest.mark.one_loop
async def test_nothing_is_lost_or_doubled_while_connections_are_killed_over_and_over(
    plain: Network, codec: str
) -> None:
    count = 20_000
    channels = ["kept:a", "kept:b", "kept:c"]
    async with (
        asyncio.timeout(90),
        plain.bind(namespaces=[KEPT]) as server,
        ChaosProxy(server.url, seed=6) as proxy,
        connect(proxy.url, codec) as client,
        watched(client) as seen,
    ):
        # One by its name, the others by a pattern; one by both.
        await client.subscribe("kept:a", "kept:b*", "kept:*")
        proxy.kill_randomly(60_000)
        await publish(server, channels, 1, count)
        await seen.until(lambda: len(seen.numbers) >= count - 2000, seconds=60)
        proxy.kill_randomly(None)
        await until_last(seen, count)
        reconnects = seen.of(Reconnected)
        assert len(reconnects) >= 10
        assert all(one.recovered for one in reconnects)
        assert seen.of(Gap) == []
        for number, channel in enumerate(channels):
            told = [one.timestamp for one in seen.items if isinstance(one, PriceUpdate) and one.output_mint == channel]
            assert told == [one for one in range(1, count + 1) if one % 3 == number]


async def test_exchanges_under_load_lose_and_double_nothing(plain: Network) -> None:
    async with (
        asyncio.timeout(60),
        plain.bind(namespaces=[KEPT]) as server,
        connect(server.url) as client,
        watched(client) as seen,
    ):
        # More names than one message may have: their answers come one after the other, with data between.
        channels = [f"kept:{number}" for number in range(600)]
        await client.subscribe(*channels)
        exchanges = number = 0
        exchange = asyncio.ensure_future(client.reconnect())
        while exchanges < 4:
            await publish(server, channels, number + 1, number + 20)
            number += 20
            await asyncio.sleep(0)
            if exchange.done():
                exchanges += exchange.result()
                exchange = asyncio.ensure_future(client.reconnect())
        await exchange
        await until_last(seen, number)
        assert sorted(seen.numbers) == list(range(1, number + 1))
        assert seen.of(Gap) == seen.of(Disconnected) == []
        assert all(one.recovered for one in seen.of(Reconnected))


@CODECS
async def test_history_too_short_is_a_gap_with_its_numbers_and_then_the_latest(plain: Network, codec: str) -> None:
    async with (
        asyncio.timeout(20),
        plain.bind(namespaces=[SHORT]) as server,
        ChaosProxy(server.url) as proxy,
        connect(proxy.url, codec) as client,
        watched(client) as seen,
    ):
        await client.subscribe("short:a")
        await publish(server, ["short:a"], 1, 5)
        await seen.until_seen(5)
        proxy.down()
        await seen.until_seen(("Disconnected", 1))
        await publish(server, ["short:a"], 6, 20)
        proxy.up()
        await seen.until_seen(20, ("Reconnected", 2))
        await publish(server, ["short:a"], 21, 22)
        await seen.until_seen(22)
        (told,) = seen.of(Reconnected)
        assert not told.recovered
        assert seen.numbers == [1, 2, 3, 4, 5, 20, 21, 22]
        behind = seen.items[seen.items.index(seen.of(Disconnected)[0]) :]
        assert [one for one in behind if not isinstance(one, Reconnected)] == [
            behind[0], Gap("short:a", 5), *(price(number, "short:a") for number in (20, 21, 22)),
        ]  # fmt: skip


async def test_history_that_covers_it_exactly_is_recovered(plain: Network) -> None:
    async with (
        asyncio.timeout(20),
        plain.bind(namespaces=[SHORT]) as server,
        ChaosProxy(server.url) as proxy,
        connect(proxy.url) as client,
        watched(client) as seen,
    ):
        await client.subscribe("short:a")
        await publish(server, ["short:a"], 1, 5)
        await seen.until_seen(5)
        proxy.down()
        await seen.until_seen(("Disconnected", 1))
        await publish(server, ["short:a"], 6, 8)
        proxy.up()
        await seen.until_seen(8, ("Reconnected", 2))
        assert seen.of(Reconnected)[0].recovered
        assert seen.numbers == list(range(1, 9))
        assert seen.of(Gap) == []


async def test_server_restarted_is_another_epoch_a_gap_and_not_recovered(plain: Network) -> None:
    async with asyncio.timeout(20):
        first = await plain.bind(namespaces=[KEPT])
        async with ChaosProxy(first.url) as proxy, connect(proxy.url) as client, watched(client) as seen:
            await client.subscribe("kept:a", "kept:quiet")
            await publish(first, ["kept:a"], 1, 3)
            await seen.until_seen(3)
            proxy.down()
            port = int(first.url.rstrip("/").rpartition(":")[2])
            await first.close()
            async with WebSocketServer.bind(f"127.0.0.1:{port}", namespaces=[KEPT]) as second:
                # As many as before: the numbers alone would look as if nothing had happened.
                await publish(second, ["kept:a"], 1, 3)
                proxy.up()
                await seen.until_seen(("Reconnected", seen.of(Disconnected)[-1].epoch + 1))
                await publish(second, ["kept:a"], 4, 4)
                await seen.until_seen(4)
                assert not seen.of(Reconnected)[0].recovered
                assert seen.of(Gap) == [Gap("kept:a", 3), Gap("kept:quiet", 0)]
                assert seen.numbers == [1, 2, 3, 3, 4]


async def test_channel_of_a_pattern_that_came_into_being_in_the_outage_is_delivered_or_told(plain: Network) -> None:
    async with (
        asyncio.timeout(20),
        plain.bind(namespaces=[KEPT]) as server,
        ChaosProxy(server.url) as proxy,
        connect(proxy.url) as client,
        watched(client) as seen,
    ):
        await client.subscribe("kept:*")
        await publish(server, ["kept:a"], 1, 3)
        await seen.until_seen(3)
        proxy.down()
        await seen.until_seen(("Disconnected", 1))
        await publish(server, ["kept:new"], 11, 11)
        await publish(server, ["kept:newer"], 21, 23)
        proxy.up()
        await seen.until_seen(("Reconnected", 2), 11, 23)
        missing = {21, 22} - set(seen.numbers)
        assert seen.of(Gap) == ([Gap("kept:newer")] if missing else [])
        assert seen.of(Reconnected)[0].recovered is not bool(missing)


@pytest.mark.parametrize("channel", ["latest:a", "few:a", "asked:a"])
async def test_slow_client_is_told_what_it_did_not_get_before_its_next_data(plain: Network, channel: str) -> None:
    namespaces = [Namespace("latest", slow=Conflate()), Namespace("few", slow=DropOldest(10))]
    count = 15_000
    async with (
        asyncio.timeout(18),
        plain.bind(namespaces=namespaces, max_lag=1 << 26) as server,
        connect(server.url, max_inbox=65536) as client,
    ):
        await client.subscribe(channel, slow=DropOldest(5) if channel == "asked:a" else None)
        # Nobody takes anything: 30 MB are more than inbox and sockets hold, and then it is the server's turn.
        for number in range(1, count + 1):
            server.publish(channel, PriceUpdate("x" * 2000, "", 1.0, timestamp=number))
            if number % 20 == 0:
                await asyncio.sleep(0)
        async with watched(client) as seen:
            await until_last(seen, count)
            lagged = seen.of(Lagged)
            assert lagged
            assert len(seen.numbers) + sum(one.count for one in lagged) == count
            assert seen.of(Gap) == []
            assert client.stats().lagged == sum(one.count for one in lagged)
            # Each stands in front of the first message that is behind what it names.
            last = lag_until = 0
            for one in seen.items:
                if isinstance(one, Lagged):
                    assert one.channel == channel
                    assert last < one.first <= one.last
                    lag_until = one.last
                else:
                    assert one.timestamp > last
                    assert one.timestamp == last + 1 or one.timestamp - 1 <= lag_until
                    last = one.timestamp
