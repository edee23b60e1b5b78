"""Clients that say who they are, in the opening handshake or on the connection, and those that don't."""

import asyncio
import contextlib
import ssl
from typing import Any

import pytest
import trustme
from tests.integration.conftest import UPGRADE, Certificates, Network
from tests.integration.identities import (
    DESK,
    JSON,
    KEY,
    PRICES,
    Order,
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
from tests.integration.raw_peer import raw_client
from tests.support.tokens import SECRET
from tests.support.waiting import until
from tests.support.wire import BINARY, TEXT, Frame

from websocket_utils import (
    Authenticate,
    Authenticated,
    AuthenticationFailed,
    ConnectionClosedError,
    Credentials,
    HandshakeError,
    Identity,
    Ping,
    Pong,
    PriceUpdate,
    ServerConnection,
    TokenAuthentication,
    Unauthorized,
    in_band,
    issue_token,
)

# --- in the opening handshake ---


async def test_client_with_a_token_is_known_from_the_101_on(network: Network) -> None:
    heard: list[tuple[str, int]] = []
    async with network.bind(authenticate=TokenAuthentication(secret=SECRET)) as server:

        def on_order(connection: ServerConnection, order: Order) -> None:
            assert connection.identity is not None
            assert connection.identity.may("subscribe", "prices:*")
            heard.append((connection.identity.name, order.number))

        server.on(Order, on_order)

        async with network.connect(server.url, token=issue_token(SECRET, "desk", PRICES)) as client, asyncio.timeout(5):
            server.broadcast(PriceUpdate("SOL", "USDC", 1.0, timestamp=1))
            assert (await client.receive(PriceUpdate)).price == 1.0
            client.send(Order(1))
            await until(lambda: heard == [("desk", 1)])
            assert len(server.connections) == 1
        assert server.stats().unauthorized == 0


@pytest.mark.parametrize("way", ["at once", "later"])
async def test_client_with_a_bad_token_gets_a_401_before_the_101(way: str, network: Network) -> None:
    authentication = by_key()

    async def later(credentials: Credentials) -> Identity:
        await asyncio.sleep(0)
        return authentication(credentials)

    async with network.bind(authenticate=later if way == "later" else authentication) as server:
        for headers in (bearer("wrong"), {"Authorization": "Basic ZGVzazpkZXNr"}, bearer("")):
            with pytest.raises(HandshakeError) as caught:
                await network.connect(server.url, headers=headers)
            error = caught.value
            assert (error.status, error.headers["www-authenticate"]) == (401, "Bearer")
            assert error.body in {b"unknown key\n", b"no key\n"}
        stats = server.stats()
        assert (stats.accepted, stats.rejected, stats.unauthorized) == (0, 3, 3)


async def test_token_is_read_from_one_header_in_any_case_and_never_from_the_query(plain: Network) -> None:
    async with plain.bind(authenticate=by_key()) as server:
        async with plain.connect(server.url, headers={"authorization": f"BEARER  {KEY}"}):
            (connection,) = server.connections
            assert connection.identity == DESK
        for query in ("token", "access_token", "authorization"):
            async with raw_client(
                server.url, UPGRADE.replace(b"/feed", b"/?%b=" % query.encode() + KEY.replace(" ", "+").encode()) % b""
            ) as peer:
                await say(peer, "Order", number=1)
                assert await closed_with(peer) == (4401, "Authenticate comes first")
        async with raw_client(server.url, None) as peer:
            peer.write(UPGRADE % (b"Authorization: Bearer %b\r\n" % KEY.encode() * 2))
            assert (await peer.read_head()).startswith(b"HTTP/1.1 400 ")


async def test_credentials_say_what_the_request_said(plain: Network) -> None:
    asked: list[Credentials] = []

    def authenticate(credentials: Credentials) -> Identity:
        asked.append(credentials)
        return DESK

    async with (
        plain.bind(authenticate=authenticate) as server,
        plain.connect(f"{server.url}/feed?a=1", token="abc", subprotocols=[JSON], headers={"X-Desk": "7"}),
    ):
        (one,) = asked
        assert (one.token, one.path, one.address, one.subprotocol) == ("abc", "/feed?a=1", "127.0.0.1", JSON)
        assert ("x-desk", "7") in one.headers
        assert one.peer_certificate is None


@pytest.mark.parametrize("subprotocols", [(), (JSON,)])
async def test_opening_waits_for_a_judgement_that_takes_time(subprotocols: Any, network: Network) -> None:
    switch = Switch()
    async with network.bind(authenticate=switch) as server:
        connecting = asyncio.ensure_future(
            network.connect(server.url, token="abc", subprotocols=list(subprotocols))._open()
        )
        await until(lambda: switch.answers)
        assert server.stats().accepted == 0
        assert not connecting.done()
        switch.answers[0].set_result(DESK)
        async with await connecting as client, asyncio.timeout(5):
            await client.subscribe("prices:SOL")
            await until(lambda: server.broadcast(PriceUpdate("SOL", "USDC", 2.0, timestamp=1)))
            assert (await client.receive(PriceUpdate)).price == 2.0


async def test_judgement_is_given_up_with_its_opening(plain: Network) -> None:
    switch = Switch()
    async with plain.bind(authenticate=switch, open_timeout=0.2) as server:
        # Its time is over.
        with pytest.raises((HandshakeError, TimeoutError)):
            await plain.connect(server.url, token="abc", open_timeout=5)
        # It leaves.
        async with raw_client(server.url, None) as peer:
            peer.write(UPGRADE % b"")
            await until(lambda: len(switch.answers) == 2)
        await until(lambda: all(answer.cancelled() for answer in switch.answers))
        # The server is closed.
        async with raw_client(server.url, None) as peer:
            peer.write(UPGRADE % b"")
            await until(lambda: len(switch.answers) == 3)
            await server.close()
            assert await peer.read_until_closed() == b""
        await until(switch.answers[2].cancelled)
        assert server.stats().accepted == 0
        assert server._acceptor.admission.count == 0


async def test_client_that_does_not_wait_for_its_answer_is_heard_afterwards_up_to_a_bound(plain: Network) -> None:
    switch, heard = Switch(), list[int]()
    async with plain.bind(authenticate=switch) as server:
        server.on(Order, lambda _, order: heard.append(order.number))
        async with raw_client(server.url, None) as peer:
            peer.write(UPGRADE % b"Authorization: Bearer abc\r\n")
            await until(lambda: switch.answers)
            for number in range(3):
                await say(peer, "Order", number=number)
            switch.answers[0].set_result(DESK)
            assert (await peer.read_head()).startswith(b"HTTP/1.1 101 ")
            await until(lambda: heard == [0, 1, 2])
        async with raw_client(server.url, None) as peer:
            peer.write(UPGRADE % b"Authorization: Bearer abc\r\n")
            await until(lambda: len(switch.answers) == 2)
            peer.write(b"x" * 20_000)
            assert (await peer.read_head()).startswith(b"HTTP/1.1 400 ")
            await until(switch.answers[1].cancelled)


@pytest.mark.parametrize("answer", [RuntimeError("the database says s3cret"), "desk", None], ids=repr)
@pytest.mark.parametrize("way", ["at once", "later"])
async def test_authenticate_that_fails_lets_nobody_in_and_says_nothing(
    way: str,
    answer: Any,
    plain: Network,
    quiet: Quiet,  # noqa: F811  # the fixture
) -> None:
    def at_once(credentials: Credentials) -> Identity:
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]  # the point of the test

    async def later(credentials: Credentials) -> Identity:
        await asyncio.sleep(0)
        return at_once(credentials)

    async with plain.bind(authenticate=later if way == "later" else at_once) as server:
        with pytest.raises(HandshakeError) as caught:
            await plain.connect(server.url, token="abc")
        assert (caught.value.status, caught.value.body) == (500, b"internal error\n")
        for _ in range(3):
            with pytest.raises(HandshakeError):
                await plain.connect(server.url, token="abc")
        # Each kind of error is a line at its first, tenth... time.
        assert len(quiet.errors) == 1
        quiet.errors.clear()


# --- on the connection ---


async def test_client_that_says_who_it_is_on_the_connection_is_told_so_and_gets_all_from_then_on(
    network: Network,
) -> None:
    async with network.bind(authenticate=by_key()) as server:
        async with (
            network.connect(server.url, authenticate=in_band(KEY), subprotocols=[JSON]) as client,
            asyncio.timeout(5),
        ):
            await client.subscribe("prices:SOL")
            server.broadcast(PriceUpdate("SOL", "USDC", 3.0, timestamp=1))
            assert (await client.receive(PriceUpdate)).price == 3.0
        assert server.stats().accepted == 1


@pytest.mark.parametrize("codec", ["json", "msgpack", "protobuf"])
async def test_every_codec_has_a_form_for_it(codec: Any, plain: Network) -> None:
    async with (
        plain.bind(authenticate=by_key()) as server,
        plain.connect(server.url, authenticate=in_band(lambda: KEY), codec=codec) as client,
        asyncio.timeout(5),
    ):
        client.send(Authenticate(KEY))
        assert await client.receive(Authenticated) == Authenticated("desk", None)


async def test_nothing_reaches_a_client_before_it_is_known_and_all_does_afterwards(plain: Network) -> None:
    switch = Switch()

    def authenticate(credentials: Credentials) -> Any:
        if credentials.token is None:
            raise Unauthorized
        return switch(credentials)

    async with plain.bind(authenticate=authenticate) as server, raw_client(server.url) as peer:
        await until(lambda: server.stats().accepted == 1)
        assert server.broadcast("early") == 0
        assert server.connections == frozenset()
        await say(peer, "Authenticate", token="abc")
        await until(lambda: switch.answers)
        assert server.broadcast("still early") == 0
        switch.answers[0].set_result(DESK)
        await until(lambda: server.connections)
        assert server.broadcast("late") == 1
        assert await hear(peer) == {"type": "Authenticated", "name": "desk", "expires_in": None}
        async with asyncio.timeout(5):
            assert (await peer.read_frame()).payload == b"late"


async def test_client_that_is_not_known_yet_may_ping_and_nothing_else(plain: Network) -> None:
    heard: list[Any] = []
    async with plain.bind(authenticate=by_key()) as server:
        server.on(Order, lambda _, order: heard.append(order))
        server.on(str, lambda _, text: heard.append(text))
        server.on(Authenticate, lambda _, message: heard.append(message))
        async with raw_client(server.url) as peer:
            for _ in range(3):
                await say(peer, "Ping")
                assert await hear(peer) == {"type": "Pong"}
            assert await peer.is_answered()
            await say(peer, "Authenticate", token=KEY)
            assert (await hear(peer))["type"] == "Authenticated"
            # Once, also now that others are asked about it.
            await say(peer, "Ping")
            await say(peer, "Order", number=1)
            assert await hear(peer) == {"type": "Pong"}
            await until(lambda: heard == [Order(1)])
            assert await peer.is_answered()
        for opcode, payload in (
            (TEXT, b'{"type":"Order","number":2}'),
            (TEXT, b'{"type":"Subscribe","channels":["prices:SOL"]}'),
            (TEXT, b'{"type":"Authenticate"}'),
            (TEXT, b'{"type":"Authenticate","token":7}'),
            (TEXT, b'{"type":"Authenticate","token":"' + b"x" * 30_000 + b'"}'),
            (TEXT, b"hello"),
            (TEXT, b""),
            (BINARY, b"\x00"),
        ):
            async with raw_client(server.url) as peer:
                peer.send(opcode, payload)
                assert await closed_with(peer) == (4401, "Authenticate comes first"), payload[:40]
        assert heard == [Order(1)]
        assert server._broadcaster.channel_sizes() == {}


async def test_message_behind_a_good_authenticate_is_heard_and_behind_a_bad_one_is_not(plain: Network) -> None:
    heard: list[int] = []
    async with plain.bind(authenticate=by_key()) as server:
        server.on(Order, lambda _, order: heard.append(order.number))
        for number, key in ((1, KEY), (2, "wrong")):
            async with raw_client(server.url) as peer:
                # In one piece.
                await say(peer, "Authenticate", token=key)
                await say(peer, "Order", number=number)
                if key == KEY:
                    await until(lambda: heard == [1])
                else:
                    assert await closed_with(peer) == (4401, "unknown key")
        assert heard == [1]


async def test_client_that_is_not_known_yet_can_send_no_big_message(plain: Network) -> None:
    async with plain.bind(authenticate=by_key()) as server:
        async with raw_client(server.url) as peer:
            # Refused by what its header declares: 64 KiB and one byte, of which none comes.
            peer.write(bytes((0x81, 0xFF)) + (65_537).to_bytes(8, "big") + bytes(4))
            assert (await closed_with(peer))[0] == 1009
        heard: list[str] = []
        server.on(str, lambda _, text: heard.append(text))
        async with known_peer(server) as peer:
            peer.send(TEXT, b"x" * 100_000)
            await until(lambda: heard == ["x" * 100_000])


async def test_client_that_says_nothing_in_time_is_closed(network: Network) -> None:
    async with network.bind(authenticate=by_key(), authenticate_timeout=0.1) as server:
        async with network.raw_client(server) as peer:
            frame = await peer.frame()
            assert frame is not None
            assert close_of(frame) == (4401, "not authenticated within 0.1 s")
        async with network.connect(server.url, authenticate=in_band(KEY)) as client, asyncio.timeout(5):
            # Who is known has all the time there is.
            async with network.raw_client(server) as peer:
                await peer.frame()
            assert client.is_connected
        assert server.stats().unauthorized == 2


async def test_pings_do_not_prolong_the_time_to_authenticate(plain: Network) -> None:
    async with plain.bind(authenticate=by_key(), authenticate_timeout=0.2) as server, raw_client(server.url) as peer:
        began = asyncio.get_running_loop().time()
        await say(peer, "Ping")
        while not isinstance(heard := await hear(peer), Frame):
            assert heard == {"type": "Pong"}
            await say(peer, "Ping")
        assert asyncio.get_running_loop().time() - began < 2


@pytest.mark.parametrize("way", ["at once", "later"])
async def test_client_that_is_refused_on_the_connection_is_asked_once_more_and_then_ends(
    way: str, plain: Network
) -> None:
    authentication, refreshed = by_key(), list[bool]()

    async def later(credentials: Credentials) -> Identity:
        await asyncio.sleep(0)
        return authentication(credentials)

    async def log_in(login: Any) -> None:
        refreshed.append(login.refresh)
        await in_band(KEY if login.refresh and way == "later" else "wrong")(login)

    async with plain.bind(authenticate=later if way == "later" else authentication) as server:
        if way == "later":
            async with plain.connect(server.url, authenticate=log_in) as client:
                assert (client.state, client.epoch) == ("live", 2)
        else:
            with pytest.raises(AuthenticationFailed, match="unknown key") as caught:
                await plain.connect(server.url, authenticate=log_in)
            assert isinstance(caught.value.__cause__, ConnectionClosedError)
        assert refreshed == [False, True]


async def test_client_that_says_nothing_of_itself_learns_why_it_is_closed(plain: Network) -> None:
    async with plain.bind(authenticate=by_key()) as server:
        client = await plain.connect(server.url, reconnect=False)
        with contextlib.suppress(ConnectionClosedError):
            await client.subscribe("prices:SOL")
        with pytest.raises(ConnectionClosedError) as caught:
            await client.receive(PriceUpdate)
        assert caught.value.received is not None
        assert caught.value.received.code == 4401
        await client.close()


async def test_one_judgement_at_a_time_is_made_for_a_connection(plain: Network) -> None:
    switch = Switch()

    def authenticate(credentials: Credentials) -> Any:
        return switch(credentials) if credentials.token is not None else by_key()(credentials)

    async with plain.bind(authenticate=authenticate) as server:
        async with raw_client(server.url) as peer:
            for _ in range(1000):
                await say(peer, "Authenticate", token="abc")
            assert await closed_with(peer) == (4401, "one Authenticate at a time")
            assert len(switch.answers) == 1
        await until(switch.answers[0].cancelled)
        # Other messages do not wait for it either.
        async with raw_client(server.url) as peer:
            await say(peer, "Authenticate", token="abc")
            await say(peer, "Order", number=1)
            assert await closed_with(peer) == (4401, "Authenticate comes first")
        # Nor does its time.
        async with raw_client(server.url) as peer:
            await say(peer, "Authenticate", token="abc")
            await until(lambda: len(switch.answers) == 3)
            switch.answers[2].set_exception(Unauthorized("not\ntoday"))
            assert await closed_with(peer) == (4401, "not\\ntoday")


@pytest.mark.parametrize("outcome", [RuntimeError("s3cret"), "desk", asyncio.CancelledError()], ids=repr)
async def test_authenticate_that_fails_on_the_connection_closes_it_with_1011_and_says_nothing(
    outcome: Any,
    plain: Network,
    quiet: Quiet,  # noqa: F811  # the fixture
) -> None:
    async def authenticate(credentials: Credentials) -> Identity:
        if credentials.token is None:
            raise Unauthorized
        await asyncio.sleep(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome  # type: ignore[no-any-return]  # the point of the test

    async with plain.bind(authenticate=authenticate) as server, raw_client(server.url) as peer:
        await say(peer, "Authenticate", token="abc")
        assert await closed_with(peer) == (1011, "internal error")
    assert len(quiet.errors) == 1
    quiet.errors.clear()


# --- TLS ---


async def test_certificate_of_a_client_is_among_its_credentials(transports: None) -> None:
    del transports
    authority = trustme.CA()
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server_side)
    authority.configure_trust(server_side)
    server_side.verify_mode = ssl.CERT_OPTIONAL
    client_side = ssl.create_default_context()
    authority.configure_trust(client_side)
    network = Network(Certificates(server_side, client_side))

    def authenticate(credentials: Credentials) -> Identity:
        certificate = credentials.peer_certificate
        if certificate is None:
            raise Unauthorized("no certificate")
        return Identity(dict(certificate["subjectAltName"])["DNS"], PRICES)

    async with network.bind(authenticate=authenticate, authenticate_timeout=0.1) as server:
        async with network.raw_client(server) as peer:
            end = await peer.frame()
            assert end is not None
            assert close_of(end)[0] == 4401
        authority.issue_cert("desk.example").configure_cert(client_side)
        async with network.connect(server.url) as client, asyncio.timeout(5):
            await until(lambda: server.connections)
            (connection,) = server.connections
            assert connection.identity is not None
            assert connection.identity.name == "desk.example"
            client.send(Ping())
            await client.receive(Pong)
