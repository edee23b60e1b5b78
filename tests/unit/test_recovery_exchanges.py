"""Recovery of patterns, through exchanges of connections, and what a client asks for."""

import asyncio
import gc
import weakref
from typing import Any

import pytest
from tests.support.memory import Link
from tests.support.recovery import FIRST, URL, answering, link, lose, price, publication
from tests.support.waiting import until
from tests.support.wire import CLOSE, TEXT, frame

from websocket_utils import (
    ConfigError,
    Conflate,
    Disconnect,
    DropOldest,
    Gap,
    Reconnected,
    Subscribe,
    Subscribed,
    SubscribeRejected,
    SubscriptionRejected,
    WebSocketClient,
    _core,
)
from websocket_utils._subscription_protocol import StandardSubscriptions, Wish
from websocket_utils.testing import MemoryPeer

# --- patterns ---


async def test_pattern_presents_the_channels_it_has_brought() -> None:
    first = answering(["7 4 p:a", "8 2 p:b", "9 1 q"], None, publication("p:c", 5, 1))
    again = answering(["7 4 p:a", "8 2 p:b", "5 1 p:c", "6 0 p:new"], ["p:a", "p:b", "p:c"], publication("p:new", 6, 1))
    async with link(first, again) as (client, server, seen):
        await client.subscribe("p:*")
        await seen.until_seen(1)
        assert (await lose(server, seen)).recovered
        assert sorted(server.asked[1].positions) == ["5 1 p:c", "7 4 p:a", "8 2 p:b"]
        await seen.until(lambda: len(seen.numbers) == 2)
        assert seen.of(Gap) == []


async def test_channel_of_a_pattern_that_came_into_being_meanwhile_and_is_not_sent_whole_is_a_gap() -> None:
    async with link(answering(["7 4 p:a"]), answering(["7 4 p:a", "6 2 p:new"], ["p:a"])) as (client, server, seen):
        await client.subscribe("p:*")
        assert not (await lose(server, seen)).recovered
        assert seen.of(Gap) == [Gap("p:new")]


@pytest.mark.parametrize(("recovered", "proven"), [(["a"], True), ([], False)])
async def test_pattern_without_channels_has_missed_nothing_if_the_server_is_the_same(
    recovered: list[str], proven: bool
) -> None:
    async with link(answering(["7 4 a"]), answering(["7 4 a" if proven else "8 4 a"], recovered)) as (
        client,
        server,
        seen,
    ):
        await client.subscribe("a", "p:*")
        assert (await lose(server, seen)).recovered is proven
        assert seen.of(Gap) == ([] if proven else [Gap("a", 4), Gap("p:*")])


async def test_channel_of_a_pattern_that_the_server_no_longer_has_is_a_gap_once() -> None:
    async with link(
        answering(["7 4 p:a", "7 4 p:b"]), answering(["7 4 p:b"], ["p:b"]), answering(["7 4 p:b"], ["p:b"])
    ) as (
        client,
        server,
        seen,
    ):
        await client.subscribe("p:*")
        assert not (await lose(server, seen)).recovered
        assert seen.of(Gap) == [Gap("p:a", 4)]
        assert (await lose(server, seen, 3)).recovered


# --- make before break ---


async def test_exchange_takes_from_both_connections_what_follows_once() -> None:
    async def answer(peer: MemoryPeer, request: Subscribe) -> None:
        # "b" is open until the test says so: the two run side by side.
        peer.send(Subscribed(["a"], ["7 6 a"], ["a"]))
        for number in (7, 8):
            peer.send(publication("a", 7, number))

    def first(peer: MemoryPeer, request: Subscribe) -> None:
        peer.send(Subscribed(request.channels, ["7 4 a", "8 0 b"]))
        peer.send(publication("a", 7, 5))
        peer.send(publication("a", 7, 6))

    async with link(first, answer) as (client, server, seen):
        await client.subscribe("a", "b")
        await seen.until_seen(6)
        exchange = asyncio.ensure_future(client.reconnect())
        # Brought by the successor, before the old one has it.
        await seen.until_seen(8)
        assert server.asked[1].positions == ["7 6 a", "8 0 b"]
        old, new = server.peers
        for number in (7, 8, 9, 10):
            old.send(publication("a", 7, number))
        await seen.until_seen(10)
        for number in (9, 10, 11):
            new.send(publication("a", 7, number))
        new.send(Subscribed(["b"], ["8 0 b"], ["b"]))
        assert await exchange
        await seen.until_seen(11, ("Reconnected", 2))
        assert seen.numbers == [5, 6, 7, 8, 9, 10, 11]
        assert seen.of(Gap) == []
        assert seen.of(Reconnected)[0].recovered
        assert client.stats().duplicates == 4


async def test_exchange_leaves_to_the_old_connection_what_does_not_follow_and_tells_what_neither_brought() -> None:
    def answer(peer: MemoryPeer, request: Subscribe) -> None:
        peer.send(Subscribed(["a"], ["7 8 a"]))
        peer.send(publication("a", 7, 9))

    first = answering(["7 4 a", "8 0 b"], None, publication("a", 7, 5))
    async with link(first, answer) as (client, server, seen):
        await client.subscribe("a", "b")
        await seen.until_seen(5)
        exchange = asyncio.ensure_future(client.reconnect())
        await until(lambda: len(server.asked) == 2)
        old, new = server.peers
        for number in (6, 7, 8, 9):
            old.send(publication("a", 7, number))
        await seen.until_seen(9)
        new.send(publication("a", 7, 10))
        new.send(publication("a", 7, 11))
        await seen.until_seen(11)
        new.send(Subscribed(["b"], ["8 5 b"]))
        assert await exchange
        await seen.until_seen(("Reconnected", 2))
        assert seen.numbers == [5, 6, 7, 8, 9, 10, 11]
        assert seen.of(Gap) == [Gap("b", 0)]
        assert not seen.of(Reconnected)[0].recovered


async def test_exchange_for_a_server_of_another_epoch_leaves_a_gap() -> None:
    async with link(FIRST, answering(["9 2 a"], None, publication("a", 9, 3))) as (client, _, seen):
        await client.subscribe("a")
        await seen.until_seen(6)
        assert await client.reconnect()
        await seen.until_seen(3)
        assert seen.items[2:] == [Gap("a", 6), seen.of(Reconnected)[0], price(3)]
        assert not seen.of(Reconnected)[0].recovered


async def test_successor_whose_predecessor_is_lost_meanwhile_goes_on_with_the_same_rules() -> None:
    def answer(peer: MemoryPeer, request: Subscribe) -> None:
        peer.send(Subscribed(["a"], ["7 6 a"], ["a"]))

    first = answering(["7 4 a", "8 0 b"], None, publication("a", 7, 5), publication("a", 7, 6))
    async with link(first, answer) as (client, server, seen):
        await client.subscribe("a", "b")
        await seen.until_seen(6)
        exchange = asyncio.ensure_future(client.reconnect())
        await until(lambda: len(server.asked) == 2)
        server.peers[0].reset()
        await seen.until_seen(("Disconnected", 1))
        server.peers[1].send(publication("a", 7, 7))
        server.peers[1].send(Subscribed(["b"], ["8 0 b"], ["b"]))
        await exchange
        await seen.until_seen(7, ("Reconnected", 2))
        assert seen.of(Gap) == []
        assert seen.of(Reconnected)[0].recovered


# --- what is asked for ---


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (Conflate(), "conflate"),
        (DropOldest(), "drop_oldest"),
        (DropOldest(100), "drop_oldest:100"),
        (Disconnect(), "disconnect"),
    ],
)
async def test_policy_for_slow_clients_is_asked_for_and_renewed(policy: Any, text: str) -> None:
    async with link(answering(), answering()) as (client, server, seen):
        await client.subscribe("a")
        await client.subscribe("b", slow=policy)
        # Not said anew: it stays.
        await client.subscribe("b")
        assert server.asked == [Subscribe(["a"]), Subscribe(["b"], [], text)]
        await lose(server, seen)
        assert server.asked[2:] == [Subscribe(["a"]), Subscribe(["b"], [], text)]


async def test_other_policy_for_a_channel_that_is_subscribed_to_is_asked_for_at_once() -> None:
    async with link(answering(["7 4 a"])) as (client, server, seen):
        await client.subscribe("a")
        server.peers[0].send(publication("a", 7, 5))
        await seen.until_seen(5)
        await client.subscribe("a", slow=Conflate())
        assert server.asked == [Subscribe(["a"]), Subscribe(["a"], [], "conflate")]
        server.peers[0].send(publication("a", 7, 6))
        await seen.until_seen(6)
        # What its answer says of the position is not what it has got since.
        assert (seen.of(Gap), client.stats().duplicates) == ([], 0)


@pytest.mark.parametrize(
    "policy", [Conflate("symbol"), DropOldest(0), Disconnect(1000), Disconnect(age=1.0), "conflate"]
)
async def test_policy_that_a_client_cannot_ask_for_is_refused_before_anything_is_sent(policy: Any) -> None:
    async with link(answering()) as (client, server, _):
        with pytest.raises(TypeError, match="slow"):
            await client.subscribe("a", slow=policy)
        assert (client.channels, server.asked) == ((), [])


def test_request_is_cut_where_its_positions_grow_too_many_and_each_keeps_its_own() -> None:
    names = [f"n{number}" for number in range(500)]
    wishes = {name: Wish(name, "", [f"1 2 {'x' * 2000}"]) for name in names}
    requests = StandardSubscriptions().present(Subscribe(names), wishes.__getitem__)
    assert [name for one in requests for name in one.channels] == names
    assert all(len(one.positions) == len(one.channels) for one in requests)
    assert all(sum(map(len, one.positions)) < 480 * 1024 for one in requests)
    assert len(requests) == 3
    # Of one pattern as many as fit.
    (one,) = StandardSubscriptions().present(
        Subscribe(["p"]), lambda name: Wish(name, "", ["1 2 " + "x" * 1000] * 2000)
    )
    assert 400 < len(one.positions) < 500


async def test_recovery_is_offered_in_one_word_and_refused_where_it_cannot_be() -> None:
    with pytest.raises(ConfigError, match="recover"):
        WebSocketClient.connect(URL, recover=True, subprotocols=["chat"])

    class Venue:
        replies = ()

        def subscribe(self, channels: Any) -> list[Any]:
            return []

        unsubscribe = settle = subscribe

        def speaks(self, subprotocol: str | None) -> bool:
            return False

    with pytest.raises(ConfigError, match="recover"):
        WebSocketClient.connect(URL, recover=True, subscriptions=Venue())
    async with link(answering(), subprotocols=["websocket-utils.json", "chat"]) as (_, server, _):
        await until(lambda: len(server.peers) == 1)
        assert server.peers[0].subprotocol == "websocket-utils.json"


async def test_refused_subscription_is_told_as_ever() -> None:
    def refuse(peer: MemoryPeer, request: Subscribe) -> None:
        peer.send(SubscriptionRejected(request.channels, 4404, "unknown"))

    async with link(refuse) as (client, _, _):
        with pytest.raises(SubscribeRejected):
            await client.subscribe("a")


# --- the connection of the core ---


def text(channel: str, epoch: int, sequence: int) -> bytes:
    return frame(TEXT, publication(channel, epoch, sequence).encode(), masked=False)


def test_connection_without_positions_delivers_a_header_as_it_came() -> None:
    one = Link()
    one.receive(text("a", 1, 1))
    assert one.queued() == [publication("a", 1, 1).encode()]


def test_muted_connection_moves_no_position_unless_it_follows() -> None:
    positions = _core.Positions(lambda *_: None)
    one, other = Link(positions=positions), Link(positions=positions)
    one.receive(text("a", 1, 1))
    other.connection.mute()
    other.receive(text("a", 1, 2))
    assert positions.position("a") == (1, 1)
    other.connection.mute(follows=True)
    other.receive(text("a", 1, 3) + frame(TEXT, b"bare", masked=False) + text("a", 1, 2) + text("a", 1, 3))
    assert positions.position("a") == (1, 3)
    assert len(other.queued()) == 2
    one.receive(text("a", 1, 2) + text("a", 1, 3) + text("a", 1, 4))
    assert len(one.queued()) == 2
    assert positions.duplicates == 2


def test_malformed_position_on_a_muted_connection_fails_it_too() -> None:
    one = Link(positions=_core.Positions(lambda *_: None))
    one.connection.mute()
    one.receive(frame(TEXT, b"\x1e?", masked=False))
    assert [(sent.opcode, sent.close_code) for sent in one.sent()] == [(CLOSE, 1002)]


def test_error_of_who_is_told_of_a_gap_is_reported_and_the_message_delivered() -> None:
    def refuse(*_: object) -> None:
        raise ValueError("no")

    positions = _core.Positions(refuse)
    one = Link(positions=positions)
    one.receive(text("a", 1, 1) + text("a", 1, 3))
    assert [str(fault) for fault in one.faults] == ["no"]
    assert len(one.queued()) == 2


def test_position_at_hand_survives_a_read_inside_the_handler() -> None:
    positions = _core.Positions(lambda *_: None)
    one, other = Link(positions=positions), Link(positions=positions)
    seen: list[Any] = []

    def handle(message: Any) -> None:
        seen.append(positions.current)
        if len(seen) == 1:
            other.receive(text("b", 1, 1))
            seen.append(positions.current)

    one.inbox.on(str, handle)
    one.receive(text("a", 1, 5))
    assert seen == [("a", 1, 5, 4), ("a", 1, 5, 4)]
    assert positions.current is None


def test_full_inbox_holds_both_connections_that_fill_it_and_lets_both_go() -> None:
    positions = _core.Positions(lambda *_: None)
    one = Link(positions=positions, max_inbox=100)
    other = Link(positions=positions, inbox=one.inbox)
    one.receive(text("a", 1, 1) * 2)
    other.connection.mute(follows=True)
    for number in range(2, 10):
        other.receive(text("a", 1, number))
    one.receive(b"".join(text("b", 1, number) for number in range(1, 10)))
    for link_ in (one, other):
        link_.loop.turn()
        assert link_.connection.is_held
    assert len(one.queued()) == 18
    assert not one.connection.is_held
    assert not other.connection.is_held


def test_positions_are_collected_with_who_is_told() -> None:
    class Owner:
        def __init__(self) -> None:
            self.positions = _core.Positions(self.take)

        def take(self, *_: object) -> None: ...

    gone = weakref.ref(Owner())
    gc.collect()
    assert gone() is None
