"""A client that recovers, and the server of it that writes positions by hand."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from tests.integration.strategy import AT_ONCE, Seen, watched

from websocket_utils import (
    PriceUpdate,
    Reconnected,
    Subscribe,
    Subscribed,
    Unsubscribe,
    WebSocketClient,
    _core,
)
from websocket_utils.testing import MemoryNetwork, MemoryPeer

URL = "ws://exchange.test/"


def price(number: int) -> PriceUpdate:
    return PriceUpdate("SOL", "USDC", float(number), timestamp=number)


def publication(channel: str, epoch: int, sequence: int, previous: int | None = None) -> str:
    body = _core.Encoder("json").encode(price(sequence)).decode()
    return f"\x1e{epoch} {sequence} {sequence - 1 if previous is None else previous} {channel}\n{body}"


Script = Callable[[MemoryPeer, Subscribe], Awaitable[None] | None]


class Server:
    """Hands each connection's first `Subscribe` to the next of its scripts, and keeps what was asked."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self.asked: list[Subscribe] = []
        self.peers: list[MemoryPeer] = []
        self.network = MemoryNetwork()

    async def __call__(self, peer: MemoryPeer) -> None:
        self.peers.append(peer)
        script = self._scripts.pop(0)
        while (request := await peer.receive(Subscribe | Unsubscribe)) is not None:
            if isinstance(request, Unsubscribe):
                continue
            self.asked.append(request)
            done = script(peer, request)
            if done is not None:
                await done


@contextlib.asynccontextmanager
async def link(*scripts: Script, **settings: Any) -> AsyncIterator[tuple[WebSocketClient, Server, Seen]]:
    server = Server(*scripts)
    async with asyncio.timeout(10), server.network as network:
        network.listen(URL, server)
        given = {"recover": True, "reconnect": AT_ONCE, "max_reconnect_attempts": None, **settings}
        async with WebSocketClient.connect(URL, **given) as client, watched(client) as seen:
            yield client, server, seen


def answering(positions: list[str] | None = None, recovered: list[str] | None = None, *then: str) -> Script:
    """Acknowledges what is asked for with these, then sends the rest."""

    def answer(peer: MemoryPeer, request: Subscribe) -> None:
        peer.send(Subscribed(request.channels, positions or [], recovered or []))
        for one in then:
            peer.send(one)

    return answer


FIRST = answering(["7 4 a"], None, publication("a", 7, 5), publication("a", 7, 6))


# --- over a loss ---


async def lose(server: Server, seen: Seen, epoch: int = 2) -> Reconnected:
    server.peers[-1].reset()
    await seen.until_seen(("Reconnected", epoch))
    told: list[Reconnected] = seen.of(Reconnected)
    return next(one for one in told if one.epoch == epoch)
