"""The object at the edge, as a model: what a Durable Object does with a publisher's socket, in memory and in 100 lines.

Its disk outlives it, as the real one's: a new `Edge` over the same `Disk` is a restart.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.integration.strategy import AT_ONCE

from websocket_utils.edge import EdgePublisher, PublicationRejected, PublisherAcknowledged, PublisherWelcome
from websocket_utils.testing import MemoryNetwork, MemoryPeer, Request

__all__ = [
    "URL",
    "Disk",
    "Edge",
    "EdgeServer",
    "Hole",
    "Malformed",
    "Refusal",
    "Superseded",
    "edge_link",
    "kinds",
    "noted",
]


class Refusal(Exception):
    """The object closes the socket."""

    code = 0


class Malformed(Refusal):
    code = 4400


class Superseded(Refusal):
    code = 4409


class Hole(Refusal):
    code = 4410


@dataclass
class Disk:
    """What outlives the object."""

    # Of each name: epoch, sequence.
    publishers: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    # Of each channel, what was published on it.
    channels: dict[str, list[str]] = field(default_factory=dict[str, list[str]])


class Edge:
    """One instance.

    Args:
        disk: What the one before left.
        rejects: What is wrong with an update, as code and reason; None if nothing is.
    """

    def __init__(
        self, disk: Disk, rejects: Callable[[str, str], tuple[int, str] | None] = lambda channel, payload: None
    ) -> None:
        self.disk = disk
        self._rejects = rejects
        self.batches = 0
        self.dropped = 0

    def welcome(self, name: str) -> PublisherWelcome:
        return PublisherWelcome(name, *self.disk.publishers.get(name, (0, 0)))

    def take(self, name: str, batch: str) -> list[Any]:
        """One batch; returns what is answered once it is on the disk.

        Raises:
            Refusal: If the socket is closed for it. Nothing of the batch is published.
        """
        epoch, first, updates = self._parse(batch)
        held_epoch, held = self.disk.publishers.get(name, (0, 0))
        if epoch < held_epoch:
            raise Superseded(f"{held_epoch} is newer")
        if epoch > held_epoch:
            held = 0
        if first > held + 1:
            raise Hole(f"{first} after {held}")
        self.batches += 1
        answers: list[Any] = []
        for sequence, (channel, payload) in enumerate(updates, first):
            if sequence <= held:
                self.dropped += 1
                continue
            held = sequence
            fault = self._rejects(channel, payload)
            if fault is None:
                self.disk.channels.setdefault(channel, []).append(payload)
            else:
                answers.append(PublicationRejected(epoch, sequence, channel, *fault))
        self.disk.publishers[name] = (epoch, held)
        return [*answers, PublisherAcknowledged(epoch, held)]

    @staticmethod
    def _parse(batch: str) -> tuple[int, int, list[tuple[str, str]]]:
        head, newline, body = batch.partition("\n")
        mark, (epoch, _, first) = head[:1], head[1:].partition(" ")
        lines = body.split("\n")
        if mark != "\x1e" or not newline or not epoch.isdigit() or not first.isdigit() or len(lines) % 2 != 1:
            raise Malformed(head)
        if lines.pop() != "" or not 0 < len(lines) // 2 <= 1024 or len(batch.encode()) > 256 * 1024:
            raise Malformed(f"{len(lines) // 2} updates in {len(batch)} characters")
        return int(epoch), int(first), list(zip(lines[::2], lines[1::2], strict=True))


URL = "wss://feed.test/publisher"


class EdgeServer:
    """Plays edges to publishers, in a `MemoryNetwork`.

    Args:
        rejects: As for `Edge`.

    Attributes:
        requests: Each connection's opening request.
        peers: Each connection.
        acknowledges: False: takes batches and says nothing.
        welcomes: False: says nothing to new connections.
    """

    def __init__(self, rejects: Callable[[str, str], tuple[int, str] | None] = lambda channel, payload: None) -> None:
        self.disk = Disk()
        self._rejects = rejects
        self.edge = Edge(self.disk, rejects)
        self.requests: list[Request] = []
        self.peers: list[MemoryPeer] = []
        self.batches: list[str] = []
        self.acknowledges = True
        self.welcomes = True

    async def __call__(self, peer: MemoryPeer) -> None:
        self.requests.append(peer.request)
        self.peers.append(peer)
        name = parse_qs(urlsplit(peer.request.path).query)["name"][0]
        if self.welcomes:
            peer.send(self.edge.welcome(name))
        async for batch in peer.messages(str):
            self.batches.append(batch)
            try:
                answers = self.edge.take(name, batch)
            except Refusal as refusal:
                peer.close(refusal.code, str(refusal))
                return
            for answer in answers if self.acknowledges else ():
                peer.send(answer)

    def restart(self, *, forgets: bool = False) -> None:
        """Another instance, on the same disk or on an empty one; its connections are reset."""
        if forgets:
            self.disk = Disk()
        self.edge = Edge(self.disk, self._rejects)
        for peer in self.peers:
            if peer.is_open:
                peer.reset()

    def published(self, channel: str) -> list[int]:
        """The numbers that were published on a channel."""
        return [int(payload) for payload in self.disk.channels.get(channel, ())]


@contextlib.asynccontextmanager
async def edge_link(
    server: EdgeServer | None = None, **settings: Any
) -> AsyncIterator[tuple[EdgePublisher, EdgeServer]]:
    """A publisher `me` and the edge it publishes to, in memory."""
    served = server or EdgeServer()
    async with MemoryNetwork() as network:
        network.listen(URL, served)
        given = {"name": "me", "key": "secret", "interval": 0.0, "reconnect": AT_ONCE, **settings}
        async with EdgePublisher.connect(URL, **given) as publisher:
            yield publisher, served


@contextlib.asynccontextmanager
async def noted(publisher: EdgePublisher) -> AsyncIterator[list[Any]]:
    """All that `events()` brings; its error at the end too."""
    seen: list[Any] = []

    async def follow() -> None:
        try:
            async for event in publisher.events():
                seen.append(event)  # noqa: PERF401  # seen while it grows
        except Exception as error:  # noqa: BLE001  # whatever it ends with is what the test asks for
            seen.append(error)

    task = asyncio.create_task(follow())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.wait([task])


def kinds(seen: list[Any]) -> list[str]:
    return [type(one).__name__ for one in seen]
