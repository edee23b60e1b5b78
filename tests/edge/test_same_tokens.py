"""Who may connect and what they may do: the same cases for our Python server and for the Workers on real workerd."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
import websockets
from tests.edge.feeds import TOKEN_KEY, Feed, Peer, peer, python_feed, worker_feed
from tests.support.tokens import signed
from tests.support.workerd import Workerd

from websocket_utils import Grant, PriceUpdate, WebSocketClient, in_band, issue_token

pytestmark = pytest.mark.one_loop

PRICES = (Grant("prices:*"),)


@pytest.fixture(scope="module")
def guarded_workers() -> Iterator[Workerd]:
    with worker_feed(asks_for_tokens=True) as workerd:
        yield workerd


@pytest_asyncio.fixture(params=["python", "worker"])
async def feed(request: pytest.FixtureRequest) -> AsyncIterator[Feed]:
    """A feed that asks for tokens."""
    if request.param == "python":
        async with python_feed(asks_for_tokens=True) as here:
            yield here
    else:
        workerd: Workerd = request.getfixturevalue("guarded_workers")
        yield Feed(workerd.url, workerd.http_url)


def token(name: str = "desk", grants: tuple[Grant, ...] = PRICES, **options: Any) -> str:
    return issue_token(TOKEN_KEY, name, grants, **options)


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def authenticate(text: str) -> dict[str, str]:
    return {"type": "Authenticate", "token": text}


def subscribe(*channels: str) -> dict[str, Any]:
    return {"type": "Subscribe", "channels": list(channels)}


async def answer_to(one: Peer, text: str) -> dict[str, Any]:
    await one.say(authenticate(text))
    (answer,) = await one.hear()
    assert isinstance(answer, dict)
    return answer


async def test_bearer_subscribes_to_what_its_token_grants_and_no_more(feed: Feed) -> None:
    async with peer(feed, headers=bearer(token())) as one:
        accepted, rejected = await one.ask(subscribe("prices:1", "slots:1", "prices:*", "slots:*"), answers=2)
        assert accepted["channels"] == ["prices:1", "prices:*"]
        assert (rejected["channels"], rejected["code"]) == (["slots:1", "slots:*"], 4403)
        assert rejected["reason"] == "not permitted"


@pytest.mark.parametrize(
    "line",
    [
        "Bearer nonsense",
        "Bearer ",
        "Basic abc",
        f"Bearer {signed('another secret of thirty-two bytes or more', 'HS256')}",
        f"Bearer {signed(TOKEN_KEY + TOKEN_KEY, 'HS512')}",
        f"Bearer {signed(TOKEN_KEY, 'HS256', exp=1)}",
        f"Bearer {signed(TOKEN_KEY, 'HS256', exp=None)}",
        f"Bearer {signed(TOKEN_KEY, 'HS256', sub=None)}",
        f"Bearer {signed(TOKEN_KEY, 'HS256', nbf=2**40)}",
        f"Bearer {signed(TOKEN_KEY, 'HS256', aud='somebody else')}",
        f"Bearer {signed(TOKEN_KEY, 'HS256', channels='prices:*')}",
        f"Bearer {signed(TOKEN_KEY, 'HS256', channels=[{'ch': 'prices:*', 'ops': ['own']}])}",
    ],
)
async def test_token_that_is_not_valid_is_refused_before_the_upgrade(feed: Feed, line: str) -> None:
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with peer(feed, headers={"Authorization": line}):
            pass
    assert caught.value.response.status_code == 401


async def test_client_that_names_its_identity_in_headers_of_ours_is_not_believed(feed: Feed) -> None:
    grants = [{"pattern": "*", "operations": ["subscribe", "publish"]}]
    identity = quote(json.dumps({"name": "desk", "grants": grants, "expiresAt": 2**40}))
    async with peer(feed, headers={"X-Identity": identity, "X-Shard": "7"}) as one:
        await one.say(subscribe("prices:1"))
        assert await one.closed() == (4401, "Authenticate comes first")


async def test_unsigned_token_is_refused(feed: Feed) -> None:
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with peer(feed, headers=bearer(signed(None, "none"))):
            pass
    assert caught.value.response.status_code == 401


async def test_client_that_says_who_it_is_on_the_connection_is_answered_and_served(feed: Feed) -> None:
    async with peer(feed) as one:
        assert await one.ask(answers=0) == []
        answer = await answer_to(one, token())
        assert (answer["type"], answer["name"]) == ("Authenticated", "desk")
        assert 290 < answer["expires_in"] <= 301
        (accepted,) = await one.ask(subscribe("prices:inband"))
        assert accepted["channels"] == ["prices:inband"]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (subscribe("prices:1"), "Authenticate comes first"),
        ("no JSON", "Authenticate comes first"),
        (authenticate("nonsense"), "the token is not valid"),
        (authenticate(signed(TOKEN_KEY, "HS256", exp=1)), "the token has expired"),
        (authenticate(signed(TOKEN_KEY, "HS256", nbf=2**40)), "the token is not valid yet"),
    ],
)
async def test_client_that_says_anything_else_first_is_closed(feed: Feed, message: Any, reason: str) -> None:
    async with peer(feed) as one:
        await one.say(message)
        assert await one.closed() == (4401, reason)


async def test_client_that_says_nothing_is_closed(feed: Feed) -> None:
    async with peer(feed) as one:
        assert await one.closed() == (4401, "not authenticated within 1 s")


async def test_connection_ends_with_its_token(feed: Feed) -> None:
    async with peer(feed, headers=bearer(token(ttl=0.2))) as one:
        assert await one.closed() == (4401, "token expired")


async def test_connection_keeps_its_identity(feed: Feed) -> None:
    async with peer(feed, headers=bearer(token())) as one:
        await one.say(authenticate(token("another desk")))
        assert await one.closed() == (4401, "a connection keeps its identity")


async def test_renewed_token_that_grants_less_ends_what_it_does_not_cover(feed: Feed) -> None:
    narrow = (Grant("prices:kept"),)
    async with peer(feed, headers=bearer(token())) as one:
        await one.ask(subscribe("prices:kept", "prices:gone"))
        await one.say(authenticate(token(grants=narrow)))
        renewed, rejected = await one.hear(2)
        assert renewed["type"] == "Authenticated"
        assert rejected == {
            "type": "SubscriptionRejected",
            "channels": ["prices:gone"],
            "code": 4403,
            "reason": "not permitted any more",
        }
        await feed.publish("prices:gone", 1)
        await feed.publish("prices:kept", 2)
        assert await one.ask(answers=1) == ["\x1eE 1 0 prices:kept\n2"]


async def test_renewed_token_that_grants_less_closes_who_cant_be_told(feed: Feed) -> None:
    async with peer(feed, headers=bearer(token()), subprotocols=None) as one:
        await one.ask(subscribe("prices:closed"), answers=0)
        await one.say(authenticate(token(grants=(Grant("prices:kept"),))))
        assert await one.closed() == (1008, "not permitted any more")


@pytest.mark.parametrize("is_in_band", [False, True])
async def test_our_client_is_served_by_token(feed: Feed, is_in_band: bool) -> None:
    how: dict[str, Any] = {"authenticate": in_band(token())} if is_in_band else {"token": token()}
    async with WebSocketClient.connect(feed.url, recover=True, **how) as client:
        await client.subscribe("prices:client")
        price = {"type": "PriceUpdate", "input_mint": "A", "output_mint": "B", "price": 1.0, "timestamp": 5}
        await feed.publish("prices:client", price)
        update = await client.receive(PriceUpdate)
        assert update is not None
        assert update.timestamp == 5
