"""What follows from who a client is: how long, what, how many and how often."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests.integration.conftest import UPGRADE, Network
from tests.integration.identities import (
    DESK,
    JSON,
    KEY,
    OTHER_KEY,
    PRICES,
    Switch,
    bearer,
    by_key,
    close_of,
    closed_with,
    hear,
    known_peer,
    say,
)
from tests.integration.quiet import Quiet, frozen, quiet  # noqa: F401  # fixtures, used by every test
from tests.integration.raw_peer import RawPeer, raw_client
from tests.support.waiting import until
from tests.support.wire import TEXT, frame

from websocket_utils import (
    Credentials,
    Disconnected,
    Grant,
    HandshakeError,
    Identity,
    KeyAuthentication,
    Ping,
    Pong,
    PriceUpdate,
    Reconnected,
    SubscribeRejected,
    Unauthorized,
    WebSocketServer,
)

# --- for how long ---


def ending_in(seconds: float, *grants: Grant) -> Identity:
    return Identity("desk", grants or PRICES, time.time() + seconds)


@pytest.mark.parametrize("way", ["request", "connection"])
async def test_connection_ends_with_its_identity(way: str, network: Network) -> None:
    def authenticate(credentials: Credentials) -> Identity:
        if credentials.token is None:
            raise Unauthorized
        return ending_in(0.3)

    async with network.bind(authenticate=authenticate) as server:
        headers = b"Authorization: Bearer any\r\n" if way == "request" else b""
        async with network.raw_client(server, headers=headers) as peer:
            began = asyncio.get_running_loop().time()
            if way == "connection":
                await peer.write(frame(TEXT, b'{"type":"Authenticate","token":"any"}', masked=True))
                told = await peer.frame()
                assert told is not None
                assert 0 < json.loads(told.payload)["expires_in"] <= 0.3
            end = await peer.frame()
            assert end is not None
            assert close_of(end) == (4401, "token expired")
            assert 0.15 < asyncio.get_running_loop().time() - began < 3


async def test_identity_that_is_over_is_let_in_nowhere(plain: Network) -> None:
    async with plain.bind(authenticate=KeyAuthentication({KEY: ending_in(-1)})) as server:
        with pytest.raises(HandshakeError) as caught:
            await plain.connect(server.url, headers=bearer(KEY))
        assert (caught.value.status, caught.value.body) == (401, b"token expired\n")
        async with raw_client(server.url) as peer:
            await say(peer, "Authenticate", token=KEY)
            assert await closed_with(peer) == (4401, "token expired")


async def test_another_authenticate_before_the_end_puts_it_off(plain: Network) -> None:
    identities = [ending_in(0.4), ending_in(3600)]

    def authenticate(credentials: Credentials) -> Identity:
        if credentials.token is None:
            raise Unauthorized
        return identities.pop(0)

    async with plain.bind(authenticate=authenticate) as server, raw_client(server.url) as peer:
        await say(peer, "Authenticate", token="first")
        assert (await hear(peer))["expires_in"] <= 0.4
        await say(peer, "Authenticate", token="second")
        assert 3500 < (await hear(peer))["expires_in"] <= 3600
        (connection,) = server.connections
        known = server._authentication._known[connection]
        assert known.timer is not None
        # The timer of the first one is gone; the one there is looks again in an hour at the latest.
        assert 3500 < known.timer.when() - asyncio.get_running_loop().time() <= 3600
        assert await peer.is_answered()


async def test_clock_that_was_set_back_gives_a_connection_the_time_it_has(plain: Network) -> None:
    now = [1000.0]

    def authenticate(credentials: Credentials) -> Identity:
        return Identity("desk", PRICES, 1000.2)

    async with plain.bind(authenticate=authenticate) as server:
        assert server._authentication is not None
        server._authentication._wall_clock = lambda: now[0]
        async with network_peer(server) as peer:
            await until(lambda: server.connections)
            (known,) = server._authentication._known.values()
            now[0], timer = 999.9, known.timer
            # It has run, and found that there is time left.
            await until(lambda: known.timer is not timer)
            assert await peer.is_answered()
            now[0] = 1000.2
            assert await closed_with(peer) == (4401, "token expired")


@contextlib.asynccontextmanager
async def network_peer(server: WebSocketServer) -> AsyncIterator[RawPeer]:
    async with raw_client(server.url, UPGRADE % b"Authorization: Bearer any\r\n") as peer:
        yield peer


async def test_refused_renewal_ends_the_connection_and_so_does_one_for_somebody_else(plain: Network) -> None:
    async with plain.bind(authenticate=by_key()) as server:
        for key, reason in (("wrong", "unknown key"), (OTHER_KEY, "a connection keeps its identity")):
            async with known_peer(server) as peer:
                await say(peer, "Authenticate", token=key)
                assert await closed_with(peer) == (4401, reason)


@pytest.mark.parametrize("subprotocol", [JSON, None])
async def test_renewal_with_fewer_grants_ends_what_they_do_not_cover(subprotocol: str | None, plain: Network) -> None:
    identities = [Identity("desk", (Grant("*"),)), Identity("desk", PRICES)]
    request = UPGRADE % (b"Sec-WebSocket-Protocol: %b\r\n" % subprotocol.encode() if subprotocol else b"")

    def authenticate(credentials: Credentials) -> Identity:
        if credentials.token is None:
            raise Unauthorized
        return identities.pop(0)

    async with plain.bind(authenticate=authenticate) as server, raw_client(server.url, request) as peer:
        await say(peer, "Authenticate", token="first")
        await hear(peer)
        await say(peer, "Subscribe", channels=["prices:SOL", "orders:1", "*"])
        if subprotocol:
            assert (await hear(peer))["type"] == "Subscribed"
        await say(peer, "Authenticate", token="second")
        assert (await hear(peer))["type"] == "Authenticated"
        if not subprotocol:
            # It can't be told.
            assert await closed_with(peer) == (1008, "not permitted any more")
            return
        refusal = await hear(peer)
        assert (refusal["type"], refusal["code"], set(refusal["channels"])) == (
            "SubscriptionRejected",
            4403,
            {"orders:1", "*"},
        )
        server.publish("orders:1", "hidden")
        server.publish("prices:SOL", "seen")
        async with asyncio.timeout(5):
            assert (await peer.read_frame()).payload.endswith(b"seen")


async def test_client_whose_tokens_end_gets_a_fresh_one_for_each_connection(plain: Network) -> None:
    issued: list[str] = []

    def token(refresh: bool = False) -> str:
        issued.append("again" if refresh else "first")
        return KEY

    def authenticate(credentials: Credentials) -> Identity:
        return ending_in(0.3) if len(issued) == 1 else ending_in(60)

    async with (
        plain.bind(authenticate=authenticate) as server,
        plain.connect(server.url, token=token, subprotocols=[JSON]) as client,
        asyncio.timeout(5),
    ):
        await client.subscribe("prices:SOL")
        seen = [event async for event in first(client, 2)]
        assert [type(event) for event in seen] == [Disconnected, Reconnected]
        assert issued == ["first", "again"]
        await until(lambda: server.publish("prices:SOL", PriceUpdate("SOL", "USDC", 4.0, timestamp=1)).subscribers)


async def first(client: Any, count: int) -> AsyncIterator[Any]:
    async for event in client.events(PriceUpdate):
        if isinstance(event, Disconnected | Reconnected) and not (isinstance(event, Reconnected) and event.epoch == 1):
            yield event
            count -= 1
            if not count:
                return


# --- what it may do ---


async def test_grants_say_what_may_be_subscribed_to(plain: Network) -> None:
    async with (
        plain.bind(authenticate=by_key()) as server,
        plain.connect(server.url, token=KEY, subprotocols=[JSON]) as client,
        asyncio.timeout(5),
    ):
        for name in ("prices:SOL", "prices:*", "prices:S*", "orders:1"):
            await client.subscribe(name)
        for name in ("orders:2", "orders:*", "*", "price*", "prices"):
            with pytest.raises(SubscribeRejected) as caught:
                await client.subscribe(name)
            assert caught.value.code == 4403, name
        (connection,) = server.connections
        assert set(connection.channels) == {"prices:SOL", "prices:*", "prices:S*", "orders:1"}


async def test_wildcard_needs_a_grant_for_all_it_covers_and_not_one_for_each_channel(plain: Network) -> None:
    each = Identity("desk", (Grant("prices:SOL"), Grant("prices:ETH")))
    async with (
        plain.bind(authenticate=KeyAuthentication({KEY: each})) as server,
        plain.connect(server.url, token=KEY, subprotocols=[JSON]) as client,
        asyncio.timeout(5),
    ):
        with pytest.raises(SubscribeRejected):
            await client.subscribe("prices:*")
        await client.subscribe("prices:SOL", "prices:ETH")


async def test_plain_client_that_asks_for_what_it_may_not_have_is_closed(plain: Network) -> None:
    async with plain.bind(authenticate=by_key()) as server, known_peer(server) as peer:
        await say(peer, "Subscribe", channels=["orders:2"])
        assert (await closed_with(peer))[0] == 1008


async def test_server_without_authentication_has_no_identities_and_asks_for_none(plain: Network) -> None:
    async with plain.bind() as server, raw_client(server.url) as peer:
        await until(lambda: server.connections)
        (connection,) = server.connections
        assert connection.identity is None
        await say(peer, "Authenticate", token="abc")
        await say(peer, "Subscribe", channels=["anything"])
        await until(lambda: connection.channels)
        assert server.stats().unauthorized == 0


# --- how many, how often ---


@pytest.mark.parametrize("way", ["request", "connection", "both at once"])
async def test_connections_of_one_identity_are_limited_and_find_room_again(way: str, plain: Network) -> None:
    switch = Switch()
    hook: Callable[[Credentials], Any] = switch if way == "both at once" else by_key()
    async with plain.bind(authenticate=hook, max_connections_per_identity=1) as server:
        if way == "request":
            async with plain.connect(server.url, token=KEY), plain.connect(server.url, token=OTHER_KEY):
                with pytest.raises(HandshakeError) as caught:
                    await plain.connect(server.url, token=KEY)
                assert (caught.value.status, caught.value.headers["retry-after"]) == (503, "1")
            await until(lambda: not server._connections)
            async with plain.connect(server.url, token=KEY):
                pass
        elif way == "connection":
            async with known_peer(server), known_peer(server, key=OTHER_KEY), raw_client(server.url) as peer:
                await say(peer, "Authenticate", token=KEY)
                assert await closed_with(peer) == (1013, "too many connections of this identity")
            await until(lambda: not server._connections)
            async with known_peer(server):
                pass
        else:
            async with network_opening(server) as one, network_opening(server) as other:
                await until(lambda: len(switch.answers) == 2)
                for answer in switch.answers:
                    answer.set_result(DESK)
                for peer in (one, other):
                    assert (await peer.read_head()).startswith(b"HTTP/1.1 101 ")
                assert await one.is_answered()
                assert await closed_with(other) == (1013, "too many connections of this identity")
        await until(lambda: not server._connections)
        assert server._authentication is not None
        # Nothing is left of who is gone.
        assert (len(server._authentication._by_name), len(server._authentication._known)) == (0, 0)


@contextlib.asynccontextmanager
async def network_opening(server: WebSocketServer) -> AsyncIterator[RawPeer]:
    async with raw_client(server.url, None) as peer:
        peer.write(UPGRADE % b"Authorization: Bearer any\r\n")
        yield peer


@pytest.mark.parametrize("subprotocol", [JSON, None])
async def test_commands_that_come_too_often_are_not_done_and_the_client_is_told(
    subprotocol: str | None, plain: Network
) -> None:
    request = UPGRADE % (b"Sec-WebSocket-Protocol: %b\r\n" % subprotocol.encode() if subprotocol else b"")
    async with plain.bind(commands_per_second=1) as server, raw_client(server.url, request) as peer:
        await say(peer, "Subscribe", channels=["a"])
        await say(peer, "Subscribe", channels=["b"])
        await say(peer, "Subscribe", channels=["c", "d"])
        if subprotocol is None:
            assert await closed_with(peer) == (1008, "too many commands")
            return
        answers = [await hear(peer) for _ in range(3)]
        assert [(one["type"], one["channels"]) for one in answers] == [
            ("Subscribed", ["a"]),
            ("Subscribed", ["b"]),
            ("SubscriptionRejected", ["c", "d"]),
        ]
        assert answers[2]["code"] == 4429
        (connection,) = server.connections
        assert set(connection.channels) == {"a", "b"}
        # Left undone it would cost more.
        await say(peer, "Unsubscribe", channels=["a"])
        await until(lambda: set(connection.channels) == {"b"})
        await say(peer, "Ping")
        assert await peer.is_answered()
        assert server.stats().commands_refused == 2


@pytest.mark.parametrize(("subprotocol", "code"), [(JSON, 4429), (None, 1008)])
async def test_client_that_never_stops_asking_is_closed(subprotocol: str | None, code: int, plain: Network) -> None:
    request = UPGRADE % (b"Sec-WebSocket-Protocol: %b\r\n" % subprotocol.encode() if subprotocol else b"")
    async with plain.bind(commands_per_second=5) as server, raw_client(server.url, request) as peer:
        for _ in range(200):
            await say(peer, "Ping")
        pongs = 0
        while isinstance(heard := await hear(peer), dict):
            pongs += 1
        assert close_of(heard) == (code, "too many commands")
        assert pongs < 50


async def test_commands_have_no_limit_where_none_is_set_and_pings_count_before_authentication_too(
    plain: Network,
) -> None:
    async with plain.bind(commands_per_second=None) as server, raw_client(server.url) as peer:
        for _ in range(5000):
            await say(peer, "Ping")
        async with asyncio.timeout(10):
            for _ in range(5000):
                assert (await peer.read_frame()).payload == b'{"type":"Pong"}'
    async with plain.bind(authenticate=by_key(), commands_per_second=5) as server, raw_client(server.url) as peer:
        for _ in range(200):
            await say(peer, "Ping")
        assert await closed_with(peer) == (1008, "too many commands")


async def test_client_of_this_package_meets_no_limit_of_commands_by_default(plain: Network) -> None:
    async with (
        plain.bind() as server,
        plain.connect(server.url, subprotocols=[JSON]) as client,
        asyncio.timeout(15),
    ):
        await asyncio.gather(*(client.subscribe(f"prices:{number}") for number in range(1024)))
        for _ in range(100):
            client.send(Ping())
            await client.receive(Pong)
        assert server.stats().commands_refused == 0
