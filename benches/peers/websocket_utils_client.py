"""This library: the client, as far as older versions are compared with it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from benches._payload import column_sum, cycle
from benches._subject import RoundTripCallback, Run
from benches._wires import probe
from websocket_utils import Pong, PriceUpdate, WebSocketClient


async def receive_batches(run: Run) -> None:
    """All messages of a read at once, and a loop that reads a field."""
    total = 0.0
    async with WebSocketClient.connect(run.url, reconnect=False) as client:
        run.start()
        client.send("go")
        async for batch in client.batches(PriceUpdate):
            for update in batch:
                total += update.price
        run.stop()
    run.result(price_sum=total)


async def receive_columns(run: Run) -> None:
    """A column for each field of the messages of a read, and the sum of one."""
    total = 0.0
    add = column_sum()
    async with WebSocketClient.connect(run.url, reconnect=False) as client:
        run.start()
        client.send("go")
        async for columns in client.columns(PriceUpdate):
            total += add(columns["price"])
        run.stop()
    run.result(price_sum=total)


async def receive_on(run: Run) -> None:
    """A callback for each message that reads a field."""
    total = 0.0

    def add(update: PriceUpdate) -> None:
        nonlocal total
        total += update.price

    async with WebSocketClient.connect(run.url, reconnect=False) as client:
        client.on(PriceUpdate, add)
        run.start()
        client.send("go")
        # No other message comes: this ends with the connection.
        await client.receive()
        run.stop()
    run.result(price_sum=total)


async def receive_messages(run: Run) -> None:
    """Message by message, and a field read."""
    total = 0.0
    async with WebSocketClient.connect(run.url, reconnect=False) as client:
        run.start()
        client.send("go")
        async for update in client.messages(PriceUpdate):
            total += update.price
        run.stop()
    run.result(price_sum=total)


async def receive_messages_looked_at(run: Run) -> None:
    """Message by message, each asked for its class, as a reader of events does."""
    total = 0.0
    async with WebSocketClient.connect(run.url, reconnect=False) as client:
        run.start()
        client.send("go")
        async for update in client.messages(PriceUpdate):
            if type(update) is PriceUpdate:
                total += update.price
        run.stop()
    run.result(price_sum=total)


async def receive_batches_watched(run: Run) -> None:
    """All messages of a read at once, with all that watches over them."""
    total = 0.0
    async with _watched(run) as client:
        async for batch in client.batches(PriceUpdate):
            for update in batch:
                total += update.price
        run.stop()
    run.result(price_sum=total)


async def receive_messages_watched(run: Run) -> None:
    """Message by message, with all that watches over them."""
    total = 0.0
    async with _watched(run) as client:
        async for update in client.messages(PriceUpdate):
            total += update.price
        run.stop()
    run.result(price_sum=total)


async def receive_on_watched(run: Run) -> None:
    """A callback for each message, with all that watches over them."""
    total = 0.0

    def add(update: PriceUpdate) -> None:
        nonlocal total
        total += update.price

    async with _watched(run, lambda client: client.on(PriceUpdate, add)) as client:
        await client.receive()
        run.stop()
    run.result(price_sum=total)


async def receive_events(run: Run) -> None:
    """Messages and events, message by message, with all that watches over them."""
    total = 0.0
    async with _watched(run) as client:
        async for event in client.events(PriceUpdate):
            if type(event) is PriceUpdate:
                total += event.price
        run.stop()
    run.result(price_sum=total)


async def receive_timestamps(run: Run) -> None:
    """Message by message with the time of its read, with all that watches over them."""
    total, latest_ns = 0.0, 0
    async with _watched(run) as client:
        async for received_ns, update in client.messages(PriceUpdate, with_timestamps=True):
            total += update.price
            latest_ns = received_ns
        run.stop()
    if not latest_ns:
        raise RuntimeError("no message has a time")
    run.result(price_sum=total)


@contextlib.asynccontextmanager
async def _watched(
    run: Run, begin: Callable[[WebSocketClient], object] = lambda _: None
) -> AsyncIterator[WebSocketClient]:
    """A client with a heartbeat, whose channel goes stale after two seconds; the subscription starts the feed."""
    async with WebSocketClient.connect(run.url, ping_interval=1, ping_timeout=5, reconnect=False) as client:
        begin(client)
        run.start()
        await client.subscribe("prices", stale_after=2.0, of=PriceUpdate)
        yield client


async def send(run: Run) -> None:
    """One call per message; backpressure awaited once per 64 messages."""
    *all_but_last, last = messages = cycle(PriceUpdate)
    async with WebSocketClient.connect(run.url, reconnect=False) as client:
        sending = client.send
        run.start()
        for _ in range(0, run.messages, len(messages)):
            for message in all_but_last:
                sending(message)
            await sending(last)
        await run.sent_all()


async def send_awaited(run: Run) -> None:
    """One call per message, and each awaited."""
    messages = cycle(PriceUpdate)
    async with WebSocketClient.connect(run.url, reconnect=False) as client:
        sending = client.send
        run.start()
        for _ in range(0, run.messages, len(messages)):
            for message in messages:
                await sending(message)
        await run.sent_all()


async def paced_send(run: Run) -> None:
    """Send each message when it is due."""
    async with WebSocketClient.connect(run.url, reconnect=False) as client:

        def emit(stamp: int) -> None:
            client.send(PriceUpdate("SOL", "USDC", 152.0625, 1000, stamp))

        await run.paced(emit)


async def round_trip_on(run: Run) -> None:
    """One raw message in flight, answered from inside the callback."""
    await _round_trip_raw(run)


async def round_trip_busy(run: Run) -> None:
    """The same, and the event loop does not sleep between two messages."""
    await _round_trip_raw(run, busy_poll=True)


async def _round_trip_raw(run: Run, **settings: Any) -> None:
    payload = msgspec.json.encode(cycle(PriceUpdate)[0])
    trips: RoundTripCallback

    def received(data: bytes) -> None:
        if data == payload:
            trips.received()

    async with WebSocketClient.connect(run.url, reconnect=False, **settings) as client:
        client.on(bytes, received)
        trips = RoundTripCallback(run, lambda: client.send(payload))
        trips.begin()
        await trips.finished


async def round_trip_on_typed(run: Run) -> None:
    """One typed message in flight, answered from inside the callback."""
    message = cycle(PriceUpdate)[0]
    trips: RoundTripCallback

    def received(update: PriceUpdate) -> None:
        if update == message:
            trips.received()

    async with WebSocketClient.connect(run.url, reconnect=False) as client:
        client.on(PriceUpdate, received)
        trips = RoundTripCallback(run, lambda: client.send(message))
        trips.begin()
        await trips.finished


async def round_trip_await(run: Run) -> None:
    """One raw message in flight, `send` and `receive` awaited in turn."""
    payload = msgspec.json.encode(cycle(PriceUpdate)[0])
    async with WebSocketClient.connect(run.url, reconnect=False) as client:

        async def trip() -> None:
            await client.send(payload)
            if await client.receive(bytes) != payload:
                raise RuntimeError("the echo differs")

        await run.round_trips(trip)


async def receive_bare(run: Run) -> None:
    """Nothing asked of any message: a handler of another class makes the client drop and count them."""
    async with WebSocketClient.connect(run.url, reconnect=False) as client:
        client.on(Pong, lambda _: None)
        run.start()
        client.send("go")
        # Nobody is told of messages that nobody asked for.
        while client.stats().state != "closed":  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        run.stop()
        stats = client.stats()
    if stats.unhandled != run.messages:
        raise RuntimeError(f"{stats.unhandled} messages came, {run.messages} were sent")
    run.result()


async def receive_raw_batches(run: Run) -> None:
    """Whole messages as bytes, and one of them read."""
    await _receive_raw(run)


async def receive_raw_deflate(run: Run) -> None:
    """Compressed messages, inflated and as text."""
    await _receive_raw(run, compression=True)


async def _receive_raw(run: Run, **settings: Any) -> None:
    # A setting is only named where it matters: versions before it are compared with, too.
    size = total = 0
    async with WebSocketClient.connect(run.url, reconnect=False, **settings) as client:
        run.start()
        client.send("go")
        async for batch in client.batches(bytes):
            for message in batch:
                size += len(message)
                total += probe(message)
        run.stop()
    run.result(size=size, byte_sum=total)


async def receive_raw_on(run: Run) -> None:
    """A callback for each message as bytes, of which it reads one."""
    size = total = 0

    def add(message: bytes) -> None:
        nonlocal size, total
        size += len(message)
        total += probe(message)

    async with WebSocketClient.connect(run.url, reconnect=False) as client:
        client.on(bytes, add)
        run.start()
        client.send("go")
        # No other message comes: this ends with the connection.
        await client.receive()
        run.stop()
    run.result(size=size, byte_sum=total)
