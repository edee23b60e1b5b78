"""A server that is killed at any stage: the client comes back, subscribes again, and tells what it may have missed."""

import asyncio
import select
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from tests.integration.quiet import frozen, quiet  # noqa: F401  # fixtures, used by every test
from tests.integration.strategy import AT_ONCE, JSON, nothing_left, price, watched  # noqa: F401  # one is a fixture
from tests.support.waiting import until
from tests.support.wire import CLOSE, TEXT, close_payload, frame

from websocket_utils import (
    Disconnected,
    Encoder,
    Gap,
    HandshakeError,
    Reconnected,
    StandardSubscriptions,
    Subscribe,
    WebSocketClient,
)
from websocket_utils.testing import FaultServer, Serve, Stage, Strike

pytestmark = pytest.mark.usefixtures("nothing_left")

CHANNELS = ["b", "a"]


class OneByOne(StandardSubscriptions):
    """Subscribes with a message for each channel: a server can be killed between two acknowledgements."""

    def subscribe(self, channels: Sequence[str], /) -> Sequence[Any]:
        return [Subscribe([channel]) for channel in channels]


@dataclass(frozen=True, slots=True)
class Killed(Strike):
    """Ends the connection, behind some last bytes, as a killed process does: RST with unread data, FIN without."""

    with_reset: bool = False
    last_words: bytes = b""

    def strike(self, connection: Any) -> None:
        connection.write(self.last_words)
        if self.with_reset:
            connection.reset()
        else:
            connection.drop()


def text(number: int) -> bytes:
    return frame(TEXT, Encoder("json").encode(price(number)), masked=False)


# Moments of the opening handshake, and of subscribing to two channels.
STAGES: dict[str, tuple[Stage, int]] = {
    "accepted": ("accept", 1),
    "request read": ("request", 1),
    "inside the 101": ("answer", 1),
    "behind the 101": ("open", 1),
    "first subscription unanswered": ("subscribe", 1),
    "between two acknowledgements": ("acknowledged", 1),
    "second subscription unanswered": ("subscribe", 2),
    "all acknowledged": ("acknowledged", 2),
}
# Where in the stream: all acknowledged, one message sent, and then these bytes.
LONG = frame(TEXT, b'"' + b"x" * 300 + b'"', masked=False)
STREAM = {
    "between frames": b"",
    "inside a header": LONG[:3],
    "inside a payload": LONG[:200],
    "inside a fragmented message": frame(TEXT, b'{"type":', masked=False, fin=False),
    "inside a close frame": frame(CLOSE, close_payload(1001, "bye"), masked=False)[:3],
}
DEATHS = {name: Killed(at=at, nth=nth) for name, (at, nth) in STAGES.items()} | {
    name: Killed(at="acknowledged", nth=2, last_words=text(3) + last) for name, last in STREAM.items()
}


@pytest.mark.parametrize("with_reset", [False, True], ids=["fin", "rst"])
@pytest.mark.parametrize("death", DEATHS)
async def test_server_killed_at_any_stage_is_found_again_with_all_subscriptions(death: str, with_reset: bool) -> None:
    kill = DEATHS[death]
    kill = Killed(at=kill.at, nth=kill.nth, with_reset=with_reset, last_words=kill.last_words)
    async with FaultServer([Serve(), kill, Serve()]) as server, asyncio.timeout(10):
        client = await WebSocketClient.connect(
            server.url, subprotocols=JSON, subscriptions=OneByOne(), reconnect=AT_ONCE
        )
        async with client, watched(client) as seen:
            await client.subscribe(*CHANNELS)
            for number in (1, 2):
                server.publish(price(number), "a")
            await seen.until_seen(1, 2)
            server.connections[0].reset()
            await server.until(lambda: server.subscriptions.get(2) == CHANNELS)
            for number in (4, 5):
                server.publish(price(number), "a")
            await seen.until_seen(4, 5)
            # A reset takes with it what was not read yet, a 101 too.
            was_opened = ("Disconnected", 2) in seen.words
            may_be_opened = kill.at not in {"accept", "request", "answer"}
            assert was_opened == may_be_opened or (with_reset and kill.at == "open")
            assert_in_order(seen.items, was_opened=was_opened)
            # Sent before the connection was reset, message 3 may have been lost with it.
            told = [3] if kill.last_words else []
            assert seen.numbers in ([1, 2, *told, 4, 5], [1, 2, 4, 5] if with_reset else None)
            assert server.subscriptions[0] == server.subscriptions[2] == CHANNELS
            assert server.accepted == 3
            assert client.stats().state == "live"
        assert client.stats().state == "closed"


@pytest.mark.parametrize("with_reset", [False, True], ids=["fin", "rst"])
@pytest.mark.parametrize("stage", ["first subscription unanswered", "between two acknowledgements"])
async def test_subscribing_goes_on_with_the_next_connection_where_a_server_is_killed(
    stage: str, with_reset: bool
) -> None:
    at, nth = STAGES[stage]
    async with FaultServer([Killed(at=at, nth=nth, with_reset=with_reset), Serve()]) as server, asyncio.timeout(10):
        client = await WebSocketClient.connect(
            server.url, subprotocols=JSON, subscriptions=OneByOne(), reconnect=AT_ONCE
        )
        async with client:
            subscription = await client.subscribe(*CHANNELS)
            # Acknowledged by the second server, which has all of them.
            assert server.subscriptions[1] == list(subscription.channels) == CHANNELS
            assert (client.epoch, client.state) == (2, "live")


HANDSHAKE = [stage for stage in STAGES if STAGES[stage][0] in {"accept", "request", "answer"}]


@pytest.mark.parametrize("with_reset", [False, True], ids=["fin", "rst"])
@pytest.mark.parametrize("stage", HANDSHAKE)
async def test_first_dial_that_a_server_does_not_survive_raises_or_with_a_timeout_is_repeated(
    stage: str, with_reset: bool
) -> None:
    kill = Killed(at=STAGES[stage][0], with_reset=with_reset)
    async with FaultServer([kill, kill, Serve()]) as server, asyncio.timeout(10):
        with pytest.raises((HandshakeError, OSError)):
            await WebSocketClient.connect(server.url, reconnect=AT_ONCE)
        assert server.accepted == 1
        async with WebSocketClient.connect(server.url, timeout=5, reconnect=AT_ONCE) as client:
            assert (server.accepted, client.epoch, client.state) == (3, 1, "live")


async def test_server_killed_before_it_accepts_is_dialled_again() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        # The kernel takes the connection; nobody accepts it.
        listening.listen()
        port = listening.getsockname()[1]
        opening = asyncio.ensure_future(
            WebSocketClient.connect(f"ws://127.0.0.1:{port}", timeout=5, reconnect=AT_ONCE).__aenter__()
        )
        await until(lambda: select.select([listening], [], [], 0)[0])
    async with FaultServer(port=port) as server, asyncio.timeout(10):
        client = await opening
        assert (server.accepted, client.state) == (1, "live")
        await client.close()


def assert_in_order(items: list[Any], *, was_opened: bool) -> None:
    """Messages, `Disconnected`, the gaps of all channels, messages or none, `Reconnected`, messages."""
    words = [item for item in items if not isinstance(item, Gap)]
    events = [(type(item), item.epoch) for item in words if isinstance(item, Disconnected | Reconnected)]
    last = 3 if was_opened else 2
    losses = [(Disconnected, epoch) for epoch in range(1, last)]
    assert [event for event in events if event[0] is Disconnected] == losses
    # The second connection may have become a complete one.
    assert [event for event in events if event not in losses] in (
        [(Reconnected, last)],
        [(Reconnected, 2), (Reconnected, last)],
    )
    blind_since: int | None = None
    gaps: list[str] = []
    for item in items:
        if isinstance(item, Disconnected):
            blind_since, gaps = item.epoch, []
        elif isinstance(item, Gap):
            assert blind_since is not None
            gaps.append(item.channel)
        else:
            # Nothing of a new connection stands before the gaps that it leaves.
            assert blind_since is None or gaps == CHANNELS
            if isinstance(item, Reconnected):
                assert item.epoch > (blind_since or 0)
                assert item.downtime_ns > 0
                assert not item.recovered
    assert events[-1] == (Reconnected, last)
