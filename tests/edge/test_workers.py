"""The Workers on real workerd, driven by our client."""

import asyncio

import pytest
from tests.support.workerd import PUBLISH_KEY, Workerd

from websocket_utils import PriceUpdate, WebSocketClient

pytestmark = pytest.mark.one_loop


async def test_price_published_over_http_reaches_a_subscriber_with_all_its_digits(workerd: Workerd) -> None:
    async with WebSocketClient.connect(workerd.url, recover=True) as client, asyncio.timeout(5):
        await client.subscribe("prices:DIGITS-USDC")
        price = PriceUpdate("DIGITS", "USDC", 150.25, volume=2**64 - 1, timestamp=2**63 - 1)
        data = {
            name: getattr(price, name) for name in ("input_mint", "output_mint", "price", "volume", "timestamp")
        } | {"type": "PriceUpdate"}
        status, answer = await workerd.post("/api/publish", {"channel": "prices:DIGITS-USDC", "data": data})
        assert (status, answer["result"]["offset"]) == (200, 1)
        assert await client.receive(PriceUpdate) == price


async def test_batch_of_a_publisher_is_acknowledged_and_had_after_a_kill(workerd: Workerd) -> None:
    headers = {"X-API-Key": PUBLISH_KEY}
    url = f"{workerd.publisher_url}?name=desk"
    subprotocols = ["websocket-utils.publisher"]
    async with asyncio.timeout(10):
        async with WebSocketClient.connect(url, headers=headers, subprotocols=subprotocols) as publisher:
            assert await publisher.receive(str) == '{"type":"PublisherWelcome","name":"desk","epoch":0,"sequence":0}'
            await publisher.send("\x1e1000 1\nprices:A-B\n1\nprices:A-B\n2\n")
            assert await publisher.receive(str) == '{"type":"PublisherAcknowledged","epoch":1000,"sequence":2}'
        await workerd.restart()
        async with WebSocketClient.connect(url, headers=headers, subprotocols=subprotocols) as publisher:
            assert await publisher.receive(str) == '{"type":"PublisherWelcome","name":"desk","epoch":1000,"sequence":2}'
