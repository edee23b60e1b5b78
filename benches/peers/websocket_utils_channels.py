"""This library: the server's channels."""

import asyncio
from collections.abc import Sequence
from typing import Any

from benches._channels import names, publications
from benches._many import BUDGET, FILLED_CHANNEL, PREFIX, SHARED_CHANNEL, STALLED_MESSAGE
from benches._payload import SIZE, SUBSCRIBERS
from benches._subject import Run
from websocket_utils import Conflate, Disconnect, DropOldest, Namespace, PriceUpdate, WebSocketServer

# What fills the socket of a client that does not read, message by message.
_FILLING = bytes(16_384)
_LONG_MINT = "S" * (STALLED_MESSAGE - SIZE)


def _subscriptions(server: WebSocketServer) -> int:
    return sum(len(connection.channels) for connection in server.connections)


async def by_name(run: Run) -> None:
    """Publish by the name of each channel."""
    named, publication = names(run.options.channels), publications(PriceUpdate)
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        await run.serve(server.local_addr[1], lambda: _subscriptions(server), len(named) * SUBSCRIBERS)

        def send_turn(turn: Sequence[int], stamp: int) -> None:
            for channel in turn:
                server.publish(named[channel], publication(channel, stamp))

        await run.sweeps(send_turn)


async def by_handle(run: Run) -> None:
    """Publish by the handle of each channel."""
    publication = publications(PriceUpdate)
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        channels = [server.channel(name, PriceUpdate) for name in names(run.options.channels)]
        await run.serve(server.local_addr[1], lambda: _subscriptions(server), len(channels) * SUBSCRIBERS)

        def send_turn(turn: Sequence[int], stamp: int) -> None:
            for channel in turn:
                channels[channel].publish(publication(channel, stamp))

        await run.sweeps(send_turn)


async def stalled_disconnect(run: Run) -> None:
    """Clients too far behind are cut."""
    await _stalled(run, "disconnect", Disconnect())


async def stalled_drop_oldest(run: Run) -> None:
    """Clients too far behind lose what is oldest."""
    await _stalled(run, "drop_oldest", DropOldest())


async def stalled_conflate(run: Run) -> None:
    """Clients that take nothing have the latest wait for them."""
    await _stalled(run, "conflate", Conflate())


async def _stalled(run: Run, policy: str, slow: Disconnect | DropOldest | Conflate) -> None:
    is_stalled = run.options.is_stalled
    prices = Namespace(PREFIX.rstrip(":"), slow=slow)
    async with WebSocketServer.bind("127.0.0.1:0", namespaces=[prices], max_lag=run.messages * BUDGET) as server:
        await run.serve(server.local_addr[1], lambda: _subscriptions(server), run.options.clients + is_stalled)
        # Until the kernel takes no more for it.
        while is_stalled and not server.stats().lagging:
            server.publish(FILLED_CHANNEL, _FILLING)
            await asyncio.sleep(0)
        channel = server.channel(SHARED_CHANNEL, PriceUpdate)
        grown_kib = run.watch_memory()

        def emit(stamp: int) -> None:
            channel.publish(PriceUpdate(_LONG_MINT, "USDC", 152.0625, 1000, stamp))

        def found() -> dict[str, Any]:
            stats = server.stats()
            counted = {name: getattr(stats, name) for name in ("lag_disconnects", "dropped", "conflated")}
            return {"grown_kib": grown_kib(), "policy": policy, **counted}

        await run.paced(emit, found)
        await run.command("end")


async def idle_subscribed(run: Run) -> None:
    """Hold idle connections that are subscribed to something."""
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        await run.idle(server.local_addr[1], lambda: server.stats().connections, lambda: _subscriptions(server))
