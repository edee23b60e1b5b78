"""A worker of `websocket-utils feed --workers N`: a process that follows the feed and serves clients on its port.

Its parent writes its settings in the first line of its standard input, and `end` when nothing more will come; the end
of the input ends it at once, so no worker outlives its parent. It tells of itself in lines on standard output.
"""

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator

import click
import msgspec

from websocket_utils._server_drain import on_signals
from websocket_utils.cli._failures import Failure, cannot_listen
from websocket_utils.cli._loop import every, run_until_stopped
from websocket_utils.cli._output import LineWriter
from websocket_utils.cli._stdin import read_lines
from websocket_utils.config import WebSocketConfig
from websocket_utils.messages import WsMessage
from websocket_utils.namespaces import Namespace
from websocket_utils.relay import Relay
from websocket_utils.server import WebSocketServer

__all__ = ["Report", "Settings", "namespaces", "worker"]

_EACH_SECONDS = 0.25
_ACCOUNT_HISTORY = 16
# How long a worker waits for the end of what its parent sends.
_LAST_SECONDS = 5.0


class Settings(msgspec.Struct, frozen=True):
    """What a worker has to know."""

    host: str
    port: int
    # Where its parent publishes, and what lets it in.
    url: str
    token: str
    history: int
    drain: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker tells of itself."""

    ready: bool
    connections: int
    subscriptions: int
    accepted: int
    deliveries: int
    lagging: int
    draining: bool


def namespaces(history: int) -> tuple[Namespace, ...]:
    """The namespaces that feeds publish to."""
    # There are as many channels of accounts as there are accounts.
    return Namespace("prices", history=history), Namespace("accounts", history=min(history, _ACCOUNT_HISTORY))


@click.command(hidden=True)
def worker() -> None:
    """Serve clients of a feed that another process publishes; started by that process."""
    run_until_stopped(_main())


async def _main() -> None:
    lines = read_lines(sys.stdin.fileno())
    async for _, line in lines:
        await _serve(msgspec.json.decode(line, type=Settings), lines)
        return


async def _serve(settings: Settings, lines: AsyncIterator[tuple[int, bytes]]) -> None:
    config = WebSocketConfig.from_env(host=settings.host, port=settings.port)
    relays: list[Relay] = []

    async def follow(server: WebSocketServer) -> None:
        relays.append(Relay(server, settings.url, token=settings.token, of=WsMessage))
        # Before it listens: its first client finds the whole history.
        await relays[0].open()

    opening = WebSocketServer.bind(
        config=config, reuse_port=True, namespaces=namespaces(settings.history), before=follow
    )
    try:
        server = await opening
    except OSError as error:
        raise cannot_listen(settings.host, settings.port, error) from error
    except Exception as error:
        raise Failure(f"a worker can't follow the feed: {error}") from error
    (relay,) = relays
    writer = LineWriter()

    def report() -> None:
        stats = server.stats()
        told = Report(
            ready=server.is_ready,
            connections=stats.connections,
            subscriptions=stats.subscriptions,
            accepted=stats.accepted,
            deliveries=stats.deliveries,
            lagging=stats.lagging,
            draining=stats.draining,
        )
        writer.write([msgspec.json.encode(told).decode()])

    async with server:
        report()
        ends = {asyncio.create_task(server.serve_forever()), asyncio.create_task(_parent_ends(lines, relay))}
        try:
            with on_signals(lambda: server.drain(deadline=settings.drain)):
                async with every(_EACH_SECONDS, report):
                    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in ends:
                task.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
    await relay.close()
    report()


async def _parent_ends(lines: AsyncIterator[tuple[int, bytes]], relay: Relay) -> None:
    """Wait until the parent says that nothing more comes, and all of it has come; or until the parent is gone."""
    async for _ in lines:
        # The end of the connection is behind all that was published on it, and no news.
        for name in ("websocket_utils.client", "websocket_utils.relay"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                await relay.until_lost()
        return
