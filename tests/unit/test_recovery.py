"""What a client was sent and what it was not, over losses and exchanges of its connection."""

import asyncio

import pytest
from tests.integration.strategy import price
from tests.support.numbered import FIRST, URL, answering, link, lose, publication
from tests.support.waiting import until

from websocket_utils import (
    Disconnected,
    Gap,
    Reconnected,
    Subscribe,
    Subscribed,
    SubscriptionRejected,
)
from websocket_utils.testing import MemoryPeer


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
