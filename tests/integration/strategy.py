"""What a strategy sees of a client, written down item by item, and what a client may leave behind: nothing."""

import asyncio
import contextlib
import gc
import os
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests.support.waiting import until

from websocket_utils import (
    Disconnected,
    Gap,
    PriceUpdate,
    Promoted,
    Reconnected,
    ReconnectPolicy,
    Restored,
    Stale,
    SubscriptionLost,
    WebSocketClient,
)

__all__ = ["AT_ONCE", "JSON", "Seen", "nothing_left", "price", "watched"]

# Backoff whose waits are too short to be felt, and yet waits: the client's own way is gone.
AT_ONCE = ReconnectPolicy(base=0.001, first_jitter=0.0, flapping_base=0.001, max_delay=0.002)
# A server of this package, and a fault server, acknowledge subscriptions to who offers this.
JSON = ("websocket-utils.json",)


def price(number: int, quote: str = "USDC") -> PriceUpdate:
    return PriceUpdate("SOL", quote, float(number), timestamp=number)


def word(item: Any) -> Any:
    """An item of `events()` as tests compare it: a message's number, or an event's name and what it is about."""
    match item:
        case PriceUpdate():
            return item.timestamp
        case Disconnected() | Reconnected() | Promoted():
            return type(item).__name__, item.epoch
        case Gap() | Stale() | Restored() | SubscriptionLost():
            return type(item).__name__, item.channel
        case _:
            return item


class Seen:
    """What came out of `client.events()` so far."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.error: BaseException | None = None
        self.has_ended = False
        self._changed = asyncio.Event()

    @property
    def words(self) -> list[Any]:
        return [word(item) for item in self.items]

    @property
    def numbers(self) -> list[int]:
        return [item.timestamp for item in self.items if isinstance(item, PriceUpdate)]

    def of(self, kind: type[Any]) -> list[Any]:
        return [item for item in self.items if isinstance(item, kind)]

    async def until(self, condition: Callable[[], object], seconds: float = 8) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"it did not come; the last seen: {self.words[-40:]}") from None

    async def until_seen(self, *words: Any, seconds: float = 8) -> None:
        await self.until(lambda: all(one in self.words for one in words), seconds)

    async def pull(self, stream: AsyncIterator[Any]) -> None:
        try:
            async for item in stream:
                self.items.append(item)
                self._changed.set()
        except Exception as error:  # noqa: BLE001  # looked at by the test
            self.error = error
        self.has_ended = True
        self._changed.set()


@contextlib.asynccontextmanager
async def watched(client: WebSocketClient, type_: Any = PriceUpdate) -> AsyncIterator[Seen]:
    """Pull all events and messages of a client."""
    seen = Seen()
    task = asyncio.create_task(seen.pull(client.events(type_)))
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _descriptors() -> dict[str, str]:
    found = {}
    for number in os.listdir("/proc/self/fd"):
        # That of the listing itself is gone by now.
        with contextlib.suppress(FileNotFoundError):
            found[number] = os.readlink(f"/proc/self/fd/{number}")
    return found


def _timers() -> list[Any]:
    """What the loop will still call; asyncio's alone can be asked."""
    scheduled = getattr(asyncio.get_running_loop(), "_scheduled", ())
    return [timer for timer in scheduled if not timer.cancelled()]


async def _warm_up() -> None:
    """Open what an event loop opens once, with its first transport."""
    ours, other = socket.socketpair()
    ours.setblocking(False)
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    transport.close()
    other.close()
    await until(lambda: ours.fileno() == -1)


@pytest.fixture
async def nothing_left(quiet: object) -> AsyncIterator[None]:
    """Descriptors and timers are as they were before the test; `quiet` looks for tasks."""
    del quiet
    await _warm_up()
    descriptors, timers = _descriptors(), len(_timers())
    yield
    gc.collect()
    deadline = asyncio.get_running_loop().time() + 2
    # By their number: those of the loop itself are new ones with each run of it.
    while len(now := _descriptors()) > len(descriptors):
        # A transport closes its socket in a turn of its own.
        assert asyncio.get_running_loop().time() < deadline, f"descriptors outlive the test: {now}, not {descriptors}"
        await asyncio.sleep(0.001)
    assert len(_timers()) <= timers, _timers()
