"""A test of an adapter: `pytest examples/connect_and_receive_test.py`, or run it as a program."""

import asyncio

from websocket_utils import Ping, Pong, PriceUpdate, WebSocketClient, WebSocketServer, run

UPDATE = PriceUpdate("SOL", "USDC", 152.25, volume=10, timestamp=1_700_000_000_000_000_000)


async def main() -> PriceUpdate | None:
    """Connect to a server of our own on a free port, subscribe, and receive what it publishes."""
    async with (
        asyncio.timeout(5),
        WebSocketServer.bind("127.0.0.1:0") as server,
        WebSocketClient.connect(server.url) as client,
    ):
        await client.subscribe("prices:SOL-USDC")
        # Messages are taken in order: once the ping is answered, the subscription before it is in force.
        await client.send(Ping())
        assert await client.receive(Pong) == Pong()
        assert server.publish("prices:SOL-USDC", UPDATE).subscribers == 1
        return await client.receive(PriceUpdate)


def test_published_update_is_received() -> None:
    assert run(main()) == UPDATE


if __name__ == "__main__":
    print(run(main()))
