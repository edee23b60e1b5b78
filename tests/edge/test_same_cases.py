"""What clients see of our Python server, and of the Workers on real workerd: the same cases, message by message."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
import websockets
from tests.edge.feeds import Feed, peer, python_feed, worker_feed
from tests.support.workerd import Workerd

from websocket_utils import PriceUpdate, Reconnected, WebSocketClient
from websocket_utils.testing import ChaosProxy

pytestmark = pytest.mark.one_loop


@pytest.fixture(scope="module")
def open_workers() -> Iterator[Workerd]:
    with worker_feed() as workerd:
        yield workerd


@pytest_asyncio.fixture(params=["python", "worker"])
async def feed(request: pytest.FixtureRequest) -> AsyncIterator[Feed]:
    """A feed that asks nobody who they are."""
    if request.param == "python":
        async with python_feed() as here:
            yield here
    else:
        workerd: Workerd = request.getfixturevalue("open_workers")
        yield Feed(workerd.url, workerd.http_url)


def subscribe(*channels: str, **fields: Any) -> dict[str, Any]:
    return {"type": "Subscribe", "channels": list(channels), **fields}


def subscribed(*channels: str, at: list[str], **fields: Any) -> dict[str, Any]:
    return {"type": "Subscribed", "channels": list(channels), "positions": at, **fields}


def rejected(*channels: str, code: int, reason: str) -> dict[str, Any]:
    return {"type": "SubscriptionRejected", "channels": list(channels), "code": code, "reason": reason}


async def test_subscription_to_a_silent_channel_goes_on_from_nothing(feed: Feed) -> None:
    async with peer(feed) as one:
        assert await one.ask(subscribe("prices:silent")) == [subscribed("prices:silent", at=["E 0 prices:silent"])]


async def test_publication_comes_with_its_position_to_our_subprotocol_and_bare_to_others(feed: Feed) -> None:
    async with peer(feed) as ours, peer(feed, subprotocols=None) as bare:
        await ours.ask(subscribe("prices:heads"))
        await bare.ask(subscribe("prices:heads"), answers=0)
        epoch = await feed.publish("prices:heads", {"a": [1, 2.5]}, {"b": None})
        assert int(epoch) > 0
        assert await ours.hear(2) == ['\x1eE 1 0 prices:heads\n{"a":[1,2.5]}', '\x1eE 2 1 prices:heads\n{"b":null}']
        assert await bare.hear(2) == [{"a": [1, 2.5]}, {"b": None}]


async def test_text_is_published_as_it_is_and_bytes_as_a_binary_message(feed: Feed) -> None:
    async with peer(feed) as one:
        await one.ask(subscribe("slots:raw"))
        await feed.publish("slots:raw", "two\nlines")
        status, _ = await feed.post("/api/publish", {"channel": "slots:raw", "b64data": "AP8="})
        assert status == 200
        assert await one.hear(2) == ["\x1eE 1 0 slots:raw\ntwo\nlines", b"\x1eE 2 1 slots:raw\n\x00\xff"]


async def test_first_subscription_gets_the_latest_right_behind_its_answer(feed: Feed) -> None:
    await feed.publish("prices:late", 1, 2, 3)
    async with peer(feed) as ours, peer(feed, subprotocols=None) as bare:
        assert await ours.ask(subscribe("prices:late"), answers=2) == [
            subscribed("prices:late", at=["E 2 prices:late"]),
            "\x1eE 3 2 prices:late\n3",
        ]
        assert await bare.ask(subscribe("prices:late"), answers=1) == ["3"]
        assert await ours.ask(subscribe("prices:late")) == [subscribed("prices:late", at=["E 3 prices:late"])]


async def test_pattern_brings_all_that_match_and_each_once(feed: Feed) -> None:
    await feed.publish("accounts:m:1", "one")
    await feed.publish("accounts:m:2", "two")
    await feed.publish("accounts:other", "no")
    async with peer(feed) as one:
        assert await one.ask(subscribe("accounts:m:*", "accounts:m:1"), answers=3) == [
            subscribed(
                "accounts:m:*",
                "accounts:m:1",
                at=["E 0 accounts:m:1", "E 0 accounts:m:2", "E 0 accounts:m:1"],
            ),
            "\x1eE 1 0 accounts:m:1\none",
            "\x1eE 1 0 accounts:m:2\ntwo",
        ]
        await feed.publish("accounts:m:1", "again")
        await feed.publish("accounts:m:3", "new")
        assert await one.ask(answers=2) == ["\x1eE 2 1 accounts:m:1\nagain", "\x1eE 1 0 accounts:m:3\nnew"]
        assert await one.ask(subscribe("accounts:m:3")) == [subscribed("accounts:m:3", at=["E 1 accounts:m:3"])]


async def test_unsubscribed_channel_is_silent_and_the_end_is_not_answered(feed: Feed) -> None:
    async with peer(feed) as one:
        await one.ask(subscribe("prices:end", "prices:stays"))
        await one.ask({"type": "Unsubscribe", "channels": ["prices:end", "prices:never"]}, answers=0)
        await feed.publish("prices:end", 1)
        await feed.publish("prices:stays", 2)
        assert await one.ask(answers=1) == ["\x1eE 1 0 prices:stays\n2"]


@pytest.mark.parametrize("ping", ['{"type":"Ping"}', '{ "type": "ping", "more": 1 }'])
async def test_ping_is_answered_however_it_is_written(feed: Feed, ping: str) -> None:
    async with peer(feed) as ours, peer(feed, subprotocols=None) as bare:
        for one in (ours, bare):
            await one.say(ping)
            assert await one.hear() == [{"type": "Pong"}]


async def test_names_that_are_none_are_rejected_one_by_one_and_the_others_had(feed: Feed) -> None:
    long, control, star, strange = "prices:" + "x" * 250, "prices:\n", "prices:*:a", "orders:1"
    async with peer(feed) as one:
        assert await one.ask(subscribe("", "prices:good", long, control, star, strange), answers=5) == [
            subscribed("prices:good", at=["E 0 prices:good"]),
            rejected("", long, code=4400, reason="channel names have 1 to 256 characters"),
            rejected(control, code=4400, reason="channel names hold no control characters"),
            rejected(star, code=4400, reason="channel names hold no `*`: a pattern ends with one"),
            rejected(strange, code=4404, reason="no such namespace"),
        ]


async def test_more_channels_than_a_connection_may_have_are_rejected(feed: Feed) -> None:
    names = [f"prices:many:{number}" for number in range(1025)]
    async with peer(feed) as one:
        heard = await one.ask(subscribe(*names), answers=3)
        assert [len(answer["channels"]) for answer in heard] == [512, 512, 1]
        assert heard[2] == rejected(names[-1], code=4429, reason="at most 1024 channels for one connection")


async def test_peer_that_cant_be_told_is_closed(feed: Feed) -> None:
    async with peer(feed, subprotocols=None) as one:
        await one.say(subscribe("prices:a", "orders:1"))
        assert await one.closed() == (1008, "no such namespace")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"positions": ["1 prices:a"]}, "a position is `<epoch> <sequence> <channel>`"),
        ({"positions": ["1 -1 prices:a"]}, "a position is `<epoch> <sequence> <channel>`"),
        ({"positions": [f"1 {2**64} prices:a"]}, "numbers of a position fit 64 bits"),
        (
            {"slow": "drop_oldest:0"},
            "slow is one of conflate, disconnect, drop_oldest and drop_oldest:N, with N from 1 on",
        ),
    ],
)
async def test_malformed_subscription_is_rejected_as_a_whole(feed: Feed, fields: dict[str, Any], reason: str) -> None:
    async with peer(feed) as one:
        assert await one.ask(subscribe("prices:a", **fields)) == [rejected("prices:a", code=4400, reason=reason)]


@pytest.mark.parametrize("slow", ["conflate", "disconnect", "drop_oldest", "drop_oldest:10"])
async def test_policy_for_slow_times_is_taken(feed: Feed, slow: str) -> None:
    async with peer(feed) as one:
        assert await one.ask(subscribe("prices:slow", slow=slow)) == [subscribed("prices:slow", at=["E 0 prices:slow"])]


@pytest.mark.parametrize(
    "message",
    ["no JSON", "{", "[]", "null", '{"type":"Unknown"}', '{"type":"Subscribe"}', '{"type":"Subscribe","channels":"a"}'],
)
async def test_message_that_is_none_ends_nothing(feed: Feed, message: str) -> None:
    async with peer(feed) as one:
        assert await one.ask(message, subscribe("prices:after")) == [
            subscribed("prices:after", at=["E 0 prices:after"])
        ]


async def test_message_over_the_limit_closes_its_sender_alone(feed: Feed) -> None:
    async with peer(feed) as one, peer(feed) as other:
        await one.say(subscribe("x" * 1024 * 1024))
        code, _ = await one.closed()
        assert code == 1009
        assert await other.ask(answers=0) == []


async def test_positions_bring_what_was_missed_and_say_so(feed: Feed) -> None:
    epoch = await feed.publish("prices:back", 1, 2, 3)
    async with peer(feed) as one:
        assert await one.ask(subscribe("prices:back", positions=[f"{epoch} 1 prices:back"]), answers=3) == [
            subscribed("prices:back", at=["E 1 prices:back"], recovered=["prices:back"]),
            "\x1eE 2 1 prices:back\n2",
            "\x1eE 3 2 prices:back\n3",
        ]
    async with peer(feed) as one:
        assert await one.ask(subscribe("prices:back", positions=[f"{epoch} 3 prices:back"])) == [
            subscribed("prices:back", at=["E 3 prices:back"], recovered=["prices:back"])
        ]


async def test_positions_of_a_pattern_bring_channels_that_are_new_as_well(feed: Feed) -> None:
    epoch = await feed.publish("slots:p:a", 1, 2)
    async with peer(feed) as one:
        await one.ask(subscribe("slots:p:*"), answers=2)
    await feed.publish("slots:p:a", 3)
    await feed.publish("slots:p:b", 1)
    async with peer(feed) as one:
        heard = await one.ask(subscribe("slots:p:*", positions=[f"{epoch} 2 slots:p:a"]), answers=3)
        assert heard[0]["positions"] == ["E 2 slots:p:a", "E 0 slots:p:b"]
        assert heard[0]["recovered"] == ["slots:p:a", "slots:p:b"]
        assert heard[1:] == ["\x1eE 3 2 slots:p:a\n3", "\x1eE 1 0 slots:p:b\n1"]


@pytest.mark.parametrize("had", ["1 1", "EPOCH 9", f"{2**64 - 1} {2**64 - 1}"])
async def test_positions_that_mean_nothing_here_bring_the_latest(feed: Feed, had: str) -> None:
    channel = f"prices:lost:{had.replace(' ', '-')}"
    epoch = await feed.publish(channel, 1, 2)
    async with peer(feed) as one:
        positions = [f"{had.replace('EPOCH', epoch)} {channel}"]
        assert await one.ask(subscribe(channel, positions=positions), answers=2) == [
            subscribed(channel, at=[f"E 1 {channel}"]),
            f"\x1eE 2 1 {channel}\n2",
        ]


async def test_more_missed_than_is_kept_brings_the_latest_and_is_not_called_recovered(feed: Feed) -> None:
    epoch = await feed.publish("prices:far", 0)
    for _ in range(3):
        body = {"channels": ["prices:far"] * 100, "data": 1}
        assert (await feed.post("/api/broadcast", body))[0] == 200
    async with peer(feed) as one:
        assert await one.ask(subscribe("prices:far", positions=[f"{epoch} 1 prices:far"]), answers=2) == [
            subscribed("prices:far", at=["E 300 prices:far"]),
            "\x1eE 301 300 prices:far\n1",
        ]


async def test_close_of_a_client_is_answered(feed: Feed) -> None:
    async with peer(feed) as one:
        assert await one.close() == 1000


async def test_both_spellings_of_a_tag_are_read(feed: Feed) -> None:
    async with peer(feed) as one:
        assert await one.ask({"type": "subscribe", "channels": ["prices:spelled"]}) == [
            subscribed("prices:spelled", at=["E 0 prices:spelled"])
        ]


@pytest.mark.parametrize("origin", [None, "https://desk.example", "https://DESK.example:443"])
async def test_page_of_an_origin_that_is_named_connects(feed: Feed, origin: str | None) -> None:
    async with peer(feed, origin=origin) as one:
        assert await one.ask(answers=0) == []


@pytest.mark.parametrize("origin", ["https://other.example", "http://desk.example", "null"])
async def test_page_of_another_origin_is_refused(feed: Feed, origin: str) -> None:
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with peer(feed, origin=origin):
            pass
    assert caught.value.response.status_code == 403


async def test_our_client_recovers_what_a_cut_connection_missed(feed: Feed) -> None:
    def price(number: int) -> dict[str, Any]:
        return {"type": "PriceUpdate", "input_mint": "A", "output_mint": "B", "price": 1.0, "timestamp": number}

    async with (
        ChaosProxy(feed.url) as network,
        WebSocketClient.connect(network.url, recover=True) as client,
        asyncio.timeout(8),
    ):
        await client.subscribe("prices:A-B:cut")
        await feed.publish("prices:A-B:cut", price(1))
        seen: list[int] = []
        async for event in client.events(PriceUpdate):
            if isinstance(event, PriceUpdate):
                seen.append(event.timestamp)
                if event.timestamp == 1:
                    network.down()
                    await feed.publish("prices:A-B:cut", price(2), price(3))
                    network.up()
                if event.timestamp == 4:
                    break
            elif isinstance(event, Reconnected):
                assert event.recovered
                await feed.publish("prices:A-B:cut", price(4))
        assert seen == [1, 2, 3, 4]
