"""Every public call with the type it returns: checked by mypy and pyright, and executed by pytest.

Each value is compared twice, `assert_type` for the checker and `type(...) is` for the run, so that neither the
annotations nor the code can drift alone.
"""

import asyncio
from collections.abc import Awaitable, Coroutine, Mapping
from typing import Any, assert_type

from tests.support.golden_node import ACCOUNT, KEY, linked

from websocket_utils import (
    AccountUpdate,
    Channel,
    ClientStats,
    Columns,
    DecodeError,
    Message,
    Ping,
    Pong,
    PriceUpdate,
    Receipt,
    SendOutcome,
    ServerStats,
    SlotUpdate,
    Subscribe,
    Unsubscribe,
    WebSocketClient,
    WebSocketConfig,
    WebSocketServer,
    WsMessage,
    run,
)
from websocket_utils.feeds.laserstream import (
    LaserStream,
    LogsUpdate,
    StreamEvent,
    StreamStats,
    TransactionUpdate,
    Updates,
)
from websocket_utils.peer import Peer, PeerDialFailed, PeerGap, PeerJoined, PeerLeft, PeerLink

PRICE = PriceUpdate(input_mint="SOL", output_mint="USDC", price=150.25, volume=7, timestamp=1)


class Fill(Message):
    """A user's own message."""

    order_id: str
    qty: float


def test_messages() -> None:
    assert_type(PRICE.input_mint, str)
    assert_type(PRICE.output_mint, str)
    assert_type(PRICE.price, float)
    assert_type(PRICE.volume, int)
    assert_type(PRICE.timestamp, int)
    account = AccountUpdate(pubkey="P", lamports=1, slot=2, timestamp=3)
    assert_type(account.pubkey, str)
    assert_type(account.lamports, int)
    assert_type(account.slot, int)
    assert_type(account.timestamp, int)
    assert_type(Subscribe(channels=["a"]).channels, list[str])
    assert_type(Unsubscribe(channels=["a"]).channels, list[str])
    assert type(Ping()) is Ping
    assert type(Pong()) is Pong
    assert PriceUpdate(input_mint="a", output_mint="b", price=1.0, timestamp=1).volume == 0


def test_config() -> None:
    config = WebSocketConfig(port=1)
    assert_type(config, WebSocketConfig)
    assert_type(WebSocketConfig.from_env({}, port=2), WebSocketConfig)
    assert_type(config.replace(port=2), WebSocketConfig)
    assert_type(config.host, str)
    assert_type(config.port, int)
    assert_type(config.reconnect_interval, float)
    assert_type(config.max_reconnect_attempts, int | None)
    assert_type(config.ping_interval, float | None)
    assert type(config.reconnect_interval) is float


def test_run_returns_what_the_coroutine_returns() -> None:
    async def main() -> int:
        return 7

    result = run(main())
    assert_type(result, int)
    assert type(result) is int


async def test_server() -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        assert_type(server, WebSocketServer)
        assert_type(server.local_addr, tuple[str, int])
        assert type(server.local_addr) is tuple
        assert_type(server.url, str)
        assert type(server.url) is str
        queued = server.broadcast(PRICE)
        assert_type(queued, int)
        assert type(queued) is int
        receipt = server.publish("prices:SOL-USDC", PRICE)
        assert_type(receipt, Receipt)
        assert type(receipt) is Receipt
        channel = server.channel("prices:SOL-USDC", PriceUpdate)
        assert_type(channel, Channel[PriceUpdate])
        assert type(channel) is Channel
        assert_type(channel.publish(PRICE), Receipt)
        stats = server.stats()
        assert_type(stats, ServerStats)
        assert type(stats) is ServerStats
    bound = await WebSocketServer.bind("127.0.0.1:0", config=WebSocketConfig(), max_lag=1024)
    assert_type(bound, WebSocketServer)
    assert type(bound) is WebSocketServer
    await bound.close()


async def test_client() -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        server.on(PriceUpdate, lambda connection, message: connection.send(message))
        server.on(Fill, lambda connection, message: connection.send(message))
        connected = await WebSocketClient.connect(server.url, codec="msgpack", reconnect=False, open_timeout=1.0)
        assert_type(connected, WebSocketClient)
        assert type(connected) is WebSocketClient
        await connected.close(code=1000, reason="done")
        ended = await connected.receive(PriceUpdate)
        assert_type(ended, PriceUpdate | None)
        assert ended is None

        async with WebSocketClient.connect(server.url) as client:
            assert_type(client, WebSocketClient)
            assert_type(client.url, str)
            assert type(client.url) is str
            assert_type(client.is_connected, bool)
            assert type(client.is_connected) is bool
            await client.subscribe("a", "b")
            await client.unsubscribe("a", "b")

            sent: Awaitable[SendOutcome] = client.send(PRICE)
            assert_type(await sent, SendOutcome)
            received = await client.receive(PriceUpdate)
            assert_type(received, PriceUpdate | None)
            assert type(received) is PriceUpdate

            client.send(Fill("o-1", 2.0))
            fill = await client.receive(Fill)
            assert_type(fill, Fill | None)
            assert type(fill) is Fill

            client.send(PRICE)
            anything = await client.receive()
            assert_type(anything, WsMessage | None)
            assert type(anything) is PriceUpdate

            client.send(PRICE)
            async for message in client.messages(PriceUpdate):
                assert_type(message, PriceUpdate)
                assert type(message) is PriceUpdate
                break

            client.send(PRICE)
            async for batch in client.batches(PriceUpdate):
                assert_type(batch, list[PriceUpdate])
                assert type(batch) is list
                break

            client.send(PRICE)
            async for columns in client.columns(PriceUpdate):
                assert_type(columns, Columns)
                assert type(columns) is Columns
                assert_type(columns.names, tuple[str, ...])
                assert columns["price"].tolist() == [PRICE.price]
                break

            def on_price(update: PriceUpdate) -> None:
                assert_type(update, PriceUpdate)

            def on_fault(error: DecodeError) -> None:
                assert_type(error, DecodeError)

            client.on(PriceUpdate, on_price)
            client.on(DecodeError, on_fault)
            stats = client.stats()
            assert_type(stats, ClientStats)
            assert type(stats) is ClientStats


def test_stream_of_a_node_has_the_types_it_promises() -> None:
    async def main() -> None:
        async with linked() as (stream, node):
            assert_type(stream, LaserStream)
            accounts = stream.accounts([KEY])
            assert_type(accounts, Updates[AccountUpdate])
            assert_type(stream.program(KEY), Updates[AccountUpdate])
            assert_type(stream.slots(), Updates[SlotUpdate])
            assert_type(stream.logs(), Updates[LogsUpdate])
            assert_type(stream.transactions(), Updates[TransactionUpdate])
            assert_type(accounts.channels, tuple[str, ...])
            started = asyncio.ensure_future(accounts)
            (number,) = await node.acknowledge()
            assert_type(await started, Updates[AccountUpdate])
            node.send(ACCOUNT % (1, 2, number))
            async for update in accounts:
                assert_type(update, AccountUpdate)
                assert type(update) is AccountUpdate
                break

            def on_account(update: AccountUpdate) -> None:
                assert_type(update, AccountUpdate)

            accounts.on(on_account)
            step: Coroutine[Any, Any, StreamEvent] = anext(stream.events())
            step.close()
            stats = stream.stats()
            assert_type(stats, StreamStats)
            assert_type(stats.link, ClientStats)

    async def opening() -> None:
        async with LaserStream.connect("ws://node.test/", commitment="confirmed", ping_interval=5.0) as stream:
            assert_type(stream, LaserStream)

    opening().close()
    run(main())


async def test_peers() -> None:
    filled: list[tuple[Fill, str]] = []

    def on_fill(fill: Fill, sender: str) -> None:
        assert_type(fill, Fill)
        filled.append((fill, sender))

    def on_joined(event: PeerJoined) -> None:
        assert_type(event.name, str)

    async with (
        Peer("guard", listen="127.0.0.1:0") as guard,
        Peer("momentum", peers={"guard": guard.url}) as momentum,
    ):
        assert_type(guard, Peer)
        guard.on(Fill, on_fill)
        guard.on(PeerJoined, on_joined)

        @guard.answer(Fill)
        def answer(fill: Fill, sender: str) -> Fill:
            return fill

        link = await momentum.joined("guard", 5)
        assert_type(link, PeerLink)
        assert type(link) is PeerLink
        assert_type(link.clock_offset, float | None)
        assert_type(momentum.links, Mapping[str, PeerLink])
        assert_type(momentum.send("guard", Fill("o", 1.0)), Awaitable[SendOutcome])
        assert_type(momentum.broadcast(Fill("o", 1.0)), int)
        reply = await momentum.request("guard", Fill("o", 1.0), timeout=5, of=Fill)
        assert_type(reply, Fill)
        assert type(reply) is Fill
        assert filled == [(Fill("o", 1.0), "momentum")] * 2
        async for event in momentum.events():
            assert_type(event, PeerJoined | PeerLeft | PeerGap | PeerDialFailed)
            break
