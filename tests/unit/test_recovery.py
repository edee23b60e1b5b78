"""A client of numbered publications against a peer that writes the numbers by hand."""

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from tests.integration.strategy import AT_ONCE, Seen, watched
from tests.support.memory import Link
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
    Subscribed,
    SubscribeRejected,
    SubscriptionRejected,
    Unsubscribe,
    WebSocketClient,
    _core,
)
from websocket_utils._subscriptions import StandardSubscriptions, Wish
from websocket_utils.testing import MemoryNetwork, MemoryPeer

URL = "ws://exchange.test/"


def price(number: int) -> PriceUpdate:
    return PriceUpdate("SOL", "USDC", float(number), timestamp=number)


def publication(channel: str, epoch: int, sequence: int, previous: int | None = None) -> str:
    body = _core.Encoder("json").encode(price(sequence)).decode()
    return f"\x1e{epoch} {sequence} {sequence - 1 if previous is None else previous} {channel}\n{body}"


Script = Callable[[MemoryPeer, Subscribe], Awaitable[None] | None]


class Server:
    """Hands each connection's first `Subscribe` to the next of its scripts, and keeps what was asked."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self.asked: list[Subscribe] = []
        self.peers: list[MemoryPeer] = []
        self.network = MemoryNetwork()

    async def __call__(self, peer: MemoryPeer) -> None:
        self.peers.append(peer)
        script = self._scripts.pop(0)
        while (request := await peer.receive(Subscribe | Unsubscribe)) is not None:
            if isinstance(request, Unsubscribe):
                continue
            self.asked.append(request)
            done = script(peer, request)
            if done is not None:
                await done


@contextlib.asynccontextmanager
async def link(*scripts: Script, **settings: Any) -> AsyncIterator[tuple[WebSocketClient, Server, Seen]]:
    server = Server(*scripts)
    async with asyncio.timeout(10), server.network as network:
        network.listen(URL, server)
        given = {"recover": True, "reconnect": AT_ONCE, "max_reconnect_attempts": None, **settings}
        async with WebSocketClient.connect(URL, **given) as client, watched(client) as seen:
            yield client, server, seen


def answering(positions: list[str] | None = None, recovered: list[str] | None = None, *then: str) -> Script:
    """Acknowledges what is asked for with these, then sends the rest."""

    def answer(peer: MemoryPeer, request: Subscribe) -> None:
        peer.send(Subscribed(request.channels, positions or [], recovered or []))
        for one in then:
            peer.send(one)

    return answer


FIRST = answering(["7 4 a"], None, publication("a", 7, 5), publication("a", 7, 6))


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


# --- over a loss ---


async def lose(server: Server, seen: Seen, epoch: int = 2) -> Reconnected:
    server.peers[-1].reset()
    await seen.until_seen(("Reconnected", epoch))
    told: list[Reconnected] = seen.of(Reconnected)
    return next(one for one in told if one.epoch == epoch)


async def test_position_is_presented_and_what_is_missing_comes_without_a_gap() -> None:
    again = answering(["7 6 a"], ["a"], *(publication("a", 7, number) for number in (7, 8, 9)))
    async with link(FIRST, again) as (client, server, seen):
        await client.subscribe("a")
        await seen.until_seen(5, 6)
        told = await lose(server, seen)
        await seen.until_seen(9)
        assert told.recovered
        assert server.asked[1] == Subscribe(["a"], ["7 6 a"])
        assert seen.numbers == [5, 6, 7, 8, 9]
        assert seen.of(Gap) == []


@pytest.mark.parametrize(
    ("positions", "recovered"),
    [
        (["7 9 a"], []),
        (["7 9 a"], ["a"]),
        (["8 6 a"], []),
        (["8 6 a"], ["a"]),
        ([], []),
        (["7 2 a"], []),
        (["7 6 b"], ["b"]),
    ],
    ids=["history too short", "lie", "other epoch", "other epoch lie", "unknown", "server went back", "other channel"],
)
async def test_what_is_not_proven_is_a_gap_before_the_next_message(positions: list[str], recovered: list[str]) -> None:
    epoch, last = (int(number) for number in (positions or ["7 9 a"])[0].split()[:2])
    again = answering(positions, recovered, publication("a", epoch, last + 1), publication("a", epoch, last + 2))
    async with link(FIRST, again) as (client, server, seen):
        await client.subscribe("a")
        await seen.until_seen(5, 6)
        told = await lose(server, seen)
        await seen.until(lambda: len(seen.numbers) == 4)
        assert not told.recovered
        assert seen.items[2:] == [
            seen.of(Disconnected)[0], Gap("a", 6, None), told, price(last + 1), price(last + 2),
        ]  # fmt: skip
        assert client.stats().duplicates == 0


async def test_channel_that_brought_nothing_yet_is_recovered_by_its_epoch() -> None:
    async with link(answering(["7 0 a"]), answering(["7 0 a"], ["a"], publication("a", 7, 1))) as (
        client,
        server,
        seen,
    ):
        await client.subscribe("a")
        assert (await lose(server, seen)).recovered
        assert server.asked[1].positions == ["7 0 a"]
        await seen.until_seen(1)
        assert seen.of(Gap) == []


async def test_server_that_says_nothing_about_positions_proves_nothing() -> None:
    async with link(answering(), answering()) as (client, server, seen):
        await client.subscribe("a")
        assert not (await lose(server, seen)).recovered
        assert seen.of(Gap) == [Gap("a")]


async def test_client_without_channels_has_nothing_proven() -> None:
    async with link(answering(), answering()) as (_, server, seen):
        await until(lambda: len(server.peers) == 1)
        assert not (await lose(server, seen)).recovered


async def test_channels_are_proven_one_by_one_and_all_are_needed() -> None:
    first = answering(["7 4 a", "8 2 b"])
    async with link(first, answering(["7 4 a", "8 3 b"], ["a"]), answering(["7 4 a", "8 3 b"], ["a", "b"])) as (
        client,
        server,
        seen,
    ):
        await client.subscribe("a", "b")
        assert not (await lose(server, seen)).recovered
        assert seen.of(Gap) == [Gap("b", 2)]
        assert (await lose(server, seen, 3)).recovered
        assert server.asked[2].positions == ["7 4 a", "8 3 b"]


async def test_gap_told_by_a_connection_that_did_not_last_counts_until_one_does() -> None:
    def half(peer: MemoryPeer, request: Subscribe) -> None:
        peer.send(Subscribed(["b"], ["8 9 b"]))
        peer.drop()

    first = answering(["7 4 a", "8 2 b"])
    async with link(first, half, answering(["7 4 a", "8 9 b"], ["a", "b"])) as (client, server, seen):
        await client.subscribe("a", "b")
        assert not (await lose(server, seen, 3)).recovered
        assert seen.of(Gap) == [Gap("b", 2)]


async def test_channel_refused_at_its_renewal_is_not_recovered() -> None:
    def refuse(peer: MemoryPeer, request: Subscribe) -> None:
        peer.send(Subscribed(["a"], ["7 4 a"], ["a"]))
        peer.send(SubscriptionRejected(["b"], 4403, "no"))

    async with link(answering(["7 4 a", "8 2 b"]), refuse) as (client, server, seen):
        await client.subscribe("a", "b")
        assert not (await lose(server, seen)).recovered
        assert client.channels == ("a",)


async def test_channel_that_is_new_on_the_connection_has_missed_nothing() -> None:
    async with link(FIRST, answering(["7 6 a", "8 3 b"], ["a"])) as (client, server, seen):
        await client.subscribe("a")
        await seen.until_seen(6)
        server.network.refuse(URL)
        server.peers[-1].reset()
        await seen.until_seen(("Disconnected", 1))
        subscribing = asyncio.ensure_future(client.subscribe("b"))
        await until(lambda: "b" in client.channels)
        server.network.restore(URL)
        await subscribing
        await seen.until_seen(("Reconnected", 2))
        assert seen.of(Reconnected)[0].recovered
        assert server.asked[-1] == Subscribe(["a", "b"], ["7 6 a"])
        assert seen.of(Gap) == []


async def test_channel_left_and_wanted_anew_begins_anew() -> None:
    async with link(FIRST, answering(["7 9 a"])) as (client, server, seen):
        subscription = await client.subscribe("a")
        await seen.until_seen(6)
        await subscription.unsubscribe()
        # One that was on its way is told without a word about what is before it.
        server.peers[0].send(publication("a", 7, 8))
        await seen.until_seen(8)
        await client.subscribe("a")
        assert server.asked[1] == Subscribe(["a"])
        assert (await lose(server, seen)).recovered is False
        assert seen.of(Gap) == [Gap("a", 4)]


async def test_channel_left_while_its_renewal_is_unanswered_keeps_nobody_waiting() -> None:
    def answer_one(peer: MemoryPeer, request: Subscribe) -> None:
        peer.send(Subscribed(["a"], ["7 6 a"], ["a"]))

    async with link(FIRST, answer_one) as (client, server, seen):
        await client.subscribe("a", "b")
        await seen.until_seen(6)
        server.peers[-1].reset()
        await until(lambda: len(server.asked) == 2)
        await client.unsubscribe("b")
        await seen.until_seen(("Reconnected", 2))
        assert seen.of(Reconnected)[0].recovered
        assert seen.of(Gap) == []


async def test_positions_may_come_in_answers_before_the_names() -> None:
    def answer(peer: MemoryPeer, request: Subscribe) -> None:
        peer.send(Subscribed([], ["7 6 a"], ["a"]))
        peer.send(Subscribed([], ["8 3 b"], ["b"]))
        peer.send(Subscribed(["b"]))
        peer.send(Subscribed(["a"]))
        peer.send(publication("a", 7, 7))

    first = answering(["7 5 a", "8 3 b"], None, publication("a", 7, 6))
    async with link(first, answer) as (client, server, seen):
        await client.subscribe("a", "b")
        await seen.until_seen(6)
        assert (await lose(server, seen)).recovered
        await seen.until_seen(7)
        assert seen.of(Gap) == []


async def test_server_that_lists_channels_without_end_is_left() -> None:
    def flood(peer: MemoryPeer, request: Subscribe) -> None:
        for start in range(0, 80_000, 8000):
            peer.send(Subscribed([], [f"7 1 c{number}" for number in range(start, start + 8000)]))

    async with link(flood, answering(["7 4 a"])) as (client, _, seen):
        await client.subscribe("a")
        assert "positions of channels" in str(seen.of(Disconnected)[0].error)


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
