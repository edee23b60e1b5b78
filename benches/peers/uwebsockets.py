"""uWebSockets, in C++, with socketify as its Python interface; from within the event loop of the other sides."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from socketify import App, OpCode

from benches._payload import PriceUpdate, cycle
from benches._subject import Run

TOPIC = "prices"


async def broadcast(run: Run) -> None:
    """Encode once, then publish to the topic that all are subscribed to."""
    encode = msgspec.json.Encoder().encode
    clients = 0

    def opened(connection: Any) -> None:
        nonlocal clients
        clients += 1
        connection.subscribe(TOPIC)

    app = App()
    # Its own bound would drop messages for clients that are behind: the bench's window is what bounds.
    app.ws("/*", {"open": opened, "max_backpressure": 0, "idle_timeout": 60})
    ports: list[int] = []
    app.listen({"port": 0, "host": "127.0.0.1"}, lambda config: ports.append(config.port))
    # A libuv loop of its own, which its `run` turns in the same way.
    turn_loop = app.loop.uv_loop.run_nowait

    async def turn() -> None:
        while True:
            turn_loop()
            await asyncio.sleep(0)

    turning = asyncio.create_task(turn())
    await run.serve(ports[0], lambda: clients)

    def send_turn(messages: Sequence[PriceUpdate]) -> None:
        for message in messages:
            app.publish(TOPIC, encode(message), OpCode.TEXT)

    await run.broadcast(cycle(PriceUpdate), send_turn)
    turning.cancel()
