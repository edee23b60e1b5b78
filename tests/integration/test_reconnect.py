"""The client's life: what it does when the connection, the server or its patience ends."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.integration.quiet import Quiet, frozen, quiet  # noqa: F401  # fixtures, used by every test
from tests.integration.raw_peer import CLOSE, PING, PONG, TEXT, RawPeer, close_payload, raw_server

from websocket_utils import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    EncodeError,
    HandshakeError,
    HeartbeatTimeout,
    InvalidURL,
    LocalProtocolError,
    Ping,
    PriceUpdate,
    ReconnectGaveUp,
    SendQueueFull,
    Subscribe,
    WebSocketClient,
    WebSocketServer,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backoff without its waits: what counts here is what is done, not when."""
    monkeypatch.setattr("websocket_utils._reconnect.Backoff.delay", lambda _self, _unit: 0.0)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The longest waits that backoff asks for, in their order; none of them is waited for."""
    seen: list[float] = []

    def delay(self: Any, unit: float) -> float:
        del unit
        seen.append(original(self, 1.0))
        return 0.0

    from websocket_utils._reconnect import Backoff

    original = Backoff.delay
    monkeypatch.setattr(Backoff, "delay", delay)
    return seen


async def subscribed(peer: RawPeer) -> list[str]:
    return msgspec.json.decode((await peer.read_frame()).payload, type=Subscribe).channels


def update(number: int) -> bytes:
    return msgspec.json.encode(PriceUpdate("SOL", "USDC", float(number), timestamp=number))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # conditions on other objects' state have no event
            await asyncio.sleep(0.001)


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
        received = []
        async for message in client.messages(PriceUpdate):
            received.append(message.timestamp)
            if len(received) == 3:
                break
        assert received == [1, 2, 3]
        assert subscriptions == [["c", "b", "a", "-b"], ["c", "a"], ["c", "a"]]
        assert (client.stats().connects, client.stats().reconnects) == (3, 2)
        assert client.stats().state == "open"
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
            await until(lambda: bool(second.publish("prices", PriceUpdate("SOL", "USDC", 2.0, timestamp=2))))
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
        assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0, 5.0]


async def test_connection_that_lasted_resets_backoff_and_attempts(
    waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("websocket_utils._reconnect._STABLE_AFTER", 0.0)

    async def script(peer: RawPeer) -> None:
        await peer.upgrade()
        if server.accepted <= 5:
            peer.reset()
        else:
            await peer.read_close()
            peer.send(CLOSE, close_payload(1000))

    async with (
        raw_server(script) as server,
        asyncio.timeout(10),
        WebSocketClient.connect(server.url, max_reconnect_attempts=1) as client,
    ):
        await until(lambda: client.stats().connects == 6)
    # The first retry after a good connection is at once.
    assert waits == [0.01] * 5


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
        assert client.stats().state == "closed"
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
        with pytest.raises(HandshakeError if dials == 2 else ReconnectGaveUp) as caught:
            await client.receive()
        assert server.accepted == dials
        error = caught.value if dials == 2 else getattr(caught.value, "last_error", None)
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
        assert client.stats().state == "closed"


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
        await client.send("first")
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


# --- closing ---


async def test_close_during_the_wait_for_a_reconnect_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("websocket_utils._reconnect.Backoff.delay", lambda _self, _unit: 3600.0)

    async def script(peer: RawPeer) -> None:
        await peer.upgrade()
        peer.reset()

    async with raw_server(script) as server:
        client = await WebSocketClient.connect(server.url)
        receiving = asyncio.create_task(client.receive())
        await until(lambda: client.stats().state == "reconnecting")
        async with asyncio.timeout(0.5):
            await client.close()
            assert await receiving is None
        assert server.accepted == 1
        with pytest.raises(ConnectionClosedOK):
            client.send("too late")


async def test_close_in_the_middle_of_a_dial_ends_at_once_and_closes_its_socket(eager: None) -> None:
    del eager
    dialling, gone = asyncio.Event(), asyncio.Event()

    async def script(peer: RawPeer) -> None:
        if server.accepted == 1:
            await peer.upgrade()
            peer.reset()
            return
        await peer.read_head()
        dialling.set()
        await peer.read_until_closed()
        gone.set()

    async with raw_server(script) as server:
        client = await WebSocketClient.connect(server.url)
        async with asyncio.timeout(5):
            await dialling.wait()
        async with asyncio.timeout(0.5):
            await client.close()
            # Not only told to end.
            assert client._supervisor is not None
            assert client._supervisor.done()
            await gone.wait()
        assert client.stats().state == "closed"


async def test_cancelled_connect_leaves_no_socket_open_and_no_connection_behind() -> None:
    dialling, gone = asyncio.Event(), asyncio.Event()

    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        dialling.set()
        await peer.read_until_closed()
        gone.set()

    async def connect(url: str) -> WebSocketClient:
        return await WebSocketClient.connect(url, open_timeout=3600)

    async with raw_server(script) as server, asyncio.timeout(5):
        task = asyncio.create_task(connect(server.url))
        await dialling.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(0.5):
            await gone.wait()


async def test_close_of_a_peer_that_never_answers_takes_close_timeout() -> None:
    async def script(peer: RawPeer) -> None:
        await peer.upgrade()
        await peer.read_until_closed()

    async with raw_server(script) as server:
        client = await WebSocketClient.connect(server.url, close_timeout=0.1)
        started = asyncio.get_running_loop().time()
        await client.close()
        assert 0.09 < asyncio.get_running_loop().time() - started < 1
        await client.close()


async def test_cancelled_close_aborts_the_connection() -> None:
    gone = asyncio.Event()

    async def script(peer: RawPeer) -> None:
        await peer.upgrade()
        await peer.read_until_closed()
        gone.set()

    async with raw_server(script) as server, asyncio.timeout(5):
        client = await WebSocketClient.connect(server.url, close_timeout=3600)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.close(), 0.05)
        await gone.wait()
        assert client.stats().state == "closed"


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000])
async def test_close_with_a_code_that_must_not_travel_does_nothing(code: int) -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server, WebSocketClient.connect(server.url) as client:
        with pytest.raises(LocalProtocolError):
            await client.close(code)
        assert client.is_connected


async def test_handler_may_close_its_own_client_and_goes_on() -> None:
    ended = asyncio.Event()
    async with (
        WebSocketServer.bind("127.0.0.1:0") as server,
        asyncio.timeout(5),
        WebSocketClient.connect(server.url) as client,
    ):

        async def stop(_: PriceUpdate) -> None:
            await client.close()
            ended.set()

        client.on(PriceUpdate, stop)
        server.broadcast(PriceUpdate("SOL", "USDC", 1.0, timestamp=1))
        await ended.wait()
        assert client.stats().state == "closed"


async def test_messages_that_had_come_are_received_after_close() -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        client = await WebSocketClient.connect(server.url)
        for number in range(3):
            server.broadcast(PriceUpdate("SOL", "USDC", 1.0, timestamp=number))
        await until(lambda: client.stats().inbox_messages == 3)
        await client.close()
        assert [message.timestamp async for message in client.messages(PriceUpdate)] == [0, 1, 2]
        assert await client.receive() is None


# --- heartbeat ---


async def test_peer_that_stops_answering_is_dead_and_is_dialled_again(
    eager: None, caplog: pytest.LogCaptureFixture
) -> None:
    del eager
    pings: list[int] = []

    async def script(peer: RawPeer) -> None:
        await peer.upgrade()
        number = server.accepted
        while (found := await peer.read_frame()).opcode != CLOSE:
            if found.opcode == PING:
                pings.append(number)
                if number > 1:
                    peer.send(PONG, found.payload)
        peer.send(CLOSE, found.payload)

    async with (
        raw_server(script) as server,
        asyncio.timeout(10),
        WebSocketClient.connect(server.url, ping_interval=0.02, ping_timeout=0.05) as client,
    ):
        await until(lambda: client.stats().connects == 2)
        await until(lambda: pings.count(2) >= 10)
        assert client.stats().connects == 2
    assert any("no pong within 0.05 s" in record.getMessage() for record in caplog.records)


async def test_peer_that_reads_nothing_ends_in_a_heartbeat_timeout_without_reconnect() -> None:
    async def script(peer: RawPeer) -> None:
        await peer.upgrade()
        await asyncio.Event().wait()

    async with raw_server(script) as server, asyncio.timeout(10):
        client = await WebSocketClient.connect(server.url, ping_interval=0.02, ping_timeout=0.05, reconnect=False)
        with pytest.raises(HeartbeatTimeout) as caught:
            await client.receive()
        assert caught.value.timeout == 0.05
        assert await client.receive() is None


async def test_reader_that_is_slow_is_no_reason_to_take_the_peer_for_dead() -> None:
    async def script(peer: RawPeer) -> None:
        await peer.upgrade()
        for _ in range(100):
            peer.send(TEXT, b"x" * 10_000)
        while (found := await peer.read_frame()).opcode != CLOSE:
            if found.opcode == PING:
                peer.send(PONG, found.payload)
        peer.send(CLOSE, found.payload)

    async with (
        raw_server(script) as server,
        asyncio.timeout(10),
        WebSocketClient.connect(
            server.url, ping_interval=0.02, ping_timeout=0.04, max_inbox=50_000, reconnect=False
        ) as client,
    ):
        await asyncio.sleep(0.2)
        assert client.is_connected
        for _ in range(100):
            assert await client.receive(str) == "x" * 10_000
        assert client.is_connected


# --- Ctrl-C ---

PROGRAM = """
import asyncio, sys
from websocket_utils import WebSocketClient, WebSocketServer, run

async def main():
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        async with WebSocketClient.connect(server.url) as client:
            print("ready", flush=True)
            try:
                await {waiting}
            finally:
                print("ending", client.is_connected, flush=True)
    print("not reached", flush=True)

run(main(), debug=True)
"""


@pytest.mark.parametrize("waiting", ["server.serve_forever()", "client.receive()", "client.messages().__anext__()"])
async def test_ctrl_c_ends_a_program_cleanly(waiting: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        "-c",
        PROGRAM.replace("{waiting}", waiting),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert process.stdout is not None
    async with asyncio.timeout(10):
        assert await process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        output, errors = await process.communicate()
    assert output == b"ending True\n"
    # As Python ends after Ctrl-C: one traceback, of KeyboardInterrupt, and killed by the signal.
    assert errors.rstrip().endswith(b"KeyboardInterrupt"), errors.decode()
    for word in (b"never", b"Task", b"ResourceWarning", b"unclosed", b"Exception ignored"):
        assert word not in errors, errors.decode()
    assert process.returncode == -signal.SIGINT


# --- logging ---


async def test_one_logger_a_side_and_nothing_of_the_transport_at_info(
    eager: None, caplog: pytest.LogCaptureFixture
) -> None:
    del eager
    caplog.set_level(logging.INFO)
    async with WebSocketServer.bind("127.0.0.1:0") as server, WebSocketClient.connect(server.url):
        before = set(logging.root.manager.loggerDict)
        for _ in range(20):
            async with WebSocketClient.connect(server.url) as client:
                client.send("x")
        assert set(logging.root.manager.loggerDict) == before
    assert {record.name for record in caplog.records if record.name not in {"asyncio", "aiofastnet"}} == {
        "websocket_utils.client",
        "websocket_utils.server",
    }
