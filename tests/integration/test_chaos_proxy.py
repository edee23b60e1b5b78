"""The chaos proxy carries every byte in its order, or does exactly what its toxic says."""

import asyncio
import random
import socket
import time

import pytest
from tests.integration.quiet import Quiet, frozen, quiet  # noqa: F401  # fixtures, used by every test
from tests.support.waiting import until

from websocket_utils import ServerConnection, WebSocketClient, WebSocketServer
from websocket_utils.testing import ChaosProxy, Direction, FaultServer


class Target:
    """A TCP server that keeps its connections for the test to look at."""

    def __init__(self) -> None:
        self.peers: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self.address = ""
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> "Target":
        async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._writers.append(writer)
            self.peers.put_nowait((reader, writer))

        self._server = await asyncio.start_server(keep, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)


class Ends:
    """Both ends of one connection through a proxy."""

    def __init__(self, target: Target, proxy: ChaosProxy) -> None:
        self._target = target
        self._proxy = proxy

    async def __aenter__(self) -> "Ends":
        host, _, port = self._proxy.address.partition(":")
        self.client, self.client_out = await asyncio.open_connection(host, int(port))
        self.server, self.server_out = await self._target.peers.get()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.client_out.transport.abort()
        self.server_out.transport.abort()
        await asyncio.sleep(0)

    def of(self, direction: Direction) -> tuple[asyncio.StreamWriter, asyncio.StreamReader]:
        return (self.client_out, self.server) if direction == "up" else (self.server_out, self.client)


async def all_of(reader: asyncio.StreamReader) -> tuple[bytes, str]:
    """What still comes, and how it ends."""
    data = b""
    try:
        while more := await reader.read(65_536):
            data += more
    except ConnectionResetError:
        return data, "reset"
    return data, "end of file"


def is_end(seen: str, end: str) -> bool:
    # libuv tells of an end of file where a reset comes together with data.
    return seen == end or (end == "reset" and type(asyncio.get_running_loop()).__module__ == "uvloop")


NOISE = random.Random(5).randbytes(300_000)
BOTH = pytest.mark.parametrize("direction", ["up", "down"])


async def test_clear_proxy_carries_bytes_both_ways_and_ends_as_its_ends_do() -> None:
    async with asyncio.timeout(10), Target() as target, ChaosProxy(target.address) as proxy:
        async with Ends(target, proxy) as ends:
            ends.client_out.write(NOISE)
            ends.server_out.write(NOISE[::-1])
            assert await ends.server.readexactly(len(NOISE)) == NOISE
            assert await ends.client.readexactly(len(NOISE)) == NOISE[::-1]
            ends.client_out.write_eof()
            assert await ends.server.read() == b""
            ends.server_out.write(b"still open this way")
            ends.server_out.write_eof()
            assert await ends.client.read() == b"still open this way"
            await until(lambda: not proxy.connections)
        async with Ends(target, proxy) as ends:
            tcp = ends.server_out.get_extra_info("socket")
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            ends.server_out.transport.abort()
            assert await all_of(ends.client) == (b"", "reset")
        assert (proxy.accepted, proxy.bytes_up, proxy.bytes_down) == (2, len(NOISE), len(NOISE) + 19)


@BOTH
async def test_latency_delays_and_keeps_the_order(direction: Direction) -> None:
    async with asyncio.timeout(10), Target() as target, ChaosProxy(target.address, seed=3) as proxy:
        proxy.latency(0.05, jitter=0.02, direction=direction)
        async with Ends(target, proxy) as ends:
            writer, reader = ends.of(direction)
            begin = time.monotonic()
            for at in range(0, 3000, 100):
                writer.write(NOISE[at : at + 100])
                await asyncio.sleep(0.0005)
            assert await reader.readexactly(1) == NOISE[:1]
            assert time.monotonic() - begin >= 0.03
            assert await reader.readexactly(2999) == NOISE[1:3000]
            # The end of the stream comes behind what is late.
            writer.write(b"last")
            writer.write_eof()
            assert await reader.read() == b"last"
            writer, reader = ends.of("down" if direction == "up" else "up")
            begin = time.monotonic()
            writer.write(b"at once")
            await reader.readexactly(7)
            assert time.monotonic() - begin < 0.03


@BOTH
async def test_slicer_sends_pieces_and_loses_nothing(direction: Direction) -> None:
    async with asyncio.timeout(10), Target() as target, ChaosProxy(target.address) as proxy:
        proxy.slicer(7, direction=direction)
        async with Ends(target, proxy) as ends:
            writer, reader = ends.of(direction)
            writer.write(NOISE[:20_000])
            first = await reader.read(65_536)
            assert len(first) < 10_000
            assert first + await reader.readexactly(20_000 - len(first)) == NOISE[:20_000]
            proxy.slicer(5000, delay=0.02, direction=direction)
            begin = time.monotonic()
            writer.write(NOISE[:20_000])
            assert await reader.readexactly(20_000) == NOISE[:20_000]
            assert time.monotonic() - begin >= 0.055


@BOTH
async def test_bandwidth_is_what_a_second_carries(direction: Direction) -> None:
    async with asyncio.timeout(10), Target() as target, ChaosProxy(target.address) as proxy:
        proxy.bandwidth(1_000_000, direction=direction)
        async with Ends(target, proxy) as ends:
            writer, reader = ends.of(direction)
            begin = time.monotonic()
            writer.write(NOISE)
            assert await reader.readexactly(len(NOISE)) == NOISE
            assert time.monotonic() - begin >= 0.29


@BOTH
async def test_black_hole_keeps_the_connection_and_drops_its_bytes(direction: Direction) -> None:
    async with (
        asyncio.timeout(10),
        Target() as target,
        ChaosProxy(target.address) as proxy,
        Ends(target, proxy) as ends,
    ):
        writer, reader = ends.of(direction)
        proxy.blackhole(direction=direction)
        writer.write(b"swallowed")
        stream = proxy.connections[0].up if direction == "up" else proxy.connections[0].down
        await until(lambda: stream.swallowed == 9)
        back, front = ends.of("down" if direction == "up" else "up")
        back.write(b"the other way is open")
        await front.readexactly(21)
        proxy.clear()
        writer.write(b"found")
        assert await reader.readexactly(5) == b"found"
        assert stream.passed == 5


@BOTH
@pytest.mark.parametrize("with_latency", [False, True])
async def test_limit_closes_and_reset_resets_at_the_byte(direction: Direction, with_latency: bool) -> None:
    async with asyncio.timeout(10), Target() as target, ChaosProxy(target.address) as proxy:
        async with Ends(target, proxy) as ends:
            # Counts from when it is set.
            writer, reader = ends.of(direction)
            writer.write(b"before")
            await reader.readexactly(6)
            if with_latency:
                proxy.latency(0.01)
            proxy.limit(1000, direction=direction)
            writer.write(NOISE[:600])
            await reader.readexactly(600)
            writer.write(NOISE[600:2000])
            data, end = await all_of(reader)
            assert (data, end) == (NOISE[600:1000], "end of file")
            await until(lambda: not proxy.connections)
        proxy.clear()
        proxy.reset(after=1000, direction=direction)
        async with Ends(target, proxy) as ends:
            writer, reader = ends.of(direction)
            writer.write(NOISE[:2000])
            data, end = await all_of(reader)
            assert NOISE[:1000].startswith(data)
            assert is_end(end, "reset")


async def test_reset_now_ends_both_sides_and_down_refuses_until_up() -> None:
    async with asyncio.timeout(10), Target() as target, ChaosProxy(target.address) as proxy:
        async with Ends(target, proxy) as ends:
            proxy.reset()
            assert await all_of(ends.client) == (b"", "reset")
            assert await all_of(ends.server) == (b"", "reset")
        async with Ends(target, proxy) as ends:
            proxy.down()
            assert await all_of(ends.client) == (b"", "reset")
            with pytest.raises(ConnectionRefusedError):
                async with Ends(target, proxy):
                    pass
            proxy.up()
            async with Ends(target, proxy) as new:
                new.client_out.write(b"again")
                assert await new.server.readexactly(5) == b"again"


@BOTH
async def test_half_close_ends_one_direction_and_the_other_goes_on(direction: Direction) -> None:
    async with (
        asyncio.timeout(10),
        Target() as target,
        ChaosProxy(target.address) as proxy,
        Ends(target, proxy) as ends,
    ):
        writer, reader = ends.of(direction)
        back, front = ends.of("down" if direction == "up" else "up")
        proxy.half_close(direction)
        assert await reader.read() == b""
        writer.write(b"to nobody")
        back.write(b"the other way is open")
        assert await front.readexactly(21) == b"the other way is open"
        assert proxy.connections


async def test_random_kills_are_those_of_the_seed() -> None:
    async def passed(seed: int) -> list[int]:
        """How many bytes each of some connections carries."""
        counts = []
        async with Target() as target, ChaosProxy(target.address, seed=seed) as proxy:
            proxy.kill_randomly(2000)
            for _ in range(40):
                async with Ends(target, proxy) as ends:
                    connection = proxy.connections[0]
                    ends.client_out.write(NOISE[:100_000])
                    await until(lambda: not proxy.connections)  # awaited here
                    counts.append(connection.up.passed)
                    data, _ = await all_of(ends.server)
                    assert NOISE.startswith(data)
            assert proxy.kills == proxy.accepted == 40
            assert proxy.bytes_up == sum(counts)
        return counts

    async with asyncio.timeout(20):
        first, again, other = await passed(1), await passed(1), await passed(2)
    assert first == again != other
    assert 800 < sum(first) / 40 < 4000, "about what was asked for, on average"


async def test_slow_reader_is_felt_by_the_writer() -> None:
    async with asyncio.timeout(20), Target() as target, ChaosProxy(target.address) as proxy:
        for latency in (0.0, 0.01):
            proxy.latency(latency)
            async with Ends(target, proxy) as ends:
                ends.server_out.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport reads
                ends.client_out.transport.set_write_buffer_limits(high=1)
                total = 48 << 20
                block = NOISE[: 1 << 18]
                for _ in range(total >> 18):
                    ends.client_out.write(block)
                waiting = asyncio.ensure_future(ends.client_out.drain())
                done, _ = await asyncio.wait([waiting], timeout=0.2)
                assert not done
                assert proxy.connections[0].up.passed < 24 << 20
                ends.server_out.transport.resume_reading()  # type: ignore[attr-defined]  # as above
                received = 0
                while received < total:
                    data = await ends.server.read(1 << 20)
                    assert data
                    received += len(data)
                await waiting


async def test_target_that_is_gone_is_a_reset_for_the_client() -> None:
    async with asyncio.timeout(10), Target() as target:
        address = target.address
    async with asyncio.timeout(10), ChaosProxy(address) as proxy:
        host, _, port = proxy.address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        assert await all_of(reader) == (b"", "reset")
        writer.close()
        assert proxy.connections == ()


async def test_leaving_ends_what_is_open() -> None:
    async with asyncio.timeout(10), Target() as target:
        async with ChaosProxy(target.address) as proxy:
            host, _, port = proxy.address.partition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            proxy.latency(60)
            _, server_out = await target.peers.get()
            server_out.write(b"late")
            await until(lambda: len(proxy.connections) == 1)
        await all_of(reader)
        writer.close()
        assert proxy.connections == ()


async def test_url_is_the_targets_with_another_address() -> None:
    async with FaultServer() as server, ChaosProxy(server.url + "/feed?token=1") as proxy:
        assert proxy.url == f"ws://{proxy.address}/feed?token=1"
        async with asyncio.timeout(10), WebSocketClient.connect(proxy.url, reconnect=False):
            assert server.requests[0].path == "/feed?token=1"


@pytest.mark.timeout(120)
async def test_a_million_messages_both_ways_pass_in_their_order() -> None:
    count, at_once = 1_000_000, 1000

    async with (
        asyncio.timeout(110),
        WebSocketServer.bind("127.0.0.1:0", max_inbox=1 << 24) as server,
        ChaosProxy(server.url, seed=1) as proxy,
    ):

        def echo(connection: ServerConnection, message: bytes) -> None:
            connection.send(message)

        server.on(bytes, echo)
        async with WebSocketClient.connect(proxy.url, reconnect=False) as client:
            received = 0

            async def read() -> None:
                nonlocal received
                async for batch in client.batches(bytes):
                    for message in batch:
                        assert int.from_bytes(message, "big") == received
                        received += 1
                    if received == count:
                        return

            reading = asyncio.ensure_future(read())
            for first in range(0, count, at_once):
                for number in range(first, first + at_once - 1):
                    client.send(number.to_bytes(8, "big"))
                await client.send((first + at_once - 1).to_bytes(8, "big"))
                behind = first - 20 * at_once
                await until(lambda: received >= behind, 30)  # noqa: B023  # awaited here
            await reading
        assert proxy.bytes_up >= count * 14
        assert proxy.bytes_down >= count * 10
