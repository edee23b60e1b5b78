"""`client.columns` over loopback: a feed, a reconnect, a close."""

import asyncio
from typing import Literal

import msgspec
import numpy
import pytest
from tests.integration.quiet import Quiet, frozen, quiet  # noqa: F401  # fixtures, used by every test
from tests.integration.raw_peer import RawPeer, raw_server
from tests.support.waiting import until
from tests.support.wire import CLOSE, TEXT, close_payload

from websocket_utils import PriceUpdate, WebSocketClient, WebSocketServer
from websocket_utils.exceptions import DecodeError


def update(number: int) -> PriceUpdate:
    return PriceUpdate(("SOL", "JUP")[number % 2], "USDC", number / 2, volume=2**64 - 1 - number, timestamp=number)


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_columns_of_a_feed_are_what_was_published(codec: Literal["json", "msgpack"]) -> None:
    sent = [update(number) for number in range(20_000)]
    async with (
        asyncio.timeout(15),
        WebSocketServer.bind("127.0.0.1:0", max_lag=1 << 26) as server,
        WebSocketClient.connect(server.url, codec=codec) as client,
    ):
        await client.subscribe("prices")
        await until(lambda: server.publish("prices", sent[0]).subscribers == 1)
        for message in sent[1:]:
            server.publish("prices", message)
        received, rows, sizes = [], 0, []
        async for columns in client.columns(PriceUpdate):
            received.append(columns)
            sizes.append(len(columns))
            rows += len(columns)
            if rows >= len(sent):
                break
    assert rows == len(sent)
    assert max(sizes) <= 4096
    for name in PriceUpdate.__struct_fields__:
        values = [value for columns in received for value in columns[name].tolist()]
        assert values == [getattr(message, name) for message in sent], name
    prices = numpy.concatenate([numpy.asarray(columns["price"]) for columns in received])
    numpy.testing.assert_array_equal(prices, [message.price for message in sent])


async def test_columns_go_on_over_a_reconnect_and_a_message_that_does_not_decode_and_end_with_the_client(
    eager: None,
) -> None:
    del eager

    async def script(peer: RawPeer) -> None:
        await peer.upgrade()
        number = server.accepted
        peer.send(TEXT, msgspec.json.encode(update(number)))
        if number == 1:
            peer.send(CLOSE, close_payload(1001))
            await peer.read_close()
            return
        peer.send(TEXT, b"broken")
        peer.send(TEXT, msgspec.json.encode(update(number + 1)))
        await peer.read_until_closed()

    async with (
        raw_server(script) as server,
        asyncio.timeout(10),
        WebSocketClient.connect(server.url, close_timeout=0.2) as client,
    ):
        seen: list[int] = []
        with pytest.raises(DecodeError) as raised:  # noqa: PT012  # the loop is what is tested
            async for columns in client.columns(PriceUpdate):
                seen += columns["timestamp"].tolist()
        assert raised.value.raw == b"broken"
        assert seen == [1, 2]
        async for columns in client.columns(PriceUpdate):
            seen += columns["timestamp"].tolist()
            await client.close()
        assert seen == [1, 2, 3]
        assert client.stats().decode_errors == 1
