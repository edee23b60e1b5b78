"""This library: the server."""

import asyncio
from collections.abc import Sequence
from typing import Any

from benches._channels import names, publications
from benches._many import BUDGET, FILLED_CHANNEL, SHARED_CHANNEL, STALLED_MESSAGE
from benches._payload import SIZE, SUBSCRIBERS, cycle
from benches._subject import Run
from benches._wires import books
from websocket_utils import PriceUpdate, ServerConnection, WebSocketServer

# What fills the socket of a client that does not read, message by message.
_FILLING = bytes(16_384)
_LONG_MINT = "S" * (STALLED_MESSAGE - SIZE)


async def broadcast(run: Run) -> None:
    """One call per message."""
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        await run.serve(server.local_addr[1], lambda: server.stats().connections)

        def send_turn(messages: Sequence[PriceUpdate]) -> None:
            for message in messages:
                server.broadcast(message)

        await run.broadcast(cycle(PriceUpdate), send_turn)


async def paced_broadcast(run: Run) -> None:
    """Broadcast each message when it is due."""
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        await run.serve(server.local_addr[1], lambda: server.stats().connections)

        def emit(stamp: int) -> None:
            server.broadcast(PriceUpdate("SOL", "USDC", 152.0625, 1000, stamp))

        await run.paced(emit)


async def broadcast_deflate(run: Run) -> None:
    """One call per message, compressed for all."""
    async with WebSocketServer.bind("127.0.0.1:0", compression=True) as server:
        await run.serve(server.local_addr[1], lambda: server.stats().connections)

        def send_turn(messages: Sequence[str]) -> None:
            for message in messages:
                server.broadcast(message)

        await run.broadcast([book.decode() for book in books()], send_turn)


def _subscriptions(server: WebSocketServer) -> int:
    return sum(len(connection.channels) for connection in server.connections)


async def spread(run: Run) -> None:
    """Broadcast a message at each tick."""
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        await run.serve(server.local_addr[1], lambda: server.stats().connections)

        def emit(stamp: int) -> None:
            server.broadcast(PriceUpdate("SOL", "USDC", 152.0625, 1000, stamp))

        await run.ticks(emit)


async def channels(run: Run) -> None:
    """Publish by name."""
    named, publication = names(run.options.channels), publications(PriceUpdate)
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        await run.serve(server.local_addr[1], lambda: _subscriptions(server), len(named) * SUBSCRIBERS)

        def send_turn(turn: Sequence[int], stamp: int) -> None:
            for channel in turn:
                server.publish(named[channel], publication(channel, stamp))

        await run.sweeps(send_turn)


async def stalled_disconnect(run: Run) -> None:
    """Clients too far behind are cut."""
    await _stalled(run, "disconnect")


async def _stalled(run: Run, policy: str) -> None:
    is_stalled = run.options.is_stalled
    async with WebSocketServer.bind("127.0.0.1:0", max_lag=run.messages * BUDGET) as server:
        await run.serve(server.local_addr[1], lambda: _subscriptions(server), run.options.clients + is_stalled)
        # Until the kernel takes no more for it.
        while is_stalled and not server.stats().lagging:
            server.publish(FILLED_CHANNEL, _FILLING)
            await asyncio.sleep(0)
        grown_kib = run.watch_memory()

        def emit(stamp: int) -> None:
            server.publish(SHARED_CHANNEL, PriceUpdate(_LONG_MINT, "USDC", 152.0625, 1000, stamp))

        def found() -> dict[str, Any]:
            stats = server.stats()
            counted = {name: getattr(stats, name, 0) for name in ("lag_disconnects", "dropped", "conflated")}
            return {"grown_kib": grown_kib(), "policy": policy, **counted}

        await run.paced(emit, found)
        await run.command("end")


async def idle_subscribed(run: Run) -> None:
    """Hold idle connections that are subscribed to something."""
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        await run.idle(server.local_addr[1], lambda: server.stats().connections, lambda: _subscriptions(server))


async def idle(run: Run) -> None:
    """Hold idle connections."""
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        await run.idle(server.local_addr[1], lambda: server.stats().connections)


async def after_message(run: Run) -> None:
    """Hold connections that each sent one big message."""
    received = 0

    def count(connection: ServerConnection, message: bytes) -> None:
        nonlocal received
        del connection
        received += len(message) == run.options.message_bytes

    async with WebSocketServer.bind("127.0.0.1:0") as server:
        server.on(bytes, count)
        await run.idle(server.local_addr[1], lambda: server.stats().connections, lambda: received)
