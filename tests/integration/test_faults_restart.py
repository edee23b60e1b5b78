"""A server that restarts under load, with a thousand clients on it; and TLS that fails at a reconnect."""

import asyncio
import logging
import resource
import ssl
from collections.abc import Iterator

import pytest
import trustme
from tests.integration.conftest import Certificates
from tests.support.waiting import until

from websocket_utils import PriceUpdate, WebSocketClient, WebSocketServer
from websocket_utils.testing import FailTls, FaultServer, Reset, Serve

CLIENTS = 1000
# Seconds, on a machine that does much else.
LONG = 40.0
UPDATE = PriceUpdate("SOL", "USDC", 1.0, timestamp=1)


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Both ends of every connection are in this process."""
    least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < 4 * CLIENTS:
        pytest.skip(f"{4 * CLIENTS} descriptors are needed, and {most} allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(least, 4 * CLIENTS), most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (least, most))


@pytest.mark.one_loop
@pytest.mark.timeout(60)
async def test_thousand_clients_are_all_back_and_subscribed_after_a_restart_under_load(
    many_descriptors: None, caplog: pytest.LogCaptureFixture
) -> None:
    del many_descriptors
    caplog.set_level(logging.ERROR)
    # Each of some hundred thousand callbacks would keep its traceback.
    asyncio.get_running_loop().set_debug(False)
    first = await WebSocketServer.bind("127.0.0.1:0")
    address = "{}:{}".format(*first.local_addr)
    received = 0

    def count(update: PriceUpdate) -> None:
        nonlocal received
        received += update.timestamp == 1

    clients: list[WebSocketClient] = []
    async with asyncio.timeout(55):
        for _ in range(0, CLIENTS, 100):
            opening = (WebSocketClient.connect(first.url, max_reconnect_attempts=None) for _ in range(100))
            clients += await asyncio.gather(*opening)
        for client in clients:
            client.on(PriceUpdate, count)
            await client.subscribe("prices")
        await until(lambda: first.publish("prices", UPDATE).subscribers == CLIENTS, LONG)
        await until(lambda: received >= CLIENTS, LONG)
        closing = asyncio.create_task(first.close())
        while not closing.done():
            first.publish("prices", UPDATE)
            await asyncio.sleep(0)
        second = await WebSocketServer.bind(address)
        await until(lambda: second.publish("prices", UPDATE).subscribers == CLIENTS, LONG)
        assert all(client.state == "live" and client.epoch == 2 for client in clients)
        before = received
        assert second.publish("prices", UPDATE).subscribers == CLIENTS
        await until(lambda: received >= before + CLIENTS, LONG)
        assert second.stats().accepted == CLIENTS
        await asyncio.gather(*(client.close() for client in clients))
        await second.close()
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_certificate_that_is_not_trusted_any_more_ends_the_client_at_the_reconnect(
    certificates: Certificates,
) -> None:
    foreign = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(foreign)
    async with asyncio.timeout(10):
        first = await WebSocketServer.bind("127.0.0.1:0", ssl=certificates.server)
        address = "{}:{}".format(*first.local_addr)
        client = await WebSocketClient.connect(first.url, ssl=certificates.client)
        await client.subscribe("prices")
        closing = asyncio.create_task(first.close())
        await until(lambda: not client.is_connected)
        await closing
        async with WebSocketServer.bind(address, ssl=foreign):
            with pytest.raises(ssl.SSLCertVerificationError):
                await client.receive()
        assert client.state == "failed"


async def test_tls_that_breaks_at_the_reconnect_is_tried_again(certificates: Certificates) -> None:
    script = [Reset(at="message"), FailTls(), Serve()]
    async with (
        asyncio.timeout(10),
        FaultServer(script, ssl=certificates.server) as server,
        WebSocketClient.connect(server.url, ssl=certificates.client) as client,
    ):
        await client.subscribe("prices")
        await server.until_subscribed("prices")
        server.publish(UPDATE)
        await until(lambda: client.epoch == 2 and client.is_connected)
        await server.until_subscribed("prices")
        assert server.accepted == 3
