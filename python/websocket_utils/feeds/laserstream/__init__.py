"""LaserStream: accounts, slots, logs and transactions of Solana nodes, as typed messages.

For the WebSocket form of Helius LaserStream, and any node that speaks Solana's JSON-RPC PubSub:

    async with LaserStream(url, commitment="processed") as stream:
        async for update in stream.accounts(["CM78..."]):
            ...
"""

from ._events import Fork, Seeded, SeedFailed, StreamEvent, Unexpected
from ._messages import LogsUpdate, TransactionUpdate
from ._requests import Commitment
from ._stats import StreamStats
from ._stream import LaserStream
from ._updates import Updates

__all__ = [
    "Commitment",
    "Fork",
    "LaserStream",
    "LogsUpdate",
    "SeedFailed",
    "Seeded",
    "StreamEvent",
    "StreamStats",
    "TransactionUpdate",
    "Unexpected",
    "Updates",
]
