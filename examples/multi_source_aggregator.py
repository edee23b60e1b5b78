"""One stream out of several servers: `python examples/multi_source_aggregator.py ws://127.0.0.1:8080 ws://127.0.0.1:8081`."""

import asyncio
import sys
from collections.abc import Sequence

from websocket_utils import PriceUpdate, WebSocketClient, run

CHANNEL = "prices:SOL-USDC"
Stream = asyncio.Queue[tuple[str, PriceUpdate]]


async def pull(url: str, stream: Stream) -> None:
    """Move updates from one server to the stream."""
    async with WebSocketClient.connect(url) as client:
        await client.subscribe(CHANNEL)
        async for update in client.messages(PriceUpdate):
            await stream.put((url, update))


async def main(urls: Sequence[str], count: int = 100) -> dict[str, int]:
    """Print `count` updates of all servers in the order they arrive; says how many came from each."""
    # Bounded: when updates are not taken, reading pauses, and the servers notice.
    stream: Stream = asyncio.Queue(maxsize=1000)
    sources = dict.fromkeys(urls, 0)
    async with asyncio.TaskGroup() as group:
        pulls = [group.create_task(pull(url, stream)) for url in urls]
        for _ in range(count):
            url, update = await stream.get()
            sources[url] += 1
            print(f"{url}  {update.price:.4f}")
        for task in pulls:
            task.cancel()
    return sources


if __name__ == "__main__":
    run(main(sys.argv[1:]))
