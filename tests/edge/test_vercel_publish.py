"""The functions that publish, on the runtimes of Vercel, in front of our server: the same cases for both languages."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest
from tests.support import vercel
from tests.support.scripted_door import (
    ScriptedDoor,
    Step,
    answer,
    drip,
    forward_and_answer,
    forward_and_be_silent,
    forward_and_hang_up,
    hang_up,
)

from websocket_utils import Namespace, PriceUpdate, WebSocketClient, WebSocketServer

pytestmark = [pytest.mark.one_loop, pytest.mark.timeout(60)]

TOKEN = "who-may-call-the-function"
KEY = "what-the-door-asks-for"
CHANNEL = "prices:SOL-USDC"
PRICE: dict[str, Any] = {"input_mint": "SOL", "output_mint": "USDC", "price": 150.25, "timestamp": 1}
BIGGEST = 2**64 - 1
# Short of the 2 s that are the default, so that tests are quick; long enough for a busy machine.
HURRIED = "0.6"
MAX_BODY = 1024 * 1024
FUNCTIONS = ("api/publish.ts", "api/publish_price.py")


@pytest.fixture(scope="module")
def door() -> Iterator[ScriptedDoor]:
    one = ScriptedDoor()
    yield one
    one.close()


def variables(door: ScriptedDoor, **changed: str) -> dict[str, str]:
    return {"PUBLISH_TOKEN": TOKEN, "FEED_URL": door.url, "FEED_KEY": KEY, **changed}


@pytest.fixture(scope="module", params=FUNCTIONS)
def runtime(
    request: pytest.FixtureRequest, door: ScriptedDoor, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[vercel.Served]:
    """A function with a short timeout; what it logged holds no secret."""
    log = tmp_path_factory.mktemp("function") / "log"
    with vercel.served(vercel.command_of(request.param), variables(door, PUBLISH_TIMEOUT=HURRIED), log) as one:
        yield one
    assert TOKEN not in one.logged
    assert KEY not in one.logged


class Function:
    """The function as a caller sees it."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def call(
        self, body: bytes | str, *, method: str = "POST", token: str | None = TOKEN, **headers: str
    ) -> vercel.Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            named.setdefault("Authorization", f"Bearer {token}")
        found = await asyncio.to_thread(vercel.ask, self.url, method, body, named)
        assert found.headers["content-type"] == "application/json"
        assert found.headers["cache-control"] == "no-store"
        return found

    async def publish(self, data: Any = PRICE, channel: str = CHANNEL, **members: Any) -> vercel.Answer:
        return await self.call(json.dumps({"channel": channel, "data": data, **members}))


@pytest.fixture
def function(runtime: vercel.Served) -> Function:
    (url,) = runtime.urls.values()
    return Function(url)


@pytest.fixture
async def server(door: ScriptedDoor) -> AsyncIterator[WebSocketServer]:
    spaces = [Namespace("prices", type=PriceUpdate, history=10), Namespace("news")]
    async with WebSocketServer.bind(
        "127.0.0.1:0", namespaces=spaces, undeclared="refuse", http="127.0.0.1:0", http_key=KEY
    ) as one:
        door.reset(one.http_url)
        yield one
        door.reset()


@pytest.fixture
def lonely(door: ScriptedDoor) -> Iterator[ScriptedDoor]:
    """The door of tests in which no server is asked."""
    door.reset()
    yield door
    door.reset()


async def received_exactly_once(server: WebSocketServer, client: WebSocketClient, count: int = 1) -> list[PriceUpdate]:
    """What a subscriber has, up to a mark that is published behind it."""
    mark = PriceUpdate("mark", "mark", 0.0, timestamp=0)
    server.publish(CHANNEL, mark)
    found: list[PriceUpdate] = []
    async with asyncio.timeout(5):
        while (update := await client.receive(PriceUpdate)) != mark:
            assert update is not None
            found.append(update)
    assert len(found) == count
    return found


# --- what it is for ---


async def test_update_reaches_a_subscriber_once_and_its_caller_is_told_where_it_stands(
    function: Function, server: WebSocketServer, door: ScriptedDoor
) -> None:
    async with WebSocketClient.connect(server.url) as client:
        await client.subscribe(CHANNEL)
        found = await function.publish()
        assert found.status == 200
        assert found.json["result"]["offset"] == 1
        (update,) = await received_exactly_once(server, client)
    assert update == PriceUpdate("SOL", "USDC", 150.25, timestamp=1)
    (request,) = door.requests
    assert request.path == "/api/publish"
    assert request.headers["x-api-key"] == KEY


async def test_integers_of_64_bits_and_long_fractions_keep_every_digit(
    function: Function, server: WebSocketServer, door: ScriptedDoor
) -> None:
    data = (
        f'{{"input_mint":"SOL","output_mint":"USDC","price":1.50,"volume":{BIGGEST},"timestamp":-9223372036854775808}}'
    )
    async with WebSocketClient.connect(server.url) as client:
        await client.subscribe(CHANNEL)
        found = await function.call(f' {{ "data" : {data}\n, "channel":"{CHANNEL}" }} ')
        assert found.status == 200
        (update,) = await received_exactly_once(server, client)
    assert update.volume == BIGGEST
    assert update.timestamp == -(2**63)
    (request,) = door.requests
    assert request.body.startswith(f'{{"channel":"{CHANNEL}","data":{data},"idempotency_key":"'.encode())


@pytest.mark.parametrize("data", ['"text"', "null", "12345678901234567890.125", "[1,[2]]", '{"a\\"b}":"\\u00e9\\n,"}'])
async def test_any_json_is_published_as_it_is_written(
    function: Function, server: WebSocketServer, door: ScriptedDoor, data: str
) -> None:
    found = await function.call(f'{{"channel":"news:{uuid.uuid4()}","data":{data}}}')
    assert found.status == 200
    assert f'"data":{data},'.encode() in door.requests[0].body


# --- what is sent again is published once ---


async def test_caller_s_retry_without_a_key_gets_the_same_answer_and_publishes_nothing(
    function: Function, server: WebSocketServer
) -> None:
    async with WebSocketClient.connect(server.url) as client:
        await client.subscribe(CHANNEL)
        first = await function.publish()
        second = await function.publish()
        assert (second.status, second.body) == (200, first.body)
        assert second.headers["idempotency-key"] == first.headers["idempotency-key"]
        await received_exactly_once(server, client)
        third = await function.publish(PRICE | {"timestamp": 2})
        assert third.status == 200
        assert third.headers["idempotency-key"] != first.headers["idempotency-key"]
        await received_exactly_once(server, client)


async def test_caller_s_key_counts_wherever_it_stands(function: Function, server: WebSocketServer) -> None:
    async with WebSocketClient.connect(server.url) as client:
        await client.subscribe(CHANNEL)
        body = json.dumps({"channel": CHANNEL, "data": PRICE})
        first = await function.publish(idempotency_key="tick/1+a=")
        assert first.headers["idempotency-key"] == "tick/1+a="
        second = await function.call(body, Idempotency_Key="tick/1+a=")
        both = await function.publish(idempotency_key="tick/1+a=")
        assert first.status == 200
        assert second.body == both.body == first.body
        # Equal updates are two where their keys are.
        assert (await function.call(body, Idempotency_Key="tick/2")).json["result"]["offset"] == 2
        await received_exactly_once(server, client, 2)


async def test_caller_s_key_for_another_update_is_a_conflict(function: Function, server: WebSocketServer) -> None:
    assert (await function.publish(idempotency_key="one")).status == 200
    found = await function.publish(PRICE | {"timestamp": 2}, idempotency_key="one")
    assert (found.status, found.json["error"]["code"]) == (409, 113)


async def test_same_update_many_times_at_once_is_published_once(function: Function, server: WebSocketServer) -> None:
    async with WebSocketClient.connect(server.url) as client:
        await client.subscribe(CHANNEL)
        answers = await asyncio.gather(*(function.publish() for _ in range(20)))
        assert {one.status for one in answers} == {200}
        assert len({one.body for one in answers}) == 1
        await received_exactly_once(server, client)


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(hang_up, id="no answer"),
        pytest.param(forward_and_hang_up, id="answer lost"),
        pytest.param(answer(500), id="500"),
        pytest.param(forward_and_answer(502), id="502 of what was published"),
        pytest.param(answer(503, '{"error":{"code":108,"message":"no room"}}'), id="503"),
        pytest.param(forward_and_be_silent, id="answer too late"),
        pytest.param(drip, id="answer that drips"),
    ],
)
async def test_one_failure_is_followed_by_one_attempt_that_doubles_nothing(
    function: Function, server: WebSocketServer, door: ScriptedDoor, step: Step
) -> None:
    door.script.append(step)
    async with WebSocketClient.connect(server.url) as client:
        await client.subscribe(CHANNEL)
        found = await function.publish()
        assert (found.status, found.json["result"]["offset"]) == (200, 1)
        first, second = door.requests
        assert first.body == second.body
        assert b'"idempotency_key":"update-' in first.body
        await received_exactly_once(server, client)


@pytest.mark.parametrize(
    ("step", "status", "code"),
    [
        pytest.param(forward_and_hang_up, 502, 1002, id="no answer"),
        pytest.param(forward_and_answer(500), 502, 1004, id="500"),
        pytest.param(forward_and_be_silent, 504, 1003, id="too late"),
    ],
)
async def test_two_failures_are_told_and_the_caller_s_own_retry_doubles_nothing(
    function: Function, server: WebSocketServer, door: ScriptedDoor, step: Step, status: int, code: int
) -> None:
    door.script += [step, step]
    async with WebSocketClient.connect(server.url) as client:
        await client.subscribe(CHANNEL)
        found = await function.publish()
        assert (found.status, found.json["error"]["code"]) == (status, code)
        assert len(door.requests) == 2
        again = await function.publish(idempotency_key=found.headers["idempotency-key"])
        assert (again.status, again.json["result"]["offset"]) == (200, 1)
        await received_exactly_once(server, client)


ELSEWHERE = {"Location": "http://127.0.0.1:9/"}


@pytest.mark.parametrize(
    ("step", "status", "code"),
    [
        pytest.param(answer(401, '{"error":{"code":101,"message":"no"}}'), 502, 1005, id="401"),
        pytest.param(answer(403, '{"error":{"code":103,"message":"no"}}'), 502, 1005, id="403"),
        pytest.param(answer(429, "slow down", {"Retry-After": "7"}), 429, 1006, id="429"),
        pytest.param(answer(404, '{"error":{"code":104,"message":"not found"}}'), 502, 1004, id="404 of the path"),
        pytest.param(answer(400, "<html>"), 502, 1004, id="400 of something else"),
        pytest.param(answer(302, "", ELSEWHERE), 502, 1004, id="redirect"),
        pytest.param(answer(307, "", ELSEWHERE), 502, 1004, id="redirect of the body"),
        pytest.param(answer(200, "<html>"), 502, 1004, id="200 of something else"),
        pytest.param(answer(200, '{"result":null}'), 502, 1004, id="200 without a result"),
        pytest.param(answer(200, '{"result":{"offset":1,"x":"' + "x" * 70_000 + '"}}'), 502, 1004, id="endless 200"),
    ],
)
async def test_answer_that_no_attempt_changes_is_told_at_once_and_a_later_retry_publishes_once(
    function: Function, server: WebSocketServer, door: ScriptedDoor, step: Step, status: int, code: int
) -> None:
    door.script.append(step)
    async with WebSocketClient.connect(server.url) as client:
        await client.subscribe(CHANNEL)
        found = await function.publish()
        assert (found.status, found.json["error"]["code"]) == (status, code)
        assert found.headers.get("retry-after") == ("7" if status == 429 else None)
        assert len(door.requests) == 1
        assert (await function.publish()).status == 200
        await received_exactly_once(server, client)


# --- what the door refuses is the caller's to know ---


async def test_data_of_another_type_is_refused_with_its_place(function: Function, server: WebSocketServer) -> None:
    found = await function.publish(PRICE | {"price": "much"})
    assert found.status == 400
    assert found.json["error"] == {"code": 107, "message": "Expected `float`, got `str`", "path": "$.data.price"}


async def test_channel_of_no_namespace_is_a_404(function: Function, server: WebSocketServer) -> None:
    found = await function.publish(channel="nowhere:1")
    assert (found.status, found.json["error"]["code"]) == (404, 102)


async def test_body_that_becomes_too_big_with_its_key_is_the_door_s_413(
    function: Function, server: WebSocketServer
) -> None:
    head = '{"channel":"news:1","data":"'
    found = await function.call(head + "x" * (MAX_BODY - len(head) - 2) + '"}')
    assert (found.status, found.json["error"]["code"]) == (413, 107)
    assert "max_message_size" in found.json["error"]["message"]


# --- bad input: refused before anything is asked ---

ODD_BODIES: Mapping[str, tuple[bytes | str, str | None]] = {
    "empty": ("", "$"),
    "no JSON": ("{channel: 1}", "$"),
    "cut off": ('{"channel": "news:1", "data": ', "$"),
    "something behind it": ('{"channel":"news:1","data":1} {}', "$"),
    "NaN": ('{"channel":"news:1","data":NaN}', "$"),
    "infinity": ('{"channel":"news:1","data":-Infinity}', "$"),
    "leading zero": ('{"channel":"news:1","data":01}', "$"),
    "control character": ('{"channel":"news:1","data":"\n"}', "$"),
    "byte order mark": ("\ufeff" + '{"channel":"news:1","data":1}', "$"),
    "no UTF-8": (b'{"channel":"news:1","data":"\xff"}', "$"),
    "array": ("[]", "$"),
    "text": ('"channel"', "$"),
    "null": ("null", "$"),
    "nothing in it": ("{}", "$"),
    "no data": ('{"channel":"news:1"}', "$"),
    "no channel": ('{"data":1}', "$"),
    "member that is not known": ('{"channel":"news:1","data":1,"tags":{}}', "$"),
    "member twice": ('{"channel":"news:1","data":1,"data":2}', "$"),
    "member twice, once escaped": ('{"channel":"news:1","data":1,"d\\u0061ta":2}', "$"),
    "nested deeply": ('{"channel":"news:1","data":' + "[" * 200 + "]" * 200 + "}", "$"),
    "nested without end": ('{"channel":"news:1","data":' + "[" * 100_000, "$"),
    "channel is a number": ('{"channel":1,"data":1}', "$.channel"),
    "channel is empty": ('{"channel":"","data":1}', "$.channel"),
    "channel is too long": ('{"channel":"' + "x" * 257 + '","data":1}', "$.channel"),
    "channel is a pattern": ('{"channel":"prices:*","data":1}', "$.channel"),
    "channel has a line break": ('{"channel":"news:\\n1","data":1}', "$.channel"),
    "channel has half a character": ('{"channel":"news:\\ud800","data":1}', "$.channel"),
    "key is a number": ('{"channel":"news:1","data":1,"idempotency_key":1}', "$.idempotency_key"),
    "key is null": ('{"channel":"news:1","data":1,"idempotency_key":null}', "$.idempotency_key"),
    "key is empty": ('{"channel":"news:1","data":1,"idempotency_key":""}', "$.idempotency_key"),
    "key has a space": ('{"channel":"news:1","data":1,"idempotency_key":"a b"}', "$.idempotency_key"),
    "key is too long": ('{"channel":"news:1","data":1,"idempotency_key":"' + "x" * 257 + '"}', "$.idempotency_key"),
}


@pytest.mark.parametrize("name", ODD_BODIES)
async def test_odd_body_is_a_400_with_its_place_and_the_door_is_not_asked(
    function: Function, lonely: ScriptedDoor, name: str
) -> None:
    body, path = ODD_BODIES[name]
    found = await function.call(body)
    assert (found.status, found.json["error"]["code"], found.json["error"].get("path")) == (400, 107, path)
    assert lonely.requests == []


async def test_keys_of_header_and_body_that_differ_are_a_400(function: Function, lonely: ScriptedDoor) -> None:
    found = await function.call('{"channel":"news:1","data":1,"idempotency_key":"a"}', Idempotency_Key="b")
    assert (found.status, found.json["error"]["path"]) == (400, "$.idempotency_key")
    assert lonely.requests == []


@pytest.mark.parametrize("size", [MAX_BODY + 1, 3 * MAX_BODY])
async def test_body_over_the_limit_is_a_413_that_its_sender_reads(
    function: Function, lonely: ScriptedDoor, size: int
) -> None:
    found = await function.call(b" " * size)
    assert (found.status, found.json["error"]["code"]) == (413, 107)
    assert lonely.requests == []


async def test_compressed_body_is_a_415(function: Function, lonely: ScriptedDoor) -> None:
    found = await function.call(b"\x1f\x8b", Content_Encoding="gzip")
    assert (found.status, found.json["error"]["code"]) == (415, 107)
    assert lonely.requests == []


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {KEY}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
    ],
)
async def test_caller_without_the_token_is_a_401_and_the_door_is_not_asked(
    function: Function, lonely: ScriptedDoor, header: str | None
) -> None:
    named = {} if header is None else {"Authorization": header}
    found = await function.call('{"channel":"news:1","data":1}', token=None, **named)
    assert (found.status, found.json["error"]["code"]) == (401, 101)
    assert found.headers["www-authenticate"] == "Bearer"
    assert lonely.requests == []


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_another_method_is_a_405_that_says_which_is_answered(
    function: Function, lonely: ScriptedDoor, method: str
) -> None:
    found = await function.call("", method=method)
    assert (found.status, found.headers["allow"]) == (405, "POST")
    assert found.json == {"error": {"code": 107, "message": "only POST is answered"}}
    assert lonely.requests == []


# --- the runtimes ---


def test_python_function_is_tested_on_vercel_s_own_runtime() -> None:
    assert vercel.needed_python() in vercel.command_of("api/publish_price.py")
