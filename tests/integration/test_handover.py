import asyncio
import contextlib
import gc
import os
import socket
import sys
import weakref
from collections import Counter
from typing import Any

import pytest
from tests.integration.conftest import UPGRADE, Network, RawPeer
from tests.support.waiting import until
from tests.support.wire import CLOSE, PING, PONG, TEXT, close_code, close_frame, frame

from websocket_utils import WebSocketServer, _handshake
from websocket_utils.exceptions import ConnectionClosed, HandshakeError

pytestmark = pytest.mark.usefixtures("loop_errors")

SIZES = [0, 1, 125, 126, 65_535, 65_536, 16 << 20]


def echo(connection: Any, message: str | bytes) -> None:
    connection.send(message)


async def test_text_and_binary_of_all_sizes_travel_both_ways(network: Network) -> None:
    limits = {"max_inbox": 64 << 20, "max_message_size": 16 << 20, "ping_interval": None}
    async with network.pair(server=limits, client=limits) as (server, client):
        server.on(str | bytes, echo)
        for size in SIZES:
            for message in ("x" * size, bytes(size)):
                client.send(message)
                assert await asyncio.wait_for(client.receive(str | bytes), 10) == message
        for size in SIZES[:-1]:
            text = "é" * (size // 2)
            assert server.broadcast(text) == 1
            assert await asyncio.wait_for(client.receive(str), 10) == text
        stats = client.stats()
        assert stats.messages_received == 2 * len(SIZES) + len(SIZES) - 1
        assert stats.bytes_received == 2 * sum(SIZES) + sum(size // 2 * 2 for size in SIZES[:-1])


# --- bytes that come together with the handshake ---

HALF = b"in two pieces, the first of which came early"

# What comes early, what comes later, and the messages that both make.
EARLY: dict[str, tuple[list[tuple[int, bytes]], int | None, list[bytes]]] = {
    "one frame": ([(TEXT, b"a")], None, [b"a"]),
    "several frames": ([(TEXT, b"%d" % number) for number in range(9)], None, [b"%d" % number for number in range(9)]),
    "nothing but one byte of a header": ([(TEXT, HALF)], 1, [HALF]),
    "a frame and one byte of a header": ([(TEXT, b"a"), (TEXT, HALF)], 1, [b"a", HALF]),
    "a frame cut in its payload": ([(TEXT, b"a"), (TEXT, HALF)], 20, [b"a", HALF]),
    "a wide header cut in its length": ([(TEXT, b"a"), (TEXT, bytes(70_000))], 5, [b"a", bytes(70_000)]),
    "more than the handshake's buffer holds": ([(TEXT, b"x" * 9000), (TEXT, b"b")], None, [b"x" * 9000, b"b"]),
    "a frame cut that is more than the buffer holds": ([(TEXT, b"y" * 30_000)], 5000, [b"y" * 30_000]),
}


def early_bytes(case: str, *, masked: bool) -> tuple[bytes, bytes, list[str]]:
    frames, cut, messages = EARLY[case]
    parts = [frame(opcode, payload, masked=masked) for opcode, payload in frames]
    whole = b"".join(parts)
    end = len(whole) if cut is None else len(whole) - len(parts[-1]) + cut
    return whole[:end], whole[end:], [message.decode() for message in messages]


@pytest.mark.parametrize("case", EARLY)
async def test_client_takes_what_came_with_the_answer(network: Network, case: str) -> None:
    early, rest, messages = early_bytes(case, masked=False)
    connected = asyncio.Event()

    async def script(peer: RawPeer) -> None:
        await peer.write(peer.answer(early))
        await asyncio.wait_for(connected.wait(), 5)
        await peer.write(rest + frame(PING, b"p", masked=False) + frame(TEXT, b"last", masked=False))
        ping, close = await peer.frame(), await peer.frame()
        assert ping is not None
        assert close is not None
        assert (ping.opcode, ping.payload, ping.masked) == (PONG, b"p", True)
        assert close.opcode == CLOSE
        await peer.write(close_frame(1000, masked=False))

    async with network.raw_server(script) as url, network.connect(url, reconnect=False) as client:
        connected.set()
        for message in [*messages, "last"]:
            assert await asyncio.wait_for(client.receive(str), 5) == message


@pytest.mark.parametrize("case", EARLY)
async def test_server_takes_what_came_with_the_request(network: Network, case: str) -> None:
    early, rest, messages = early_bytes(case, masked=True)
    async with network.bind() as server:
        server.on(str, echo)
        async with network.raw_client(server, early) as peer:
            await peer.write(rest + frame(TEXT, b"last", masked=True))
            for message in [*messages, "last"]:
                answer = await peer.frame()
                assert answer is not None
                assert (answer.payload.decode(), answer.masked) == (message, False)


# What comes early, and the frames that answer it before the end.
LAST_WORDS = {
    "ping and close": ([frame(PING, b"?", masked=False), close_frame(3000, masked=False)], [PONG, CLOSE], 3000),
    "text that is no UTF-8": ([frame(TEXT, b"\xff", masked=False)], [CLOSE], 1007),
    "reserved opcode": ([frame(0x3, b"", masked=False)], [CLOSE], 1002),
    "reserved bits behind a message": (
        [frame(TEXT, b"a", masked=False), frame(TEXT, b"b", masked=False, reserved_bits=4)],
        [CLOSE],
        1002,
    ),
}


@pytest.mark.parametrize("case", LAST_WORDS)
async def test_client_answers_a_close_or_a_violation_that_came_with_the_answer(network: Network, case: str) -> None:
    early, opcodes, code = LAST_WORDS[case]
    answers: list[Any] = []

    async def script(peer: RawPeer) -> None:
        await peer.write(peer.answer(b"".join(early)))
        answers.extend([await peer.frame() for _ in opcodes])

    async with network.raw_server(script) as url, network.connect(url, reconnect=False) as client:
        with contextlib.suppress(ConnectionClosed):
            async for _ in client.messages(str):
                pass
    assert [one.opcode for one in answers] == opcodes
    assert close_code(answers[-1].payload) == code


@pytest.mark.parametrize("case", ["ping and close", "text that is no UTF-8", "unmasked frame", "reserved opcode"])
async def test_server_answers_a_close_or_a_violation_that_came_with_the_request(network: Network, case: str) -> None:
    early, code = {
        "ping and close": (frame(PING, b"?", masked=True) + close_frame(3000, masked=True), 3000),
        "text that is no UTF-8": (frame(TEXT, b"\xff", masked=True), 1007),
        "unmasked frame": (frame(TEXT, b"a", masked=False), 1002),
        "reserved opcode": (frame(0x3, b"", masked=True), 1002),
    }[case]
    async with network.bind(close_timeout=0.2) as server:
        async with network.raw_client(server, early) as peer:
            frames = await peer.frames()
        assert [one.opcode for one in frames] == [PONG, CLOSE] if "ping" in case else [CLOSE]
        assert close_code(frames[-1].payload) == code
        await until(lambda: not server.connections)


# --- what is left of the opening handshake ---


class Openings:
    """The opening handshakes of a test, by weak references, and their timers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.alive: weakref.WeakSet[Any] = weakref.WeakSet()
        self.timers: list[asyncio.TimerHandle] = []
        self.buffers: list[bytearray] = []
        loop = asyncio.get_running_loop()
        call_later, hand_over = loop.call_later, _handshake.OpeningProtocol._hand_over

        def watched_call_later(delay: float, callback: Any, *arguments: Any, **context: Any) -> asyncio.TimerHandle:
            timer = call_later(delay, callback, *arguments, **context)
            if isinstance(getattr(callback, "__self__", None), _handshake.OpeningProtocol):
                self.timers.append(timer)
            return timer

        def watched_hand_over(opening: Any, *arguments: Any, **known: Any) -> Any:
            self.alive.add(opening)
            self.buffers.append(opening._buffer)
            return hand_over(opening, *arguments, **known)

        monkeypatch.setattr(loop, "call_later", watched_call_later)
        monkeypatch.setattr(_handshake.OpeningProtocol, "_hand_over", watched_hand_over)


@pytest.mark.parametrize("early", [b"", frame(TEXT, b"early", masked=True)], ids=["nothing early", "early data"])
async def test_nothing_of_the_openings_is_left_while_the_connections_live(
    network: Network, early: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    openings = Openings(monkeypatch)
    async with network.pair() as (server, client), network.raw_client(server, early):
        await until(lambda: len(server.connections) == 2)
        assert len(openings.buffers) == 3
        # The read that brought the head, and the task that dialled, have to return first.
        await asyncio.sleep(0)
        gc.collect(1)
        assert list(openings.alive) == []
        # The list's own reference and the call's: no transport reads into it any more.
        assert [sys.getrefcount(buffer) for buffer in openings.buffers] == [3, 3, 3]
        assert len(openings.timers) == 2
        assert all(timer.cancelled() for timer in openings.timers)
        client.send("works")


async def test_refused_opening_leaves_nothing(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    openings = Openings(monkeypatch)
    async with network.bind(origins=("https://desk.example",)) as server:
        acceptor = server._acceptor
        headers = {"Origin": "https://evil.example"}
        for _ in range(3):
            with pytest.raises(HandshakeError, match="403"):
                await network.connect(server.url, headers=headers)
        await until(lambda: not acceptor._openings)
        assert (acceptor.lingering, acceptor.admission.count) == (0, 0)
        assert all(timer.cancelled() for timer in openings.timers)
        assert server.stats().rejected == 3


async def test_refused_peer_that_does_not_go_is_cut(network: Network) -> None:
    def ask(server: WebSocketServer) -> socket.socket:
        host, port = server.local_addr
        peer = socket.create_connection((host, port), timeout=5)
        if network.client_ssl is not None:
            peer = network.client_ssl.wrap_socket(peer, server_hostname=host)
        peer.sendall(UPGRADE % b"")
        assert peer.recv(13) == b"HTTP/1.1 403 "
        return peer

    async with network.bind(hosts=("desk.example",)) as server:
        # Nothing of it answers by itself: neither the end of the stream nor that of TLS.
        with await asyncio.to_thread(ask, server):
            await until(lambda: server._acceptor.admission.count == 0)


# --- nothing leaks ---


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def tracked_objects() -> Counter[str]:
    gc.collect()
    return Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects())


async def cycle(network: Network, server: WebSocketServer, times: int) -> None:
    async def one() -> None:
        async with network.connect(server.url, reconnect=False) as client:
            client.send("x")
            assert await client.receive(str) == "x"

    for _ in range(times // 10):
        await asyncio.gather(*(one() for _ in range(10)))
    await until(lambda: not server.connections)


async def assert_no_growth(network: Network, *, warm_up: int, cycles: int, growth: int) -> None:
    """A leak grows in every round; caches and the loop's cancelled timers (asyncio keeps up to 100) don't."""
    asyncio.get_running_loop().set_debug(False)
    async with network.bind() as server:
        server.on(str, echo)
        await cycle(network, server, warm_up)
        files, resident = open_files(), resident_bytes()
        objects = [tracked_objects()]
        for _ in range(2):
            await cycle(network, server, cycles)
            objects.append(tracked_objects())
        more = (objects[1] - objects[0]) & (objects[2] - objects[1])
        assert {name: many for name, many in more.items() if many >= cycles * 9 // 10} == {}
        assert open_files() <= files
        assert resident_bytes() - resident < growth


async def test_connecting_and_closing_leaves_nothing(network: Network) -> None:
    await assert_no_growth(network, warm_up=40, cycles=120, growth=4 << 20)


async def test_two_thousand_connections_leave_nothing(plain: Network) -> None:
    # 1 KiB a connection would be 1.5 MiB.
    await assert_no_growth(plain, warm_up=500, cycles=750, growth=1 << 20)


async def test_connection_that_is_not_read_is_not_collected(network: Network) -> None:
    messages = [b"%d" % number * 10_000 for number in range(100)]
    async with network.pair(client={"max_inbox": 10_000}, server={"max_send_queue": 64 << 20}) as (server, client):
        (connection,) = server.connections
        for message in messages:
            connection.send(message)
        del connection
        await until(lambda: client.stats().inbox_bytes > 10_000)
        for _ in range(3):
            gc.collect()
            await asyncio.sleep(0)
        received = [await asyncio.wait_for(client.receive(bytes), 5) for _ in messages]
        assert received == messages
