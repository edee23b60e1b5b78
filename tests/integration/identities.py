"""Clients that say who they are, in bare frames, and a server's side that knows two of them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable
from typing import Any

from tests.integration.raw_peer import RawPeer, raw_client
from tests.support.wire import CLOSE, TEXT, Frame

from websocket_utils import Credentials, Grant, Identity, KeyAuthentication, Message, WebSocketServer

__all__ = [
    "DESK",
    "JSON",
    "KEY",
    "OTHER_KEY",
    "PRICES",
    "Order",
    "Switch",
    "bearer",
    "by_key",
    "close_of",
    "closed_with",
    "hear",
    "known_peer",
    "say",
]

JSON = "websocket-utils.json"
PRICES = (Grant("prices:*"),)
DESK = Identity("desk", (*PRICES, Grant("orders:1")))
KEY = "the key of the desk"
OTHER_KEY = "the key of another one"


class Order(Message):
    number: int


class Switch:
    """An `authenticate` whose answer a test decides on."""

    def __init__(self) -> None:
        self.asked: list[Credentials] = []
        self.answers: list[asyncio.Future[Identity]] = []

    def __call__(self, credentials: Credentials) -> Awaitable[Identity]:
        self.asked.append(credentials)
        self.answers.append(asyncio.get_running_loop().create_future())
        return self.answers[-1]


def by_key() -> KeyAuthentication:
    return KeyAuthentication({KEY: DESK, OTHER_KEY: Identity("other")})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def say(peer: RawPeer, kind: str, **fields: Any) -> None:
    peer.send(TEXT, json.dumps({"type": kind, **fields}).encode())


async def hear(peer: RawPeer) -> Any:
    """The next message, or the close frame."""
    async with asyncio.timeout(5):
        frame = await peer.read_frame()
    return json.loads(frame.payload) if frame.opcode != CLOSE else frame


def close_of(frame: Frame) -> tuple[int, str]:
    assert frame.opcode == CLOSE
    return int.from_bytes(frame.payload[:2], "big"), frame.payload[2:].decode()


async def closed_with(peer: RawPeer) -> tuple[int, str]:
    async with asyncio.timeout(5):
        return close_of(await peer.read_close())


@contextlib.asynccontextmanager
async def known_peer(server: WebSocketServer, *, key: str = KEY) -> AsyncIterator[RawPeer]:
    """A plain client that was let in on the connection."""
    async with raw_client(server.url) as peer:
        await say(peer, "Authenticate", token=key)
        assert (await hear(peer))["type"] == "Authenticated"
        yield peer
