"""Publishers' sockets of the Workers, on real workerd: batches, what is acknowledged, what is refused, who may come."""

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import websockets
from tests.edge.feeds import Feed, Peer, peer
from tests.support.workerd import PUBLISH_KEY, Workerd

pytestmark = pytest.mark.one_loop


@asynccontextmanager
async def publisher(workerd: Workerd, name: str, *, key: str = PUBLISH_KEY) -> AsyncIterator[Peer]:
    feed = Feed(f"{workerd.publisher_url}?name={name}", workerd.http_url)
    async with peer(feed, subprotocols=["websocket-utils.publisher"], headers={"X-API-Key": key}) as one:
        yield one


def batch(epoch: int, first: int, updates: Iterable[tuple[str, str]]) -> str:
    return f"\x1e{epoch} {first}\n" + "".join(f"{channel}\n{payload}\n" for channel, payload in updates)


def welcome(name: str, epoch: int = 0, sequence: int = 0) -> dict[str, Any]:
    return {"type": "PublisherWelcome", "name": name, "epoch": epoch, "sequence": sequence}


def acknowledged(epoch: int, sequence: int) -> dict[str, Any]:
    return {"type": "PublisherAcknowledged", "epoch": epoch, "sequence": sequence}


async def test_batch_is_acknowledged_and_each_update_comes_as_a_frame_with_its_number(workerd: Workerd) -> None:
    async with peer(Feed(workerd.url, "")) as client, publisher(workerd, "first") as one:
        await client.ask({"type": "Subscribe", "channels": ["prices:p1", "prices:p2"]}, answers=1)
        assert await one.hear() == [welcome("first")]
        updates = [("prices:p1", '{"lamports":18446744073709551615}'), ("prices:p2", "2"), ("prices:p1", '"3"')]
        await one.say(batch(1000, 1, updates))
        assert await one.hear() == [acknowledged(1000, 3)]
        assert await client.hear(3) == [
            '\x1eE 1 0 prices:p1\n{"lamports":18446744073709551615}',
            "\x1eE 1 0 prices:p2\n2",
            '\x1eE 2 1 prices:p1\n"3"',
        ]


async def test_what_is_had_is_dropped_and_acknowledged_again(workerd: Workerd) -> None:
    async with peer(Feed(workerd.url, "")) as client:
        await client.ask({"type": "Subscribe", "channels": ["prices:dup"]})
        async with publisher(workerd, "dup") as one:
            assert await one.hear() == [welcome("dup")]
            await one.say(batch(7, 1, [("prices:dup", "1"), ("prices:dup", "2")]))
            assert await one.hear() == [acknowledged(7, 2)]
        async with publisher(workerd, "dup") as one:
            assert await one.hear() == [welcome("dup", 7, 2)]
            await one.say(batch(7, 1, [("prices:dup", "1")]), batch(7, 2, [("prices:dup", "2"), ("prices:dup", "3")]))
            assert await one.hear(2) == [acknowledged(7, 2), acknowledged(7, 3)]
            # It was started again: a later epoch begins at 1.
            await one.say(batch(8, 1, [("prices:dup", "4")]))
            assert await one.hear() == [acknowledged(8, 1)]
        heard = await client.ask(answers=4)
        assert heard == [f"\x1eE {number} {number - 1} prices:dup\n{number}" for number in (1, 2, 3, 4)]


async def test_update_that_is_refused_is_said_and_counts_as_had(workerd: Workerd) -> None:
    big = f'"{"x" * 70_000}"'
    updates = [("prices:*", "1"), ("prices:ok", "{"), ("prices:ok", big), ("prices:ok", "4")]
    async with publisher(workerd, "refused") as one:
        await one.hear()
        await one.say(batch(1, 1, updates))
        *rejected, done = await one.hear(4)
        assert [(answer["type"], answer["sequence"], answer["channel"], answer["code"]) for answer in rejected] == [
            ("PublicationRejected", 1, "prices:*", 4400),
            ("PublicationRejected", 2, "prices:ok", 4400),
            ("PublicationRejected", 3, "prices:ok", 4413),
        ]
        assert done == acknowledged(1, 4)
    async with peer(Feed(workerd.url, "")) as client:
        heard = await client.ask({"type": "Subscribe", "channels": ["prices:ok"]}, answers=2)
        assert heard[1] == "\x1eE 1 0 prices:ok\n4"


async def test_channel_of_a_namespace_that_is_not_served_and_one_too_many_are_refused() -> None:
    variables = {"NAMESPACES": "prices slots", "MAX_CHANNELS": "2"}
    updates = [("orders:1", "1"), ("prices:1", "1"), ("slots:1", "1"), ("prices:2", "1"), ("prices:1", "2")]
    with Workerd(variables=variables) as workerd:
        async with publisher(workerd, "bounds") as one:
            await one.hear()
            await one.say(batch(1, 1, updates))
            *rejected, done = await one.hear(3)
            assert [(answer["sequence"], answer["code"]) for answer in rejected] == [(1, 4404), (4, 4413)]
            assert done == acknowledged(1, 5)
        status, answer = await workerd.post("/api/publish", {"channel": "prices:3", "data": 1})
        assert (status, answer["error"]["code"]) == (503, 108)
        assert (await workerd.post("/api/publish", {"channel": "prices:1", "data": 1}))[0] == 200


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (batch(5, 1, [("prices:a", "1")]), 4409),
        (batch(10, 3, [("prices:a", "1")]), 4410),
        (batch(11, 2, [("prices:a", "1")]), 4410),
        (batch(10, 2, []), 4400),
        (batch(0, 1, [("prices:a", "1")]), 4400),
        (batch(10, 0, [("prices:a", "1")]), 4400),
        (batch(2**53, 1, [("prices:a", "1")]), 4400),
        (batch(10, 2, [("prices:a", "1")] * 1025), 4400),
        (batch(10, 2, [("prices:a", "1" * (256 * 1024))]), 4400),
        ("\x1e10 2\nprices:a\n1", 4400),
        ("\x1e10 2\nprices:a\n", 4400),
        ("10 2\nprices:a\n1\n", 4400),
        ('{"type":"Ping" }', 4400),
        ("", 4400),
        (b"\x1e10 2\nprices:a\n1\n", 4400),
    ],
)
async def test_batch_that_is_wrong_is_closed_with_its_code_and_publishes_nothing(
    workerd: Workerd, frame: str | bytes, code: int, request: pytest.FixtureRequest
) -> None:
    name = f"wrong-{abs(hash(request.node.name))}"
    async with publisher(workerd, name) as one:
        await one.hear()
        await one.say(batch(10, 1, [("slots:w", "1")]))
        assert await one.hear() == [acknowledged(10, 1)]
        await one.say(frame)
        found, reason = await one.closed()
        assert found == code
        assert reason
    async with publisher(workerd, name) as one:
        assert await one.hear() == [welcome(name, 10, 1)]


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}, {"X-API-Key": PUBLISH_KEY + "x"}])
async def test_publisher_without_the_key_is_refused_before_the_upgrade(
    workerd: Workerd, headers: dict[str, str]
) -> None:
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with peer(
            Feed(f"{workerd.publisher_url}?name=a", ""), subprotocols=["websocket-utils.publisher"], headers=headers
        ):
            pass
    response = caught.value.response
    assert response.status_code == 401
    assert json.loads(response.body or b"")["error"]["code"] == 101


@pytest.mark.parametrize(
    ("query", "subprotocol"), [("", "websocket-utils.publisher"), ("?name=a", "websocket-utils.json")]
)
async def test_publisher_without_name_or_subprotocol_is_refused(workerd: Workerd, query: str, subprotocol: str) -> None:
    headers = {"X-API-Key": PUBLISH_KEY}
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with peer(Feed(workerd.publisher_url + query, ""), subprotocols=[subprotocol], headers=headers):
            pass
    assert caught.value.response.status_code == 400


@pytest.mark.parametrize("key", [None, "", "fifteen letters", "sixteen letters with blanks"])
async def test_nobody_publishes_where_no_key_is_set_or_one_that_is_none(key: str | None) -> None:
    with Workerd(publish_key=key) as workerd:
        body = {"channel": "prices:a", "data": 1}
        for presented in (None, "", "undefined", "null", key):
            status, answer = await workerd.post("/api/publish", body, key=presented)
            assert (status, answer["error"]["code"]) == (503, 108)
            assert "PUBLISH_KEY" in answer["error"]["message"]
        with pytest.raises(websockets.InvalidStatus) as caught:
            async with publisher(workerd, "a", key=key or ""):
                pass
        assert caught.value.response.status_code == 503
        async with peer(Feed(workerd.url, "")) as client:
            assert await client.ask(answers=0) == []
