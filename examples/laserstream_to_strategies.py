"""An account of a Solana node, republished to strategies: `python examples/laserstream_to_strategies.py [URL PUBKEY]`.

Without a URL it plays a small node itself, and nothing leaves this machine. The command `laserstream` does more.
"""

import asyncio
import json
import sys

from websocket_utils import AccountUpdate, ServerConnection, WebSocketClient, WebSocketServer, run
from websocket_utils.feeds.laserstream import LaserStream


async def main(url: str = "", pubkey: str = "So11111111111111111111111111111111111111112", count: int = 5) -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as node, WebSocketServer.bind("127.0.0.1:0") as server:
        node.on(str, play_node)
        async with LaserStream(url or node.url) as stream, WebSocketClient.connect(server.url) as strategy:
            await strategy.subscribe(f"accounts:{pubkey}")
            accounts = stream.accounts([pubkey])
            accounts.on(lambda update: server.publish(f"accounts:{update.pubkey}", update))  # inside the read: at once
            await accounts  # until the node has acknowledged
            print(*[await strategy.receive(AccountUpdate) for _ in range(count)], sep="\n")


async def play_node(connection: ServerConnection, text: str) -> None:
    request, slot = json.loads(text), 435_888_000
    connection.send(json.dumps({"jsonrpc": "2.0", "result": request["id"], "id": request["id"]}))
    while connection.is_open:
        slot += 1
        told = {"context": {"slot": slot}, "value": {"lamports": slot}}  # of an account; of slots it is the rest
        result = {"slot": slot, "parent": slot - 1, "root": slot - 32, **told}
        params = {"subscription": request["id"], "result": result}
        method = request["method"].replace("Subscribe", "Notification")
        connection.send(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}))
        await asyncio.sleep(0.05)


if __name__ == "__main__":
    run(main(sys.argv[1], sys.argv[2]) if len(sys.argv) > 2 else main())
