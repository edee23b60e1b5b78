"""TLS that goes wrong: who is not who it says, what is no TLS, handshakes without end, and connections cut inside."""

import asyncio
import contextlib
import datetime
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trustme
from tests.integration.conftest import UPGRADE, Certificates, Network
from tests.integration.conftest import RawPeer as HeadPeer
from tests.integration.quiet import Quiet, frozen, quiet  # noqa: F401  # fixtures, used by every test
from tests.integration.raw_peer import RawPeer, raw_client, raw_server
from tests.support.waiting import until
from tests.support.wire import TEXT, frame

from websocket_utils import ConfigError, ConnectionClosedError, HandshakeError, WebSocketClient, WebSocketServer


@pytest.fixture
def secure(certificates: Certificates, transports: None) -> Network:
    """TLS, on every kind of transport."""
    return Network(certificates)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What is in the log, but for asyncio's remarks in debug mode on callbacks that take long."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno > logging.INFO and not record.getMessage().startswith("Executing <")
    ]


class TlsPeer:
    """One end of TLS that says when which of its bytes leave."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext, *, is_client: bool
    ) -> None:
        self.reader = reader
        self.writer = writer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=not is_client,
            server_hostname="127.0.0.1" if is_client else None,
        )

    async def _do(self, action: Callable[[], Any]) -> Any:
        async with asyncio.timeout(5):
            while True:
                try:
                    result = action()
                except ssl.SSLWantReadError:
                    self.writer.write(self._outgoing.read())
                    data = await self.reader.read(65_536)
                    if not data:
                        raise ConnectionResetError("the other side ended inside TLS") from None
                    self._incoming.write(data)
                else:
                    self.writer.write(self._outgoing.read())
                    return result

    async def handshake(self) -> None:
        await self._do(self._tls.do_handshake)

    async def read_head(self) -> bytes:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await self._do(lambda: self._tls.read(65_536))
        return head

    def record(self, data: bytes) -> bytes:
        self._tls.write(data)
        return self._outgoing.read()

    async def say_and_cut(self, how: str, *, masked: bool) -> None:
        """A whole message, then another one that does not get through, then the end of TCP without a word of TLS."""
        self.writer.write(self.record(frame(TEXT, b"whole", masked=masked)))
        lost = frame(TEXT, b"lost" * 100, masked=masked)
        if how == "inside a frame":
            self.writer.write(self.record(lost[:-1]))
        else:
            self.writer.write(self.record(lost)[:-1])
        await self.writer.drain()
        self.writer.close()


# --- a server that is not who it says ---

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
UNTRUSTWORTHY: dict[str, tuple[bool, Callable[[trustme.CA], trustme.LeafCert]]] = {
    "an issuer that nobody trusts": (False, lambda authority: authority.issue_cert("127.0.0.1")),
    "another name": (True, lambda authority: authority.issue_cert("feed.example")),
    "another address": (True, lambda authority: authority.issue_cert("127.0.0.2")),
    "expired yesterday": (
        True,
        lambda authority: authority.issue_cert("127.0.0.1", not_before=NOW - 9 * DAY, not_after=NOW - DAY),
    ),
    "valid from tomorrow": (
        True,
        lambda authority: authority.issue_cert("127.0.0.1", not_before=NOW + DAY, not_after=NOW + 9 * DAY),
    ),
}


@pytest.mark.parametrize("case", UNTRUSTWORTHY)
async def test_certificate_that_proves_nothing_is_a_typed_error_and_no_request_leaves(
    case: str, transports: None, caplog: pytest.LogCaptureFixture
) -> None:
    is_trusted, issue = UNTRUSTWORTHY[case]
    authority = trustme.CA()
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issue(authority).configure_cert(server_side)
    client_side = ssl.create_default_context()
    if is_trusted:
        authority.configure_trust(client_side)
    requests: list[bytes] = []

    async def script(peer: RawPeer) -> None:
        tls = TlsPeer(peer.reader, peer.writer, server_side, is_client=False)
        with contextlib.suppress(ssl.SSLError):
            await tls.handshake()
            requests.append(await tls.read_head())

    async with raw_server(script) as server:
        url = f"wss://127.0.0.1:{server.port}"
        # What the caller hands over is used as it is; None is the system's own trust, which has no test authority.
        for context in (client_side, None):
            with pytest.raises(ssl.SSLCertVerificationError) as caught:
                await WebSocketClient.connect(url, ssl=context, open_timeout=5)
            assert caught.value.__notes__ == [f"while connecting to {url}, in phase tls"]
    assert requests == []
    assert lines(caplog) == []


@pytest.mark.parametrize("switch", [False, True, 0, "off"])
async def test_nothing_in_place_of_a_context_turns_tls_off(switch: Any) -> None:
    with pytest.raises(ConfigError, match=r"ssl: must be an ssl\.SSLContext or None"):
        WebSocketClient.connect("wss://127.0.0.1:1", ssl=switch)
    with pytest.raises(ConfigError, match=r"ssl: must be an ssl\.SSLContext or None"):
        WebSocketServer.bind("127.0.0.1:0", ssl=switch)


# --- plain text where TLS is spoken, and the reverse ---


@pytest.mark.parametrize("sent", [UPGRADE % b"", b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00"])
async def test_client_without_tls_is_cut_at_once_and_counts_no_more(
    sent: bytes, secure: Network, caplog: pytest.LogCaptureFixture
) -> None:
    async with secure.bind(max_connections=1, open_timeout=5) as server:
        host, port = server.local_addr
        for _ in range(3):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(sent)
            if not sent.startswith(b"GET"):
                # What may still become TLS is waited for, so it is the peer that ends.
                writer.write_eof()
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(1):
                    assert b"HTTP" not in await reader.read()
            writer.close()
            await until(lambda: not server._acceptor.admission.count, 1)
        assert server.stats().rejected == 3
        async with secure.connect(server.url) as client:
            assert client.is_connected
    assert lines(caplog) == []


async def test_tls_to_a_plain_server_is_a_quick_error_on_both_sides(
    certificates: Certificates, transports: None, caplog: pytest.LogCaptureFixture
) -> None:
    async with Network(None).bind(open_timeout=5) as server:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            async with asyncio.timeout(1):
                await WebSocketClient.connect(server.url.replace("ws:", "wss:"), ssl=certificates.client)
        await until(lambda: server.stats().rejected == 1, 2)
    assert lines(caplog) == []


async def test_plain_client_of_a_tls_server_is_a_quick_error(secure: Network) -> None:
    async with secure.bind() as server:
        with pytest.raises((HandshakeError, ConnectionError)):
            async with asyncio.timeout(1):
                await WebSocketClient.connect(server.url.replace("wss:", "ws:"))


async def test_server_that_ends_inside_tls_is_an_error_and_no_event_of_the_loop(
    certificates: Certificates, transports: None
) -> None:
    async def script(peer: RawPeer) -> None:
        await peer.reader.read(1)

    async with raw_server(script) as server:
        with pytest.raises((OSError, HandshakeError)):
            await WebSocketClient.connect(f"wss://127.0.0.1:{server.port}", ssl=certificates.client, open_timeout=5)


# --- handshakes that never end ---


@pytest.mark.parametrize("sent", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00"])
async def test_silence_inside_tls_ends_with_open_timeout(
    sent: bytes, secure: Network, caplog: pytest.LogCaptureFixture
) -> None:
    async with secure.bind(open_timeout=0.2) as server:
        began = asyncio.get_running_loop().time()
        async with raw_client(f"ws://127.0.0.1:{server.local_addr[1]}", None) as peer, asyncio.timeout(3):
            peer.write(sent)
            assert await peer.read_until_closed() == b""
        assert 0.15 < asyncio.get_running_loop().time() - began < 2
        await until(lambda: not server._acceptor.admission.count)
        assert server.stats().rejected == 1
    assert lines(caplog) == []


async def test_silence_behind_tls_has_no_time_of_its_own(secure: Network) -> None:
    async with secure.bind(open_timeout=0.3) as server:
        began = asyncio.get_running_loop().time()
        reader, writer = await asyncio.open_connection(*server.local_addr, ssl=secure.client_ssl)
        writer.write(b"GET / HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(3):
                await reader.read()
        assert asyncio.get_running_loop().time() - began < 2
        writer.close()
        await until(lambda: not server._acceptor.admission.count)


async def test_close_of_the_server_ends_connections_inside_tls(secure: Network) -> None:
    server = await secure.bind(open_timeout=60)
    async with raw_client(f"ws://127.0.0.1:{server.local_addr[1]}", None) as peer:
        peer.write(b"\x16\x03\x01")
        await until(lambda: server._acceptor.admission.count == 1)
        await server.close()
        async with asyncio.timeout(2):
            await peer.read_until_closed()
        assert server._acceptor.admission.count == 0


# --- connections that are cut inside TLS ---


CUTS = pytest.mark.parametrize("how", ["inside a frame", "inside a record"])


@CUTS
async def test_client_that_is_cut_inside_tls_gets_whole_messages_and_1006(
    how: str, certificates: Certificates, transports: None
) -> None:
    async def script(peer: RawPeer) -> None:
        tls = TlsPeer(peer.reader, peer.writer, certificates.server, is_client=False)
        await tls.handshake()
        heads = HeadPeer(peer.reader, peer.writer)
        heads.head = await tls.read_head()
        peer.writer.write(tls.record(heads.answer()))
        await tls.say_and_cut(how, masked=False)

    async with raw_server(script) as server:
        url = f"wss://127.0.0.1:{server.port}"
        async with WebSocketClient.connect(url, ssl=certificates.client, reconnect=False) as client, asyncio.timeout(5):
            assert await client.receive(str) == "whole"
            with pytest.raises(ConnectionClosedError) as caught:
                await client.receive(str)
            assert (caught.value.received, caught.value.initiator) == (None, "transport")
            assert await client.receive(str) is None


@contextlib.asynccontextmanager
async def tls_client(port: int, context: ssl.SSLContext) -> AsyncIterator[TlsPeer]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    tls = TlsPeer(reader, writer, context, is_client=True)
    try:
        await tls.handshake()
        writer.write(tls.record(UPGRADE % b""))
        assert (await tls.read_head()).startswith(b"HTTP/1.1 101 ")
        yield tls
    finally:
        writer.close()


@CUTS
async def test_server_whose_client_is_cut_inside_tls_gets_whole_messages(
    how: str, secure: Network, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []
    async with secure.bind() as server:
        server.on(str, lambda _, message: seen.append(message))
        async with tls_client(server.local_addr[1], secure.certificates.client) as peer:  # type: ignore[union-attr]  # it is secure
            (connection,) = server.connections
            await peer.say_and_cut(how, masked=True)
            await until(lambda: not server.connections)
        assert seen == ["whole"]
        error = connection.closed_error()
        assert isinstance(error, ConnectionClosedError)
        assert (error.received, error.initiator) == (None, "transport")
    assert lines(caplog) == []
