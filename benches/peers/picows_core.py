"""picows: its listener interface, with msgspec."""

import asyncio
from collections.abc import Sequence

import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_connect, ws_create_server

from benches._channels import Subscribers, names, publications
from benches._payload import SIZE, SUBSCRIBERS, PriceUpdate, cycle
from benches._subject import RoundTripCallback, Run
from benches._wires import probe

TEXT, BINARY = WSMsgType.TEXT, WSMsgType.BINARY


async def receive(run: Run) -> None:
    """Typed decode of every frame and a field read, with nothing asked about the frame: the least a user can do."""
    decode = msgspec.json.Decoder(PriceUpdate).decode
    total = 0.0

    class Listener(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            nonlocal total
            try:
                total += decode(frame.get_payload_as_bytes()).price
            except msgspec.DecodeError:
                _close(run, transport, frame)

    await _receive_with(run, Listener)
    run.result(price_sum=total)


async def receive_checked(run: Run) -> None:
    """As the documentation of picows shows it: the type of each frame is looked at first."""
    decode = msgspec.json.Decoder(PriceUpdate).decode
    total = 0.0

    class Listener(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            nonlocal total
            if frame.msg_type is TEXT:
                total += decode(frame.get_payload_as_bytes()).price
            else:
                _close(run, transport, frame)

    await _receive_with(run, Listener)
    run.result(price_sum=total)


async def receive_nothing(run: Run) -> None:
    """A callback that does nothing but find the end: what the library alone costs."""

    class Listener(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.payload_size < SIZE:
                _close(run, transport, frame)

    await _receive_with(run, Listener)
    run.result()


async def receive_raw(run: Run) -> None:
    """Whole messages as bytes, of which one is read."""
    size = total = 0

    class Listener(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            nonlocal size, total
            if frame.msg_type is BINARY:
                message = frame.get_payload_as_bytes()
                size += len(message)
                total += probe(message)
            else:
                _close(run, transport, frame)

    await _receive_with(run, Listener)
    run.result(size=size, byte_sum=total)


async def _receive_with(run: Run, listener: type[WSListener]) -> None:
    transport, _ = await ws_connect(listener, run.url)
    run.start()
    transport.send(TEXT, b"go")
    await transport.wait_disconnected()


def _close(run: Run, transport: WSTransport, frame: WSFrame) -> None:
    run.stop()
    if frame.msg_type is not WSMsgType.CLOSE:
        raise RuntimeError(f"a frame that no feed sends: {frame}")
    transport.send_close(frame.get_close_code())
    transport.disconnect()


class Writer(WSListener):
    """Backpressure as picows gives it: two calls that say when to stop and when to go on."""

    def __init__(self) -> None:
        self.writable = asyncio.Event()
        self.writable.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()


async def send(run: Run) -> None:
    """Encode and send in a tight loop; backpressure looked at once per 64 messages."""
    encode = msgspec.json.Encoder().encode
    messages = cycle(PriceUpdate)
    writer = Writer()
    transport, _ = await ws_connect(lambda: writer, run.url)
    run.start()
    for _ in range(0, run.messages, len(messages)):
        for message in messages:
            transport.send(TEXT, encode(message))
        if not writer.writable.is_set():
            await writer.writable.wait()
    await run.sent_all()


async def paced_send(run: Run) -> None:
    """Encode and send each message when it is due."""
    encode = msgspec.json.Encoder().encode
    transport, _ = await ws_connect(Writer, run.url)

    def emit(stamp: int) -> None:
        transport.send(TEXT, encode(PriceUpdate("SOL", "USDC", 152.0625, 1000, stamp)))

    await run.paced(emit)


async def round_trip(run: Run) -> None:
    """One message in flight, answered from inside the callback."""
    payload = msgspec.json.encode(cycle(PriceUpdate)[0])
    trips: RoundTripCallback

    class Listener(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.get_payload_as_bytes() == payload:
                trips.received()

    transport, _ = await ws_connect(Listener, run.url)
    trips = RoundTripCallback(run, lambda: transport.send(TEXT, payload))
    trips.begin()
    await trips.finished


async def round_trip_typed(run: Run) -> None:
    """One typed message in flight: decoded, and encoded again, inside the callback."""
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(PriceUpdate).decode
    message = cycle(PriceUpdate)[0]
    trips: RoundTripCallback

    class Listener(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if decode(frame.get_payload_as_bytes()) == message:
                trips.received()

    transport, _ = await ws_connect(Listener, run.url)
    trips = RoundTripCallback(run, lambda: transport.send(TEXT, encode(message)))
    trips.begin()
    await trips.finished


async def _listen(transports: list[WSTransport]) -> tuple[asyncio.Server, int]:
    class Listener(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            transports.append(transport)

        def on_ws_disconnected(self, transport: WSTransport) -> None:
            transports.remove(transport)

    def listener(_: WSUpgradeRequest) -> Listener:
        return Listener()

    server = await ws_create_server(listener, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def broadcast(run: Run) -> None:
    """Encode once, then send to each client in a Python loop."""
    encode = msgspec.json.Encoder().encode
    transports: list[WSTransport] = []
    _server, port = await _listen(transports)
    await run.serve(port, lambda: len(transports))

    def send_turn(messages: Sequence[PriceUpdate]) -> None:
        for message in messages:
            payload = encode(message)
            for transport in transports:
                transport.send(TEXT, payload)

    await run.broadcast(cycle(PriceUpdate), send_turn)


async def spread(run: Run) -> None:
    """At each tick, encode once, then send to each client in a Python loop."""
    encode = msgspec.json.Encoder().encode
    transports: list[WSTransport] = []
    _server, port = await _listen(transports)
    await run.serve(port, lambda: len(transports))

    def emit(stamp: int) -> None:
        payload = encode(PriceUpdate("SOL", "USDC", 152.0625, 1000, stamp))
        for transport in transports:
            transport.send(TEXT, payload)

    await run.ticks(emit)


async def _listen_subscribers(subscribers: Subscribers[WSTransport]) -> tuple[asyncio.Server, int]:
    class Listener(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type is TEXT:
                subscribers.subscribe(transport, frame.get_payload_as_bytes())

        def on_ws_disconnected(self, transport: WSTransport) -> None:
            subscribers.leave(transport)

    def listener(_: WSUpgradeRequest) -> Listener:
        return Listener()

    server = await ws_create_server(listener, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def channels(run: Run) -> None:
    """Encode once, then send to each subscriber in a Python loop."""
    encode = msgspec.json.Encoder().encode
    named, publication = names(run.options.channels), publications(PriceUpdate)
    subscribers: Subscribers[WSTransport] = Subscribers()
    _server, port = await _listen_subscribers(subscribers)
    await run.serve(port, lambda: subscribers.count, len(named) * SUBSCRIBERS)

    def send_turn(turn: Sequence[int], stamp: int) -> None:
        for channel in turn:
            payload = encode(publication(channel, stamp))
            for transport in subscribers.of[named[channel]]:
                transport.send(TEXT, payload)

    await run.sweeps(send_turn)


async def idle_subscribed(run: Run) -> None:
    """Hold idle connections that are subscribed to something."""
    subscribers: Subscribers[WSTransport] = Subscribers()
    _server, port = await _listen_subscribers(subscribers)
    await run.idle(port, lambda: subscribers.count)


async def paced_broadcast(run: Run) -> None:
    """Encode each message once when it is due, then send it to each client."""
    encode = msgspec.json.Encoder().encode
    transports: list[WSTransport] = []
    _server, port = await _listen(transports)
    await run.serve(port, lambda: len(transports))

    def emit(stamp: int) -> None:
        payload = encode(PriceUpdate("SOL", "USDC", 152.0625, 1000, stamp))
        for transport in transports:
            transport.send(TEXT, payload)

    await run.paced(emit)


async def idle(run: Run) -> None:
    """Hold idle connections."""
    transports: list[WSTransport] = []
    _server, port = await _listen(transports)
    await run.idle(port, lambda: len(transports))


async def after_message(run: Run) -> None:
    """Hold connections that each sent one big message."""
    transports: list[WSTransport] = []
    received = 0

    class Listener(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            transports.append(transport)

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            nonlocal received
            received += len(frame.get_payload_as_bytes()) == run.options.message_bytes

    def listener(_: WSUpgradeRequest) -> Listener:
        return Listener()

    server = await ws_create_server(listener, "127.0.0.1", 0)
    await run.idle(server.sockets[0].getsockname()[1], lambda: len(transports), lambda: received)
