"""The two ends that the suite talks to: they send back whatever comes."""

import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any

from websocket_utils import ConnectionClosed, WebSocketClient, WebSocketConfig, WebSocketError, WebSocketServer

_MIB = 1024 * 1024
_AGENT = "websocket_utils"

# The suite breaks the protocol on purpose: our warnings of it would hide what matters.
logging.getLogger("websocket_utils").setLevel(logging.CRITICAL)


def config(*, compression: bool) -> WebSocketConfig:
    """Return what both ends need: messages of 16 MiB, the greatest of 9.*, in and out; and no pings of their own."""
    return WebSocketConfig(
        max_message_size=32 * _MIB,
        max_send_queue=64 * _MIB,
        max_inbox=64 * _MIB,
        ping_interval=None,
        compression=compression,
        # Whatever its size: the suite is to see what we compress.
        compression_threshold=0,
    )


@asynccontextmanager
async def echo_server(*, ssl: SSLContext | None, compression: bool) -> AsyncIterator[str]:
    """Serve an echo; yields its URL."""

    def echo(connection: Any, message: str | bytes) -> None:
        # What comes behind a close frame of ours has nowhere to go.
        with contextlib.suppress(ConnectionClosed):
            connection.send(message)

    async with WebSocketServer.bind("127.0.0.1:0", config=config(compression=compression), ssl=ssl) as server:
        server.on(str, echo)
        server.on(bytes, echo)
        yield server.url


async def count_cases(url: str, *, ssl: SSLContext | None) -> int:
    """Ask the suite's server how many cases there are."""
    async with WebSocketClient.connect(f"{url}/getCaseCount", ssl=ssl, reconnect=False) as client:
        answer = await client.receive(str)
    if answer is None:
        raise ConnectionError("the suite closed the connection before it said how many cases there are")
    return int(answer)


async def echo_case(url: str, case: int, *, ssl: SSLContext | None, compression: bool) -> None:
    """Be the client of one case: send back what comes, until the connection ends."""
    address = f"{url}/runCase?case={case}&agent={_AGENT}"
    settings = config(compression=compression)
    # How it ends is for the suite to judge.
    with contextlib.suppress(WebSocketError):
        opening = WebSocketClient.connect(address, config=settings, ssl=ssl, reconnect=False)
        # The suite sends a message and a violation with its answer to the handshake: an echo that is to leave before
        # the close frame needs its handlers before the first read.
        client = opening._opened  # pyright: ignore[reportPrivateUsage]  # as said above

        def echo(message: str | bytes) -> None:
            with contextlib.suppress(ConnectionClosed):
                client.send(message)

        client.on(str, echo)
        client.on(bytes, echo)
        async with opening:
            # Waits for the end; nothing is left to be pulled.
            async for message in client.messages(str | bytes):
                echo(message)


async def write_report(url: str, *, ssl: SSLContext | None) -> None:
    """Make the suite's server write what it found."""
    address = f"{url}/updateReports?agent={_AGENT}"
    # It answers with a close frame, and may end the connection before it has read ours.
    with contextlib.suppress(ConnectionClosed):
        async with WebSocketClient.connect(address, ssl=ssl, reconnect=False) as client:
            await client.receive(bytes)
