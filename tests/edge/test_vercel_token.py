"""The function that issues tokens: they are those of `issue_token`, and a server with the secret knows them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import jwt
import pytest
from tests.support import vercel, vercel_calls
from tests.support.vercel_calls import Request

from websocket_utils import (
    Grant,
    Namespace,
    SubscribeRejected,
    TokenAuthentication,
    WebSocketClient,
    WebSocketServer,
    issue_token,
)
from websocket_utils.authentication import Credentials
from websocket_utils.exceptions import ConfigError, HandshakeError, Unauthorized

pytestmark = [pytest.mark.one_loop, pytest.mark.timeout(60)]

SECRET = "a secret that server and function share: 32 bytes and more"
CALLER_SECRET = "what-programs-of-ours-show-0123"
PRICES = {"ch": "prices:*", "ops": ["subscribe"]}
ORDERS = {"ch": "orders:desk-7", "ops": ["publish", "subscribe"]}
WELL = {
    "TOKEN_KEY": SECRET,
    "TOKEN_CALLER_SECRET": CALLER_SECRET,
    "TOKEN_GRANTS": json.dumps([PRICES, ORDERS]),
}
CALLER = {"Authorization": f"Bearer {CALLER_SECRET}"}


@pytest.fixture(scope="module")
def function() -> Iterator[vercel_calls.TypeScript]:
    with vercel_calls.typescript("api/token.ts") as one:
        yield one


def changed(**variables: str | None) -> Mapping[str, str]:
    return {name: value for name, value in {**WELL, **variables}.items() if value is not None}


async def asked(
    function: vercel_calls.TypeScript,
    body: dict[str, Any] | str | None,
    environment: Mapping[str, str] = WELL,
    method: str = "POST",
    **headers: str,
) -> vercel.Answer:
    text = json.dumps(body) if isinstance(body, dict) else body
    return await function.call(Request(text, environment, {**CALLER, **headers}, method))


def claims_of(token: str, **options: Any) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, SECRET, algorithms=["HS256"], **options)
    return claims


def identity_of(token: str) -> Any:
    return TokenAuthentication(secret=SECRET, leeway=0)(
        Credentials(token=token, path="/", headers=(), address="127.0.0.1")
    )


# --- what it is for ---


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[vercel.Served]:
    log = tmp_path_factory.mktemp("function") / "log"
    with vercel.served(vercel.command_of("api/token.ts"), WELL, log) as one:
        yield one
    assert SECRET not in one.logged
    assert CALLER_SECRET not in one.logged


@pytest.fixture
async def server() -> AsyncIterator[WebSocketServer]:
    spaces = [Namespace("prices"), Namespace("orders"), Namespace("fills")]
    async with WebSocketServer.bind(
        "127.0.0.1:0", namespaces=spaces, authenticate=TokenAuthentication(secret=SECRET)
    ) as one:
        yield one


async def test_token_of_the_development_server_lets_a_client_subscribe_to_what_it_grants(
    served: vercel.Served, server: WebSocketServer
) -> None:
    url = served.urls["api/token.ts"]
    body = json.dumps({"name": "desk-7", "channels": [PRICES], "ttl": 60})
    found = await asyncio.to_thread(vercel.ask, url, "POST", body, CALLER)
    assert found.status == 200
    assert found.headers["cache-control"] == "no-store"
    async with (
        asyncio.timeout(5),
        WebSocketClient.connect(server.url, token=found.json["token"], subprotocols=["websocket-utils.json"]) as client,
    ):
        await client.subscribe("prices:SOL-USDC")
        (connection,) = server.connections
        assert connection.identity is not None
        assert connection.identity.name == "desk-7"
        server.publish("prices:SOL-USDC", "150.0")
        assert await client.receive(str) == "150.0"
        with pytest.raises(SubscribeRejected):
            await client.subscribe("orders:desk-7")
    without = await asyncio.to_thread(vercel.ask, url, "POST", body, {})
    assert without.status == 401


async def test_tampered_and_foreign_tokens_are_refused_by_the_server(
    function: vercel_calls.TypeScript, server: WebSocketServer
) -> None:
    token = (await asked(function, {"name": "desk-7"})).json["token"]
    head, claims, signature = token.split(".")
    more = part(claims_of(token) | {"channels": [{"ch": "*", "ops": ["publish", "subscribe"]}]})
    none = part({"alg": "none", "typ": "JWT"})
    foreign = (await asked(function, {"name": "desk-7"}, changed(TOKEN_KEY="x" * 40))).json["token"]
    for wrong in (f"{head}.{more}.{signature}", f"{none}.{claims}.", f"{head}.{claims}.", token[:-3], foreign):
        with pytest.raises(Unauthorized):
            identity_of(wrong)
    with pytest.raises(HandshakeError) as caught:
        await WebSocketClient.connect(server.url, headers={"Authorization": f"Bearer {foreign}"})
    assert caught.value.status == 401


def part(value: Mapping[str, Any]) -> str:
    encoded: bytes = jwt.utils.base64url_encode(json.dumps(value).encode())
    return encoded.decode()


async def test_token_ends_after_its_time(function: vercel_calls.TypeScript) -> None:
    found = await asked(function, {"name": "desk-7", "ttl": 1})
    claims = claims_of(found.json["token"])
    assert claims["exp"] == found.json["expires_at"]
    assert claims["exp"] - claims["iat"] in {1, 2}
    late = claims | {"exp": int(time.time()) - 1}
    with pytest.raises(Unauthorized, match="expired"):
        identity_of(jwt.encode(late, SECRET, algorithm="HS256"))


async def test_claims_are_those_of_issue_token(function: vercel_calls.TypeScript) -> None:
    environment = changed(TOKEN_AUDIENCE="feed", TOKEN_ISSUER="desk")
    before = time.time()
    token = (await asked(function, {"name": "desk \N{PILE OF POO}", "ttl": 100}, environment)).json["token"]
    grants = [Grant("prices:*"), Grant("orders:desk-7", {"publish", "subscribe"})]
    ours = issue_token(SECRET, "desk \N{PILE OF POO}", grants, 100, audience="feed", issuer="desk")
    theirs = claims_of(token, audience="feed")
    expected = claims_of(ours, audience="feed")
    assert {**theirs, "iat": 0, "exp": 0} == {**expected, "iat": 0, "exp": 0}
    assert list(theirs) == list(expected)
    assert int(before) <= theirs["iat"] <= expected["iat"]
    assert before + 100 <= theirs["exp"] <= expected["exp"]
    assert jwt.get_unverified_header(token) == jwt.get_unverified_header(ours)


# --- no more than is configured ---


async def test_without_a_wish_the_token_has_all_that_is_configured_for_five_minutes(
    function: vercel_calls.TypeScript,
) -> None:
    found = await asked(function, {"name": "desk-7"})
    assert found.json["channels"] == [PRICES, ORDERS]
    assert 299 <= found.json["expires_at"] - time.time() <= 301


@pytest.mark.parametrize(
    ("channels", "status"),
    [
        ([PRICES], 200),
        ([{"ch": "prices:SOL-USDC", "ops": ["subscribe"]}], 200),
        ([{"ch": "prices:SOL*", "ops": ["subscribe"]}], 200),
        ([{"ch": "orders:desk-7", "ops": ["subscribe", "publish", "publish"]}], 200),
        ([], 200),
        ([{"ch": "*", "ops": ["subscribe"]}], 403),
        ([{"ch": "price*", "ops": ["subscribe"]}], 403),
        ([{"ch": "prices:*", "ops": ["publish"]}], 403),
        ([{"ch": "prices:SOL-USDC", "ops": ["publish", "subscribe"]}], 403),
        ([{"ch": "orders:desk-77", "ops": ["subscribe"]}], 403),
        ([{"ch": "orders:*", "ops": ["subscribe"]}], 403),
        ([PRICES, {"ch": "fills:1", "ops": ["subscribe"]}], 403),
        ("prices:*", 400),
        (None, 400),
        ([None], 400),
        ([{"ch": "prices:*"}], 400),
        ([{"ch": "prices:*", "ops": []}], 400),
        ([{"ch": "prices:*", "ops": ["admin"]}], 400),
        ([{"ch": "prices:*", "ops": ["subscribe"], "until": 1}], 400),
        ([{"ch": 1, "ops": ["subscribe"]}], 400),
        ([{"ch": "", "ops": ["subscribe"]}], 400),
        ([{"ch": "pri*ces", "ops": ["subscribe"]}], 400),
        ([{"ch": "prices:\n", "ops": ["subscribe"]}], 400),
        ([PRICES] * 257, 400),
    ],
)
async def test_wish_is_granted_within_the_configuration_alone(
    function: vercel_calls.TypeScript, channels: Any, status: int
) -> None:
    found = await asked(function, {"name": "desk-7", "channels": channels})
    assert found.status == status
    if status != 200:
        assert found.json["error"]["path"].startswith("$.channels")
        return
    allowed = [Grant("prices:*"), Grant("orders:desk-7", {"publish", "subscribe"})]
    identity = identity_of(found.json["token"])
    assert len(identity.grants) == len(channels)
    for grant in identity.grants:
        assert any(one.covers(grant.pattern) and grant.operations <= one.operations for one in allowed)


@pytest.mark.parametrize("ttl", [0, -1, 0.5, 301, 1e300, "60", True, [60]])
async def test_ttl_outside_of_its_bounds_is_a_400(function: vercel_calls.TypeScript, ttl: Any) -> None:
    found = await asked(function, {"name": "desk-7", "ttl": ttl})
    assert (found.status, found.json["error"]["path"]) == (400, "$.ttl")


async def test_longest_ttl_is_configured_up_to_an_hour(function: vercel_calls.TypeScript) -> None:
    found = await asked(function, {"name": "desk-7", "ttl": 3600}, changed(TOKEN_TTL="3600"))
    assert 3599 <= found.json["expires_at"] - time.time() <= 3601
    assert (await asked(function, {"name": "desk-7"}, changed(TOKEN_TTL="3601"))).json["error"]["code"] == 1001


# --- who asks, and how ---


@pytest.mark.parametrize("header", ["", "Bearer", f"Bearer {CALLER_SECRET}x", f"Bearer {SECRET}", CALLER_SECRET])
async def test_caller_without_the_secret_gets_no_token(function: vercel_calls.TypeScript, header: str) -> None:
    found = await asked(function, {"name": "desk-7"}, Authorization=header)
    assert (found.status, found.json["error"]["code"]) == (401, 101)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TOKEN_CALLER_SECRET", None),
        ("TOKEN_CALLER_SECRET", "short"),
        ("TOKEN_KEY", None),
        ("TOKEN_KEY", "x" * 31),
        ("TOKEN_GRANTS", None),
        ("TOKEN_GRANTS", "prices:*"),
        ("TOKEN_GRANTS", "[]"),
        ("TOKEN_GRANTS", '[{"ch": "prices:*", "ops": ["everything"]}]'),
        ("TOKEN_TTL", "0"),
        ("TOKEN_TTL", "a minute"),
        ("TOKEN_ORIGINS", "*"),
        ("TOKEN_ORIGINS", "https://desk.example/path"),
        ("TOKEN_ORIGINS", "desk.example"),
    ],
)
async def test_function_that_is_not_configured_issues_nothing_and_says_what_is_missing(
    function: vercel_calls.TypeScript, variable: str, value: str | None
) -> None:
    found = await asked(function, {"name": "desk-7"}, changed(**{variable: value}))
    assert (found.status, found.json["error"]["code"]) == (500, 1001)
    assert found.json["error"]["message"].startswith(f"{variable} ")
    assert SECRET not in found.body


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        "",
        "[]",
        "{name}",
        '{"name":""}',
        '{"name":7}',
        '{"name":"a\\u0000"}',
        json.dumps({"name": "x" * 257}),
        '{"name":"desk-7","name":"desk-8"}',
        '{"name":"desk-7","sub":"desk-8"}',
    ],
)
async def test_odd_body_is_a_400(function: vercel_calls.TypeScript, body: str) -> None:
    found = await asked(function, body)
    assert (found.status, found.json["error"]["code"]) == (400, 107)


async def test_other_methods_are_a_405(function: vercel_calls.TypeScript) -> None:
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        found = await asked(function, None, method=method)
        assert (found.status, found.headers["allow"]) == (405, "POST")


# --- pages of other origins ---


async def test_page_of_another_origin_may_read_nothing_unless_it_is_listed(function: vercel_calls.TypeScript) -> None:
    listed = changed(TOKEN_ORIGINS="https://desk.example, https://other.example:8443")
    for environment, origin in (
        (WELL, "https://desk.example"),
        (listed, "https://desk.example.evil"),
        (listed, "null"),
    ):
        found = await asked(function, {"name": "desk-7"}, environment, Origin=origin)
        assert "access-control-allow-origin" not in found.headers
        assert found.headers["vary"] == "Origin"
        preflight = await asked(function, None, environment, "OPTIONS", Origin=origin)
        assert preflight.status == 405
        assert "access-control-allow-origin" not in preflight.headers
    preflight = await asked(function, None, listed, "OPTIONS", Origin="https://other.example:8443")
    assert preflight.status == 204
    found = await asked(function, {"name": "desk-7"}, listed, Origin="https://other.example:8443")
    for one in (preflight, found):
        assert one.headers["access-control-allow-origin"] == "https://other.example:8443"
        assert one.headers["access-control-allow-credentials"] == "true"
        assert one.headers["vary"] == "Origin"
    # A refusal is to be read too.
    found = await asked(function, {}, listed, Origin="https://desk.example")
    assert (found.status, found.headers["access-control-allow-origin"]) == (400, "https://desk.example")


def test_server_asks_for_a_secret_of_the_same_length() -> None:
    with pytest.raises(ConfigError):
        TokenAuthentication(secret="x" * 31)
    TokenAuthentication(secret="x" * 32)
