"""nautilus_trader: the WebSocket client in Rust that its adapters use, with msgspec."""

import asyncio

import msgspec
from nautilus_trader.core.nautilus_pyo3 import WebSocketClient, WebSocketConfig

from benches._payload import PriceUpdate, cycle
from benches._subject import Arrivals, Run


async def receive(run: Run) -> None:
    """Typed decode and a field read in the handler."""
    decode = msgspec.json.Decoder(PriceUpdate).decode
    total = 0.0
    left = run.messages
    loop = asyncio.get_running_loop()
    finished = asyncio.Event()

    # Called in a thread of its runtime. It reconnects when the feed closes, so this peer alone has to count.
    def handler(payload: bytes) -> None:
        nonlocal total, left
        total += decode(payload).price
        left -= 1
        if not left:
            run.stop()
            loop.call_soon_threadsafe(finished.set)

    client = await WebSocketClient.connect(WebSocketConfig(run.url, handler, []))
    run.start()
    await client.send_text(b"go")
    await finished.wait()
    run.result(price_sum=total)


async def send(run: Run) -> None:
    """Encode and await `send_text`, message by message."""
    encode = msgspec.json.Encoder().encode
    messages = cycle(PriceUpdate)
    client = await WebSocketClient.connect(WebSocketConfig(run.url, lambda _: None, []))
    run.start()
    for _ in range(0, run.messages, len(messages)):
        for message in messages:
            await client.send_text(encode(message))
    await run.sent_all()


async def round_trip(run: Run) -> None:
    """One message in flight: `send` awaited, then the handler, which runs in another thread."""
    payload = msgspec.json.encode(cycle(PriceUpdate)[0])
    loop = asyncio.get_running_loop()
    received: asyncio.Queue[bytes] = asyncio.Queue()

    def handler(data: bytes) -> None:
        loop.call_soon_threadsafe(received.put_nowait, data)

    client = await WebSocketClient.connect(WebSocketConfig(run.url, handler, []))

    async def trip() -> None:
        await client.send(payload)
        if await received.get() != payload:
            raise RuntimeError("the echo differs")

    await run.round_trips(trip)


async def reconnect(run: Run) -> None:
    """It dials again by itself."""
    arrivals = Arrivals(run)
    loop = asyncio.get_running_loop()
    finished = asyncio.Event()

    def handler(payload: bytes) -> None:
        if arrivals.received(payload):
            loop.call_soon_threadsafe(finished.set)

    client = await WebSocketClient.connect(WebSocketConfig(run.url, handler, []))
    await finished.wait()
    arrivals.report()
    await client.disconnect()


async def flapping(run: Run) -> None:
    """The same, with a server that ends each connection at once."""

    async def dial() -> None:
        client = await WebSocketClient.connect(WebSocketConfig(run.url, lambda _: None, []))
        try:
            await asyncio.Event().wait()
        finally:
            await client.disconnect()

    await run.flapping(dial())
