"""What a client does over many connections: logs in, asks its providers, exchanges a connection, measures downtime."""

import asyncio
from typing import Any

import pytest
from tests.integration.quiet import frozen, quiet  # noqa: F401  # fixtures, used by every test
from tests.integration.strategy import AT_ONCE, JSON, nothing_left, price, watched  # noqa: F401  # one is a fixture

from websocket_utils import (
    AuthenticationFailed,
    Disconnected,
    Gap,
    Login,
    Message,
    PriceUpdate,
    Reconnected,
    Subscribed,
    WebSocketClient,
)
from websocket_utils.testing import Drop, FaultConnection, FaultServer, HttpAnswer, NeverAck, Serve, SlowHandshake

pytestmark = pytest.mark.usefixtures("nothing_left")


class Welcome(Message):
    """What the server of these tests answers to a login."""

    ok: bool


class Door:
    """A server that asks who is there: it says yes to good keys alone, and nothing to the key `silence`."""

    def __init__(self, *good: str) -> None:
        self.good = good
        self.heard: list[tuple[int, str]] = []

    def on_message(self, connection: FaultConnection, message: str | bytes) -> None:
        if isinstance(message, str) and message.startswith("key "):
            key = message.removeprefix("key ")
            self.heard.append((connection.number, key))
            if key != "silence":
                connection.send(Welcome(key in self.good))


def login(keys: list[str], refreshed: list[bool]) -> Any:
    async def authenticate(login: Login) -> None:
        refreshed.append(login.refresh)
        login.send(f"key {keys.pop(0)}")
        if not (await login.receive(Welcome)).ok:
            raise AuthenticationFailed("not with that key")

    return authenticate


def connect(server: FaultServer, **settings: Any) -> Any:
    return WebSocketClient.connect(
        server.url, **{"subprotocols": JSON, "reconnect": AT_ONCE, "max_reconnect_attempts": None, **settings}
    )


async def test_each_connection_is_authenticated_before_it_subscribes() -> None:
    door, refreshed = Door("1", "2"), list[bool]()
    async with (
        asyncio.timeout(10),
        FaultServer(on_message=door.on_message) as server,
        connect(server, authenticate=login(["1", "2"], refreshed)) as client,
        watched(client) as seen,
    ):
        await client.subscribe("a")
        server.reset_all()
        await seen.until_seen(("Reconnected", 2))
        assert door.heard == [(0, "1"), (1, "2")]
        assert refreshed == [False, False]
        # The subscription came behind it, on both.
        assert [str(message)[:4] for message in server.received] == ["key ", '{"ty', "key ", '{"ty']
        # The answer is no message of the stream.
        assert [word for word in seen.words if isinstance(word, Welcome)] == []


async def test_credentials_that_were_refused_once_are_had_anew() -> None:
    door, refreshed = Door("good"), list[bool]()
    async with (
        asyncio.timeout(10),
        FaultServer(on_message=door.on_message) as server,
        connect(server, authenticate=login(["good", "old", "good"], refreshed)) as client,
        watched(client) as seen,
    ):
        server.reset_all()
        await seen.until_seen(("Reconnected", 3))
        assert refreshed == [False, False, True]
        assert isinstance(seen.of(Disconnected)[1].error, AuthenticationFailed)


async def test_credentials_that_are_refused_twice_end_the_client() -> None:
    door, refreshed = Door("good"), list[bool]()
    async with asyncio.timeout(10), FaultServer(on_message=door.on_message) as server:
        client = await connect(server, authenticate=login(["good", "old", "older"], refreshed))
        async with watched(client) as seen:
            server.reset_all()
            await seen.until(lambda: seen.has_ended)
        assert isinstance(seen.error, AuthenticationFailed)
        assert (client.state, server.accepted, refreshed) == ("failed", 3, [False, False, True])
        await client.close()


async def test_first_connection_that_is_refused_twice_raises() -> None:
    door, refreshed = Door(), list[bool]()
    async with asyncio.timeout(10), FaultServer(on_message=door.on_message) as server:
        with pytest.raises(AuthenticationFailed):
            await connect(server, authenticate=login(["1", "2"], refreshed))
        assert (server.accepted, refreshed) == (2, [False, True])


async def test_login_that_is_never_answered_is_given_up_and_tried_on_the_next_connection() -> None:
    door, refreshed = Door("good"), list[bool]()
    async with (
        asyncio.timeout(10),
        FaultServer(on_message=door.on_message) as server,
        connect(server, authenticate=login(["good", "silence", "good"], refreshed), authenticate_timeout=0.1) as client,
        watched(client) as seen,
    ):
        server.reset_all()
        await seen.until_seen(("Reconnected", 3))
        assert isinstance(seen.of(Disconnected)[1].error, TimeoutError)
        assert refreshed == [False, False, False]


async def test_callable_for_the_login_that_fails_ends_the_client_when_it_fails_again() -> None:
    async def authenticate(login: Login) -> None:
        del login
        raise RuntimeError("no key in the vault")

    async with asyncio.timeout(10), FaultServer() as server:
        with pytest.raises(AuthenticationFailed, match="no key in the vault"):
            await connect(server, authenticate=authenticate)
        assert server.accepted == 2


async def test_providers_are_asked_for_each_dial_and_told_what_was_refused() -> None:
    asked: list[str] = []
    async with FaultServer() as first, FaultServer([HttpAnswer(401), Serve()]) as second, asyncio.timeout(10):

        async def url() -> str:
            asked.append("url")
            return first.url if len(asked) == 1 else second.url

        def token(refresh: bool = False) -> str:
            asked.append(f"token {refresh}")
            return f"t{len(asked)}"

        async with (
            WebSocketClient.connect(
                url, token=token, headers=lambda: {"X-Dial": str(len(asked))}, reconnect=AT_ONCE
            ) as client,
            watched(client) as seen,
        ):
            first.reset_all()
            await seen.until_seen(("Reconnected", 2))
            assert asked == ["url", "token False", "url", "token False", "url", "token True"]
            assert [request.values("authorization") for request in second.requests] == [("Bearer t4",), ("Bearer t6",)]
            assert [request.values("x-dial") for request in second.requests] == [("3",), ("5",)]


async def test_old_connection_is_exchanged_for_a_new_one_without_a_moment_without_one() -> None:
    async with (
        asyncio.timeout(10),
        FaultServer() as server,
        connect(server, max_connection_age=0.2) as client,
        watched(client) as seen,
    ):
        await client.subscribe("a")

        async def publish() -> None:
            number = 0
            while True:
                number += 1
                assert server.publish(price(number), "a") >= 1
                await asyncio.sleep(0.002)

        publishing = asyncio.create_task(publish())
        try:
            await seen.until_seen(("Reconnected", 3))
        finally:
            publishing.cancel()
        assert seen.of(Disconnected) == []
        assert [item.downtime_ns for item in seen.of(Reconnected)] == [0, 0]
        # Without a key nothing proves that none is missing or comes twice from one connection to the next, and that is
        # said. What one connection brings is complete and in order.
        assert [item.channel for item in seen.of(Gap)] == ["a", "a"]
        brought: list[list[int]] = [[]]
        for item in seen.items:
            if isinstance(item, Reconnected):
                brought.append([])
            elif isinstance(item, PriceUpdate):
                brought[-1].append(item.timestamp)
        assert all(numbers == list(range(numbers[0], numbers[-1] + 1)) for numbers in brought if numbers)
        last = [numbers[-1] for numbers in brought[:2]]
        assert last == sorted(set(last))
        # The old ones were closed, and told so.
        await server.until(lambda: server.close_codes[:2] == [1000, 1000])


async def test_reconnect_exchanges_the_connection_and_keeps_it_where_there_is_no_other() -> None:
    broken = [HttpAnswer(503), Drop(), SlowHandshake(stops_after=20), NeverAck(), Drop(at="subscribe")]
    async with (
        asyncio.timeout(10),
        FaultServer([Serve(), Serve(), *broken]) as server,
        connect(server, open_timeout=0.1, subscribe_timeout=0.1) as client,
        watched(client) as seen,
    ):
        await client.subscribe("a")
        assert await client.reconnect()
        assert (client.epoch, client.state) == (2, "live")
        for _ in broken:
            assert not await client.reconnect()
            assert (client.epoch, client.state) == (2, "live")
        await server.until(lambda: sum(one.is_open for one in server.connections) == 1)
        server.publish(price(1), "a")
        await seen.until_seen(1)
        assert seen.of(Disconnected) == []


async def test_successor_takes_over_where_the_connection_is_lost_while_it_is_made() -> None:
    async with (
        asyncio.timeout(10),
        FaultServer([Serve(), NeverAck()]) as server,
        connect(server, subscribe_timeout=5) as client,
        watched(client) as seen,
    ):
        await client.subscribe("a")
        rotating = asyncio.ensure_future(client.reconnect())
        await server.until(lambda: server.subscriptions.get(1) == ["a"])
        server.connections[0].reset()
        await seen.until_seen(("Disconnected", 1))
        # It had not been acknowledged yet; now it is.
        assert client.state == "restoring"
        server.connections[-1].send(Subscribed(["a"]))
        await seen.until_seen(("Reconnected", 2))
        assert seen.words == [("Disconnected", 1), ("Gap", "a"), ("Reconnected", 2)]
        assert server.accepted == 2
        await rotating


async def test_downtime_is_split_into_phases_that_sum_up_to_it() -> None:
    async with (
        asyncio.timeout(10),
        FaultServer([Serve(), [SlowHandshake(delay=0.1), HttpAnswer(500)], SlowHandshake(delay=0.05)]) as server,
        connect(server) as client,
        watched(client) as seen,
    ):
        await client.subscribe("a")
        server.reset_all()
        await seen.until_seen(("Reconnected", 2))
        server.publish(price(1), "a")
        await seen.until_seen(1)
        stats = client.stats()
        (downtime,) = stats.downtimes
        assert downtime.epoch == 2
        assert downtime.total_ns == seen.of(Reconnected)[0].downtime_ns == stats.downtime_ns
        assert downtime.tls_ns is None
        assert downtime.upgrade_ns is not None
        assert downtime.upgrade_ns >= 50_000_000
        # A dial that was refused is part of the wait.
        assert downtime.wait_ns >= 100_000_000
        parts = (
            *(downtime.wait_ns, downtime.provider_ns, downtime.dns_ns, downtime.tcp_ns),
            *(downtime.upgrade_ns, downtime.subscribe_ns),
        )
        known = sum(part or 0 for part in parts)
        assert known <= downtime.total_ns
        # What lies between the phases is this process's own.
        assert downtime.total_ns - known < 50_000_000
        assert downtime.first_data_ns is not None
        assert downtime.first_data_ns >= downtime.total_ns - downtime.subscribe_ns
        assert (stats.connects, stats.reconnects, stats.state) == (2, 1, "live")
