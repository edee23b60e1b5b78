"""Who may connect to a server, and how long an opening may take: told before the 101, on every network."""

import asyncio
import contextlib
import logging

import pytest
from tests.integration.conftest import UPGRADE, Network
from tests.integration.quiet import Quiet, frozen, quiet  # noqa: F401  # fixtures, used by every test
from tests.integration.raw_peer import raw_client
from tests.support.waiting import until

from websocket_utils import HandshakeError, WebSocketServer

ALLOWED = ("https://desk.example", "http://localhost:3000")


async def refused_with(network: Network, server: WebSocketServer, **headers: str) -> HandshakeError:
    with pytest.raises(HandshakeError) as caught:
        await network.connect(server.url, headers=headers)
    return caught.value


# --- pages of other origins, names that were made to point here ---


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "https://evil.example",
        "http://desk.example",
        "https://desk.example:8443",
        "https://desk.example.evil.example",
        "https://evildesk.example",
        "https://sub.desk.example",
        "https://desk.example@evil.example",
        "https://desk.example/",
        "https://xn--dsk-dma.example",
        "http://localhost",
        "https://[::1",
        "https://desk.example:x",
        "desk.example",
        "",
        "https://desk.example, https://evil.example",
    ],
)
async def test_page_of_another_origin_is_refused_before_the_101(origin: str, plain: Network) -> None:
    async with plain.bind(origins=ALLOWED) as server:
        error = await refused_with(plain, server, Origin=origin)
        assert (error.status, error.body) == (403, b"this origin may not connect\n")
        assert (server.stats().accepted, server.stats().rejected) == (0, 1)


@pytest.mark.parametrize("origin", ["https://desk.example", "HTTPS://DESK.example:443", "http://localhost:3000", None])
async def test_page_of_an_allowed_origin_and_who_is_no_browser_may_connect(origin: str | None, plain: Network) -> None:
    headers = {} if origin is None else {"Origin": origin}
    async with plain.bind(origins=ALLOWED) as server, plain.connect(server.url, headers=headers) as client:
        assert client.is_connected


async def test_name_that_is_not_served_is_refused_before_the_101(plain: Network) -> None:
    async with plain.bind(hosts=("127.0.0.1", "feed.example:443")) as server:
        for host in ("evil.example", "feed.example", "feed.example:80", "127.0.0.1.evil.example", "localhost"):
            error = await refused_with(plain, server, Host=host)
            assert (error.status, error.body) == (403, b"this host is not served\n"), host
        assert server.stats().accepted == 0
        for host in ("127.0.0.1", "127.0.0.1:1", "FEED.example:443"):
            async with plain.connect(server.url, headers={"Host": host}) as client:
                assert client.is_connected


async def test_request_behind_a_refused_one_is_never_looked_at(plain: Network) -> None:
    async with plain.bind(origins=ALLOWED) as server, raw_client(server.url, None) as peer:
        peer.write(UPGRADE % b"Origin: https://evil.example\r\n" + UPGRADE % b"")
        assert (await peer.read_head()).startswith(b"HTTP/1.1 403 ")
        peer.write(UPGRADE % b"")
        assert b"101" not in await peer.read_until_closed()
        assert (server.stats().accepted, server.stats().rejected) == (0, 1)


# --- how many ---


async def test_connections_over_the_limit_are_told_to_come_back_and_find_room_again(network: Network) -> None:
    async with network.bind(max_connections=2) as server, contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(network.connect(server.url, reconnect=False))
        await stack.enter_async_context(network.connect(server.url))
        for _ in range(3):
            error = await refused_with(network, server)
            assert (error.status, error.headers["retry-after"]) == (503, "1")
            assert error.body == b"too many connections\n"
        await first.close()
        await until(lambda: server._acceptor.admission.count == 1)
        async with network.connect(server.url) as client:
            assert client.is_connected
        assert server.stats().rejected == 3


async def test_connections_of_one_address_are_limited_from_the_accept_on(network: Network) -> None:
    async with network.bind(max_connections_per_address=2, open_timeout=30) as server:
        host, port = server.local_addr
        # Inside TLS, or with no request yet.
        silent = [await asyncio.open_connection(host, port) for _ in range(2)]
        await until(lambda: server._acceptor.admission.count == 2)
        error = await refused_with(network, server)
        assert (error.status, error.body) == (503, b"too many connections from this address\n")
        for _, writer in silent:
            writer.close()
        await until(lambda: not server._acceptor.admission.count)
        async with network.connect(server.url) as client:
            assert client.is_connected


async def test_refused_connections_leave_no_descriptor_with_the_loop(network: Network) -> None:
    async with network.bind(max_connections=1) as server, network.connect(server.url):
        for _ in range(5):
            # Refused at once; what the loop still watched would be taken for one of the next connection's descriptors.
            error = await refused_with(network, server)
            assert error.status == 503
        for _ in range(5):
            reader, writer = await asyncio.open_connection(*server.local_addr, ssl=network.client_ssl)
            async with asyncio.timeout(5):
                assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def test_opening_that_is_not_done_counts(plain: Network) -> None:
    async with plain.bind(max_connections=1) as server, raw_client(server.url, None) as peer:
        peer.write(b"GET / HT")
        await until(lambda: server._acceptor.admission.count == 1)
        assert (await refused_with(plain, server)).status == 503


# --- how long ---


async def test_bytes_that_drip_do_not_prolong_an_opening(plain: Network) -> None:
    async with plain.bind(open_timeout=0.3) as server, raw_client(server.url, None) as peer:
        began = asyncio.get_running_loop().time()
        ended = asyncio.create_task(peer.read_until_closed())
        for byte in UPGRADE % (b"X: " + b"y" * 5000 + b"\r\n"):
            peer.write(bytes([byte]))
            await asyncio.wait([ended], timeout=0.02)
            if ended.done():
                break
        assert await ended == b""
        assert 0.25 < asyncio.get_running_loop().time() - began < 2
        assert server.stats().accepted == 0


async def test_peer_that_does_not_take_its_refusal_is_cut(plain: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("websocket_utils._accepting._LINGER_SECONDS", 0.1)
    async with plain.bind() as server, raw_client(server.url, None) as peer:
        peer.write(b"POST / HTTP/1.1\r\n\r\n")
        assert (await peer.read_head()).startswith(b"HTTP/1.1 405 ")
        # It goes on sending, and gets no more than its time.
        async with asyncio.timeout(3):
            with contextlib.suppress(ConnectionError):
                while server._acceptor.lingering:
                    peer.write(b"more")
                    await asyncio.sleep(0.01)
        assert server._acceptor.admission.count == 0


async def test_refusals_are_no_lines_of_the_log(plain: Network, caplog: pytest.LogCaptureFixture) -> None:
    async with plain.bind(origins=ALLOWED, max_connections=1) as server:
        for _ in range(5):
            await refused_with(plain, server, Origin="https://evil.example")
            await until(lambda: not server._acceptor.admission.count)
        for sent in (b"", b"\x00", b"GET / HTTP/1.1\r\n"):
            async with raw_client(server.url, None) as peer:
                peer.write(sent)
                peer.reset()
    assert [
        record.getMessage()
        for record in caplog.records
        if record.name == "websocket_utils.server" and record.levelno > logging.INFO
    ] == []
