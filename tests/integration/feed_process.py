"""A server in a process of its own, to be stopped, killed or cut off: `python -m tests.integration.feed_process`.

It publishes a numbered price on the channel `prices` every few milliseconds, and prints its port. In a network
namespace of its own it prints `ready`, waits for a line, and then takes the commands `cut` and `heal`, and answers.
"""

import asyncio
import shutil
import subprocess
import sys

from websocket_utils import PriceUpdate, WebSocketServer

__all__ = ["OURS", "THEIRS"]

OURS, THEIRS = "10.77.0.1", "10.77.0.2"
_EACH_SECONDS = 0.002


def _tell(line: object) -> None:
    print(line, flush=True)  # noqa: T201  # the only way to whoever started it


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _cut() -> str:
    """Drop every packet to the other end, without a word to either."""
    nft = shutil.which("nft")
    if nft is not None:
        rules = "add table inet t; add chain inet t o { type filter hook output priority 0; policy drop; }"
        if subprocess.run([nft, rules], capture_output=True, check=False).returncode == 0:
            return "nft"
    # A kernel without it: a route that leads nowhere does the same to what is sent.
    _ip("route", "add", "blackhole", OURS)
    return "blackhole route"


def _heal(how: str) -> None:
    if how == "nft":
        subprocess.run(["nft", "delete", "table", "inet", "t"], check=True)
    else:
        _ip("route", "del", "blackhole", OURS)


async def _commands() -> None:
    loop = asyncio.get_running_loop()
    how = ""
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        if line.strip() == "cut":
            how = _cut()
            _tell(how)
        else:
            _heal(how)
            _tell("healed")


async def _publish(server: WebSocketServer) -> None:
    number = 0
    while True:
        number += 1
        server.publish("prices", PriceUpdate("SOL", "USDC", float(number), timestamp=number))
        await asyncio.sleep(_EACH_SECONDS)


async def main(address: str, *, in_namespace: bool) -> None:
    if in_namespace:
        # From here on there is a namespace to put an interface into.
        _tell("ready")
        sys.stdin.readline()
        _ip("addr", "add", f"{THEIRS}/24", "dev", "theirs")
        _ip("link", "set", "theirs", "up")
    # Of peers that the test has cut off or stopped, none is to be noticed here.
    async with WebSocketServer.bind(address, ping_interval=None, max_lag=1 << 30) as server:
        _tell(server.local_addr[1])
        publishing = asyncio.create_task(_publish(server))
        if in_namespace:
            await _commands()
        await publishing


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], in_namespace=sys.argv[2:] == ["namespace"]))
