"""A server: one call sends a typed update to every strategy that subscribed to its channel.

Run it, then look at it: `websocket-utils tail ws://127.0.0.1:8080 --channels prices:SOL-USDC`.
"""

import asyncio
import random
import sys
import time
from collections.abc import Callable

from websocket_utils import PriceUpdate, WebSocketServer, run


async def main(address: str, ready: Callable[[str], object] = print) -> None:
    """Publish a wandering price each millisecond until cancelled; `ready` is given the server's URL."""
    price = 150.0
    async with WebSocketServer.bind(address) as server:
        ready(server.url)
        while True:
            price *= 1.0 + random.gauss(0.0, 1e-4)
            update = PriceUpdate("SOL", "USDC", price, volume=1_000_000, timestamp=time.time_ns())
            server.publish("prices:SOL-USDC", update)
            await asyncio.sleep(0.001)


if __name__ == "__main__":
    try:
        run(main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8080"))
    except KeyboardInterrupt:
        print("stopped")
