"""The server's end of a connection in memory: typed, and on the connection of the core that real servers have."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar, cast

from .. import _core
from .._accepting import Acceptance, Acceptor, Refusal, Request, ServerOpening
from .._admission import Admission
from .._connection import Connection
from .._faults import Faults
from .._handshake import Compression, Opened
from ..config import WebSocketConfig
from ..exceptions import ConnectionClosed
from ..messages import Subscribe, Subscribed, WsMessage
from ._heads import chosen_subprotocol
from ._memory import MemoryTransport

__all__ = ["MemoryPeer", "opening_of"]

T = TypeVar("T")


class MemoryPeer:
    """Plays the server on one connection in memory.

    Nothing is done that the script does not do, but what the protocol asks for: pings and closes are answered.

    Attributes:
        request: The client's opening request: `.path`, `.headers`, `.values("authorization")`.
        subprotocol: The one of ours that the client offered first; None where it offered none.
    """

    def __init__(
        self, request: Request, subprotocol: str | None, faults: Faults, on_lost: Callable[["MemoryPeer"], object]
    ) -> None:
        self.request = request
        self.subprotocol = subprotocol
        self._on_lost = on_lost
        self._inbox = _core.Inbox(asyncio.get_running_loop(), faults.report, faults.run, limit=1 << 24)
        self._connection: Connection | None = None
        self._transport: MemoryTransport | None = None
        self._ended: asyncio.Future[ConnectionClosed] = asyncio.get_running_loop().create_future()

    def take(self, opened: Opened, config: WebSocketConfig) -> Connection:
        """The handshake is complete: make what takes the transport over."""
        self._transport = cast("MemoryTransport", opened.transport)
        self._connection = Connection(
            is_client=False,
            format=(self.subprotocol or "websocket-utils.json").rpartition(".")[2],
            inbox=self._inbox,
            owner=self,
            transport=opened.transport,
            event_loop=asyncio.get_running_loop(),
            descriptor=opened.descriptor,
            watched_descriptor=opened.watched_descriptor,
            transport_busy=opened.transport_busy,
            max_message_size=config.max_message_size,
            max_send_queue=config.max_send_queue,
            deflate=opened.deflate,
            compression_threshold=config.compression_threshold,
        )
        return self._connection

    def connection_closing(self, connection: Connection) -> None:
        """The closing handshake has begun."""

    def connection_lost(self, connection: Connection, error: BaseException | None) -> None:
        """The connection is over."""
        if not self._ended.done():
            self._ended.set_result(connection.closed_error())
        self._inbox.close()
        self._on_lost(self)

    @property
    def _open(self) -> tuple[Connection, MemoryTransport]:
        if self._connection is None or self._transport is None:
            raise RuntimeError("the handshake of this peer is not complete")
        return self._connection, self._transport

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self._connection is not None and self._connection.is_open

    def send(self, message: Any) -> Awaitable[object]:
        """Send a message object in the client's codec, `str` or bytes; what it returns need not be awaited.

        Raises:
            ConnectionClosed: If the connection is closed or closing. Nothing was sent.
        """
        return self._open[0].send(message)

    # Any: as in `client.receive`, unions and other type forms.
    async def receive(self, type_: Any = WsMessage) -> Any:
        """Wait for the client's next message, as `client.receive`; None when the connection has ended."""
        return await self._inbox.receive(type_)

    def messages(self, type_: Any = WsMessage) -> AsyncIterator[Any]:
        """Iterate over the client's messages, as `client.messages`, until the connection ends."""
        return self._inbox.messages(type_)

    async def acknowledge(self) -> list[str]:
        """Wait for a `Subscribe`, acknowledge it if the client speaks a subprotocol of ours, return its channels.

        Raises:
            DecodeError: If something else came.
            ConnectionClosed: If the connection has ended.
        """
        asked: Subscribe | None = await self.receive(Subscribe)
        if asked is None:
            raise await self.until_closed()
        if self.subprotocol is not None:
            self.send(Subscribed(asked.channels))
        return asked.channels

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Begin the closing handshake; the connection ends when the client has answered."""
        self._open[0].close(code, reason)

    def drop(self) -> None:
        """End the stream behind what was sent, without a close frame: the client sees an end of file."""
        # Messages of this turn leave at its end.
        asyncio.get_running_loop().call_soon(self._open[1].close)

    def reset(self) -> None:
        """Reset the connection: the client gets a `ConnectionResetError`, and not what was on the way."""
        self._open[1].reset()

    def vanish(self) -> None:
        """Cut the link: nothing comes through any more, in either direction, and nobody is told."""
        self._open[1].cut()

    async def until_closed(self) -> ConnectionClosed:
        """Wait for the connection's end, and return it as an exception: `.received` and `.sent` are close frames."""
        return await asyncio.shield(self._ended)

    def __repr__(self) -> str:
        return f"<MemoryPeer of {self.request.address} {'open' if self.is_open else 'closed'}>"


def opening_of(
    config: WebSocketConfig,
    faults: Faults,
    *,
    on_opened: Callable[[MemoryPeer], object],
    on_lost: Callable[[MemoryPeer], object],
    address: str,
) -> ServerOpening:
    """Make the protocol of a server's end: it accepts every request that is in order, and makes a peer of it."""
    made: list[MemoryPeer] = []

    def judge(request: Request) -> Acceptance | Refusal:
        subprotocol, _ = chosen_subprotocol(request)
        made.append(MemoryPeer(request, subprotocol, faults, on_lost))
        return Acceptance(subprotocol)

    def take(opened: Opened) -> Connection:
        (peer,) = made
        connection = peer.take(opened, config)
        on_opened(peer)
        return connection

    acceptor = Acceptor(
        judge=judge,
        take=take,
        admission=Admission(None, None),
        compression=Compression.of(config),
        open_timeout=config.open_timeout,
        is_secure=False,
        on_refused=lambda: None,
    )
    return acceptor(address)
