"""A network in memory: servers that clients find by their URL, without a socket."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from ssl import SSLContext
from types import TracebackType
from typing import Any, Literal, Self

from .._dialer import network_in_use
from .._faults import Faults
from .._handshake import Compression, Opened, Taker
from .._phases import DialPhases
from .._requesting import ClientOpening, opening_request
from .._url import Target, parse_url
from ..client import WebSocketClient
from ..config import WebSocketConfig
from ..exceptions import ConnectionClosed
from ._fault_connection import FaultConnection
from ._fault_server import FaultyPeers, Step
from ._memory import CAPACITY, MemoryTransport, memory_pair
from ._peer import MemoryPeer, opening_of

__all__ = ["MemoryFaultServer", "MemoryNetwork", "MemoryServer", "Script", "memory_link"]

Script = Callable[[MemoryPeer], Awaitable[object]]
"""What the server does on one connection; a connection stays open when its script returns."""

_logger = logging.getLogger("websocket_utils.testing")

_Origin = tuple[str, str, int]


class MemoryServer:
    """A server of a `MemoryNetwork` whose connections are played by a script, or by the test itself.

    Attributes:
        dials: `loop.time()` of each accepted connection.
        peers: Connections that are open, the oldest first.
    """

    def __init__(self, config: WebSocketConfig, script: Script | None) -> None:
        self._config = config
        self._script = script
        self._faults = Faults(_logger)
        self._new: asyncio.Queue[MemoryPeer] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._errors: list[Exception] = []
        self.dials: list[float] = []
        self.peers: list[MemoryPeer] = []

    async def peer(self) -> MemoryPeer:
        """Wait for the next connection, in the order of their handshakes, that no script plays."""
        return await self._new.get()

    def accept(self, transport: MemoryTransport) -> None:
        """A client has connected."""
        self.dials.append(asyncio.get_running_loop().time())
        address = str(transport.get_extra_info("peername")[0])
        opening = opening_of(
            self._config, self._faults, on_opened=self._on_opened, on_lost=self._on_lost, address=address
        )
        transport.begin(opening)

    def _on_opened(self, peer: MemoryPeer) -> None:
        self.peers.append(peer)
        if self._script is None:
            self._new.put_nowait(peer)
            return
        task = asyncio.get_running_loop().create_task(self._play(self._script, peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _play(self, script: Script, peer: MemoryPeer) -> None:
        try:
            # The client's end of a connection is part of every script.
            with contextlib.suppress(ConnectionClosed):
                await script(peer)
        except Exception as error:  # noqa: BLE001  # raised when the network is left, in the test's own task
            self._errors.append(error)

    def _on_lost(self, peer: MemoryPeer) -> None:
        self.peers.remove(peer)

    async def stop(self) -> list[Exception]:
        """End the scripts; returns what they raised."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return self._errors


class MemoryFaultServer(FaultyPeers):
    """A server of a `MemoryNetwork` that misbehaves as a `FaultServer` does, but for TLS."""

    def accept(self, transport: MemoryTransport) -> None:
        """A client has connected."""
        self._count_dial()
        transport.begin(self._connection(self._next_faults()))

    async def stop(self) -> list[Exception]:
        """Do nothing: the network ends the connections."""
        return []


class _Place:
    """What the network knows of one origin."""

    def __init__(self) -> None:
        self.server: MemoryServer | MemoryFaultServer | None = None
        self.state: Literal["open", "refusing", "dead"] = "open"
        self.transports: list[MemoryTransport] = []


class MemoryNetwork:
    """A network without sockets; clients made inside `async with` connect through it, and to nothing else.

        async with MemoryNetwork() as network:
            server = network.listen("ws://exchange.test")
            async with WebSocketClient.connect("ws://exchange.test/feed") as client:
                peer = await server.peer()

    Servers are found by scheme, host and port; `wss` is accepted, and is not encrypted. The opening handshake and the
    connections are the real ones, of both roles. All waits are the event loop's: with a `VirtualClock` none takes time.

    Args:
        latency: Seconds that a byte is on its way; a dial takes two of them.
        capacity: Bytes that a connection holds in each direction, as a kernel does, before the sender has to wait.
    """

    def __init__(self, *, latency: float = 0.0, capacity: int = CAPACITY) -> None:
        self._latency = latency
        self._capacity = capacity
        self._places: dict[_Origin, _Place] = {}
        self._outer: Any = None
        self._clients = 0

    async def __aenter__(self) -> Self:
        self._outer = network_in_use.get()
        network_in_use.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        network_in_use.set(self._outer)
        errors: list[Exception] = []
        for place in self._places.values():
            if place.server is not None:
                errors += await place.server.stop()
            for transport in place.transports:
                transport.reset()
        # Resets are told in a turn of their own.
        await asyncio.sleep(0)
        if errors and error is None:
            raise errors[0]

    def _place(self, url: str) -> _Place:
        return self._places.setdefault(parse_url(url).origin, _Place())

    # --- servers ---

    def listen(self, url: str, script: Script | None = None, *, config: WebSocketConfig | None = None) -> MemoryServer:
        """Serve `url` with typed peers, in place of what served it before.

        Args:
            url: Of which scheme, host and port matter.
            script: Run for each connection. What it raises is raised where the network is left, but for
                `ConnectionClosed`. None leaves connections to `await server.peer()`.
            config: The server's settings.
        """
        server = MemoryServer(config or WebSocketConfig(), script)
        self._serve(url, server)
        return server

    def serve(
        self,
        url: str,
        faults: Iterable[Step] = (),
        *,
        on_message: Callable[[FaultConnection, str | bytes], object] | None = None,
    ) -> MemoryFaultServer:
        """Serve `url` with a script of faults, as `FaultServer` does, in place of what served it before."""
        server = MemoryFaultServer(faults, on_message=on_message)
        self._serve(url, server)
        return server

    def _serve(self, url: str, server: MemoryServer | MemoryFaultServer) -> None:
        place = self._place(url)
        if place.server is not None:
            raise ValueError(f"{url} is served already: its server can be refused, killed and restored")
        place.server = server

    # --- faults of the network ---

    def refuse(self, url: str) -> None:
        """Refuse connections to `url` from now on; those that are open stay."""
        self._place(url).state = "refusing"

    def blackhole(self, url: str) -> None:
        """Let dials of `url` hang until their time is over; connections that are open stay."""
        self._place(url).state = "dead"

    def restore(self, url: str) -> None:
        """Accept connections to `url` again."""
        self._place(url).state = "open"

    def kill(self, url: str, how: Literal["drop", "reset", "vanish"] = "reset") -> int:
        """End all connections to `url`: with an end of file, with a reset, or by cutting the link unnoticed.

        Returns:
            How many there were.
        """
        place = self._place(url)
        killed = [one for one in place.transports if not one.is_closing()]
        for transport in killed:
            if how == "drop":
                transport.close()
            elif how == "reset":
                transport.reset()
            else:
                transport.cut()
        return len(killed)

    # --- dialling ---

    async def __call__(
        self,
        target: Target,
        take: Callable[[Opened], Taker],
        /,
        *,
        headers: Mapping[str, str],
        subprotocols: tuple[str, ...],
        config: WebSocketConfig,
        ssl: SSLContext | None,
        phases: DialPhases,
    ) -> Taker:
        """Open one connection and hand it to what `take` makes of it, as clients do over TCP."""
        request = dict(headers)
        if target.authorization is not None and not any(name.lower() == "authorization" for name in headers):
            request["Authorization"] = target.authorization
        compression = Compression.of(config)

        def taken(opened: Opened) -> Taker:
            phases.leave(time.monotonic_ns())
            return take(opened)

        phases.enter("tcp", time.monotonic_ns())
        server, place = await self._reach(target)
        self._clients += 1
        client_end, server_end = memory_pair(
            capacity=self._capacity,
            latency=self._latency,
            client=(f"client-{self._clients}", self._clients),
            server=(target.origin[1], target.origin[2]),
        )
        place.transports = [one for one in place.transports if not one.is_closing()] + [server_end]
        phases.enter("upgrade", time.monotonic_ns())
        opening = ClientOpening(
            target.url,
            lambda key: opening_request(target.resource, target.authority, key, request, subprotocols, compression),
            subprotocols=subprotocols,
            compression=compression,
            take=taken,
            is_secure=False,
            watches_errors=False,
        )
        server.accept(server_end)
        client_end.begin(opening)
        try:
            return await opening.done
        except BaseException:
            client_end.abort()
            raise

    async def _reach(self, target: Target) -> tuple[MemoryServer | MemoryFaultServer, _Place]:
        await asyncio.sleep(2 * self._latency)
        place = self._places.get(target.origin)
        if place is not None and place.state == "dead":
            await asyncio.get_running_loop().create_future()
        if place is None or place.server is None or place.state == "refusing":
            raise ConnectionRefusedError(f"nobody listens on {target.url}")
        return place.server, place


@contextlib.asynccontextmanager
async def memory_link(
    url: str = "ws://memory.test/", *, latency: float = 0.0, **settings: Any
) -> AsyncGenerator[tuple[WebSocketClient, MemoryPeer], None]:
    """Connect a client to a peer that plays its server, without a socket.

        async with memory_link() as (client, peer):
            peer.send(PriceUpdate(...))
            assert await client.receive(PriceUpdate) == ...

    Args:
        url: What the client is told to connect to.
        latency: Seconds that a byte is on its way.
        **settings: Arguments of `WebSocketClient.connect`.
    """
    async with MemoryNetwork(latency=latency) as network:
        server = network.listen(url)
        async with WebSocketClient.connect(url, **settings) as client:
            yield client, await server.peer()
