"""A WebSocket server that misbehaves on command: what its connections share, and its sockets."""

import asyncio
import itertools
import socket
from collections.abc import Callable, Iterable, Sequence
from ssl import SSLContext
from types import TracebackType
from typing import Any, Self

from .._accepting import Request
from ._door import Door
from ._fault_connection import FaultConnection
from ._faults import Drop, FailTls, Fault, Serve, SlowReader, Strike

__all__ = ["FaultServer", "FaultyPeers", "Step"]

Step = Fault | Sequence[Fault]
"""What one connection does: a fault, or several at once."""

# A slow reader is felt only behind what the kernel takes for it.
_RECEIVE_BUFFER = 1 << 16
_END_SECONDS = 5


class FaultyPeers:
    """What a fault server does to its connections, and what it knows of them, whatever carries their bytes.

    Attributes:
        dials: `loop.time()` of each accepted connection.
        accepted: Connections so far.
        opened: Those whose opening handshake was completed.
        requests: Opening requests, in their order: `.path`, `.headers`, `.values("authorization")`.
        received: Messages of all connections, in their order: `str` or bytes.
        close_codes: Codes of the clients' close frames, in their order; 1005 for one without any.
        subscriptions: For each connection that sent a `Subscribe`, by its number: the channels it asked for, in order.
    """

    def __init__(
        self,
        script: Iterable[Step] = (),
        *,
        on_message: Callable[[FaultConnection, str | bytes], object] | None = None,
    ) -> None:
        self._on_message = on_message
        self._connections: dict[int, FaultConnection] = {}
        self._watchers: list[tuple[Callable[[], object], asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._script: list[Step] = []
        self._last: Step = Serve()
        self.dials: list[float] = []
        self.accepted: int = 0
        self.opened: int = 0
        self.requests: list[Request] = []
        self.received: list[str | bytes] = []
        self.close_codes: list[int] = []
        self.subscriptions: dict[int, list[str]] = {}
        self.then(*script)

    # --- the script ---

    def then(self, *steps: Step) -> None:
        """Set what the next connections do, one step each; the last one is that of all that follow."""
        self._script = list(steps)
        self._last = steps[-1] if steps else Serve()

    def _next_faults(self) -> tuple[Fault, ...]:
        step = self._script.pop(0) if self._script else self._last
        return (step,) if isinstance(step, Fault) else tuple(step)

    def _connection(self, faults: tuple[Fault, ...]) -> FaultConnection:
        """Make the protocol of a connection that was accepted just now."""
        connection = FaultConnection(self, next(self._numbers), faults)
        self._connections[connection.number] = connection
        return connection

    def _count_dial(self) -> None:
        self.dials.append(asyncio.get_running_loop().time())
        self.accepted += 1
        self._changed()

    # --- what its connections tell ---

    def answered(self, connection: FaultConnection) -> None:
        """The 101 was sent."""
        self.opened += 1
        self._changed()

    def requested(self, connection: FaultConnection, request: Request) -> None:
        """An opening request was read."""
        self.requests.append(request)
        self._changed()

    def received_message(self, connection: FaultConnection, message: str | bytes) -> None:
        """A message was read."""
        self.received.append(message)
        if self._on_message is not None:
            self._on_message(connection, message)
        self._changed()

    def subscribed(self, connection: FaultConnection, channels: list[str]) -> None:
        """The connection's channels have changed; `channels` were asked for now."""
        if channels:
            self.subscriptions.setdefault(connection.number, []).extend(channels)
        self._changed()

    def closed(self, connection: FaultConnection, code: int) -> None:
        """A close frame was read."""
        self.close_codes.append(code)
        self._changed()

    def lost(self, connection: FaultConnection) -> None:
        """The connection is gone."""
        self._connections.pop(connection.number, None)
        self._changed()

    # --- waiting ---

    def _changed(self) -> None:
        for watcher in tuple(self._watchers):
            condition, done = watcher
            if done.done() or condition():
                self._watchers.remove(watcher)
                if not done.done():
                    done.set_result(None)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until `condition()` holds; it is looked at whenever something happens to a connection."""
        if not condition():
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._watchers.append((condition, done))
            await done

    async def accepted_at_least(self, count: int) -> None:
        """Wait until so many connections were accepted."""
        await self.until(lambda: self.accepted >= count)

    async def opened_at_least(self, count: int) -> None:
        """Wait until the opening handshakes of so many connections were completed."""
        await self.until(lambda: self.opened >= count)

    async def received_at_least(self, count: int) -> None:
        """Wait until so many messages have come."""
        await self.until(lambda: len(self.received) >= count)

    async def until_subscribed(self, channel: str) -> None:
        """Wait until an open connection is subscribed to `channel`."""
        await self.until(lambda: any(channel in one.channels for one in self.connections if one.is_open))

    # --- on the fly ---

    @property
    def connections(self) -> tuple[FaultConnection, ...]:
        """Connections that are not gone, the oldest first."""
        return tuple(self._connections.values())

    def publish(self, message: Any, channel: str | None = None) -> int:
        """Send to all open connections, or to the subscribers of `channel`: an object, `str` or bytes.

        Returns:
            Connections it was sent to.
        """
        chosen = [one for one in self.connections if one.is_open and (channel is None or channel in one.channels)]
        for one in chosen:
            one.send(message)
        return len(chosen)

    def strike(self, strike: Strike) -> None:
        """Let a fault happen to all connections now."""
        for one in self.connections:
            strike.strike(one)

    def drop_all(self) -> None:
        """End all connections without a close frame (FIN)."""
        self.strike(Drop())

    def reset_all(self) -> None:
        """Reset all connections (RST)."""
        for one in self.connections:
            one.reset()

    def close_all(self, code: int = 1000, reason: str = "") -> None:
        """Close all connections with this code."""
        for one in self.connections:
            one.close(code, reason)

    def go_silent(self) -> None:
        """Stop reading and writing on all connections, and keep their sockets; new ones follow the script."""
        for one in self.connections:
            one.go_silent()

    def hush(self) -> None:
        """Send no more messages on the connections that there are, but pongs."""
        for one in self.connections:
            one.hush()

    async def _end(self) -> None:
        for one in self.connections:
            one.abort()
        async with asyncio.timeout(_END_SECONDS):
            await self.until(lambda: not self._connections)


class FaultServer(FaultyPeers):
    """A WebSocket server on a port of this machine, made of bytes, that misbehaves on command.

        async with FaultServer([CloseAfter(1008), Serve()]) as server:
            async with WebSocketClient.connect(server.url) as client: ...

    It speaks JSON, MessagePack and Protocol Buffers by subprotocol as `WebSocketServer` does, acknowledges
    subscriptions as that does, and answers pings and closes, as long as no fault says otherwise. It never compresses.

    Args:
        script: What each connection does, one step for each, in the order of their accepts; the last step is that of
            all that follow. A step is a fault, or several of them: `[ByteByByte(), Duplicate(every=3)]`.
        ssl: Serves `wss` with this context's certificate.
        port: 0 takes a free one.
        on_message: Called with each message that comes, and its connection.
    """

    def __init__(
        self,
        script: Iterable[Step] = (),
        *,
        ssl: SSLContext | None = None,
        port: int = 0,
        on_message: Callable[[FaultConnection, str | bytes], object] | None = None,
    ) -> None:
        super().__init__(script, on_message=on_message)
        self._ssl = ssl
        self._port = port
        self._door: Door | None = None
        self._opening: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where to connect."""
        if self._door is None:
            raise RuntimeError("the server is not open: use `async with FaultServer(...)`")
        host, port = self._door.address
        return f"{'ws' if self._ssl is None else 'wss'}://{host}:{port}"

    async def __aenter__(self) -> Self:
        self._door = Door(self._accept, self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._door is not None:
            self._door.close()
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        await self._end()

    def refuse(self) -> None:
        """Refuse connections from now on; those that are open stay, and the port too."""
        if self._door is not None:
            self._door.shut()

    def listen(self) -> None:
        """Accept connections again."""
        if self._door is not None:
            self._door.open()

    def _accept(self, accepted: socket.socket) -> None:
        self._count_dial()
        faults = self._next_faults()
        if any(isinstance(fault, SlowReader) for fault in faults):
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        task = asyncio.get_running_loop().create_task(self._open(accepted, faults))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, accepted: socket.socket, faults: tuple[Fault, ...]) -> None:
        is_failing = any(isinstance(fault, FailTls) for fault in faults)
        connection = self._connection(faults)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection, accepted, ssl=None if is_failing else self._ssl
            )
        except OSError:
            # A client that does not like our certificate, or is gone.
            self.lost(connection)
        except BaseException:
            accepted.close()
            self.lost(connection)
            raise
