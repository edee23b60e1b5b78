"""Publish prices to a Cloudflare Worker, and read them as a dashboard does.
`python examples/edge_publisher.py` runs the Worker of `edge/cloudflare` on this machine (`make edge` sets it up);
`python examples/edge_publisher.py wss://feed.example.workers.dev KEY` publishes to that one.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from websocket_utils import PriceUpdate, WebSocketClient, run
from websocket_utils.edge import EdgePublisher

WORKERS = Path(__file__).resolve().parents[1] / "edge" / "cloudflare"
WORKERD = WORKERS / "node_modules/@cloudflare/workerd-linux-64/bin/workerd"


async def main(url: str, key: str, count: int = 200) -> list[PriceUpdate | None]:
    async with (
        EdgePublisher.connect(f"{url}/publisher", name="example", key=key, timeout=10) as publisher,
        WebSocketClient.connect(f"{url}/ws", recover=True) as dashboard,
    ):
        await dashboard.subscribe("prices:SOL-USDC")
        for number in range(count):
            publisher.publish("prices:SOL-USDC", PriceUpdate("SOL", "USDC", 150 + number / 100, timestamp=number))
        await publisher.flush(timeout=10)
        print(f"{count} updates are on the disk of the edge, in {publisher.stats().batches} batches")
        return [await dashboard.receive(PriceUpdate) for _ in range(count)]


if __name__ == "__main__":
    url, key = sys.argv[1:] or ("ws://127.0.0.1:8787", "a-key-for-this-machine")
    if not (sys.argv[1:] or WORKERD.exists()):
        sys.exit("workerd is not there: `make edge` brings it")
    serve = [str(WORKERD), "serve", f"-ddisk={tempfile.mkdtemp()}", "-shttp=127.0.0.1:8787", "config.capnp", "config"]
    with subprocess.Popen(["true"] if sys.argv[1:] else serve, cwd=WORKERS, env={"PUBLISH_KEY": key}) as worker:
        try:
            print("the dashboard's last:", run(main(url, key))[-1])
        finally:
            worker.kill()
