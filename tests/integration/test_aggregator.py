"""Clients of several servers as one stream."""

import asyncio
import itertools
from collections import Counter

from websocket_utils import (
    Aggregator,
    Disconnected,
    PriceUpdate,
    ReconnectGaveUp,
    Sourced,
    SourceFailed,
    WebSocketClient,
    WebSocketServer,
)

SECONDS = 10
CHANNEL = "prices:SOL-USDC"


async def publish(server: WebSocketServer) -> None:
    for volume in itertools.count():
        server.publish(CHANNEL, PriceUpdate("SOL", "USDC", 1.0, volume, 0))
        await asyncio.sleep(0.001)


async def test_server_that_goes_is_told_and_the_other_goes_on() -> None:
    async with (
        asyncio.timeout(SECONDS),
        WebSocketServer.bind("127.0.0.1:0") as stays,
        WebSocketServer.bind("127.0.0.1:0") as goes,
        WebSocketClient.connect(stays.url) as first,
        WebSocketClient.connect(goes.url, max_reconnect_attempts=1) as second,
    ):
        for client in (first, second):
            await client.subscribe(CHANNEL)
        feeds = [asyncio.create_task(publish(server)) for server in (stays, goes)]
        updates: Counter[str] = Counter()
        volumes: dict[str, list[int]] = {"stays": [], "goes": []}
        told: list[object] = []
        async for item in Aggregator({"stays": first, "goes": second}).events(PriceUpdate):
            match item:
                case Sourced(source, PriceUpdate(volume=volume)):
                    updates[source] += 1
                    volumes[source].append(volume)
                    if source == "goes" and updates[source] == 20:
                        feeds[1].cancel()
                        await goes.close()
                case Sourced(source, event):
                    told.append((source, type(event)))
                case SourceFailed(source, error, is_over):
                    assert is_over
                    told.append((source, type(error)))
                    updates.clear()
            if ("goes", ReconnectGaveUp) in told and updates["stays"] == 20:
                break
        feeds[0].cancel()
    assert told == [("goes", Disconnected), ("goes", ReconnectGaveUp)]
    assert all(numbers == sorted(set(numbers)) for numbers in volumes.values())


async def test_callbacks_of_all_clients_are_given_their_source() -> None:
    async with (
        asyncio.timeout(SECONDS),
        WebSocketServer.bind("127.0.0.1:0") as server,
        WebSocketClient.connect(server.url) as first,
        WebSocketClient.connect(server.url) as second,
    ):
        seen: Counter[str] = Counter()
        both = asyncio.Event()

        def count(source: str, update: PriceUpdate) -> None:
            seen[source] += int(update.price)
            if len(seen) == 2:
                both.set()

        Aggregator([first, second]).on(PriceUpdate, count)
        for client in (first, second):
            await client.subscribe(CHANNEL)
        feed = asyncio.create_task(publish(server))
        await both.wait()
        feed.cancel()
    assert set(seen) == {server.url, f"{server.url} #2"}
