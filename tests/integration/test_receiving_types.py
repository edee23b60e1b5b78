"""What a client may be asked for in place of a `Message` class: dataclasses, TypedDicts, decoders."""

import asyncio
import dataclasses
from typing import Any, TypedDict

import msgspec
import pytest

from websocket_utils import Decoder, Message, WebSocketClient, WebSocketServer


@dataclasses.dataclass(slots=True)
class Point:
    x: int
    y: float = 0.5


class Options(TypedDict):
    size: int


class Ticker(msgspec.Struct):
    price: float


class Order(Message):
    legs: list[Point]
    note: str | None = None


ORDER = Order([Point(1), Point(2, 1.5)])


@pytest.mark.parametrize("codec", ["json", "msgpack", "protobuf"])
async def test_dataclass_is_sent_and_received_in_every_codec(codec: Any) -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        server.on(Order, lambda connection, order: connection.send(order.legs[1]))
        async with WebSocketClient.connect(server.url, codec=codec) as client:
            client.send(ORDER)
            assert await client.receive(Point) == Point(2, 1.5)


async def test_typed_dict_is_what_a_handler_is_given() -> None:
    got: list[Any] = []
    async with WebSocketServer.bind("127.0.0.1:0") as server:

        def answer(connection: Any, options: Options) -> None:
            got.append(options)
            connection.send(Point(options["size"]))

        server.on(Options, answer)
        async with WebSocketClient.connect(server.url) as client:
            client.send('{"size":3,"more":[]}')
            assert await client.receive(Point) == Point(3)
    assert got == [{"size": 3}]


async def test_decoder_is_taken_in_place_of_a_type_everywhere() -> None:
    decoder = Decoder(Ticker, strict=False)
    handled: list[Ticker] = []
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        server.on(str, lambda connection, text: [connection.send('{"price":"25.35190000"}') for _ in range(4)])
        async with WebSocketClient.connect(server.url) as client:
            client.send("go")
            assert await client.receive(decoder) == Ticker(25.3519)
            assert await anext(client.messages(decoder)) == Ticker(25.3519)
            left = [ticker async for batch in _first(client.batches(decoder)) for ticker in batch]
            assert left[0] == Ticker(25.3519)
        async with WebSocketClient.connect(server.url) as client:
            done = asyncio.Event()

            def handle(ticker: Ticker) -> None:
                handled.append(ticker)
                if len(handled) == 8:
                    done.set()

            client.on(Ticker, handle)
            client.on(decoder, handle)
            client.send("go")
            async with asyncio.timeout(5):
                await done.wait()
    assert handled == [Ticker(25.3519)] * 8


async def _first(batches: Any) -> Any:
    async for batch in batches:
        yield batch
        return
