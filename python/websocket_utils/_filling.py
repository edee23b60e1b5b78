"""How a relay gets the history of the server it follows: asked for once, answered in parts, oldest messages first.

    relay  ---- HistoryWanted(patterns), Ping ---->  server
    relay  <--- HistoryBegun, Pong, HistoryPart ... HistoryEnd ---

A server that serves no relays answers the `Ping` alone, and so says that nothing comes.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from ._connection import ServerConnection
from ._core import Broadcaster, Encoder
from ._recovery import covers
from .exceptions import ConnectionClosed, EncodeError, SendQueueFull
from .messages import Message

if TYPE_CHECKING:
    from .server import WebSocketServer

__all__ = ["HistoryBegun", "HistoryEnd", "HistoryPart", "HistoryWanted", "serve_relays"]

# Payload bytes of one part: little beside what a connection may hold, and a turn of the event loop each.
_PART_BYTES: Final = 128 * 1024
# As many as a broadcaster remembers.
_MOST_CHANNELS: Final = 1 << 20


class HistoryWanted(Message):
    """A relay asks for the history of all channels that these names and patterns mean."""

    patterns: list[str]


class HistoryBegun(Message):
    """It comes."""


class HistoryPart(Message):
    """Publications of one channel that follow each other."""

    channel: str
    epoch: int
    # Of the first one; each following one has the next number.
    first: int
    # MessagePack.
    payloads: list[bytes]


class HistoryEnd(Message):
    """All of it has come."""


def serve_relays(server: "WebSocketServer") -> None:
    """Have a server give its history to relays, so that theirs begins where its own does.

    Clients that may not subscribe to a pattern get nothing of it; without `authenticate` every client may.

    Args:
        server: The one that relays follow; its history is that of its namespaces.
    """
    broadcaster = server._broadcaster
    # A relay that asks again has had its connection replaced: one answer at a time for each.
    answering: set[ServerConnection] = set()

    def on_wanted(connection: ServerConnection, wanted: HistoryWanted) -> object:
        identity = connection.identity
        patterns = [one for one in wanted.patterns if identity is None or identity.may("subscribe", one)]
        if connection in answering or not connection.is_open:
            return None
        try:
            # At once: in front of the `Pong` to what was sent behind the request.
            connection.send(HistoryBegun())
        except (ConnectionClosed, SendQueueFull):
            connection.abort()
            return None
        answering.add(connection)
        return _answer(connection, patterns)

    async def _answer(connection: ServerConnection, patterns: Sequence[str]) -> None:
        try:
            async for part in _parts(broadcaster, patterns):
                connection.send(part)
                await connection.drain()
            connection.send(HistoryEnd())
        except (ConnectionClosed, SendQueueFull):
            # It asks again on its next connection.
            connection.abort()
        finally:
            answering.discard(connection)

    server.on(HistoryWanted, on_wanted)


async def _parts(broadcaster: Broadcaster, patterns: Iterable[str]) -> AsyncIterator[HistoryPart]:
    is_wanted = covers(patterns)
    names = [name for name, _, _, _ in broadcaster.channel_table(_MOST_CHANNELS)]
    for name in filter(is_wanted, names):
        for part in _parts_of(broadcaster, name):
            yield part
            await asyncio.sleep(0)


def _parts_of(broadcaster: Broadcaster, channel: str) -> Iterator[HistoryPart]:
    position = broadcaster.position(channel)
    if position is None:
        return
    encoder = Encoder("msgpack")
    first, size = 0, 0
    payloads: list[bytes] = []
    # One look at it: what is published meanwhile comes as a publication.
    for sequence, message in broadcaster.history(channel):
        payload = _payload(encoder, message)
        if payloads and (payload is None or sequence != first + len(payloads) or size + len(payload) > _PART_BYTES):
            yield HistoryPart(channel, position[0], first, payloads)
            payloads, size = [], 0
        if payload is None:
            continue
        if not payloads:
            first = sequence
        payloads.append(payload)
        size += len(payload)
    if payloads:
        yield HistoryPart(channel, position[0], first, payloads)


def _payload(encoder: Encoder, message: object) -> bytes | None:
    """A message as a relay is sent it; None where it has no such form: what is missing shows in the numbers."""
    if isinstance(message, bytes):
        return message
    try:
        # Text is a message of no class.
        return None if isinstance(message, str) else encoder.encode(message)
    except EncodeError:
        return None
