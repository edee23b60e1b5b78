"""One connection through a chaos proxy: two sockets, and a stream in each direction."""

import asyncio
import random
import socket
from collections.abc import Callable
from typing import cast

from ._ending import abort_with_reset, close_with_reset
from ._toxics import Stream, Toxics

__all__ = ["ProxyConnection"]


class _End(asyncio.Protocol):
    """One socket of a connection through the proxy; what it reads goes into `incoming`."""

    def __init__(self, connection: "ProxyConnection", incoming: Stream, outgoing: Stream) -> None:
        self._connection = connection
        self._incoming = incoming
        self._outgoing = outgoing
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        # In here: not every loop returns the transport before it reads.
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
        self.up: Stream = Stream(up, self._random, on_close=self.close, on_reset=self.reset, on_end=self._on_end)
        self.down: Stream = Stream(down, self._random, on_close=self.close, on_reset=self.reset, on_end=self._on_end)
        self._client = _End(self, self.up, self.down)
        self._server = _End(self, self.down, self.up)
        self.is_killed: bool = False

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
