"""aiohttp: its WebSocket client and server, with msgspec."""

from collections.abc import Awaitable, Callable, Sequence

import aiohttp
import msgspec
from aiohttp import web

from benches._channels import Subscribers, names, publications
from benches._payload import SUBSCRIBERS, PriceUpdate, cycle
from benches._subject import Run
from benches._wires import probe


async def receive(run: Run) -> None:
    """Undecoded bytes from the iteration, typed decode and a field read."""
    decode = msgspec.json.Decoder(PriceUpdate).decode
    total = 0.0
    async with aiohttp.ClientSession() as session, session.ws_connect(run.url, decode_text=False) as connection:
        run.start()
        await connection.send_str("go")
        async for message in connection:
            total += decode(message.data).price
        run.stop()
    run.result(price_sum=total)


async def receive_raw(run: Run) -> None:
    """Whole messages as bytes, of which one is read."""
    await _receive_raw(run, 0)


async def receive_raw_deflate(run: Run) -> None:
    """Compressed messages, inflated and as bytes."""
    await _receive_raw(run, 15)


async def _receive_raw(run: Run, compress: int) -> None:
    size = total = 0
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(run.url, decode_text=False, compress=compress) as connection,
    ):
        run.start()
        await connection.send_str("go")
        async for message in connection:
            size += len(message.data)
            total += probe(message.data)
        run.stop()
    run.result(size=size, byte_sum=total)


async def send(run: Run) -> None:
    """Encode and await `send_bytes`, message by message."""
    encode = msgspec.json.Encoder().encode
    messages = cycle(PriceUpdate)
    async with aiohttp.ClientSession() as session, session.ws_connect(run.url) as connection:
        run.start()
        for _ in range(0, run.messages, len(messages)):
            for message in messages:
                await connection.send_bytes(encode(message))
        await run.sent_all()


async def round_trip(run: Run) -> None:
    """One message in flight, `send_bytes` and `receive` awaited in turn."""
    payload = msgspec.json.encode(cycle(PriceUpdate)[0])
    async with aiohttp.ClientSession() as session, session.ws_connect(run.url) as connection:

        async def trip() -> None:
            await connection.send_bytes(payload)
            if (await connection.receive()).data != payload:
                raise RuntimeError("the echo differs")

        await run.round_trips(trip)


async def _listen(connections: list[web.WebSocketResponse]) -> tuple[web.AppRunner, int]:
    async def handler(request: web.Request) -> web.WebSocketResponse:
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        connections.append(connection)
        async for _ in connection:
            pass
        connections.remove(connection)
        return connection

    return await _serve(handler)


async def _listen_subscribers(subscribers: Subscribers[web.WebSocketResponse]) -> tuple[web.AppRunner, int]:
    async def handler(request: web.Request) -> web.WebSocketResponse:
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        async for message in connection:
            subscribers.subscribe(connection, message.data)
        subscribers.leave(connection)
        return connection

    return await _serve(handler)


async def _serve(handler: Callable[[web.Request], Awaitable[web.WebSocketResponse]]) -> tuple[web.AppRunner, int]:
    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, runner.addresses[0][1]


async def broadcast(run: Run) -> None:
    """Encode once, then `send_bytes` to each client in a loop."""
    encode = msgspec.json.Encoder().encode
    connections: list[web.WebSocketResponse] = []
    _runner, port = await _listen(connections)
    await run.serve(port, lambda: len(connections))

    async def send_turn(messages: Sequence[PriceUpdate]) -> None:
        for message in messages:
            payload = encode(message)
            for connection in connections:
                await connection.send_bytes(payload)

    await run.broadcast(cycle(PriceUpdate), send_turn)


async def spread(run: Run) -> None:
    """At each tick, encode once, then `send_bytes` to each client in a loop."""
    encode = msgspec.json.Encoder().encode
    connections: list[web.WebSocketResponse] = []
    _runner, port = await _listen(connections)
    await run.serve(port, lambda: len(connections))

    async def emit(stamp: int) -> None:
        payload = encode(PriceUpdate("SOL", "USDC", 152.0625, 1000, stamp))
        for connection in connections:
            await connection.send_bytes(payload)

    await run.ticks(emit)


async def channels(run: Run) -> None:
    """Encode once, then `send_bytes` to each subscriber in a loop."""
    encode = msgspec.json.Encoder().encode
    named, publication = names(run.options.channels), publications(PriceUpdate)
    subscribers: Subscribers[web.WebSocketResponse] = Subscribers()
    _runner, port = await _listen_subscribers(subscribers)
    await run.serve(port, lambda: subscribers.count, len(named) * SUBSCRIBERS)

    async def send_turn(turn: Sequence[int], stamp: int) -> None:
        for channel in turn:
            payload = encode(publication(channel, stamp))
            for connection in subscribers.of[named[channel]]:
                await connection.send_bytes(payload)

    await run.sweeps(send_turn)


async def idle_subscribed(run: Run) -> None:
    """Hold idle connections that are subscribed to something."""
    subscribers: Subscribers[web.WebSocketResponse] = Subscribers()
    _runner, port = await _listen_subscribers(subscribers)
    await run.idle(port, lambda: subscribers.count)


async def idle(run: Run) -> None:
    """Hold idle connections."""
    connections: list[web.WebSocketResponse] = []
    _runner, port = await _listen(connections)
    await run.idle(port, lambda: len(connections))
