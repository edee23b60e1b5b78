"""A client of numbered publications against a peer that writes the numbers by hand."""

import asyncio
from typing import Any

import pytest
from tests.support.recovery import FIRST, URL, answering, link, lose, price, publication
from tests.support.waiting import until

from websocket_utils import (
    Disconnected,
    Gap,
    Lagged,
    LagNotice,
    PriceUpdate,
    Reconnected,
    RemoteProtocolError,
    Subscribe,
    Subscribed,
    SubscriptionRejected,
    _core,
)
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
