"""Serves the door's application over HTTP, with uvicorn's protocol on sockets of ours.

uvicorn's own server is made for a process of its own: it takes the signals, and runs until one comes. Here its protocol
is used alone: a connection of it belongs to the event loop that the WebSocket server runs on, and `close` ends all of
them in bounded time.

What a client may cost: one of so many connections, a head of 16 KiB, and so long for each request, from its first byte
to the last one of its answer.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterable
from ssl import SSLContext
from typing import Any

from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from websocket_utils._faults import is_power_of_ten
from websocket_utils._listening import bound_sockets

__all__ = ["Serving"]

_MAX_HEAD = 16 * 1024
_MAX_CONNECTIONS = 64
_REQUEST_SECONDS = 30.0
_KEEP_ALIVE_SECONDS = 15
_TLS_SECONDS = 10.0
_TURNS_TO_END = 100

_FULL_BODY = b'{"error":{"code":108,"message":"too many connections at once"}}'
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n%b" % (len(_FULL_BODY), _FULL_BODY)
)


class _Bounded(logging.Filter):
    """Lets each text through at its 1st, 10th, 100th... time: peers decide how often there is one."""

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        # The texts are uvicorn's own, with no words of a peer: there are few of them.
        self._counts[record.msg] = count = self._counts.get(record.msg, 0) + 1
        return is_power_of_ten(count)


_logger = logging.getLogger("websocket_utils.server.http.protocol")
_logger.addFilter(_Bounded())


class _Protocol(H11Protocol):
    """One connection, with an end to its patience."""

    def __init__(self, serving: "Serving", *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.logger = _logger
        self.access_log = False
        self._serving = serving
        self._deadline: asyncio.TimerHandle | None = None
        self._is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        if len(self.connections) >= _MAX_CONNECTIONS:
            self._is_refused = True
            transport.write(_FULL)
            transport.close()
            return
        super().connection_made(transport)
        self._serving.begin(self)
        self._restart()

    def _restart(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(_REQUEST_SECONDS, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        if not self._is_refused:
            super().data_received(data)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing():
            self._restart()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_refused:
            return
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)
        self._serving.end(self)


class Serving:
    """Listens until it is closed.

    Args:
        sockets: Bound and listening; they belong to this object.
        app: An ASGI application.
        ssl: Serves `https` with this context's certificate; None serves `http`.
    """

    def __init__(self, sockets: Iterable[socket.socket], app: Any, ssl: SSLContext | None) -> None:
        self._sockets = tuple(sockets)
        self._ssl = ssl
        self._state = ServerState()
        self._config = Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            # It would set up loggers of the whole process.
            log_config=None,
            proxy_headers=False,
            h11_max_incomplete_event_size=_MAX_HEAD,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        )
        self._config.load()
        self._open: set[_Protocol] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._servers: list[asyncio.Server] = []
        self.address: tuple[Any, ...] = self._sockets[0].getsockname()
        """Where the first of the sockets listens."""

    @classmethod
    async def listen(cls, host: str, port: int, app: Any, ssl: SSLContext | None) -> "Serving":
        """Listen on an address; port 0 takes a free one.

        Raises:
            OSError: If the address is in use or is not this machine's.
        """
        serving = cls(await bound_sockets(host, port), app, ssl)
        await serving._start()
        return serving

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        tls: dict[str, Any] = {} if self._ssl is None else {"ssl_handshake_timeout": _TLS_SECONDS}
        try:
            for one in self._sockets:
                self._servers.append(await loop.create_server(self._protocol, sock=one, ssl=self._ssl, **tls))
        except BaseException:
            self._stop_listening()
            raise

    def _protocol(self) -> _Protocol:
        return _Protocol(self, config=self._config, server_state=self._state, app_state={})

    def begin(self, protocol: _Protocol) -> None:
        """A connection was made."""
        self._open.add(protocol)
        self._empty.clear()

    def end(self, protocol: _Protocol) -> None:
        """A connection was lost."""
        self._open.discard(protocol)
        if not self._open:
            self._empty.set()

    def _stop_listening(self) -> None:
        for server in self._servers:
            server.close()
        for one in self._sockets:
            one.close()

    async def close(self, grace: float) -> None:
        """Stop listening; requests under way get `grace` seconds, then they are cut."""
        self._stop_listening()
        try:
            for protocol in tuple(self._open):
                # What is broken already has nothing to be told.
                with contextlib.suppress(Exception):
                    protocol.shutdown()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._empty.wait()
        finally:
            for protocol in tuple(self._open):
                protocol.transport.abort()
            tasks = tuple(self._state.tasks)
            for task in tasks:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(_TURNS_TO_END):
            # An aborted transport tells its end in a turn to come.
            if not self._open:
                break
            await asyncio.sleep(0)
