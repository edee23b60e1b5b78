"""A TCP proxy that does to a connection what networks do."""

import asyncio
import random
import socket
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Self

from .._url import parse_address, parse_url
from ._door import Door
from ._proxy_connection import ProxyConnection
from ._toxics import CLEAR

__all__ = ["ChaosProxy", "Direction"]

Direction = Literal["up", "down", "both"]
"""`up` is from the client to the server, `down` from the server to the client."""

_END_SECONDS = 5


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
        self.accepted: int = 0
        self.kills: int = 0

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
