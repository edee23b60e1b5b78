"""The server that is soaked, in a process of its own: `python -m hostile._soak_server`.

It publishes numbered ticks without end, under each policy for slow clients. It says its port in the first line of
stdout, and answers each line on stdin with a line: `stats`, `kill` (cuts one connection), `stop` (publishes no more).
"""

import asyncio
import json
import os
import random
import sys
from dataclasses import asdict
from typing import Any, Final

from websocket_utils import Conflate, Disconnect, DropOldest, Message, Namespace, WebSocketServer, run

NAMESPACES: Final = (
    Namespace("conflated", slow=Conflate()),
    Namespace("latest", slow=DropOldest(64)),
    # Seconds, and longer than any reconnect here: nothing of these may ever be missing. Full long before memory counts.
    Namespace("kept", slow=Disconnect(), history=1_000),
    Namespace("strict", slow=Disconnect(size=256 * 1024, age=2.0)),
)
CHANNELS_OF_ONE: Final = 3
MAX_LAG: Final = 512 * 1024
# Ticks of each channel in one turn, and seconds between turns.
_BURST: Final = 2
_PAUSE: Final = 0.01


class Tick(Message, gc=False):
    """One publication: where it stands, said once more by itself."""

    channel: str
    number: int
    padding: str = "x" * 700


def _say(**values: Any) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


async def _publish(server: WebSocketServer, counted: dict[str, int]) -> None:
    channels = [
        server.channel(f"{space.name}:{number}", Tick) for space in NAMESPACES for number in range(CHANNELS_OF_ONE)
    ]
    while True:
        for channel in channels:
            for _ in range(_BURST):
                counted["subscribers"] += channel.publish(Tick(channel.name, channel.sequence + 1)).subscribers
                counted["published"] += 1
        await asyncio.sleep(_PAUSE)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    loop_errors: list[str] = []
    loop.set_exception_handler(lambda _, context: loop_errors.append(repr(context)[:1000]))
    counted = {"published": 0, "subscribers": 0}
    async with WebSocketServer.bind(
        "127.0.0.1:0", namespaces=NAMESPACES, max_lag=MAX_LAG, max_connections=None, ping_interval=None
    ) as server:
        publishing = asyncio.create_task(_publish(server, counted))

        def answer() -> None:
            command = os.read(0, 4096)
            if not command:
                # Whoever measured is gone: nothing here is worth an orderly end.
                os._exit(0)
            if command == b"stop\n":
                publishing.cancel()
            elif command == b"kill\n":
                # Slow readers take none of these: what they are told is left out has to reach them.
                others = [connection for connection in server.connections if "kept:*" in connection.channels]
                if others:
                    random.choice(others).abort()
            _say(
                stats=asdict(server.stats()),
                **counted,
                sequences={f"{space.name}:{number}": server.channel(f"{space.name}:{number}").sequence
                           for space in NAMESPACES for number in range(CHANNELS_OF_ONE)},
                loop_errors=loop_errors,
                tasks=len(asyncio.all_tasks()),
            )  # fmt: skip

        loop.add_reader(0, answer)
        _say(port=server.local_addr[1])
        await server.serve_forever()


if __name__ == "__main__":
    run(_serve())
