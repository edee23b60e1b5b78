"""Fates of messages on real sockets: what is said to be dropped never arrives, and all is decided at the end."""

import asyncio
import socket
from typing import Any

import pytest
from tests.integration.conftest import Network, RawPeer
from tests.support.waiting import until
from tests.support.wire import BINARY

from websocket_utils._connection import ServerConnection
from websocket_utils.exceptions import MessageNotWritten

pytestmark = pytest.mark.usefixtures("loop_errors")

# More than the sockets' buffers of both ends take, and of every way through the queue: alone, with others, in parts.
SIZES = [10, 100_000, 3, 0, 130, 70_000, 1_000_000, 5, 300_000] * 20


def payload(number: int) -> bytes:
    return number.to_bytes(4, "big") + bytes(SIZES[number])


def stop_reading(peer: RawPeer) -> None:
    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport has it


def reset(peer: RawPeer) -> None:
    """End the connection so that what was sent is destroyed on its way."""
    linger = b"\1\0\0\0\0\0\0\0"
    peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    peer.writer.transport.abort()


async def send_until_it_waits(connection: ServerConnection) -> list[Any]:
    sent: list[Any] = []
    for number in range(len(SIZES)):
        sent.append(connection.send(payload(number)))
        if number % 3 == 0:
            await asyncio.sleep(0)
    assert connection.send_queue_bytes > 0, "the sockets took all of it"
    return sent


def fates(sent: list[Any]) -> list[str | None]:
    return [None if one.outcome is None else one.outcome.fate for one in sent]


@pytest.mark.parametrize("end", ["reset", "abort"])
async def test_every_message_is_decided_when_the_connection_ends(network: Network, end: str) -> None:
    async with network.bind(max_send_queue=64 << 20) as server, network.raw_client(server) as peer:
        (connection,) = server.connections
        stop_reading(peer)
        sent = await send_until_it_waits(connection)
        undecided = fates(sent).index(None)
        waiting = asyncio.ensure_future(sent[-1])
        await asyncio.sleep(0)
        accepted, written, dropped, unknown = connection.fate_counters()
        assert (accepted, dropped, unknown) == (len(SIZES), 0, 0)
        assert written == undecided
        if end == "reset":
            reset(peer)
        else:
            connection.abort()
        async with asyncio.timeout(5):
            with pytest.raises(MessageNotWritten) as caught:
                await waiting
        assert caught.value.outcome.fate == "dropped"
        accepted, written, dropped, unknown = connection.fate_counters()
        assert accepted == len(SIZES) == written + dropped + unknown
        assert fates(sent) == ["written"] * written + ["unknown"] * unknown + ["dropped"] * dropped
        assert written >= undecided
        assert dropped > 0


async def test_dropped_messages_never_arrive_and_written_ones_do_where_the_peer_reads_to_the_end(
    network: Network,
) -> None:
    async with network.bind(max_send_queue=64 << 20) as server, network.raw_client(server) as peer:
        (connection,) = server.connections
        stop_reading(peer)
        sent = await send_until_it_waits(connection)
        connection.abort()
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]  # a socket's transport has it
        async with asyncio.timeout(10):
            arrived = [one.payload for one in await peer.frames() if one.opcode == BINARY]
        assert arrived == [payload(number) for number in range(len(arrived))]
        _, written, _, unknown = connection.fate_counters()
        assert len(arrived) <= written + unknown
        assert "dropped" not in fates(sent)[: len(arrived)]
        # An abort closes the socket, and the kernel still sends what it has. A stream over TLS that ends without the
        # alert of its end may lose, in the peer, what came last.
        if not network.is_secure:
            assert len(arrived) >= written


async def test_all_is_written_where_the_peer_reads_on(network: Network) -> None:
    async with network.bind(max_send_queue=64 << 20) as server, network.raw_client(server) as peer:
        (connection,) = server.connections
        stop_reading(peer)
        sent = await send_until_it_waits(connection)
        tasks = [asyncio.ensure_future(one) for one in sent]
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]  # a socket's transport has it
        async with asyncio.timeout(20):
            outcomes = asyncio.gather(*tasks)
            for number in range(len(SIZES)):
                one = await peer.frame()
                assert one is not None
                assert one.payload == payload(number)
            assert {one.fate for one in await outcomes} == {"written"}
        assert connection.fate_counters() == (len(SIZES), len(SIZES), 0, 0)


async def test_socket_error_is_seen_while_reading_is_held_and_stays(network: Network) -> None:
    async with network.bind(max_inbox=4096) as server, network.raw_client(server) as peer:
        (connection,) = server.connections
        connection.begin_handling(1 << 20)
        await asyncio.sleep(0)
        assert not connection.has_socket_error()
        reset(peer)
        await until(connection.has_socket_error)
        assert connection.has_socket_error()
        # Under TLS the event loop's transport reads on for itself.
        assert connection.is_open or network.is_secure


async def test_end_of_file_is_no_socket_error(plain: Network) -> None:
    async with plain.bind(max_inbox=4096) as server, plain.raw_client(server) as peer:
        (connection,) = server.connections
        connection.begin_handling(1 << 20)
        await asyncio.sleep(0)
        peer.writer.write_eof()
        await asyncio.sleep(0)
        assert not connection.has_socket_error()
        connection.end_handling(1 << 20)
