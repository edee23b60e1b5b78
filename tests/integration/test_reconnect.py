"""The client's life: what it does when the connection, the server or its patience ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.integration.quiet import Quiet, frozen, quiet  # noqa: F401  # fixtures, used by every test
from tests.integration.raw_peer import RawPeer, raw_server
from tests.support.waiting import until
from tests.support.wire import CLOSE, TEXT, close_payload

from websocket_utils import (
    ConnectionClosed,
    ConnectionClosedError,
    EncodeError,
    HandshakeError,
    InvalidURL,
    Ping,
    PriceUpdate,
    ReconnectGaveUp,
    ReconnectPolicy,
    SendQueueFull,
    Subscribe,
    WebSocketClient,
    WebSocketServer,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The longest waits that backoff asks for, in their order; none of them is waited for."""
    seen: list[float] = []

    def delay(self: Any, failures: int, unit: float, *, flapping: bool, longest: float) -> float:
        del unit
        seen.append(original(self, failures, 1.0, flapping=flapping, longest=longest))
        return 0.0

    original = ReconnectPolicy.delay
    monkeypatch.setattr(ReconnectPolicy, "delay", delay)
    return seen


async def subscribed(peer: RawPeer) -> list[str]:
    return msgspec.json.decode((await peer.read_frame()).payload, type=Subscribe).channels


def update(number: int) -> bytes:
    return msgspec.json.encode(PriceUpdate("SOL", "USDC", float(number), timestamp=number))


async def reset(peer: RawPeer) -> None:
    await peer.writer.drain()
    peer.reset()


async def end_of_file(peer: RawPeer) -> None:
    peer.writer.write_eof()
    await peer.read_until_closed()


def close_frame(code: int) -> Callable[[RawPeer], Any]:
    async def close(peer: RawPeer) -> None:
        peer.send(CLOSE, close_payload(code))
        assert (await peer.read_close()).close_code == code

    return close


async def violation(peer: RawPeer) -> None:
    peer.write(b"\xff\xff")
    assert (await peer.read_close()).close_code == 1002


ENDS = [reset, end_of_file, close_frame(1000), close_frame(1001), close_frame(1011), violation]


@pytest.mark.parametrize("end", ENDS, ids=["reset", "fin", "1000", "1001", "1011", "violation"])
async def test_client_reconnects_resubscribes_in_order_and_the_stream_goes_on(
    end: Callable[[RawPeer], Any], eager: None
) -> None:
    del eager
    subscriptions: list[list[str]] = []

    async def script(peer: RawPeer) -> None:
        await peer.upgrade()
        number = server.accepted
        if number == 1:
            subscriptions.append(await subscribed(peer) + await subscribed(peer) + (await subscribed_out(peer)))
        else:
            subscriptions.append(await subscribed(peer))
        peer.send(TEXT, update(number))
        if number == 3:
            await peer.read_until_closed()
        await end(peer)

    async def subscribed_out(peer: RawPeer) -> list[str]:
        left = msgspec.json.decode((await peer.read_frame()).payload)
        assert left == {"type": "Unsubscribe", "channels": ["b"]}
        return ["-b"]

    async with (
        raw_server(script) as server,
        asyncio.timeout(10),
        WebSocketClient.connect(server.url, close_timeout=0.2) as client,
    ):
        await client.subscribe("c", "b", "c")
        await client.subscribe("b", "a")
        await client.unsubscribe("b", "unknown")
        # Subscribed to twice.
        assert "b" in client.channels
        await client.unsubscribe("b")
        received = []
        async for message in client.messages(PriceUpdate):
            received.append(message.timestamp)
            if len(received) == 3:
                break
        assert received == [1, 2, 3]
        assert subscriptions == [["c", "b", "a", "-b"], ["c", "a"], ["c", "a"]]
        assert (client.stats().connects, client.stats().reconnects) == (3, 2)
        assert client.stats().state == "live"
        assert client.channels == ("c", "a")


async def test_client_finds_a_server_that_comes_back_on_the_same_port(eager: None) -> None:
    del eager
    first = await WebSocketServer.bind("127.0.0.1:0")
    address = "{}:{}".format(*first.local_addr)
    async with WebSocketClient.connect(first.url, max_reconnect_attempts=None) as client, asyncio.timeout(10):
        await client.subscribe("prices")
        await first.close()
        await until(lambda: not client.is_connected)
        with pytest.raises(ConnectionClosed):
            client.send("nobody hears this")
        async with WebSocketServer.bind(address) as second:
            await until(lambda: second.publish("prices", PriceUpdate("SOL", "USDC", 2.0, timestamp=2)).subscribers)
            message = await client.receive(PriceUpdate)
            assert message is not None
            assert message.price == 2.0
            # The client goes first: the server would wait for it.
            await client.close()


async def test_server_that_accepts_and_drops_is_dialled_ever_more_slowly(waits: list[float]) -> None:
    async def script(peer: RawPeer) -> None:
        await peer.upgrade()
        peer.reset()

    async with raw_server(script) as server, asyncio.timeout(10):
        client = await WebSocketClient.connect(server.url, max_reconnect_attempts=10, reconnect_interval=5)
        with pytest.raises(ReconnectGaveUp) as caught:
            await client.receive()
        assert caught.value.attempts == 10
        assert server.accepted == 11
        # A connection that is dropped at once resets nothing: without the backoff it would be thousands a second.
        assert waits == [0.001, 0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0, 5.0]


async def test_connection_that_lasted_resets_backoff_and_attempts(waits: list[float]) -> None:
    async def script(peer: RawPeer) -> None:
        await peer.upgrade()
        peer.send(TEXT, b"a sign of life")
        await peer.writer.drain()
        # An answer: the client is live. Then for longer than no time at all, by a clock that may count milliseconds.
        assert await peer.is_answered()
        answered = asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() > answered)
        if server.accepted <= 5:
            peer.reset()
        else:
            await peer.read_close()
            peer.send(CLOSE, close_payload(1000))

    async with (
        raw_server(script) as server,
        asyncio.timeout(10),
        WebSocketClient.connect(server.url, max_reconnect_attempts=1, stable_after=1e-6) as client,
    ):
        await until(lambda: client.stats().connects == 6)
    # The first retry after a good connection is at once.
    assert waits == [0.001] * 5


@pytest.mark.parametrize("limit", [0, 1, 3])
async def test_client_gives_up_after_the_attempts_it_may_make_and_says_so_once(
    limit: int,
    eager: None,
    quiet: Quiet,  # noqa: F811  # the fixture
) -> None:
    del eager

    async def script(peer: RawPeer) -> None:
        await (peer.upgrade() if server.accepted == 1 else peer.read_head())
        peer.reset()

    async with raw_server(script) as server, asyncio.timeout(10):
        client = await WebSocketClient.connect(server.url, max_reconnect_attempts=limit)
        with pytest.raises(ReconnectGaveUp) as caught:  # noqa: PT012  # the loop is what is tested
            async for _ in client.messages():
                raise AssertionError
        assert caught.value.attempts == limit == server.accepted - 1
        assert (caught.value.last_error is None) == (limit == 0)
        assert caught.value.__cause__ is not None
        assert await client.receive() is None
        assert [message async for message in client.messages()] == []
        with pytest.raises(ConnectionClosed):
            client.send("too late")
        assert client.stats().state == "failed"
        assert len(quiet.gave_up) == 1
        await client.close()


@pytest.mark.parametrize(
    ("status", "dials"), [("401 Unauthorized", 2), ("404 Not Found", 2), ("503 Busy", 4), ("429 Slow", 4)]
)
async def test_final_answer_ends_the_client_and_a_passing_one_does_not(status: str, dials: int, eager: None) -> None:
    del eager

    async def script(peer: RawPeer) -> None:
        if server.accepted == 1:
            await peer.upgrade()
        else:
            await peer.read_head()
            peer.answer(status)

    async with raw_server(script) as server, asyncio.timeout(10):
        client = await WebSocketClient.connect(server.url, max_reconnect_attempts=3)
        with pytest.raises(HandshakeError if dials < 4 else ReconnectGaveUp) as caught:
            await client.receive()
        assert server.accepted == dials
        error = caught.value if dials < 4 else getattr(caught.value, "last_error", None)
        assert isinstance(error, HandshakeError)
        assert error.status == int(status[:3])
        assert await client.receive() is None


async def test_redirect_to_nowhere_during_a_reconnect_ends_the_client(eager: None) -> None:
    del eager

    async def script(peer: RawPeer) -> None:
        if server.accepted == 1:
            await peer.upgrade()
        else:
            await peer.read_head()
            peer.answer("302 Found", "Location: ftp://elsewhere/")

    async with raw_server(script) as server, asyncio.timeout(10):
        client = await WebSocketClient.connect(server.url, follow_redirects=1)
        with pytest.raises(InvalidURL):
            await client.receive()
        assert client.stats().state == "failed"


@pytest.mark.parametrize(
    ("end", "initiator"), [(reset, "transport"), (end_of_file, "transport"), (close_frame(1011), "peer")]
)
async def test_without_reconnect_the_end_is_raised_once_after_all_messages(
    end: Callable[[RawPeer], Any], initiator: str
) -> None:
    async def script(peer: RawPeer) -> None:
        await peer.upgrade()
        peer.send(TEXT, b"last words")
        assert (await peer.read_frame()).payload == b"heard"
        await end(peer)

    async with raw_server(script) as server, asyncio.timeout(10):
        client = await WebSocketClient.connect(server.url, reconnect=False)
        assert await client.receive(str) == "last words"
        client.send("heard")
        with pytest.raises(ConnectionClosedError) as caught:
            await client.receive(str)
        assert caught.value.initiator == initiator
        assert await client.receive(str) is None
        assert server.accepted == 1


# --- sending while there is no connection ---


@contextlib.asynccontextmanager
async def between_connections(
    **options: Any,
) -> AsyncIterator[tuple[WebSocketClient, asyncio.Event, asyncio.Queue[Any]]]:
    """A client whose connection is lost, the event that lets the next one be, and what that one receives."""
    back = asyncio.Event()
    heard: asyncio.Queue[Any] = asyncio.Queue()

    async def script(peer: RawPeer) -> None:
        if server.accepted == 1:
            await peer.upgrade()
            peer.reset()
            return
        await back.wait()
        await peer.upgrade()
        while (found := await peer.read_frame()).opcode != CLOSE:
            heard.put_nowait((found.opcode, found.payload))
        peer.send(CLOSE, found.payload)

    async with (
        raw_server(script) as server,
        asyncio.timeout(10),
        WebSocketClient.connect(server.url, **options) as client,
    ):
        await until(lambda: server.accepted == 2)
        assert not client.is_connected
        yield client, back, heard


async def test_send_raises_while_down(eager: None) -> None:
    del eager
    async with between_connections() as (client, back, heard):
        for message in ("text", b"bytes", Ping()):
            with pytest.raises(ConnectionClosedError):
                client.send(message)
        back.set()
        await until(lambda: client.is_connected)
        client.send("after")
        assert await heard.get() == (TEXT, b"after")


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_queued_messages_leave_in_order_behind_the_subscriptions(codec: Any, eager: None) -> None:
    del eager
    async with between_connections(when_down="queue", codec=codec, subprotocols=()) as (client, back, heard):
        await client.subscribe("prices")
        buffer = bytearray(b"buffer")
        first = client.send("first")
        client.send(buffer)
        buffer[:] = b"change"
        client.send(memoryview(b"view"))
        message = Subscribe(channels=["x"])
        client.send(message)
        message.channels.append("changed later")
        client.send("last ä")
        with pytest.raises(EncodeError):
            client.send({object()})
        back.set()
        encode = msgspec.json.encode if codec == "json" else msgspec.msgpack.encode
        kind = 1 if codec == "json" else 2
        assert [await heard.get() for _ in range(6)] == [
            (kind, encode(Subscribe(channels=["prices"]))),
            (1, b"first"),
            (2, b"buffer"),
            (2, b"view"),
            (kind, encode(Subscribe(channels=["x"]))),
            (1, "last ä".encode()),
        ]
        assert (await first).is_written


async def test_queue_while_down_is_bounded_in_messages_and_in_bytes(eager: None) -> None:
    del eager
    async with between_connections(when_down="queue", message_buffer_size=3, max_send_queue=5000) as (
        client,
        back,
        heard,
    ):
        client.send("x" * 4000)
        with pytest.raises(SendQueueFull) as caught:
            client.send("y" * 4000)
        assert (caught.value.unit, caught.value.limit) == ("bytes", 5000)
        client.send("2")
        client.send("3")
        with pytest.raises(SendQueueFull) as caught:
            client.send("4")
        assert (caught.value.unit, caught.value.queued, caught.value.limit) == ("messages", 3, 3)
        back.set()
        assert [len((await heard.get())[1]) for _ in range(3)] == [4000, 1, 1]


async def test_message_sent_while_the_peer_closes_is_kept_for_the_next_connection(eager: None) -> None:
    del eager
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def script(peer: RawPeer) -> None:
        await peer.upgrade()
        if server.accepted == 1:
            peer.send(CLOSE, close_payload(1012))
            await peer.read_close()
            await closing.wait()
        else:
            heard.put_nowait((await peer.read_frame()).payload)

    async with raw_server(script) as server, asyncio.timeout(10):
        closing = asyncio.Event()
        async with WebSocketClient.connect(server.url, when_down="queue", close_timeout=1) as client:
            await until(lambda: not client.is_connected)
            assert client.stats().connects == 1
            client.send("kept")
            closing.set()
            assert await heard.get() == b"kept"
