"""A test of an adapter: `pytest examples/connect_and_receive_test.py`, or run it as a program."""

import asyncio

from websocket_utils import PriceUpdate, Subscribe, WebSocketClient, WebSocketServer, run

UPDATE = PriceUpdate("SOL", "USDC", 152.25, volume=10, timestamp=1_700_000_000_000_000_000)


async def main() -> PriceUpdate | None:
    """Connect to a server of our own on a free port, subscribe, and receive what it publishes."""
    async with asyncio.timeout(5), WebSocketServer.bind("127.0.0.1:0") as server:
        async with WebSocketClient.connect(server.url) as client:
            await client.subscribe("prices:SOL-USDC")
            # Retried until the subscription has arrived: a server doesn't answer a Subscribe.
            while not server.publish("prices:SOL-USDC", UPDATE):
                await asyncio.sleep(0)
            return await client.receive(PriceUpdate)


def test_published_update_is_received() -> None:
    assert run(main()) == UPDATE


if __name__ == "__main__":
    print(run(main()))
