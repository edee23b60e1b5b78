"""This library: the server."""

from collections.abc import Sequence

from benches._payload import cycle
from benches._subject import Run
from benches._wires import books
from websocket_utils import PriceUpdate, ServerConnection, WebSocketServer


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


async def spread(run: Run) -> None:
    """Broadcast a message at each tick."""
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        await run.serve(server.local_addr[1], lambda: server.stats().connections)

        def emit(stamp: int) -> None:
            server.broadcast(PriceUpdate("SOL", "USDC", 152.0625, 1000, stamp))

        await run.ticks(emit)


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
