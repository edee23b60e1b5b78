"""The whole life of a client without a socket: servers in memory, and time that jumps."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from websocket_utils import (
    ConnectionClosed,
    HandshakeError,
    PriceUpdate,
    ReconnectGaveUp,
    Subscribe,
    WebSocketClient,
)
from websocket_utils.testing import (
    AckThenSilence,
    CloseAfter,
    Drop,
    Fault,
    HalfOpen,
    HttpAnswer,
    MemoryNetwork,
    MemoryPeer,
    RejectSubscriptions,
    Reset,
    Serve,
    SlowReader,
    Step,
    VirtualClock,
    memory_link,
)

URL = "ws://exchange.test/feed?token=1"


def price(number: int) -> PriceUpdate:
    return PriceUpdate("SOL", "USDC", float(number), timestamp=number)


@pytest.mark.parametrize("codec", ["json", "msgpack", "protobuf"])
@pytest.mark.parametrize("compression", [False, True])
async def test_link_carries_typed_messages_both_ways_in_every_codec(codec: str, compression: bool) -> None:
    settings: dict[str, Any] = {"codec": codec, "compression": compression, "reconnect": False}
    async with asyncio.timeout(10), memory_link(**settings) as (client, peer):
        peer.send(price(1))
        assert await client.receive(PriceUpdate) == price(1)
        client.send(price(2))
        assert await peer.receive(PriceUpdate) == price(2)
        assert peer.subprotocol == (None if codec == "json" else f"websocket-utils.{codec}")
        assert peer.is_open
    closed = await peer.until_closed()
    assert closed.received is not None
    assert closed.received.code == 1000
    assert await peer.receive() is None


async def test_link_carries_more_than_it_holds_and_slows_the_sender() -> None:
    async with asyncio.timeout(15), memory_link(reconnect=False, max_send_queue=1 << 26) as (client, peer):

        async def answer() -> None:
            async for message in peer.messages(bytes):
                await peer.send(message)

        task = asyncio.ensure_future(answer())
        for _ in range(40):
            client.send(b"x" * 100_000)
        for _ in range(40):
            assert await client.receive(bytes) == b"x" * 100_000
        await client.close()
        await task


async def test_request_reaches_the_peer_with_headers_and_credentials() -> None:
    async with asyncio.timeout(10), MemoryNetwork() as network:
        server = network.listen("wss://exchange.test:8443")
        async with WebSocketClient.connect(
            "wss://me:secret@exchange.test:8443/feed?token=1", headers={"X-Desk": "7"}, reconnect=False
        ):
            peer = await server.peer()
            assert peer.request.path == "/feed?token=1"
            assert peer.request.values("x-desk") == ("7",)
            assert peer.request.values("authorization") == ("Basic bWU6c2VjcmV0",)
            assert len(server.dials) == len(server.peers) == 1


async def test_script_plays_every_connection_and_the_client_comes_back() -> None:
    async def script(peer: MemoryPeer) -> None:
        assert await peer.acknowledge() == ["prices"]
        number = len(server.dials)
        peer.send(price(number))
        if number == 1:
            peer.drop()
        elif number == 2:
            peer.reset()
        elif number == 3:
            peer.close(1012)

    async with asyncio.timeout(10), MemoryNetwork() as network:
        server = network.listen(URL, script)
        async with WebSocketClient.connect(URL, subprotocols=["websocket-utils.json"]) as client:
            await client.subscribe("prices")
            received = []
            async for message in client.messages(PriceUpdate):
                received.append(message)
                if message == price(4):
                    break
        assert received == [price(1), price(3), price(4)], "a reset loses what is on its way"


async def test_error_of_a_script_is_raised_where_the_network_is_left() -> None:
    async def script(peer: MemoryPeer) -> None:
        assert await peer.receive(Subscribe) is None, "the script's own words"

    async def main() -> None:
        async with asyncio.timeout(10), MemoryNetwork() as network:
            network.listen(URL, script)
            async with WebSocketClient.connect(URL, reconnect=False) as client:
                await client.subscribe("a")

    with pytest.raises(AssertionError, match="the script's own words"):
        await main()


async def test_scripts_end_of_connection_is_no_error() -> None:
    async def script(peer: MemoryPeer) -> None:
        await peer.until_closed()
        with pytest.raises(ConnectionClosed):
            peer.send("too late")
        peer.send("too late")

    async with asyncio.timeout(10), MemoryNetwork() as network:
        network.listen(URL, script)
        async with WebSocketClient.connect(URL, reconnect=False):
            pass
        await asyncio.sleep(0.01)


async def test_clients_outside_of_the_network_do_not_connect_through_it() -> None:
    async with asyncio.timeout(10):
        async with MemoryNetwork() as network:
            network.listen("ws://127.0.0.1:9")
            async with WebSocketClient.connect("ws://127.0.0.1:9", reconnect=False):
                pass
        with pytest.raises(OSError, match=r"111|refused"):
            await WebSocketClient.connect("ws://127.0.0.1:9", reconnect=False)


def run(main: Coroutine[Any, Any, None]) -> float:
    """Run on virtual time, for a virtual hour at most; returns how much of it passed."""

    async def limited() -> None:
        async with asyncio.timeout(3600):
            await main

    clock = VirtualClock()
    begin = time.monotonic()
    clock.run(limited())
    assert time.monotonic() - begin < 10
    return clock.time()


def test_nobody_listens_refuses_and_blackhole_times_out() -> None:
    async def main() -> None:
        async with MemoryNetwork() as network:
            with pytest.raises(ConnectionRefusedError, match=r"nobody listens on ws://exchange.test/feed\?\.\.\."):
                await WebSocketClient.connect(URL)
            network.listen(URL)
            network.refuse(URL)
            with pytest.raises(ConnectionRefusedError):
                await WebSocketClient.connect(URL)
            network.blackhole(URL)
            loop = asyncio.get_running_loop()
            begin = loop.time()
            with pytest.raises(TimeoutError):
                await WebSocketClient.connect(URL, open_timeout=30)
            assert loop.time() - begin == pytest.approx(30)
            network.restore(URL)
            async with WebSocketClient.connect(URL):
                pass
            with pytest.raises(ValueError, match="served already"):
                network.serve(URL)

    assert run(main()) < 60


def test_latency_is_what_dials_and_messages_take() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with memory_link(latency=0.5, reconnect=False) as (client, peer):
            assert loop.time() == pytest.approx(2), "there and back twice: the connection, and its handshake"
            peer.send(price(1))
            await client.receive(PriceUpdate)
            assert loop.time() == pytest.approx(2.5)

    run(main())


def test_ten_minutes_of_refusals_pass_at_once_and_the_client_is_back() -> None:
    async def main() -> None:
        async with MemoryNetwork() as network:
            server = network.serve(URL)
            async with WebSocketClient.connect(URL, max_reconnect_attempts=None) as client:
                await client.subscribe("prices")
                await server.until_subscribed("prices")
                network.refuse(URL)
                assert network.kill(URL) == 1
                await asyncio.sleep(600)
                assert not client.is_connected
                network.restore(URL)
                await server.until_subscribed("prices")
                server.publish(price(7), "prices")
                assert await client.receive(PriceUpdate) == price(7)
            assert server.subscriptions == {0: ["prices"], 1: ["prices"]}

    assert 600 <= run(main()) < 700


def test_client_gives_up_after_its_attempts() -> None:
    async def main() -> None:
        async with MemoryNetwork() as network:
            network.serve(URL)
            client = await WebSocketClient.connect(URL, max_reconnect_attempts=5)
            network.refuse(URL)
            network.kill(URL, "drop")
            with pytest.raises(ReconnectGaveUp):
                await client.receive()
            await client.close()

    run(main())


def test_vanished_server_is_found_by_the_heartbeat() -> None:
    async def main() -> None:
        async with MemoryNetwork() as network:
            server = network.serve(URL)
            async with WebSocketClient.connect(URL, ping_interval=20, ping_timeout=10) as client:
                await asyncio.sleep(300)
                assert server.accepted == 1
                network.kill(URL, "vanish")
                begin = asyncio.get_running_loop().time()
                await server.opened_at_least(2)
                assert 0 < asyncio.get_running_loop().time() - begin <= 31
                server.publish(price(1))
                assert await client.receive(PriceUpdate) == price(1)

    assert run(main()) > 300


@pytest.mark.parametrize("fault", [Drop(), Reset(), CloseAfter(1011), HalfOpen(), Drop(at="answer"), HttpAnswer(503)])
def test_faults_of_the_fault_server_work_in_memory(fault: Fault) -> None:
    async def main() -> None:
        async with MemoryNetwork(latency=0.01) as network:
            server = network.serve(URL, [fault, Serve()])
            async with WebSocketClient.connect(URL, timeout=120, ping_interval=5) as client:
                await server.accepted_at_least(2)
                await server.until(lambda: any(one.number == 1 and one.is_open for one in server.connections))
                server.publish(price(1))
                assert await client.receive(PriceUpdate) == price(1)

    run(main())


def test_server_in_memory_refuses_rejects_falls_silent_and_reads_nothing() -> None:
    async def main() -> None:
        script: list[Step] = [HttpAnswer(404), [RejectSubscriptions(4003, "no")], AckThenSilence(), SlowReader(0)]
        async with MemoryNetwork() as network:
            server = network.serve(URL, script)
            with pytest.raises(HandshakeError) as raised:
                await WebSocketClient.connect(URL, reconnect=False)
            assert raised.value.status == 404
            ours: dict[str, Any] = {"subprotocols": ["websocket-utils.json"], "reconnect": False}
            async with WebSocketClient.connect(URL, **ours) as client:
                client.send(Subscribe(["a"]))
                await server.until(lambda: server.subscriptions)
                assert not server.connections[0].channels
            async with WebSocketClient.connect(URL, **ours) as client:
                client.send(Subscribe(["a"]))
                await server.until_subscribed("a")
                server.publish(price(1))
            async with WebSocketClient.connect(URL, **ours, close_timeout=1, max_send_queue=1 << 24) as client:
                sending = client.send(b"x" * (1 << 19))
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(60):
                        await sending
                assert server.received[-1] != b"x" * (1 << 19)

    run(main())
