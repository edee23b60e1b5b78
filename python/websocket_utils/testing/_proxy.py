"""A TCP proxy that does to a connection what networks do."""

import asyncio
import random
import socket
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Self, cast

from .._url import parse_address, parse_url
from ._door import Door
from ._ending import abort_with_reset, close_with_reset
from ._toxics import CLEAR, Stream, Toxics

__all__ = ["ChaosProxy", "Direction", "ProxyConnection"]

Direction = Literal["up", "down", "both"]
"""`up` is from the client to the server, `down` from the server to the client."""

_END_SECONDS = 5


class _End(asyncio.Protocol):
    """One socket of a connection through the proxy; what it reads goes into `incoming`."""

    def __init__(self, connection: "ProxyConnection", incoming: Stream, outgoing: Stream) -> None:
        self._connection = connection
        self._incoming = incoming
        self._outgoing = outgoing
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        # In here: uvloop may read before it returns the transport.
        self._connection.made()

    def data_received(self, data: bytes) -> None:
        self._connection.read(self._incoming, data)

    def eof_received(self) -> bool:
        # Open in the other direction, until that ends too.
        self._incoming.end()
        return True

    def pause_writing(self) -> None:
        self._outgoing.pause()

    def resume_writing(self) -> None:
        self._outgoing.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._connection.lost(exc)


class ProxyConnection:
    """One connection through a chaos proxy.

    Attributes:
        number: 0 for the first that the proxy accepted, and so on.
        up: The stream from the client to the server: `.passed`, `.swallowed`.
        down: The stream from the server to the client.
        is_killed: Whether it came to its end by `kill_randomly`.
    """

    def __init__(
        self, number: int, up: Toxics, down: Toxics, seed: float, on_gone: Callable[["ProxyConnection"], None]
    ) -> None:
        self.number = number
        self._random = random.Random(seed)  # noqa: S311  # chaos that can be repeated is no secret
        self._on_gone = on_gone
        self._left_to_kill: int | None = None
        self._is_given_up = False
        self.up = Stream(up, self._random, on_close=self.close, on_reset=self.reset, on_end=self._on_end)
        self.down = Stream(down, self._random, on_close=self.close, on_reset=self.reset, on_end=self._on_end)
        self._client = _End(self, self.up, self.down)
        self._server = _End(self, self.down, self.up)
        self.is_killed = False

    async def open(self, accepted: socket.socket, host: str, port: int) -> None:
        """Connect to the server, and let bytes flow.

        Raises:
            OSError: If the server can't be reached; `accepted` is reset then.
        """
        loop = asyncio.get_running_loop()
        try:
            target, _ = await loop.create_connection(lambda: self._server, host, port)
            # What the server says first waits in its socket.
            target.pause_reading()
            await loop.connect_accepted_socket(lambda: self._client, accepted)
        except BaseException:
            self._is_given_up = True
            self.reset()
            close_with_reset(accepted)
            self._on_gone(self)
            raise
        if self._server.transport is None or self._client.transport is None:
            self.reset()
        else:
            target.resume_reading()

    def made(self) -> None:
        """One end is there."""
        if self._is_given_up:
            # Not from inside `connection_made`: a transport begins to read behind it.
            asyncio.get_running_loop().call_soon(self.reset)
            return
        client, server = self._client.transport, self._server.transport
        if client is not None and server is not None:
            self.up.connect(client, server)
            self.down.connect(server, client)

    def read(self, stream: Stream, data: bytes) -> None:
        """One end has read `data`, for `stream`."""
        left = self._left_to_kill
        if left is not None:
            if len(data) >= left:
                stream.feed(data[:left])
                self.kill()
                return
            self._left_to_kill = left - len(data)
        stream.feed(data)

    def kill_within(self, mean_bytes: float | None) -> None:
        """Die after some bytes of both directions together, of exponential distribution; None lets it live."""
        self._left_to_kill = None if mean_bytes is None else 1 + int(self._random.expovariate(1 / mean_bytes))

    def kill(self) -> None:
        """End it now: with RST, or with an end of file, as chance has it."""
        self.is_killed = True
        if self._random.random() < 0.5:  # noqa: PLR2004  # one way as often as the other
            self.reset()
        else:
            self.close()

    def close(self) -> None:
        """End both sockets behind what was sent (FIN)."""
        self._stop(lambda transport: transport.close())

    def reset(self) -> None:
        """Reset both sockets (RST)."""
        self._stop(abort_with_reset)

    def abort(self) -> None:
        """End both sockets at once."""
        self._stop(lambda transport: transport.abort())

    def _stop(self, how: Callable[[asyncio.Transport], object]) -> None:
        self.up.stop()
        self.down.stop()
        for end in (self._client, self._server):
            if end.transport is not None:
                how(end.transport)

    def _on_end(self) -> None:
        if self.up.has_ended and self.down.has_ended:
            self.close()

    def lost(self, error: BaseException | None) -> None:
        """One end is gone: so is the other, in the same way."""
        if self._client.transport is None and self._server.transport is None:
            self.up.disconnect()
            self.down.disconnect()
            self._on_gone(self)
        elif error is not None:
            self.reset()
        else:
            self.close()

    def __repr__(self) -> str:
        return f"<ProxyConnection {self.number}: {self.up.passed} bytes up, {self.down.passed} down>"


class ChaosProxy:
    """A TCP proxy in front of any server, whose toxics change what passes, at once and for all its connections.

        async with ChaosProxy(server.url, seed=7) as proxy:
            async with WebSocketClient.connect(proxy.url) as client:
                proxy.latency(0.05, jitter=0.01)

    Chance is seeded for each connection by its number. Bytes of one direction never change their order, and a reader
    that is slower than the writer is felt by the writer: at most some MiB are on the way.

    Args:
        target: Where to: a URL, or `host:port`. TLS passes as it is.
        seed: Of all that is left to chance.
        port: 0 takes a free one.

    Attributes:
        accepted: Connections so far.
        kills: Those that `kill_randomly` ended.
    """

    def __init__(self, target: str, *, seed: int = 0, port: int = 0) -> None:
        self._scheme, self._resource = "tcp", ""
        if "://" in target:
            parsed = parse_url(target)
            self._scheme, self._host, self._target_port = parsed.origin
            self._resource = "" if parsed.resource == "/" else parsed.resource
        else:
            self._host, self._target_port = parse_address(target)
        self._port = port
        self._random = random.Random(seed)  # noqa: S311  # as above
        self._toxics = {"up": CLEAR, "down": CLEAR}
        self._mean_bytes: float | None = None
        self._door: Door | None = None
        self._opening: set[asyncio.Task[None]] = set()
        self._connections: dict[int, ProxyConnection] = {}
        self._is_empty = asyncio.Event()
        self._passed = {"up": 0, "down": 0}
        self.accepted = 0
        self.kills = 0

    async def __aenter__(self) -> Self:
        self._door = Door(self._accept, self._port)
        self._is_empty.set()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._door is not None:
            self._door.close()
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for connection in self.connections:
            connection.abort()
        async with asyncio.timeout(_END_SECONDS):
            await self._is_empty.wait()
        # Transports of connections that were still opening close in a turn of their own.
        await asyncio.sleep(0)

    @property
    def address(self) -> str:
        """`host:port` of the proxy."""
        if self._door is None:
            raise RuntimeError("the proxy is not open: use `async with ChaosProxy(...)`")
        return "{}:{}".format(*self._door.address)

    @property
    def url(self) -> str:
        """The target's URL, with the proxy's host and port."""
        return f"{self._scheme}://{self.address}{self._resource}"

    @property
    def connections(self) -> tuple[ProxyConnection, ...]:
        """Connections that are open, the oldest first."""
        return tuple(self._connections.values())

    @property
    def bytes_up(self) -> int:
        """Bytes that went on to the server, on all connections so far."""
        return self._passed["up"] + sum(one.up.passed for one in self.connections)

    @property
    def bytes_down(self) -> int:
        """Bytes that went on to the client, on all connections so far."""
        return self._passed["down"] + sum(one.down.passed for one in self.connections)

    def _accept(self, accepted: socket.socket) -> None:
        connection = ProxyConnection(
            self.accepted, self._toxics["up"], self._toxics["down"], self._random.random(), self._on_gone
        )
        connection.kill_within(self._mean_bytes)
        self._connections[connection.number] = connection
        self._is_empty.clear()
        self.accepted += 1
        task = asyncio.get_running_loop().create_task(self._open(connection, accepted))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, connection: ProxyConnection, accepted: socket.socket) -> None:
        try:
            await connection.open(accepted, self._host, self._target_port)
        except OSError:
            # The client was told, by a reset.
            return

    def _on_gone(self, connection: ProxyConnection) -> None:
        if self._connections.pop(connection.number, None) is None:
            return
        self._passed["up"] += connection.up.passed
        self._passed["down"] += connection.down.passed
        self.kills += connection.is_killed
        if not self._connections:
            self._is_empty.set()

    # --- toxics ---

    def _set(self, direction: Direction, **changes: Any) -> None:
        for one in ("up", "down") if direction == "both" else (direction,):
            self._toxics[one] = replace(self._toxics[one], **changes)
            for connection in self.connections:
                (connection.up if one == "up" else connection.down).set(self._toxics[one])

    def latency(self, seconds: float, jitter: float = 0.0, *, direction: Direction = "both") -> None:
        """Delay all bytes by `seconds`, give or take up to `jitter`."""
        self._set(direction, latency=seconds, jitter=jitter)

    def slicer(self, nbytes: int | None, delay: float = 0.0, *, direction: Direction = "both") -> None:
        """Cut what is read into pieces of `nbytes`, each a segment of its own, `delay` seconds apart; None ends it."""
        self._set(direction, slice_bytes=nbytes, slice_delay=delay)

    def bandwidth(self, bytes_per_second: float | None, *, direction: Direction = "both") -> None:
        """Let so many bytes pass a second, on each connection; None sets no limit."""
        self._set(direction, bandwidth=bytes_per_second)

    def blackhole(self, *, direction: Direction = "both") -> None:
        """Keep connections, and drop all bytes; `clear` ends it."""
        self._set(direction, blackhole=True)

    def limit(self, nbytes: int, *, direction: Direction = "both") -> None:
        """Close each connection when `nbytes` more have passed in one direction."""
        self._set(direction, limit=nbytes)

    def reset(self, after: int | None = None, *, direction: Direction = "both") -> None:
        """Reset all connections now; with `after`, each when so many more bytes have passed in one direction."""
        if after is not None:
            self._set(direction, reset_after=after)
            return
        for connection in self.connections:
            connection.reset()

    def half_close(self, direction: Direction = "down") -> None:
        """End one direction of all connections now; the other goes on."""
        for connection in self.connections:
            if direction != "down":
                connection.up.half_close()
            if direction != "up":
                connection.down.half_close()

    def kill_randomly(self, mean_bytes: float | None) -> None:
        """End each connection after some bytes of both directions together: `mean_bytes` on average; None ends it.

        The number is of exponential distribution; the end is a reset as often as an end of file.
        """
        self._mean_bytes = mean_bytes
        for connection in self.connections:
            connection.kill_within(mean_bytes)

    def clear(self) -> None:
        """Take all toxics away; what they have done stays done."""
        self._toxics = {"up": CLEAR, "down": CLEAR}
        self.kill_randomly(None)
        for connection in self.connections:
            connection.up.set(CLEAR)
            connection.down.set(CLEAR)

    def down(self) -> None:
        """Reset all connections, and refuse new ones; the port is kept."""
        if self._door is not None:
            self._door.shut()
        self.reset()

    def up(self) -> None:
        """Accept connections again."""
        if self._door is not None:
            self._door.open()
