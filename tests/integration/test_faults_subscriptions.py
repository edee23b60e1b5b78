"""Subscriptions that are refused, never answered, or answered and then silent: told, and the socket replaced."""

import asyncio
from typing import Any

import pytest
from tests.integration.quiet import frozen, quiet  # noqa: F401  # fixtures, used by every test
from tests.integration.strategy import AT_ONCE, JSON, nothing_left, price, watched  # noqa: F401  # one is a fixture

from websocket_utils import (
    AccountUpdate,
    Disconnected,
    PriceUpdate,
    Restored,
    Stale,
    StaleData,
    SubscribeRejected,
    SubscribeTimeout,
    SubscriptionLost,
    WebSocketClient,
)
from websocket_utils.testing import AckThenSilence, FaultServer, NeverAck, RejectSubscriptions, Serve

pytestmark = pytest.mark.usefixtures("nothing_left")

# Long beside what a busy machine takes for a turn, short beside the test.
STALE_AFTER = 0.2


def connect(server: FaultServer, **settings: Any) -> Any:
    return WebSocketClient.connect(
        server.url, **{"subprotocols": JSON, "reconnect": AT_ONCE, "max_reconnect_attempts": None, **settings}
    )


async def test_refused_channel_reaches_who_subscribes_and_is_not_asked_for_again() -> None:
    refusal = RejectSubscriptions(code=4404, reason="no such market", channels=frozenset({"bad"}))
    async with (
        asyncio.timeout(10),
        FaultServer([refusal]) as server,
        connect(server) as client,
        watched(client) as seen,
    ):
        with pytest.raises(SubscribeRejected) as caught:
            await client.subscribe("good", "bad")
        assert (caught.value.channel, caught.value.code, caught.value.reason) == ("bad", 4404, "no such market")
        # All or nothing: who was refused one of them holds none of them.
        assert client.channels == ()
        await client.subscribe("good")
        server.reset_all()
        await seen.until_seen(("Reconnected", 2))
        assert server.subscriptions[1] == ["good"]
        # Who was told by an exception is told by no event.
        assert seen.of(SubscriptionLost) == []


async def test_channel_refused_at_its_renewal_is_told_as_lost_and_the_others_go_on() -> None:
    refusal = RejectSubscriptions(channels=frozenset({"b"}))
    async with (
        asyncio.timeout(10),
        FaultServer([Serve(), refusal, Serve()]) as server,
        connect(server) as client,
        watched(client) as seen,
    ):
        await client.subscribe("a", "b", "c")
        for epoch in (2, 3):
            server.reset_all()
            await seen.until_seen(("Reconnected", epoch))
        (lost,) = seen.of(SubscriptionLost)
        assert lost.channel == "b"
        assert isinstance(lost.error, SubscribeRejected)
        assert seen.words.index(("SubscriptionLost", "b")) < seen.words.index(("Reconnected", 2))
        assert client.channels == ("a", "c")
        # Not asked for again: the server had its reasons.
        assert server.subscriptions == {0: ["a", "b", "c"], 1: ["a", "b", "c"], 2: ["a", "c"]}


async def test_server_that_never_acknowledges_is_replaced_and_subscribing_goes_on() -> None:
    async with (
        asyncio.timeout(10),
        FaultServer([NeverAck(), Serve()]) as server,
        connect(server, subscribe_timeout=0.1) as client,
        watched(client) as seen,
    ):
        await client.subscribe("a")
        error = seen.of(Disconnected)[0].error
        assert isinstance(error, SubscribeTimeout)
        assert error.channels == ("a",)
        assert server.subscriptions == {0: ["a"], 1: ["a"]}
        await seen.until_seen(("Reconnected", 2))


async def test_data_of_a_channel_is_as_good_as_its_acknowledgement() -> None:
    async with (
        asyncio.timeout(10),
        FaultServer([NeverAck()]) as server,
        connect(server, subscribe_timeout=1) as client,
    ):
        subscribing = asyncio.ensure_future(client.subscribe("a", stale_after=STALE_AFTER, of=PriceUpdate))
        await server.until_subscribed("a")
        server.publish(price(1), "a")
        await subscribing
        assert client.epoch == 1


async def test_channel_that_is_acknowledged_and_then_silent_is_stale_and_its_socket_replaced() -> None:
    async with (
        asyncio.timeout(10),
        FaultServer([AckThenSilence(), Serve()]) as server,
        connect(server, ping_interval=0.05) as client,
        watched(client) as seen,
    ):
        loop = asyncio.get_running_loop()
        await client.subscribe("a", stale_after=STALE_AFTER)
        began = loop.time()
        server.publish(price(1))
        await seen.until_seen(("Stale", "a"))
        # Pings are answered all the while: they are no data.
        assert loop.time() - began >= STALE_AFTER - 0.01
        assert seen.of(Stale)[0].age >= STALE_AFTER
        await seen.until_seen(("Reconnected", 2))
        await server.until_subscribed("a")
        server.publish(price(2))
        await seen.until_seen(("Restored", "a"))
        error = seen.of(Disconnected)[0].error
        assert isinstance(error, StaleData)
        assert error.channel == "a"
        words = [word for word in seen.words if word != 2]
        assert words == [("Stale", "a"), ("Disconnected", 1), ("Gap", "a"), ("Reconnected", 2), ("Restored", "a")]
        assert seen.of(Restored)[0].silence >= STALE_AFTER


async def test_channel_that_stays_silent_is_told_once_and_each_of_its_sockets_replaced() -> None:
    async with (
        asyncio.timeout(10),
        FaultServer() as server,
        connect(server, stable_after=10) as client,
        watched(client) as seen,
    ):
        await client.subscribe("a", stale_after=0.05)
        await server.accepted_at_least(4)
        assert [type(item.error) for item in seen.of(Disconnected)][:3] == [StaleData] * 3
        assert len(seen.of(Stale)) == 1
        assert seen.of(Restored) == []


async def test_only_a_channels_own_data_keeps_it_fresh() -> None:
    async with (
        asyncio.timeout(10),
        FaultServer() as server,
        connect(server, when_stale="tell", ping_interval=0.05) as client,
        watched(client, PriceUpdate | AccountUpdate) as seen,
    ):
        await client.subscribe("usdc", stale_after=STALE_AFTER, of=PriceUpdate, where={"output_mint": "USDC"})
        await client.subscribe("usdt", stale_after=STALE_AFTER, of=PriceUpdate, where={"output_mint": "USDT"})
        await client.subscribe("accounts", stale_after=STALE_AFTER, of=AccountUpdate)

        async def publish() -> None:
            number = 0
            while True:
                number += 1
                server.publish(price(number, "USDC"))
                server.publish(AccountUpdate("x", number, 1, timestamp=1))
                await asyncio.sleep(STALE_AFTER / 10)

        publishing = asyncio.create_task(publish())
        try:
            await seen.until_seen(("Stale", "usdt"))
            assert client.state == "stale"
            server.publish(price(0, "USDT"))
            await seen.until_seen(("Restored", "usdt"))
            assert client.state == "live"
        finally:
            publishing.cancel()
        assert {item.channel for item in (*seen.of(Stale), *seen.of(Restored))} == {"usdt"}
        # Told, and nothing done about it.
        assert server.accepted == 1


async def test_watch_that_could_never_see_anything_is_refused_and_leaves_nothing_watched() -> None:
    async with (
        asyncio.timeout(10),
        FaultServer() as server,
        connect(server, when_stale="tell") as client,
        watched(client) as seen,
    ):
        with pytest.raises(ValueError, match="no message has a field 'quote'; there are input_mint, output_mint"):
            await client.subscribe("a", stale_after=0.01, of=PriceUpdate, where={"quote": "USDC"})
        with pytest.raises(TypeError):
            await client.subscribe("b", stale_after=0.01, of=PriceUpdate, where=5)
        with pytest.raises(ValueError, match="stale_after"):
            await client.subscribe("c", stale_after=0, of=PriceUpdate)
        assert client.channels == ()
        await client.subscribe("d", stale_after=0.05, of=PriceUpdate)
        await seen.until_seen(("Stale", "d"))
        assert seen.words == [("Stale", "d")]
