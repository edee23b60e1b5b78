"""Frames as agave's nodes write them, and a node that a test plays itself, in memory."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from typing import Any, TypeVar

from websocket_utils.feeds.laserstream import LaserStream, Updates
from websocket_utils.testing import MemoryNetwork, MemoryPeer

T = TypeVar("T")

URL = "ws://node.test/?api-key=s3cret"

KEY = "CM78CPUeXjn8o3yroDHxUtKsZZgoy4GPkPPXfouKNH12"
OTHER = "SysvarC1ock11111111111111111111111111111111"
PROGRAM = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"
SYSTEM = "11111111111111111111111111111111"
U64 = 2**64 - 1

ACCOUNT = (
    '{"jsonrpc":"2.0","method":"accountNotification","params":{"result":{"context":{"slot":%d},"value":{"lamports":%d,'
    '"data":["AQI=","base64"],"owner":"11111111111111111111111111111111","executable":false,'
    '"rentEpoch":18446744073709551615,"space":2}},"subscription":%d}}'
)
SLOT = (
    '{"jsonrpc":"2.0","method":"slotNotification","params":{"result":{"slot":%d,"parent":%d,"root":44},'
    '"subscription":%d}}'
)
PROGRAM_ACCOUNT = (
    '{"jsonrpc":"2.0","method":"programNotification","params":{"result":{"context":{"slot":%d},"value":{"pubkey":"%s",'
    '"account":{"lamports":%d,"data":["","base64"],"owner":"TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA",'
    '"executable":false,"rentEpoch":18446744073709551615,"space":0}}},"subscription":%d}}'
)
LOGS = (
    '{"jsonrpc":"2.0","method":"logsNotification","params":{"result":{"context":{"slot":%d},"value":{"signature":"5h6x",'
    '"err":%s,"logs":["Program 11111111111111111111111111111111 invoke [1]"]}},"subscription":%d}}'
)
TRANSACTION = (
    '{"jsonrpc":"2.0","method":"transactionNotification","params":{"subscription":%d,"result":{"transaction":'
    '{"transaction":["AQ==","base64"],"meta":{"fee":18446744073709551615}},"signature":"5h6x","slot":224341380}}}'
)
SIGNATURE = (
    '{"jsonrpc":"2.0","method":"signatureNotification","params":{"result":{"context":{"slot":5207624},'
    '"value":{"err":null}},"subscription":%d}}'
)


def ack(number: int, result: object) -> str:
    return json.dumps({"jsonrpc": "2.0", "result": result, "id": number}, separators=(",", ":"))


def refusal(number: int | None, code: int, message: str) -> str:
    return json.dumps({"jsonrpc": "2.0", "error": {"code": code, "message": message}, "id": number})


class GoldenNode:
    """One connection of a node: acknowledges with numbers from `first` on, and sends what the test says."""

    def __init__(self, peer: MemoryPeer, first: int = 23784) -> None:
        self.peer = peer
        self.next = first
        self.requests: list[dict[str, Any]] = []

    async def request(self) -> dict[str, Any]:
        """The next request, unanswered."""
        text = await self.peer.receive(str)
        assert text is not None, "the client ended"
        request: dict[str, Any] = json.loads(text)
        self.requests.append(request)
        return request

    async def acknowledge(self, count: int = 1) -> list[int]:
        """Answer as many requests; returns the numbers of their subscriptions."""
        given: list[int] = []
        for _ in range(count):
            request = await self.request()
            if request["method"].endswith("Unsubscribe"):
                self.peer.send(ack(request["id"], True))
                given.append(request["params"][0])
            else:
                self.peer.send(ack(request["id"], self.next))
                given.append(self.next)
                self.next += 1
        return given

    def send(self, frame: str) -> None:
        self.peer.send(frame)

    def answer(self, request: dict[str, Any], result: object) -> None:
        self.peer.send(ack(request["id"], result))


@contextlib.asynccontextmanager
async def linked(**options: Any) -> AsyncGenerator[tuple[LaserStream, GoldenNode], None]:
    """A stream without its guard, unless asked for, and the node that it is connected to."""
    async with MemoryNetwork() as network:
        server = network.listen(URL)
        async with LaserStream(URL, **{"stale_after": None, **options}) as stream:
            yield stream, GoldenNode(await server.peer())


async def started(call: Updates[T], node: GoldenNode) -> tuple[Updates[T], list[int]]:
    """What a call of a stream gives, when the node has acknowledged it, and the numbers of its subscriptions."""
    waiting = asyncio.ensure_future(call)
    numbers = await node.acknowledge(len(call.channels))
    return await waiting, numbers
