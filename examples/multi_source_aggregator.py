"""One stream out of several servers: `python examples/multi_source_aggregator.py ws://127.0.0.1:8080 ws://127.0.0.1:8081`."""

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack

from websocket_utils import Aggregator, PriceUpdate, Sourced, WebSocketClient, run

CHANNEL = "prices:SOL-USDC"


async def main(urls: Sequence[str], count: int = 100) -> dict[str, int]:
    """Print `count` updates of all servers in the order they arrive; says how many came from each."""
    updates: Counter[str] = Counter()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(WebSocketClient.connect(url)) for url in urls]
        for client in clients:
            await client.subscribe(CHANNEL)
        merged = await stack.enter_async_context(Aggregator(clients))
        async for item in merged.events(PriceUpdate):
            match item:
                case Sourced(source, PriceUpdate(price=price)):
                    print(f"{source}  {price:.4f}")
                    updates[source] += 1
                case _:
                    # A connection lost or restored, a source that failed: the others go on meanwhile.
                    print(item)
            if updates.total() == count:
                break
    return updates


if __name__ == "__main__":
    run(main(sys.argv[1:]))
