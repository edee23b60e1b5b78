"""A strategy: subscribe to prices, get them typed, act on them.

Start a feed first: `websocket-utils feed --host 127.0.0.1`, then `python examples/price_feed_consumer.py`.
"""

import sys

from websocket_utils import PriceUpdate, WebSocketClient, run

CHANNEL, THRESHOLD = "prices:SOL-USDC", 0.001


async def main(url: str, channel: str = CHANNEL, signals: int = 10) -> list[str]:
    """Collect `signals` signals: each time the price has moved by THRESHOLD since the last one."""
    seen: list[str] = []
    async with WebSocketClient.connect(url) as client:
        await client.subscribe(channel)
        reference: float | None = None
        # All updates that one read brought come together, so that a decision is made on the newest.
        async for batch in client.batches(PriceUpdate):
            price = batch[-1].price
            if reference is None:
                reference = price
            elif abs(move := price / reference - 1.0) >= THRESHOLD:
                seen.append(f"{'buy' if move < 0 else 'sell'} at {price:.4f} ({move:+.2%})")
                print(seen[-1])
                reference = price
                if len(seen) == signals:
                    break
    return seen


if __name__ == "__main__":
    run(main(sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8080"))
