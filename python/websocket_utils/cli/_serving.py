"""Serving a feed: by this process, or by workers that follow it."""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from websocket_utils._server_drain import on_signals
from websocket_utils.cli._failures import Failure, cannot_listen, one_line
from websocket_utils.cli._loop import counted, say
from websocket_utils.cli._output import LineWriter
from websocket_utils.cli._stdin import read_chunks
from websocket_utils.cli._worker import Settings, namespaces
from websocket_utils.cli._workers import Workers, bus, reserved
from websocket_utils.config import WebSocketConfig
from websocket_utils.server import WebSocketServer

__all__ = ["Feed", "Play", "door_not_open", "drain_server", "until_end"]

Play = Callable[[WebSocketServer, Callable[[], bool]], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed, as the command's options ask for it."""

    config: WebSocketConfig
    # Publishes on a server; begins when somebody listens, which the other argument tells.
    play: Play
    what: str
    # Channels to look at.
    look: str | None
    broadcast: bool
    history: int
    http: str | None
    http_key: str | None
    drain: float
    until_eof: bool

    async def serve(self) -> None:
        """Publish and serve in this process."""
        try:
            server = await WebSocketServer.bind(
                config=self.config, namespaces=namespaces(self.history), http=self.http, http_key=self.http_key
            )
        except OSError as error:
            raise self._not_open(error) from error
        async with server:
            self._say_listening(server.url, server.http_url)
            listens = lambda: any(self.broadcast or client.channels for client in server.connections)  # noqa: E731
            try:
                await until_end(
                    self.play(server, listens),
                    server.serve_forever(),
                    lambda: drain_server(server, self.drain),
                    until_eof=self.until_eof,
                )
            finally:
                stats = server.stats()
                say(
                    f"served {counted(stats.messages_sent, 'message')} in {stats.deliveries:,} deliveries "
                    f"to {counted(stats.accepted, 'client')}"
                )

    async def serve_by(self, count: int, *, tells: bool) -> None:
        """Publish in this process, and serve by others."""
        host, port = self.config.host, self.config.port
        try:
            place = reserved(host, port)
        except OSError as error:
            raise cannot_listen(host, port, error) from error
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(place)
            try:
                server, token = await stack.enter_async_context(bus(self.history, self.http, self.http_key))
            except OSError as error:
                raise self._not_open(error) from error
            await self._serve_by(count, server, token, place.getsockname()[1], tells=tells)

    async def _serve_by(self, count: int, server: WebSocketServer, token: str, port: int, *, tells: bool) -> None:
        settings = Settings(self.config.host, port, server.url, token, self.history, self.drain)
        workers = Workers(count, settings)
        server.ready_when(lambda: workers.is_ready)
        try:
            await workers.start()
            shown = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.config.host, self.config.host)  # noqa: S104  # read, not bound
            self._say_listening(f"ws://[{shown}]:{port}" if ":" in shown else f"ws://{shown}:{port}", server.http_url)
            async with workers.telling(tells):
                await until_end(
                    self.play(server, lambda: workers.listens(broadcast=self.broadcast)),
                    workers.wait(),
                    lambda: self._drain_workers(workers),
                    until_eof=self.until_eof,
                )
        finally:
            await workers.stop(server.close)
            for line in workers.lines:
                say(line)

    async def _drain_workers(self, workers: Workers) -> None:
        say(f"clients may go within {self.drain:g} s; once more ends at once")
        await workers.drain(self.drain)

    def _say_listening(self, url: str, http_url: str | None) -> None:
        # For programs that start a feed: the address, on stdout, in a line of its own.
        LineWriter().write([f"listening on {url}"])
        say(f"serving {self.what}; Ctrl-C ends")
        if http_url is not None:
            say(f"side door: {http_url}")
        if self.look is not None:
            say(f"look at it: websocket-utils tail {url} --channels {self.look}")

    def _not_open(self, error: OSError) -> Failure:
        return door_not_open(error) or cannot_listen(self.config.host, self.config.port, error)


def door_not_open(error: OSError) -> Failure | None:
    """Say why there is no side door; None if the error is about the server's own address."""
    for note in getattr(error, "__notes__", ()):
        if "side door" in note:
            return Failure(f"{one_line(error)} {note}")
    return None


async def until_end(
    play: Coroutine[Any, Any, None],
    serve: Coroutine[Any, Any, None],
    drain: Callable[[], Coroutine[Any, Any, None]],
    *,
    until_eof: bool,
) -> None:
    """Wait for the end of what is played, of who serves it, or of the input; a signal drains.

    Args:
        play: What is published.
        serve: Ends when the server does.
        drain: Called at the first Ctrl-C or SIGTERM.
        until_eof: Whether the end of standard input is an end too.
    """
    playing, serving = asyncio.create_task(play), asyncio.create_task(serve)
    ends = {playing, serving}
    if until_eof:
        ends.add(asyncio.create_task(_stdin_end()))
    try:
        with on_signals(drain):
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in (playing, serving):
            if task.done():
                task.result()
    finally:
        for task in ends:
            task.cancel()
        await asyncio.gather(*ends, return_exceptions=True)


async def drain_server(server: WebSocketServer, seconds: float) -> None:
    """Let the clients of a server go within `seconds`."""
    if server.connections:
        say(f"{counted(len(server.connections), 'client')} may go within {seconds:g} s; once more ends at once")
    await server.drain(deadline=seconds)


async def _stdin_end() -> None:
    async for _ in read_chunks(sys.stdin.fileno()):
        pass
