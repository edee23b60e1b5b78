"""Messages that peers exchange in tests, and what is often waited for."""

import asyncio
from typing import TypeVar

from websocket_utils import Message
from websocket_utils.peer import Peer, PeerEvent

KEY = b"what all peers of these tests know"

E = TypeVar("E")


class Fill(Message):
    """A broadcast or a message to one peer."""

    order: str
    quantity: float = 1.0


class MayTrade(Message):
    """A request."""

    quantity: float


class Verdict(Message):
    """Its answer."""

    is_allowed: bool


async def next_event(peer: Peer, kind: type[E], seconds: float = 5) -> E:
    """The next event of that class; others before it are passed over."""
    async with asyncio.timeout(seconds):
        async for event in peer.events():
            if isinstance(event, kind):
                return event
    raise AssertionError(f"the peer was closed before {kind.__name__}")


async def all_events(peer: Peer) -> list[PeerEvent]:
    """All that has happened to a peer that is closed."""
    return [event async for event in peer.events()]
