"""A market of ticks whose clients stall when they are told to."""

import itertools
import time
from typing import Any

import msgspec
from tests.support.broadcasting import Feed, publications
from tests.support.memory import Link
from tests.support.wire import Frame

from websocket_utils import Message
from websocket_utils.messages import LagNotice

CONFLATE = ("conflate", None)
DROP_OLDEST = ("drop_oldest", None)


class Tick(Message):
    symbol: str
    n: int
    pad: str = ""


class Market:
    """A feed with a namespace `m` of this policy, and a client that stalls."""

    def __init__(self, policy: tuple[Any, ...] = CONFLATE, **options: Any) -> None:
        self.feed = Feed(**options)
        self.feed.declare("m", policy=policy)
        self.numbers = itertools.count(1)

    def publish(self, symbol: str = "SOL", channel: str = "m:a", pad: int = 0) -> int:
        number = next(self.numbers)
        self.feed.broadcaster.publish(channel, Tick(symbol=symbol, n=number, pad="x" * pad))
        return number

    def stalled(self, *names: str, sequenced: bool = True, **settings: Any) -> Link:
        """A subscriber whose socket takes nothing from now on; what it got before is read off."""
        link = self.feed.subscriber(*(names or ("m:a",)), sequenced=sequenced, **settings)
        self.stall(link)
        return link

    def stall(self, link: Link) -> None:
        link.transport.room = 0
        link.connection.send("stall")
        self.feed.loop.turn()
        link.sent()

    def resume(self, link: Link) -> list[Any]:
        """What a client gets that reads on."""
        link.transport.drain()
        while self.feed.loop.turn():
            pass
        return seen(link.sent())


def seen(frames: list[Frame]) -> list[Any]:
    """Numbers of ticks, and notices as (channel, first, last, count)."""
    all_: list[Any] = []
    for one in publications(frames):
        if one.position is None and b"LagNotice" in one.payload:
            notice = msgspec.json.decode(one.payload, type=LagNotice)
            all_.append((notice.channel, notice.first, notice.last, notice.count))
        else:
            all_.append(msgspec.json.decode(one.payload)["n"])
    return all_


def wait(seconds: float) -> None:
    """Let the clock of the core pass: it is the machine's."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
