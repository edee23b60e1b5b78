"""Dials over real sockets: addresses that refuse or say nothing, a name that moves, and what they leave behind."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import pytest
from tests.integration.conftest import Network
from tests.integration.quiet import Quiet, frozen, quiet  # noqa: F401  # fixtures, used by every test
from tests.integration.raw_peer import RawPeer, raw_server
from tests.support.waiting import until

from websocket_utils import WebSocketConfig
from websocket_utils._dialer import Dialer
from websocket_utils._endpoints import Endpoint
from websocket_utils._handshake import Opened

NAME = "feed.example"


class Idle(asyncio.BufferedProtocol):
    """A taker that keeps the transport and reads into nowhere."""

    def __init__(self, opened: Opened) -> None:
        self.transport = opened.transport
        self.tcp: socket.socket = opened.transport.get_extra_info("socket")

    def get_buffer(self, sizehint: int) -> bytearray:
        return bytearray(1024)

    def feed_bytes(self, data: bytes, /) -> None:
        del data

    def abort(self) -> None:
        self.transport.abort()


class Dials:
    """Dialers of one client, and what they opened; `addresses` is what names resolve to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses: list[tuple[str, int]] = []
        self.asked: list[str] = []
        self.opened: list[Idle] = []
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self._resolve)

    async def _resolve(self, host: str, port: int, **options: Any) -> list[Any]:
        del port, options
        self.asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in self.addresses]

    def take(self, opened: Opened) -> Any:
        self.opened.append(Idle(opened))
        return self.opened[-1]

    def dialer(self, url: str = f"ws://{NAME}/", **settings: Any) -> Dialer:
        return Dialer((Endpoint(url),), WebSocketConfig(**settings), (), None)

    def abort(self) -> None:
        for one in self.opened:
            one.abort()


@pytest.fixture
async def dials(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Dials]:
    made = Dials(monkeypatch)
    yield made
    made.abort()


async def serve(peer: RawPeer) -> None:
    await peer.upgrade()
    await peer.read_until_closed()


@pytest.fixture
def refusing() -> Iterator[tuple[str, int]]:
    """An address that nobody listens at, and that nobody else is given meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()


@pytest.fixture
def silent() -> Iterator[tuple[str, int]]:
    """An address whose system drops every packet: its backlog is full."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        address = listening.getsockname()
        for _ in range(4):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(address)
        yield address


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_address_that_refuses_is_passed_over(dials: Dials, refusing: tuple[str, int]) -> None:
    async with asyncio.timeout(10), raw_server(serve) as server:
        dials.addresses = [refusing, (server.host, server.port)]
        await dials.dialer().dial(dials.take)
        assert dials.opened[0].tcp.getpeername() == (server.host, server.port)


async def test_address_in_the_url_needs_no_resolver(dials: Dials) -> None:
    async with asyncio.timeout(10), raw_server(serve) as server:
        phases = await dials.dialer(server.url).dial(dials.take)
        assert dials.opened[0].tcp.getpeername() == (server.host, server.port)
        assert phases.dns_ns is not None
    with pytest.raises(OSError, match="no address is known"):
        # It ends as an address does, and is a name.
        await dials.dialer("ws://feed.exchange1/").dial(dials.take)
    assert dials.asked == ["feed.exchange1"]


async def test_address_alone_that_refuses_is_named_with_its_error(dials: Dials, refusing: tuple[str, int]) -> None:
    dials.addresses = [refusing]
    before = descriptors()
    with pytest.raises(ConnectionRefusedError, match=str(refusing[1])):
        await dials.dialer().dial(dials.take)
    assert descriptors() == before


async def test_address_alone_that_says_nothing_is_given_up_in_time_and_its_socket_is_closed(
    dials: Dials, silent: tuple[str, int]
) -> None:
    dials.addresses = [silent]
    before = descriptors()
    with pytest.raises(TimeoutError, match=r"open_timeout"):
        await dials.dialer(open_timeout=0.05).dial(dials.take)
    assert descriptors() == before


async def test_address_that_says_nothing_is_passed_over_and_its_socket_is_closed(
    dials: Dials, silent: tuple[str, int]
) -> None:
    async with asyncio.timeout(10), raw_server(serve) as server:
        before = descriptors()
        dials.addresses = [silent, (server.host, server.port)]
        phases = await dials.dialer().dial(dials.take)
        assert dials.opened[0].tcp.getpeername() == (server.host, server.port)
        assert phases.tcp_ns is not None
        assert phases.tcp_ns >= 240_000_000
        # One end of the connection each.
        await until(lambda: descriptors() == before + 2)


async def test_all_addresses_that_refuse_are_named(dials: Dials, refusing: tuple[str, int]) -> None:
    dials.addresses = [refusing, refusing]
    with pytest.raises(ConnectionRefusedError) as caught:
        await dials.dialer().dial(dials.take)
    first, second = caught.value.__notes__
    assert first.startswith("and at 127.0.0.1: ")
    assert second == f"while connecting to ws://{NAME}/, in phase tcp"


async def test_name_without_an_address_is_an_error(dials: Dials) -> None:
    with pytest.raises(OSError, match=r"no address is known for feed\.example") as caught:
        await dials.dialer().dial(dials.take)
    assert caught.value.__notes__ == [f"while connecting to ws://{NAME}/, in phase dns"]


async def test_dns_change_is_followed_by_the_next_dial(dials: Dials) -> None:
    """The fault "DNS change": the server dies, and its name has moved to another one."""
    dialer = dials.dialer()
    async with asyncio.timeout(10):
        async with raw_server(serve) as first:
            dials.addresses = [(first.host, first.port)]
            await dialer.dial(dials.take)
        # It is dead: nobody listens there any more.
        with pytest.raises(ConnectionRefusedError):
            await dialer.dial(dials.take)
        async with raw_server(serve) as second:
            dials.addresses = [(second.host, second.port)]
            await dialer.dial(dials.take)
            assert second.accepted == 1
    assert dials.asked == [NAME] * 3


@pytest.mark.parametrize("turns", range(12))
async def test_dial_that_is_cancelled_in_whatever_turn_leaves_no_descriptor_open(
    turns: int, dials: Dials, silent: tuple[str, int], refusing: tuple[str, int]
) -> None:
    async with asyncio.timeout(10), raw_server(serve) as server:
        before = descriptors()
        dials.addresses = [refusing, (server.host, server.port), silent]
        dialling = asyncio.ensure_future(dials.dialer().dial(dials.take))
        for _ in range(turns):
            await asyncio.sleep(0)
        dialling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await dialling
        dials.abort()
        await until(lambda: descriptors() == before)


async def test_phases_are_those_that_the_dial_went_through(network: Network) -> None:
    opened: list[Idle] = []

    def take(one: Opened) -> Any:
        opened.append(Idle(one))
        return opened[-1]

    async with asyncio.timeout(10), network.bind() as server:
        dialer = Dialer((Endpoint(server.url),), WebSocketConfig(), (), network.client_ssl)
        began = time.monotonic_ns()
        phases = await dialer.dial(take)
        took = time.monotonic_ns() - began
        opened[0].abort()
    parts = (phases.provider_ns, phases.dns_ns, phases.tcp_ns, phases.upgrade_ns)
    assert None not in parts
    assert (phases.tls_ns is not None) == network.is_secure
    assert phases.reached == "upgrade"
    assert sum(cast("list[int]", parts)) + (phases.tls_ns or 0) <= took
    # What comes after the 101 is no part of it.
    assert phases.upgrade_ns


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="an option of Linux")
async def test_kernel_watches_for_a_dead_peer_as_long_as_the_heartbeat_would(dials: Dials) -> None:
    def options() -> list[int]:
        tcp = dials.opened[-1].tcp
        names = ("TCP_USER_TIMEOUT", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
        watched = tcp.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        return [watched, *(tcp.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names)]

    async with asyncio.timeout(10), raw_server(serve) as server:
        dials.addresses = [(server.host, server.port)]
        await dials.dialer(ping_interval=2.5, ping_timeout=6).dial(dials.take)
        assert options() == [1, 8500, 3, 2, 3]
        await dials.dialer(ping_interval=80_000, ping_timeout=80_000).dial(dials.take)
        assert options() == [1, 160_000_000, 32_767, 26_667, 3]
        await dials.dialer(ping_interval=None).dial(dials.take)
        assert options()[:2] == [0, 0]


async def test_dial_that_fails_before_there_is_a_transport_closes_its_socket(
    dials: Dials, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr("websocket_utils._transport._watch_for_death", fail)
    async with asyncio.timeout(10), raw_server(serve) as server:
        dials.addresses = [(server.host, server.port)]
        before = descriptors()
        with pytest.raises(OSError, match="Invalid argument"):
            await dials.dialer().dial(dials.take)
        await until(lambda: descriptors() == before)
