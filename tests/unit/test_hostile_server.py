"""What a server can do to a client with correct messages: it costs the client no more than was allowed."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from websocket_utils import (
    Disconnected,
    Ping,
    PriceUpdate,
    SubscribeTimeout,
    SubscriptionRejected,
    WebSocketClient,
)
from websocket_utils.testing import MemoryNetwork, NeverAck, Serve, SlowReader, VirtualClock

URL = "ws://exchange.test/feed"
PRICE = PriceUpdate("SOL", "USDC", 150.0, timestamp=1)
OURS = ["websocket-utils.json"]


def run(main: Coroutine[Any, Any, None]) -> None:
    VirtualClock().run(main)


def test_server_that_never_acknowledges_is_left_after_subscribe_timeout() -> None:
    async def main() -> None:
        async with asyncio.timeout(60), MemoryNetwork() as network:
            server = network.serve(URL, [NeverAck(), Serve()])
            async with WebSocketClient.connect(URL, subprotocols=OURS, subscribe_timeout=3) as client:
                lost: list[BaseException] = []
                client.on(Disconnected, lambda event: lost.append(event.error))
                begin = asyncio.get_running_loop().time()
                await client.subscribe("a", "b")  # answered for by the second connection
                assert 3 <= asyncio.get_running_loop().time() - begin < 4
                assert [type(error) for error in lost] == [SubscribeTimeout]
                assert server.subscriptions == {0: ["a", "b"], 1: ["a", "b"]}

    run(main())


def test_flood_of_refusals_of_what_nobody_asked_for_keeps_nothing_and_changes_nothing() -> None:
    async def main() -> None:
        async with asyncio.timeout(60), MemoryNetwork() as network:
            server = network.serve(URL, [NeverAck()])
            async with WebSocketClient.connect(URL, subprotocols=OURS, subscribe_timeout=10) as client:
                subscribing = asyncio.create_task(client.subscribe("a"))
                await server.until(lambda: server.subscriptions)
                for number in range(1000):
                    server.publish(SubscriptionRejected([f"x{number}"], 1008, "no"))
                server.publish(PRICE)
                # Each was looked at, and taken out: what comes behind them is the first to be received.
                assert await client.receive(PriceUpdate) == PRICE
                assert client.channels == ("a",)
                assert (client.stats().inbox_messages, client.state) == (0, "live")
                assert not subscribing.done()
                subscribing.cancel()
                await asyncio.gather(subscribing, return_exceptions=True)

    run(main())


def test_flood_of_ping_messages_is_answered_within_max_send_queue() -> None:
    async def main() -> None:
        async with asyncio.timeout(60), MemoryNetwork() as network:
            server = network.serve(URL, [SlowReader(0)])
            # Its answers meet a server that reads nothing.
            async with WebSocketClient.connect(URL, max_send_queue=4096, heartbeat="message") as client:
                await server.opened_at_least(1)
                for _ in range(100):
                    for _ in range(1000):
                        server.publish(Ping())
                    await asyncio.sleep(0.01)
                server.publish(PRICE)
                assert await client.receive(PriceUpdate) == PRICE
                stats = client.stats()
                assert 4096 - 64 < stats.send_queue_bytes <= 4096
                session = client._links[0].session
                assert session is not None
                assert 1000 < session.own.counted()[0] < 100_000
                assert (stats.connects, stats.handler_errors) == (1, 0)

    run(main())


def test_flood_of_ping_messages_is_no_end_of_a_peer_that_reads() -> None:
    async def main() -> None:
        async with asyncio.timeout(60), MemoryNetwork() as network:
            server = network.serve(URL)
            async with WebSocketClient.connect(URL):
                await server.opened_at_least(1)
                for _ in range(1000):
                    server.publish(Ping())
                await server.received_at_least(1000)
                assert set(server.received) == {'{"type":"Pong"}'}

    run(main())
