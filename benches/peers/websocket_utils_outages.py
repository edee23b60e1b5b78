"""This library: the client, with servers whose connections do not last."""

import contextlib
import time

from benches._subject import Arrivals, Run
from websocket_utils import Message, Promoted, WebSocketClient, WebSocketError

# A connection is a good one after this: those of these benches live little longer.
STABLE_AFTER = 0.05
# Messages behind the last promotion that are watched too.
TICKS_BEHIND = 20


class Tick(Message):
    """A message of the numbered stream that two servers have."""

    channel: str
    sequence: int
    due_ns: int


async def reconnect(run: Run) -> None:
    """It dials again by itself."""
    arrivals = Arrivals(run)
    async with WebSocketClient.connect(run.url, stable_after=STABLE_AFTER) as client:
        async for message in client.messages(bytes):
            if arrivals.received(message):
                break
    arrivals.report()


async def standby(run: Run) -> None:
    """Two servers of one stream, one of them a spare; whatever the strategy is told, and when."""
    clock = time.monotonic_ns
    ticks: list[tuple[int, int, int]] = []
    promoted: list[tuple[int, int, int]] = []
    behind = 0
    run.start()
    async with WebSocketClient.connect(
        [run.url, f"ws://127.0.0.1:{run.options.second_port}"],
        mode="standby",
        key=("channel", "sequence"),
        of=Tick,
        stable_after=STABLE_AFTER,
    ) as client:
        async for event in client.events(Tick):
            if type(event) is Tick:
                ticks.append((event.sequence, event.due_ns, clock()))
                if len(promoted) == run.messages:
                    behind += 1
                    if behind == TICKS_BEHIND:
                        break
            elif isinstance(event, Promoted):
                promoted.append((len(ticks), event.gap_ns, clock()))
            else:
                raise RuntimeError(f"the strategy was told of {event!r}")
    run.stop()
    run.result(ticks=ticks, promoted=promoted)


async def flapping(run: Run) -> None:
    """A server that ends each connection at once."""

    async def dial() -> None:
        with contextlib.suppress(WebSocketError):
            async with WebSocketClient.connect(run.url) as client:
                async for _ in client.messages(bytes):
                    pass

    await run.flapping(dial())
