"""Functions as they run on Vercel: one issues a token for a client, another publishes to it through the server's door.

Needs what `make edge` brings. Functions run here as `vercel dev` runs them; nothing leaves this machine.
"""

import asyncio
import json
import os
import urllib.request
from asyncio.subprocess import PIPE
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

from websocket_utils import Namespace, PriceUpdate, TokenAuthentication, WebSocketClient, WebSocketServer, run

PROJECT = Path(__file__).resolve().parents[1] / "edge" / "vercel"
CHANNEL = "prices:SOL-USDC"


def call(url: str, secret: str, body: dict[str, Any]) -> dict[str, Any]:
    """What a program of yours does to call a function."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Authorization": f"Bearer {secret}"})
    with urllib.request.urlopen(request, timeout=10) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


async def main() -> list[PriceUpdate]:
    """Publish one update through a function, twice, to a client that came in with a token of another function."""
    # In a deployment these are variables of the project's environment: docs/guides/vercel.md.
    door_key, token_key, publish_token, caller_secret = (token_urlsafe(32) for _ in range(4))
    server = await WebSocketServer.bind(
        "127.0.0.1:0",
        namespaces=[Namespace("prices", type=PriceUpdate)],
        authenticate=TokenAuthentication(secret=token_key),
        http="127.0.0.1:0",
        http_key=door_key,
    )
    environment = os.environ | {
        "FEED_URL": str(server.http_url),
        "FEED_KEY": door_key,
        "PUBLISH_TOKEN": publish_token,
        "TOKEN_KEY": token_key,
        "TOKEN_CALLER_SECRET": caller_secret,
        "TOKEN_GRANTS": '[{"ch": "prices:*", "ops": ["subscribe"]}]',
    }
    command = ["node", "dev/serve.mjs", "api/publish.ts", "api/token.ts"]
    functions = await asyncio.create_subprocess_exec(*command, cwd=PROJECT, env=environment, stdin=PIPE, stdout=PIPE)
    assert functions.stdout is not None
    received: list[PriceUpdate] = []
    async with server:
        urls = json.loads(await functions.stdout.readline())
        issued = await asyncio.to_thread(call, urls["api/token.ts"], caller_secret, {"name": "desk-7", "ttl": 60})
        async with WebSocketClient.connect(
            server.url, token=issued["token"], subprotocols=["websocket-utils.json"]
        ) as client:
            await client.subscribe(CHANNEL)
            data = {"input_mint": "SOL", "output_mint": "USDC", "price": 150.25, "timestamp": 1}
            for _ in range(2):
                # The second one is a caller who does not know what became of the first.
                answer = await asyncio.to_thread(
                    call, urls["api/publish.ts"], publish_token, {"channel": CHANNEL, "data": data}
                )
                print("published:", answer)
            server.publish(CHANNEL, PriceUpdate("SOL", "USDC", 0.0, timestamp=2))
            async for update in client.messages(PriceUpdate):
                if update.price == 0.0:
                    break
                print("received:", update)
                received.append(update)
    # The end of its input ends the functions.
    await functions.communicate(b"")
    return received


if __name__ == "__main__":
    run(main())
