"""A peer that is made of bytes and agreed to one of our subprotocols: what a server says to it, to the byte."""

import contextlib
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from tests.integration.conftest import Network, RawPeer
from tests.support.wire import BINARY, TEXT, frame

from websocket_utils import (
    Decoder,
    Encoder,
    GoAway,
    LagNotice,
    Pong,
    Subscribed,
    SubscriptionRejected,
    WebSocketServer,
)


@dataclass(frozen=True)
class Publication:
    """A payload with its position."""

    channel: str
    epoch: int
    sequence: int
    previous: int
    body: bytes

    @classmethod
    def of(cls, payload: bytes) -> "Publication":
        head, _, body = payload.partition(b"\n")
        assert head[:1] == b"\x1e", payload
        epoch, sequence, previous, channel = head[1:].decode().split(" ", 3)
        return cls(channel, int(epoch), int(sequence), int(previous), body)


class Speaker:
    """A peer that agreed to `websocket-utils.<codec>`.

    Attributes:
        positions: What the last `Subscribed` said, by channel: epoch, sequence, whether it is recovered.
    """

    def __init__(self, peer: RawPeer, codec: Any = "json") -> None:
        self.peer = peer
        self.positions: dict[str, tuple[int, int, bool]] = {}
        self._opcode = TEXT if codec == "json" else BINARY
        self._encoder = Encoder(codec)
        self._decoder = Decoder(Subscribed | SubscriptionRejected | Pong | LagNotice | GoAway, format=codec)

    def said(self, *messages: Any) -> bytes:
        return b"".join(frame(self._opcode, self._encoder.encode(message), masked=True) for message in messages)

    async def say(self, *messages: Any) -> None:
        await self.peer.write(self.said(*messages))

    async def payload(self) -> bytes:
        """What the server says next."""
        one = await self.peer.frame()
        assert one is not None
        assert one.opcode == self._opcode, one
        return one.payload

    async def hear(self) -> Any:
        """A message of the library. Of a `Subscribed`, the channels; the rest is kept in `positions`."""
        message = self._decoder.decode(await self.payload())
        if isinstance(message, Subscribed):
            self.positions = {}
            for text in message.positions:
                epoch, sequence, channel = text.split(" ", 2)
                self.positions[channel] = (int(epoch), int(sequence), channel in message.recovered)
            return Subscribed(channels=message.channels)
        return message

    async def publication(self) -> Publication:
        return Publication.of(await self.payload())


def agreed(network: Network, server: WebSocketServer, codec: str = "json", **options: Any) -> Any:
    """Connect a speaker."""
    header = f"Sec-WebSocket-Protocol: websocket-utils.{codec}\r\n".encode()
    connecting: AbstractAsyncContextManager[RawPeer] = network.raw_client(server, headers=header, **options)

    @contextlib.asynccontextmanager
    async def speaker() -> Any:
        async with connecting as peer:
            yield Speaker(peer, codec)

    return speaker()
