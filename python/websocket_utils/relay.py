"""A server that publishes what another one does, with the same numbers: several workers of one source.

    source process: WebSocketServer + serve_relays  --->  Relay -> WebSocketServer  --->  clients
                       numbers, keeps history       `-->  Relay -> WebSocketServer  --->  clients

Numbers are those of the source, so a client may lose one worker and go on at another where it stopped.
"""

import asyncio
import logging
from collections import deque
from ssl import SSLContext
from types import TracebackType
from typing import Any, Final, Literal, Self, get_args

from ._core import Decoder
from ._filling import HistoryBegun, HistoryEnd, HistoryPart, HistoryWanted, serve_relays
from .client import WebSocketClient
from .events import Disconnected, Reconnected
from .exceptions import ConnectionClosed, DecodeError
from .messages import AccountUpdate, Ping, Pong, PriceUpdate
from .server import WebSocketServer

__all__ = ["Relay", "serve_relays"]

_logger = logging.getLogger("websocket_utils.relay")

# What may come while the history does. Over that the relay goes on without the rest of it: what is missing shows in the
# numbers, and clients are told.
_MOST_WAITING: Final = 100_000
_MOST_WAITING_BYTES: Final = 64 * 1024 * 1024

Position = tuple[str, int, int, int]
"""Channel, epoch, sequence, sequence before."""


class Relay:
    """Publishes on a server what another server publishes.

    Made with `async with Relay(server, url) as relay`, which waits until the server is where the other one is, or with
    `open` and `close`; a server that is to have its history before its first client opens it in `bind(before=...)`.
    Where publications were missed, their clients see it in the numbers: the event `Gap`, never silence.

    Args:
        server: Publishes to its own clients. Nobody else may publish to the same channels.
        url: The server to follow, of this package; what it broadcasts is broadcast.
        token: Sent as `Authorization: Bearer`.
        patterns: Channels to follow.
        of: The class of the messages, or a union of classes.
        ssl: For `wss`.
    """

    def __init__(
        self,
        server: WebSocketServer,
        url: str,
        *,
        token: str | None = None,
        patterns: tuple[str, ...] = ("*",),
        of: Any = PriceUpdate | AccountUpdate,
        ssl: SSLContext | None = None,
    ) -> None:
        self._server = server
        self._broadcaster = server._broadcaster
        self._url = url
        self._token = token
        self._patterns = patterns
        self._of = of
        self._ssl = ssl
        self._decoder: Decoder[Any] = Decoder(of, format="msgpack")
        self._client: WebSocketClient | None = None
        # Asked and no answer yet; an answer that is coming; none is wanted.
        self._filling: Literal["asked", "coming"] | None = "asked"
        self._current = asyncio.Event()
        self._lost = asyncio.Event()
        self._lost.set()
        # What has come since the connection was lost or begun, until it is known what was before it.
        self._waiting: deque[tuple[Position | None, Any]] = deque()
        self._waiting_since = 0
        self._is_closed = False
        server.ready_when(lambda: self.is_current)
        # A client that comes from another relay may be ahead of this one, and has lost nothing then.
        server._channels.is_relay = True

    @property
    def is_current(self) -> bool:
        """Whether its server has all that the other one has published, as far as can be known now."""
        return self._current.is_set() and self._client is not None and self._client.is_connected

    async def open(self) -> None:
        """Connect, and wait until the server is where the other one is.

        Raises:
            HandshakeError: If the other server refuses.
            OSError: If nobody listens there.
            SubscribeRejected: If a channel is refused.
        """
        client = self._client = await WebSocketClient.connect(
            self._url,
            codec="msgpack",
            token=self._token,
            ssl=self._ssl,
            max_reconnect_attempts=None,
        )
        self._lost.clear()
        try:
            client.on(self._of, self._take)
            client.on(HistoryBegun, self._on_begun)
            client.on(HistoryPart, self._on_part)
            client.on(HistoryEnd, self._on_end)
            client.on(Disconnected, self._on_disconnected)
            client.on(Reconnected, self._on_reconnected)
            if Pong not in (get_args(self._of) or (self._of,)):
                client.on(Pong, self._on_pong)
            await client.subscribe(*self._patterns)
            self._ask()
            await self._current.wait()
        except BaseException:
            await client.close()
            raise

    async def close(self) -> None:
        """Stop following; the server stays."""
        self._is_closed = True
        self._current.clear()
        if self._client is not None:
            await self._client.close()

    async def until_current(self) -> None:
        """Wait until its server is where the other one is."""
        await self._current.wait()

    async def until_lost(self) -> None:
        """Wait until its connection is lost, behind all that it brought; returns at once while there is none."""
        await self._lost.wait()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # --- publications ---

    # Any: of the classes of `of`.
    def _take(self, message: Any) -> None:
        client = self._client
        assert client is not None  # noqa: S101  # it is who calls
        position = client.current_position
        if self._current.is_set():
            self._publish(position, message)
            return
        if isinstance(message, Pong) and self._filling == "asked":
            self._on_pong(message)
            return
        self._waiting.append((position, message))
        size = client._inbox.counters()[1] - self._waiting_since
        if len(self._waiting) > _MOST_WAITING or size > _MOST_WAITING_BYTES:
            _logger.warning("%s publishes faster than its history comes: going on without it", client.url)
            self._go_on()

    def _publish(self, position: Position | None, message: Any) -> None:
        if position is None:
            self._server.broadcast(message)
            return
        channel, epoch, sequence, previous = position
        known = self._broadcaster.position(channel)
        if known is None or known[0] != epoch or known[1] < sequence:
            self._broadcaster.publish(channel, message, at=(epoch, sequence, previous))

    def _go_on(self) -> None:
        """Nothing is missing that can still be had: publish what has come meanwhile, and all that comes."""
        self._filling = None
        self._current.set()
        waiting, self._waiting = self._waiting, deque()
        for position, message in waiting:
            self._publish(position, message)

    # --- the history ---

    def _ask(self) -> None:
        assert self._client is not None  # noqa: S101  # asked from its handlers
        self._filling = "asked"
        try:
            self._client.send(HistoryWanted(list(self._patterns)))
            self._client.send(Ping())
        except ConnectionClosed:
            # Lost meanwhile: asked again when it is back.
            return

    def _on_begun(self, begun: HistoryBegun) -> None:
        del begun
        if self._filling == "asked":
            self._filling = "coming"

    def _on_pong(self, pong: Pong) -> None:
        del pong
        if self._filling == "asked":
            # It serves no relays: what it publishes from now on is all there is.
            self._go_on()

    def _on_part(self, part: HistoryPart) -> None:
        if self._filling != "coming":
            return
        for sequence, payload in enumerate(part.payloads, part.first):
            try:
                message = self._decoder.decode(payload)
            except DecodeError as error:
                # Of a class that is not followed; what is missing shows in the numbers.
                _logger.debug("%s %d is not followed: %s", part.channel, sequence, error)
                continue
            self._publish((part.channel, part.epoch, sequence, sequence - 1), message)

    def _on_end(self, end: HistoryEnd) -> None:
        del end
        if self._filling == "coming":
            self._go_on()

    # --- the connection ---

    def _on_disconnected(self, event: Disconnected) -> None:
        if not self._is_closed:
            _logger.warning("lost %s: %s", self._url, event.error)
        self._current.clear()
        self._lost.set()
        if self._client is not None and not self._waiting:
            self._waiting_since = self._client._inbox.counters()[1]

    def _on_reconnected(self, event: Reconnected) -> None:
        self._lost.clear()
        if event.recovered and self._filling is None:
            self._go_on()
        else:
            self._ask()
