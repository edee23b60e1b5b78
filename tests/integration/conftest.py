"""The networks that both roles have to work on, and peers made of bytes alone."""

import asyncio
import functools
import gc
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import trustme
from tests.integration.raw_peer import accept_value
from tests.support.wire import Frame, FrameReader

import websocket_utils._dialer
import websocket_utils.server
from websocket_utils import WebSocketClient, WebSocketServer
from websocket_utils._transport import dial, listen


@dataclass(frozen=True)
class Certificates:
    server: ssl.SSLContext
    client: ssl.SSLContext


@pytest.fixture(scope="session")
def certificates() -> Certificates:
    """A server's certificate for 127.0.0.1, and a client that trusts who issued it."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return Certificates(server, client)


class RawPeer:
    """One end of a connection that says exactly what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.head = b""
        self._frames = FrameReader()
        self._ready: list[Frame] = []
        self.reads = 0

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def frame(self) -> Frame | None:
        """The next frame; None at the end of the stream, however it came."""
        while not self._ready:
            try:
                data = await asyncio.wait_for(self.reader.read(1 << 20), 10)
            except ConnectionError:
                return None
            if not data:
                return None
            self.reads += 1
            self._ready = self._frames.feed(data)
        return self._ready.pop(0)

    async def frames(self) -> list[Frame]:
        """All frames up to the end of the stream."""
        found = []
        while (one := await self.frame()) is not None:
            found.append(one)
        return found

    async def read_head(self) -> None:
        self.head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)

    def answer(self, early: bytes = b"") -> bytes:
        """The 101 to the request in `head`, with `early` right behind it."""
        (key,) = (
            line.partition(b":")[2].strip()
            for line in self.head.split(b"\r\n")
            if line.lower().startswith(b"sec-websocket-key:")
        )
        return (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept_value(key.decode()).encode() + b"\r\n\r\n" + early
        )

    async def close(self) -> None:
        self.writer.close()
        try:
            await asyncio.wait_for(self.writer.wait_closed(), 5)
        except (OSError, TimeoutError):
            self.writer.transport.abort()


UPGRADE = (
    b"GET /feed HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%b\r\n"
)


@dataclass
class Network:
    """Plain TCP or TLS, on transports of aiofastnet or of the event loop."""

    certificates: Certificates | None
    _servers: list[asyncio.Server] = field(default_factory=list)

    @property
    def is_secure(self) -> bool:
        return self.certificates is not None

    @property
    def server_ssl(self) -> ssl.SSLContext | None:
        return self.certificates.server if self.certificates else None

    @property
    def client_ssl(self) -> ssl.SSLContext | None:
        return self.certificates.client if self.certificates else None

    def bind(self, **settings: Any) -> Any:
        return WebSocketServer.bind("127.0.0.1:0", ssl=self.server_ssl, **settings)

    def connect(self, url: str, **settings: Any) -> Any:
        return WebSocketClient.connect(url, ssl=self.client_ssl, **settings)

    @asynccontextmanager
    async def pair(
        self, *, server: dict[str, Any] | None = None, client: dict[str, Any] | None = None
    ) -> AsyncIterator[tuple[WebSocketServer, WebSocketClient]]:
        async with self.bind(**(server or {})) as one, self.connect(one.url, **(client or {})) as other:
            yield one, other

    @asynccontextmanager
    async def raw_server(self, script: Callable[[RawPeer], Any]) -> AsyncIterator[str]:
        """Serve `script` to each connection once its request is read; yields the URL."""
        tasks: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.add(asyncio.current_task())  # type: ignore[arg-type]  # inside a task there is one
            peer = RawPeer(reader, writer)
            try:
                await peer.read_head()
                await script(peer)
            finally:
                await peer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=self.server_ssl)
        port = server.sockets[0].getsockname()[1]
        try:
            yield f"{'wss' if self.is_secure else 'ws'}://127.0.0.1:{port}"
            if tasks:
                done, late = await asyncio.wait(tasks, timeout=10)
                assert not late, "a peer's script did not end"
                for task in done:
                    task.result()
        finally:
            server.close()
            for task in tasks:
                task.cancel()

    @asynccontextmanager
    async def raw_client(
        self, server: WebSocketServer, early: bytes = b"", *, headers: bytes = b"", receive_buffer: int | None = None
    ) -> AsyncIterator[RawPeer]:
        """A client whose opening handshake is done; `early` left in one piece with its request."""
        host, port = server.local_addr
        limit = {} if receive_buffer is None else {"limit": receive_buffer}
        reader, writer = await asyncio.open_connection(host, port, ssl=self.client_ssl, **limit)
        peer = RawPeer(reader, writer)
        try:
            await peer.write(UPGRADE % headers + early)
            await peer.read_head()
            assert peer.head.startswith(b"HTTP/1.1 101 ")
            yield peer
        finally:
            await peer.close()


@pytest.fixture(params=["aiofastnet", "loop transports"])
def transports(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose transports carry the bytes; users get aiofastnet's where it is installed."""
    choice = request.param == "aiofastnet"
    monkeypatch.setattr(websocket_utils._dialer, "dial", functools.partial(dial, use_aiofastnet=choice))
    monkeypatch.setattr(websocket_utils.server, "listen", functools.partial(listen, use_aiofastnet=choice))


@pytest.fixture(params=["plain", "tls"])
def network(request: pytest.FixtureRequest, certificates: Certificates, transports: None) -> Network:
    """Every kind of network there is."""
    return Network(certificates if request.param == "tls" else None)


@pytest.fixture
def plain() -> Network:
    """Plain TCP on the transports that users get: for what does not depend on them."""
    return Network(None)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backoff without its waits: what counts here is what is done, not when."""
    monkeypatch.setattr("websocket_utils._reconnect.ReconnectPolicy.delay", lambda *_arguments, **_options: 0.0)


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


@pytest.fixture(scope="session")
def frozen_garbage() -> Iterator[None]:
    """Keep what pytest has loaded out of the collector's sight: each `gc.collect()` of a test costs a tenth then."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def loop_errors(frozen_garbage: None) -> Iterator[list[str]]:
    """What asyncio had to say, "Task was destroyed but it is pending" among it: nothing, unless a test takes it off."""
    handler = _Errors()
    logger = logging.getLogger("asyncio")
    logger.addHandler(handler)
    yield handler.texts
    # The young generations, in which a test's own objects are: tasks and futures that nobody looked at speak up.
    gc.collect(1)
    logger.removeHandler(handler)
    assert handler.texts == []
