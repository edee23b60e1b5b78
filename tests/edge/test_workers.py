"""What only the Workers have: objects that sleep, fail and are started again, shards, and sessions that publish."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.request import Request, urlopen

import pytest
import websockets
from tests.edge.feeds import TOKEN_KEY, Feed, Peer, peer
from tests.edge.test_workers_publisher import acknowledged, batch, publisher, welcome
from tests.support.workerd import PUBLISH_KEY, Workerd

from websocket_utils import Disconnected, Gap, Grant, PriceUpdate, Reconnected, WebSocketClient, issue_token

pytestmark = pytest.mark.one_loop


def feed_of(workerd: Workerd) -> Feed:
    return Feed(workerd.url, workerd.http_url)


def subscribe(*channels: str, **fields: Any) -> dict[str, Any]:
    return {"type": "Subscribe", "channels": list(channels), **fields}


def price(number: int) -> dict[str, Any]:
    return {"type": "PriceUpdate", "input_mint": "A", "output_mint": "B", "price": 1.0, "timestamp": number}


@contextlib.asynccontextmanager
async def peers(workerd: Workerd, count: int, **options: Any) -> AsyncIterator[list[Peer]]:
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(peer(feed_of(workerd), **options)) for _ in range(count)]


async def test_numbers_go_on_after_a_kill_and_what_was_missed_is_recovered() -> None:
    with Workerd() as workerd:
        feed = feed_of(workerd)
        epoch = await feed.publish("prices:kill", 1, 2)
        async with publisher(workerd, "desk") as one:
            await one.hear()
            await one.say(batch(1000, 1, [("prices:kill", "3")]))
            assert await one.hear() == [acknowledged(1000, 1)]
        await workerd.restart()
        async with publisher(workerd, "desk") as one:
            assert await one.hear() == [welcome("desk", 1000, 1)]
            await one.say(batch(1000, 1, [("prices:kill", "3"), ("prices:kill", "4")]))
            assert await one.hear() == [acknowledged(1000, 2)]
        assert await feed.publish("prices:kill", 5) == epoch
        async with peer(feed) as client:
            heard = await client.ask(subscribe("prices:kill", positions=[f"{epoch} 2 prices:kill"]), answers=4)
            assert heard[0]["recovered"] == ["prices:kill"]
            assert heard[1:] == [f"\x1eE {number} {number - 1} prices:kill\n{number}" for number in (3, 4, 5)]


@pytest.mark.parametrize("ends", ["reset", "restart"])
async def test_our_client_misses_nothing_over_an_object_that_fails(ends: str) -> None:
    with Workerd() as workerd:
        feed = feed_of(workerd)
        async with WebSocketClient.connect(workerd.url, recover=True) as client, asyncio.timeout(10):
            await client.subscribe("prices:A-B")
            await feed.publish("prices:A-B", price(1))
            seen: list[int] = []
            async for event in client.events(PriceUpdate):
                match event:
                    case PriceUpdate(timestamp=number):
                        seen.append(number)
                        if number == 1:
                            await (workerd.reset() if ends == "reset" else workerd.restart())
                            await feed.publish("prices:A-B", price(2), price(3))
                        if number == 4:
                            break
                    case Reconnected(recovered=recovered):
                        assert recovered
                        await feed.publish("prices:A-B", price(4))
                    case Gap():
                        raise AssertionError("there is none")
                    case Disconnected() | _:
                        pass
            assert seen == [1, 2, 3, 4]


async def test_repeated_key_is_known_after_a_kill() -> None:
    with Workerd() as workerd:
        body = {"channel": "prices:key", "data": 1, "idempotency_key": "k"}
        first = await workerd.post("/api/publish", body)
        await workerd.restart()
        assert await workerd.post("/api/publish", body) == first


@pytest.mark.slow  # the runtime evicts an object after 10 s, and nothing else does quite the same
@pytest.mark.timeout(60)
async def test_object_that_sleeps_keeps_its_sockets_and_all_they_asked_for() -> None:
    many = [f"prices:a rather long name of a channel:{number}" for number in range(600)]
    with Workerd(variables={"TOKEN_KEY": TOKEN_KEY, "AUTHENTICATE_TIMEOUT": "1"}) as workerd:
        feed = feed_of(workerd)
        token = issue_token(TOKEN_KEY, "desk", [Grant("prices:*")])
        async with peer(feed, headers={"Authorization": f"Bearer {token}"}) as few, peer(feed) as all_:
            await few.ask(subscribe("prices:sleep"))
            await all_.say({"type": "Authenticate", "token": token})
            await all_.hear()
            await all_.ask(subscribe(*many), answers=2)
            await feed.publish("prices:sleep", 1)
            assert await few.hear() == ["\x1eE 1 0 prices:sleep\n1"]
            before = await workerd.life()
            await asyncio.sleep(13)
            # Answered without waking the object.
            await few.say('{"type":"Ping"}')
            assert await few.hear() == [{"type": "Pong"}]
            await feed.publish("prices:sleep", 2)
            assert await workerd.life() != before
            assert await few.hear() == ["\x1eE 2 1 prices:sleep\n2"]
            await feed.publish(many[599], 1)
            assert await all_.hear() == [f"\x1eE 1 0 {many[599]}\n1"]
            (refused,) = await few.ask(subscribe("slots:1"))
            assert refused["code"] == 4403


async def test_sockets_beyond_the_first_go_to_shards_and_get_the_same() -> None:
    with Workerd(variables={"SOCKETS_PER_SHARD": "5"}) as workerd:
        feed = feed_of(workerd)
        epoch = await feed.publish("prices:shards", 1, 2)
        async with peers(workerd, 13) as all_:
            facts = await workerd.facts()
            assert (facts["sessions"], facts["shards"]) == (13, 2)
            for one in all_:
                heard = await one.ask(subscribe("prices:shards", positions=[f"{epoch} 1 prices:shards"]), answers=2)
                assert heard[0]["recovered"] == ["prices:shards"]
                assert heard[1] == "\x1eE 2 1 prices:shards\n2"
            async with publisher(workerd, "shards") as source:
                await source.hear()
                for first in range(1, 301, 100):
                    await source.say(batch(1, first, [("prices:shards", str(first + at)) for at in range(100)]))
            expected = [f"\x1eE {at + 2} {at + 1} prices:shards\n{at}" for at in range(1, 301)]
            for one in all_:
                assert await one.hear(300) == expected
        async with asyncio.timeout(5):
            while (await workerd.facts())["sessions"]:
                # Each question is a call into the objects, which hear of the ends in between.
                pass
        # The places of those who left are free again.
        async with peers(workerd, 13):
            assert (await workerd.facts())["shards"] == 2


async def test_places_on_shards_are_counted_anew_by_a_coordinator_that_failed() -> None:
    with Workerd(variables={"SOCKETS_PER_SHARD": "2"}) as workerd:
        async with peers(workerd, 4):
            await workerd.reset()
            # Its own two were cut, those of the shard were not.
            async with peers(workerd, 2):
                assert await workerd.facts() == {"sessions": 4, "publishers": 0, "shards": 1}
                async with peers(workerd, 1):
                    assert await workerd.facts() == {"sessions": 5, "publishers": 0, "shards": 2}


async def test_more_sockets_than_all_shards_hold_are_refused_with_503() -> None:
    with Workerd(variables={"SOCKETS_PER_SHARD": "1", "MAX_SHARDS": "1"}) as workerd:
        async with peers(workerd, 2):
            with pytest.raises(websockets.InvalidStatus) as caught:
                async with peers(workerd, 1):
                    pass
            assert caught.value.response.status_code == 503


async def test_client_on_a_shard_that_fails_recovers() -> None:
    with Workerd(variables={"SOCKETS_PER_SHARD": "1"}) as workerd:
        feed = feed_of(workerd)
        async with (
            peers(workerd, 1),
            WebSocketClient.connect(workerd.url, recover=True) as client,
            asyncio.timeout(10),
        ):
            await client.subscribe("prices:A-B")
            await feed.publish("prices:A-B", price(1))
            seen: list[int] = []
            async for event in client.events(PriceUpdate):
                match event:
                    case PriceUpdate(timestamp=number):
                        seen.append(number)
                        if number == 1:
                            await workerd.reset(shard=1)
                            await feed.publish("prices:A-B", price(2))
                        if number == 3:
                            break
                    case Reconnected(recovered=recovered):
                        assert recovered
                        await feed.publish("prices:A-B", price(3))
                    case _:
                        pass
            assert seen == [1, 2, 3]


async def test_sockets_of_shards_go_on_when_the_coordinator_fails() -> None:
    with Workerd(variables={"SOCKETS_PER_SHARD": "1"}) as workerd:
        feed = feed_of(workerd)
        async with peers(workerd, 2) as (_, far):
            await far.ask(subscribe("prices:far"))
            await feed.publish("prices:far", 1)
            await workerd.reset()
            await feed.publish("prices:far", 2)
            assert await far.hear(2) == ["\x1eE 1 0 prices:far\n1", "\x1eE 2 1 prices:far\n2"]
            assert (await far.ask(subscribe("prices:more")))[0]["channels"] == ["prices:more"]


async def test_broadcast_reaches_all_sessions_but_the_one_that_is_left_out() -> None:
    with Workerd(variables={"SOCKETS_PER_SHARD": "2"}) as workerd:
        async with peers(workerd, 4) as all_, peers(workerd, 1, subprotocols=None) as (bare,):
            left_out = all_[3]
            assert await workerd.broadcast("\x1enews", leaving_out=left_out.session) == 4
            for one in all_[:3]:
                assert await one.hear() == ["\x1e\n\x1enews"]
            assert await bare.hear() == ["\x1enews"]
            assert await left_out.ask(answers=0) == []


@pytest.mark.parametrize("sockets", ["5", "1"])
async def test_session_with_the_right_to_publish_reaches_all_and_itself_only_if_it_wants(sockets: str) -> None:
    token = issue_token(TOKEN_KEY, "desk", [Grant("prices:*", {"subscribe", "publish"}), Grant("accounts:*")])
    headers = {"Authorization": f"Bearer {token}"}
    text = '{"type":"PriceUpdate","input_mint":"A","output_mint":"B","price":1.50,"volume":18446744073709551615,'
    text += '"timestamp":1}'
    with Workerd(variables={"TOKEN_KEY": TOKEN_KEY, "SOCKETS_PER_SHARD": sockets}) as workerd:
        feed = feed_of(workerd)
        quiet_url = Feed(f"{workerd.url}?echo=off", workerd.http_url)
        async with peer(feed, headers=headers) as echo, peer(quiet_url, headers=headers) as quiet:
            for one in (echo, quiet):
                await one.ask(subscribe("prices:*", "prices:A-B"))
            await quiet.say(text, text.replace(":", " : "))
            assert await echo.hear(2) == [f"\x1eE 1 0 prices:A-B\n{text}", f"\x1eE 2 1 prices:A-B\n{text}"]
            await echo.say(text)
            assert await echo.hear() == [f"\x1eE 3 2 prices:A-B\n{text}"]
            # Its chain is whole: what it sent itself is not missing.
            assert await quiet.hear() == [f"\x1eE 3 0 prices:A-B\n{text}"]
            account = {"type": "AccountUpdate", "pubkey": "x", "lamports": 1, "slot": 1, "timestamp": 1}
            await quiet.say(account)
            assert await quiet.closed() == (4403, "not permitted to publish to accounts:x")


async def test_session_without_a_token_publishes_nothing(workerd: Workerd) -> None:
    async with peer(feed_of(workerd)) as one:
        await one.say(price(1))
        assert await one.closed() == (4403, "not permitted to publish to prices:A-B")


async def test_socket_that_takes_nothing_is_closed_and_the_others_notice_nothing() -> None:
    with Workerd(variables={"MAX_LAG": "100000"}) as workerd:
        async with peers(workerd, 2) as (slow, good), publisher(workerd, "fast") as source:
            for one in (slow, good):
                await one.ask(subscribe("prices:slow"))
            await source.hear()
            slow.stop_reading()
            payload = f'"{"x" * 1000}"'
            total = 0
            while "is too slow" not in workerd.stderr and total < 40_000:
                await source.say(batch(1, total + 1, [("prices:slow", payload)] * 200))
                total += 200
                assert await source.hear() == [acknowledged(1, total)]
            assert len(await good.hear(total)) == total
            slow.go_on_reading()
            code, reason = await slow.closed()
            assert (code, reason[:9]) == (4008, "too slow:")


async def test_commands_over_the_rate_are_refused_and_far_over_it_closed() -> None:
    with Workerd(variables={"COMMANDS_PER_SECOND": "1"}) as workerd:
        async with peers(workerd, 1) as (one,):
            await one.say(*[subscribe("prices:rate")] * 100)
            answers = await one.hear(4)
            assert answers[0]["type"] == "Subscribed"
            assert answers[3]["code"] == 4429
            assert (await one.closed())[0] == 4429


async def test_health_says_how_many_are_there_to_who_has_the_key(workerd: Workerd) -> None:
    def asked(headers: dict[str, str]) -> bytes:
        with urlopen(Request(f"{workerd.http_url}/healthz", headers=headers), timeout=5) as response:
            return bytes(response.read())

    assert await asyncio.to_thread(asked, {}) == b'{"status":"ok"}'
    assert b'"shards":0' in await asyncio.to_thread(asked, {"X-API-Key": PUBLISH_KEY})
