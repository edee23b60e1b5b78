"""A client whose server's numbers mean nothing on another connection: a protocol for each, and channels heard of."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from tests.support.waiting import until

from websocket_utils import SubscribeRejected, SubscriptionProtocol, WebSocketClient
from websocket_utils._subscription_protocol import ConnectionProtocol, StandardSubscriptions, protocol_maker
from websocket_utils.events import Restored, Stale
from websocket_utils.testing import MemoryNetwork, MemoryPeer, memory_link

URL = "ws://venue.test/"

pytestmark = pytest.mark.timeout(5)


class Answer(msgspec.Struct):
    id: int


class Numbered:
    """Numbers its requests from 1 on, on each connection anew."""

    made: list["Numbered"]
    replies = (Answer,)

    def __init__(self) -> None:
        self.asked: dict[int, str] = {}
        self.epochs: list[int] = []
        self.follow_ups: list[str] = []

    def subscribe(self, channels: Sequence[str]) -> list[str]:
        return [self._command("subscribe", channel) for channel in channels]

    def unsubscribe(self, channels: Sequence[str]) -> list[str]:
        return [self._command("unsubscribe", channel) for channel in channels]

    def _command(self, what: str, channel: str) -> str:
        number = len(self.asked) + 1
        self.asked[number] = channel
        return json.dumps({"id": number, "do": what, "channel": channel})

    def settle(self, reply: Answer) -> list[tuple[str, SubscribeRejected | None]]:
        channel = self.asked[reply.id]
        self.follow_ups.append(json.dumps({"do": "thank", "channel": channel}))
        return [(channel, None)]

    def speaks(self, subprotocol: str | None) -> bool:
        return True

    def take_place(self, epoch: int) -> None:
        self.epochs.append(epoch)

    def follow_up(self) -> list[str]:
        due, self.follow_ups = self.follow_ups, []
        return due


async def command(peer: MemoryPeer) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(await peer.receive(str))
    return read


async def test_class_makes_a_protocol_for_each_connection_and_each_is_told_its_turn() -> None:
    made: list[Numbered] = []

    def make() -> Numbered:
        made.append(Numbered())
        return made[-1]

    async with MemoryNetwork() as network:
        server = network.listen(URL)
        async with WebSocketClient.connect(URL, subscriptions=make) as client:
            old = await server.peer()
            subscribing = asyncio.create_task(client.subscribe("a"))
            assert await command(old) == {"id": 1, "do": "subscribe", "channel": "a"}
            old.send('{"id":1}')
            # What follows an answer goes the way that the answer came.
            assert await command(old) == {"do": "thank", "channel": "a"}
            await subscribing

            exchange = asyncio.create_task(client.reconnect())
            new = await server.peer()
            assert await command(new) == {"id": 1, "do": "subscribe", "channel": "a"}
            # The first is asked in general, of no connection.
            assert [one.epochs for one in made] == [[], [1], []]
            new.send('{"id":1}')
            assert await command(new) == {"do": "thank", "channel": "a"}
            assert await exchange
            assert [one.epochs for one in made] == [[], [1], [2]]

            new.reset()
            third = await server.peer()
            assert await command(third) == {"id": 1, "do": "subscribe", "channel": "a"}
            assert [one.epochs for one in made] == [[], [1], [2], [3]]
            third.send('{"id":1}')
            await until(lambda: client.state == "live")


async def test_object_serves_all_connections() -> None:
    protocol = Numbered()
    async with memory_link(subscriptions=protocol) as (client, peer):
        subscribing = asyncio.create_task(client.subscribe("a"))
        await command(peer)
        peer.send('{"id":1}')
        await subscribing
        assert protocol.epochs == [1]


def test_what_is_a_protocol_or_makes_one_is_told_apart() -> None:
    protocol = Numbered()
    assert isinstance(protocol, ConnectionProtocol)
    assert not isinstance(StandardSubscriptions(), ConnectionProtocol)
    assert protocol_maker(protocol)() is protocol
    # A class has the members of its objects.
    kind: object = Numbered
    assert isinstance(kind, SubscriptionProtocol)
    made = protocol_maker(Numbered)
    assert isinstance(made(), Numbered)
    assert made() is not made()
    with pytest.raises(TypeError, match="subscriptions"):
        protocol_maker(7)  # type: ignore[arg-type]  # callers without a type checker


async def test_what_is_no_protocol_is_refused_before_anything_is_opened() -> None:
    with pytest.raises(TypeError, match="subscriptions"):
        WebSocketClient.connect(URL, subscriptions=object())  # type: ignore[arg-type]  # the same


@pytest.mark.virtual_clock
async def test_channel_that_is_heard_of_by_word_is_stale_without_it_and_restored_by_it() -> None:
    async with memory_link(when_stale="tell", ping_interval=None) as (client, peer):
        events: list[Stale | Restored] = []
        client.on(Stale, events.append)
        client.on(Restored, events.append)
        client.on(str, lambda text: client.heard("a") if "a" in text else None)
        await client.subscribe("a", stale_after=5, of="heard")
        # Another channel, of no class, does not hide its silence.
        await client.subscribe("b")
        for _ in range(3):
            await asyncio.sleep(4)
            peer.send("a")
        await asyncio.sleep(4)
        assert events == []
        peer.send("something else")
        await asyncio.sleep(4)
        assert [(type(event), event.channel) for event in events] == [(Stale, "a")]
        peer.send("a")
        await asyncio.sleep(2)
        assert type(events[-1]) is Restored
        await client.unsubscribe("a")
        await asyncio.sleep(60)
        assert len(events) == 2
        # Of what is not watched so, or not any more, nothing is known.
        client.heard("a")
        client.heard("b")


async def test_of_heard_says_by_whom_messages_are_known_and_takes_no_where() -> None:
    async with memory_link() as (client, _):
        with pytest.raises(ValueError, match="where"):
            await client.subscribe("a", stale_after=5, of="heard", where={"symbol": "SOL"})
        with pytest.raises(ValueError, match="stale_after"):
            await client.subscribe("a", stale_after=0, of="heard")
        assert client.channels == ()
