"""A page of live prices: `python examples/browser_dashboard.py [--seconds N]`, then open the URL that it prints.

The page is edge/browser/example.html. `make edge` builds the module that it uses.
"""

import argparse
import asyncio
import contextlib
import functools
import http.server
import random
import threading
import time
from pathlib import Path

from websocket_utils import Conflate, Namespace, PriceUpdate, WebSocketServer, run

FOLDER = Path(__file__).resolve().parents[1] / "edge" / "browser"
PRICES = {"SOL": 150.0, "JUP": 0.8, "JTO": 2.1}


async def main(seconds: float | None) -> None:
    """Serve the page, and publish wandering prices, until so many seconds have passed or it is cancelled."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=FOLDER)
    namespace = Namespace("prices", slow=Conflate(), history=100)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as pages, contextlib.suppress(TimeoutError):
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        async with asyncio.timeout(seconds), WebSocketServer.bind("127.0.0.1:0", namespaces=[namespace]) as server:
            print(f"http://127.0.0.1:{pages.server_port}/example.html?feed={server.url}", flush=True)
            while True:
                name = random.choice(list(PRICES))
                PRICES[name] *= 1.0 + random.gauss(0.0, 1e-4)
                server.publish(f"prices:{name}-USDC", PriceUpdate(name, "USDC", PRICES[name], 0, time.time_ns()))
                await asyncio.sleep(0.01)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, help="end by itself after so long")
    run(main(parser.parse_args().seconds))
