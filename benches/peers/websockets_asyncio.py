"""websockets: its asyncio interface, with msgspec."""

from collections.abc import Sequence

import msgspec
from websockets.asyncio.client import connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.asyncio.server import broadcast as websockets_broadcast
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK

from benches._channels import Subscribers, names, publications
from benches._payload import SUBSCRIBERS, PriceUpdate, cycle
from benches._subject import Arrivals, Run
from benches._wires import books, probe


async def receive(run: Run) -> None:
    """Bytes from `recv`, typed decode and a field read."""
    decode = msgspec.json.Decoder(PriceUpdate).decode
    total = 0.0
    async with connect(run.url) as connection:
        recv = connection.recv
        run.start()
        await connection.send("go")
        try:
            while True:
                total += decode(await recv(decode=False)).price
        except ConnectionClosedOK:
            run.stop()
    run.result(price_sum=total)


async def receive_raw(run: Run) -> None:
    """Whole messages as bytes, of which one is read."""
    await _receive_raw(run, None)


async def receive_raw_deflate(run: Run) -> None:
    """Compressed messages, inflated and as bytes."""
    await _receive_raw(run, "deflate")


async def _receive_raw(run: Run, compression: str | None) -> None:
    size = total = 0
    async with connect(run.url, compression=compression) as connection:
        recv = connection.recv
        run.start()
        await connection.send("go")
        try:
            while True:
                message = await recv(decode=False)
                size += len(message)
                total += probe(message)
        except ConnectionClosedOK:
            run.stop()
    run.result(size=size, byte_sum=total)


async def send(run: Run) -> None:
    """Encode and await `send`, message by message."""
    encode = msgspec.json.Encoder().encode
    messages = cycle(PriceUpdate)
    connection = await connect(run.url)
    run.start()
    for _ in range(0, run.messages, len(messages)):
        for message in messages:
            await connection.send(encode(message))
    await run.sent_all()


async def round_trip(run: Run) -> None:
    """One message in flight, `send` and `recv` awaited in turn."""
    payload = msgspec.json.encode(cycle(PriceUpdate)[0])
    connection = await connect(run.url)

    async def trip() -> None:
        await connection.send(payload)
        if await connection.recv() != payload:
            raise RuntimeError("the echo differs")

    await run.round_trips(trip)


async def reconnect(run: Run) -> None:
    """The iterator of `connect`, which dials again after each loss."""
    arrivals = Arrivals(run)
    async for connection in connect(run.url):
        try:
            async for message in connection:
                if arrivals.received(message):
                    arrivals.report()
                    return
        except ConnectionClosed:
            continue


async def flapping(run: Run) -> None:
    """The same, with a server that ends each connection at once."""

    async def dial() -> None:
        async for connection in connect(run.url):
            try:
                async for _ in connection:
                    pass
            except ConnectionClosed:
                continue

    await run.flapping(dial())


async def _listen() -> tuple[Server, int]:
    async def handler(connection: ServerConnection) -> None:
        await connection.wait_closed()

    server = await serve(handler, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def broadcast(run: Run) -> None:
    """Encode once, then the library's `broadcast`."""
    encode = msgspec.json.Encoder().encode
    server, port = await _listen()
    await run.serve(port, lambda: len(server.connections))
    connections = set(server.connections)

    def send_turn(messages: Sequence[PriceUpdate]) -> None:
        for message in messages:
            websockets_broadcast(connections, encode(message))

    await run.broadcast(cycle(PriceUpdate), send_turn)


async def spread(run: Run) -> None:
    """The library's `broadcast` at each tick."""
    encode = msgspec.json.Encoder().encode
    server, port = await _listen()
    await run.serve(port, lambda: len(server.connections))
    connections = set(server.connections)

    def emit(stamp: int) -> None:
        websockets_broadcast(connections, encode(PriceUpdate("SOL", "USDC", 152.0625, 1000, stamp)))

    await run.ticks(emit)


async def _listen_subscribers(subscribers: Subscribers[ServerConnection]) -> tuple[Server, int]:
    async def handler(connection: ServerConnection) -> None:
        try:
            async for message in connection:
                subscribers.subscribe(connection, message)
        finally:
            subscribers.leave(connection)

    server = await serve(handler, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def channels(run: Run) -> None:
    """Encode once, then the library's `broadcast` to those of the channel."""
    encode = msgspec.json.Encoder().encode
    named, publication = names(run.options.channels), publications(PriceUpdate)
    subscribers: Subscribers[ServerConnection] = Subscribers()
    _server, port = await _listen_subscribers(subscribers)
    await run.serve(port, lambda: subscribers.count, len(named) * SUBSCRIBERS)

    def send_turn(turn: Sequence[int], stamp: int) -> None:
        for channel in turn:
            websockets_broadcast(subscribers.of[named[channel]], encode(publication(channel, stamp)))

    await run.sweeps(send_turn)


async def idle_subscribed(run: Run) -> None:
    """Hold idle connections that are subscribed to something."""
    subscribers: Subscribers[ServerConnection] = Subscribers()
    _server, port = await _listen_subscribers(subscribers)
    await run.idle(port, lambda: subscribers.count)


async def broadcast_deflate(run: Run) -> None:
    """The library's `broadcast`, with the compression that it negotiates by itself."""
    server, port = await _listen()
    await run.serve(port, lambda: len(server.connections))
    connections = set(server.connections)

    def send_turn(messages: Sequence[str]) -> None:
        for message in messages:
            websockets_broadcast(connections, message)

    await run.broadcast([book.decode() for book in books()], send_turn)


async def idle(run: Run) -> None:
    """Hold idle connections."""
    server, port = await _listen()
    await run.idle(port, lambda: len(server.connections))


async def after_message(run: Run) -> None:
    """Hold connections that each sent one big message."""
    connections: set[ServerConnection] = set()
    received = 0

    async def handler(connection: ServerConnection) -> None:
        nonlocal received
        connections.add(connection)
        try:
            async for message in connection:
                received += len(message) == run.options.message_bytes
        finally:
            connections.discard(connection)

    server = await serve(handler, "127.0.0.1", 0)
    await run.idle(server.sockets[0].getsockname()[1], lambda: len(connections), lambda: received)
