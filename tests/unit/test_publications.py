"""Numbered publications on one connection: checked, counted, told, and asked for."""

import gc
import weakref
from typing import Any

import pytest
from tests.integration.strategy import price
from tests.support.memory import Link
from tests.support.numbered import FIRST, URL, answering, link, lose, publication
from tests.support.waiting import until
from tests.support.wire import CLOSE, TEXT, frame

from websocket_utils import (
    ConfigError,
    Conflate,
    Disconnect,
    Disconnected,
    DropOldest,
    Gap,
    Lagged,
    LagNotice,
    PriceUpdate,
    Reconnected,
    RemoteProtocolError,
    Subscribe,
    SubscribeRejected,
    SubscriptionRejected,
    WebSocketClient,
    _core,
)
from websocket_utils._subscriptions import StandardSubscriptions, Wish
from websocket_utils.testing import MemoryPeer

# --- on one connection ---


async def test_publications_in_order_lose_their_headers_and_leave_no_event() -> None:
    async with link(FIRST) as (client, server, seen):
        await client.subscribe("a")
        await seen.until_seen(5, 6)
        assert seen.items == [price(5), price(6)]
        assert server.asked == [Subscribe(["a"])]
        stats = client.stats()
        assert (stats.messages_received, stats.duplicates, stats.gaps, stats.lagged) == (3, 0, 0, 0)


async def test_broken_chain_is_a_gap_with_both_numbers_before_the_message() -> None:
    async with link(answering(["7 4 a"], None, publication("a", 7, 5), publication("a", 7, 8))) as (client, _, seen):
        await client.subscribe("a")
        await seen.until_seen(8)
        assert seen.items == [price(5), Gap("a", 5, 8), price(8)]
        assert client.stats().gaps == 1


async def test_first_publication_must_follow_where_the_server_said_the_channel_goes_on() -> None:
    async with link(answering(["7 4 a"], None, publication("a", 7, 6))) as (client, _, seen):
        await client.subscribe("a")
        await seen.until_seen(6)
        assert seen.items == [Gap("a", 4, 6), price(6)]


async def test_duplicate_is_dropped_and_counted() -> None:
    five = publication("a", 7, 5)
    async with link(answering(["7 4 a"], None, five, five, publication("a", 7, 6))) as (client, _, seen):
        await client.subscribe("a")
        await seen.until_seen(6)
        assert seen.items == [price(5), price(6)]
        assert client.stats().duplicates == 1


async def test_other_epoch_is_a_gap() -> None:
    async with link(answering(["7 4 a"], None, publication("a", 7, 5), publication("a", 9, 6))) as (client, _, seen):
        await client.subscribe("a")
        await seen.until_seen(6)
        assert seen.items == [price(5), Gap("a", 5, 6), price(6)]


async def test_lag_notice_is_an_event_before_the_next_data_and_excuses_what_it_names() -> None:
    notice = _core.Encoder("json").encode(LagNotice("a", 6, 8, 2)).decode()
    script = answering(
        ["7 4 a"], None, publication("a", 7, 5), notice, publication("a", 7, 7, 6), publication("a", 7, 9),
        publication("a", 7, 12),
    )  # fmt: skip
    async with link(script) as (client, _, seen):
        await client.subscribe("a")
        await seen.until_seen(12)
        assert seen.items == [price(5), Lagged("a", 6, 8, 2), price(7), price(9), Gap("a", 9, 12), price(12)]
        stats = client.stats()
        assert (stats.lagged, stats.gaps) == (2, 1)
        # The notice itself is no message of the strategy's.
        assert stats.unhandled == 0


async def test_bare_message_stands_in_no_channel_and_an_escaped_one_loses_its_escape() -> None:
    async with link(answering(None, None, '"bare"', '\x1e\n"escaped"')) as (client, _, _):
        got: list[Any] = []
        client.on(str, lambda text: got.append((text, client.current_position)))
        await client.subscribe("a")
        await until(lambda: len(got) == 2)
        assert got == [('"bare"', None), ('"escaped"', None)]


async def test_handler_is_told_where_its_message_stands_and_nobody_else_is() -> None:
    script = answering(["7 4 a"], None, publication("a", 7, 5), '"bare"', publication("b", 8, 9, 3))
    async with link(script) as (client, _, _):
        got: list[Any] = []
        later: list[Any] = []

        async def handle(update: PriceUpdate) -> None:
            later.append(client.current_position)

        client.on(PriceUpdate, lambda update: got.append((update.timestamp, client.current_position)))
        client.on(PriceUpdate, handle)
        client.on(str, lambda _: got.append(client.current_position))
        await client.subscribe("a", "b")
        await until(lambda: len(got) == 3 and len(later) == 2)
        assert got == [(5, ("a", 7, 5, 4)), None, (9, ("b", 8, 9, 3))]
        assert later == [None, None]
        assert client.current_position is None


async def test_gap_handler_is_told_before_the_handler_of_the_message() -> None:
    async with link(answering(["7 4 a"], None, publication("a", 7, 8))) as (client, _, _):
        got: list[Any] = []
        client.on(Gap, got.append)
        client.on(PriceUpdate, lambda update: got.append((update, client.current_position)))
        await client.subscribe("a")
        await until(lambda: len(got) == 2)
        assert got == [Gap("a", 4, 8), (price(8), ("a", 7, 8, 7))]


@pytest.mark.parametrize("payload", ["\x1e7 5 a\n{}", "\x1e7 5 5 a\n{}", "\x1e", f"\x1e7 5 4 {'a' * 1100}\n"])
async def test_malformed_position_fails_the_connection_and_the_next_one_goes_on(payload: str) -> None:
    async with link(answering(["7 4 a"], None, payload), answering(["7 4 a"], ["a"])) as (client, server, seen):
        await client.subscribe("a")
        await seen.until_seen(("Reconnected", 2))
        (lost,) = seen.of(Disconnected)
        assert isinstance(lost.error.__cause__, RemoteProtocolError)
        closed = await server.peers[0].until_closed()
        assert closed.received is not None
        assert (closed.received.code, closed.received.reason) == (1002, "malformed position of a publication")
        assert seen.of(Reconnected)[0].recovered


@pytest.mark.parametrize("position", ["", "7 4", "x 4 a", "7 -4 a", "7 4 ", f"7 {1 << 64} a", "7 ٤ a"])
async def test_malformed_position_of_an_answer_fails_the_connection(position: str) -> None:
    async with link(answering([position]), answering(["7 4 a"])) as (client, server, seen):
        await client.subscribe("a")
        (lost,) = seen.of(Disconnected)
        assert isinstance(lost.error, RemoteProtocolError)
        closed = await server.peers[0].until_closed()
        assert closed.received is not None
        assert closed.received.code == 1002


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
