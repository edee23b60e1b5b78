"""Where a client goes and with what: URLs, credentials, headers, redirects, and settings that are none."""

import base64
import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from tests.integration.conftest import Certificates, Network
from tests.integration.conftest import RawPeer as HeadPeer
from tests.integration.quiet import Quiet, frozen, quiet  # noqa: F401  # fixtures, used by every test
from tests.integration.raw_peer import RawPeer, raw_server
from tests.support.wire import CLOSE, close_payload

from websocket_utils import (
    ConfigError,
    ConnectionClosedError,
    HandshakeError,
    InvalidURL,
    WebSocketClient,
    WebSocketConfig,
    WebSocketServer,
)

PRICE = '{"type":"PriceUpdate","input_mint":"SOL","output_mint":"USDC","price":1.5,"timestamp":1}'


@pytest.mark.parametrize(
    ("userinfo", "pair"),
    [("alice:s3cret", "alice:s3cret"), ("al%40ice:s%2F3", "al@ice:s/3"), ("token", "token:"), (":pw", ":pw")],
)
async def test_credentials_of_the_url_travel_in_one_header_and_show_nowhere(
    userinfo: str, pair: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    requests: list[bytes] = []

    async def script(peer: RawPeer) -> None:
        requests.append((await peer.upgrade()).request)
        peer.send(CLOSE, close_payload(4000))
        await peer.read_close()

    async with raw_server(script) as server:
        url = f"ws://{userinfo}@127.0.0.1:{server.port}/feed"
        async with WebSocketClient.connect(url, reconnect=False) as client:
            with pytest.raises(ConnectionClosedError) as caught:
                await client.receive()
            shown = [repr(client), client.url, *traceback.format_exception(caught.value), caplog.text]
    head = requests[0].decode()
    assert head.startswith("GET /feed HTTP/1.1\r\n")
    assert f"\r\nHost: 127.0.0.1:{server.port}\r\n" in head
    assert head.count(f"\r\nAuthorization: Basic {base64.b64encode(pair.encode()).decode()}\r\n") == 1
    secrets = [part for part in (*userinfo.split(":"), *pair.split(":")) if part]
    for text in shown:
        assert not any(secret in text for secret in secrets), text


async def test_credentials_show_in_no_error_of_the_handshake(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    # Tracebacks show source lines: it must not stand in one.
    password = "".join(["s3", "cret"])

    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        peer.answer("401 Unauthorized")

    async with raw_server(script) as server:
        with pytest.raises(HandshakeError) as caught:
            await WebSocketClient.connect(f"ws://alice:{password}@127.0.0.1:{server.port}")
    text = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(caught.value)
    assert password not in text
    assert base64.b64encode(f"alice:{password}".encode()).decode() not in text


async def test_token_of_the_query_travels_and_shows_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    # Tracebacks show source lines: it must not stand in one.
    token = "".join(["s3", "cret"])
    requests: list[bytes] = []

    async def script(peer: RawPeer) -> None:
        if not requests:
            requests.append((await peer.upgrade()).request)
            peer.send(CLOSE, close_payload(4000))
            await peer.read_close()
            return
        requests.append(await peer.read_head())
        if len(requests) == 2:
            peer.answer("302 Found", f"Location: /elsewhere?session={token}")
        elif len(requests) == 3:
            await peer.read_until_closed()

    shown: list[str] = []
    async with raw_server(script) as server:
        url = f"ws://127.0.0.1:{server.port}/feed?token={token}"
        async with WebSocketClient.connect(url, reconnect=False) as client:
            shown += [repr(client), client.url]
            with pytest.raises(ConnectionClosedError) as caught:
                await client.receive()
            shown += traceback.format_exception(caught.value)
        # A redirect that is not followed, an answer that never comes, and one that ends in the middle.
        for error in (HandshakeError, TimeoutError, HandshakeError):
            with pytest.raises(error) as failed:
                await WebSocketClient.connect(url, open_timeout=0.2)
            shown += [*traceback.format_exception(failed.value), repr(failed.value)]
    # Nobody listens there any more.
    with pytest.raises(ConnectionRefusedError) as refused:
        await WebSocketClient.connect(url)
    shown += traceback.format_exception(refused.value)
    assert all(request.startswith(f"GET /feed?token={token} ".encode()) for request in requests)
    assert len(requests) == 4
    assert [text for text in (*shown, caplog.text) if token in text] == []
    assert "/feed?..." in "".join(shown)


async def test_server_shows_no_token_of_its_clients(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with (
        WebSocketServer.bind("127.0.0.1:0") as server,
        WebSocketClient.connect(f"{server.url}/feed?token=s3cret", headers={"Cookie": "s3cret"}),
    ):
        (connection,) = server.connections
        assert connection.path == "/feed?token=s3cret"
        assert "/feed?..." in repr(connection)
        assert "s3cret" not in repr(connection) + repr(server)
    assert "s3cret" not in caplog.text


async def test_header_of_the_caller_goes_before_credentials_of_the_url() -> None:
    requests: list[bytes] = []

    async def script(peer: RawPeer) -> None:
        requests.append((await peer.upgrade()).request)
        await peer.read_close()
        peer.send(CLOSE, close_payload(1000))

    async with (
        raw_server(script) as server,
        WebSocketClient.connect(f"ws://u:p@127.0.0.1:{server.port}", headers={"authorization": "Bearer x"}),
    ):
        pass
    assert requests[0].lower().count(b"\r\nauthorization: ") == 1
    assert b"\r\nauthorization: Bearer x\r\n" in requests[0]


async def test_reason_of_a_close_frame_adds_no_line_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def script(peer: RawPeer) -> None:
        await peer.upgrade()
        peer.send(CLOSE, close_payload(4000, "bye\nERROR all is lost\x1b[2J"))
        await peer.read_close()

    async with raw_server(script) as server, WebSocketClient.connect(server.url, reconnect=False) as client:
        with pytest.raises(ConnectionClosedError):
            await client.receive()
    (record,) = [record for record in caplog.records if "all is lost" in record.getMessage()]
    assert record.getMessage().isprintable()


@pytest.mark.parametrize(
    ("headers", "subprotocols", "fault"),
    [
        ({"X-Token": "a\r\nX-Injected: b"}, (), "X-Token"),
        ({"X-Token": "a\x00b"}, (), "X-Token"),
        ({"X-Token": "a\x85b€"}, (), "X-Token"),
        ({"X Token": "a"}, (), "X Token"),
        ({"": "a"}, (), "''"),
        ({"X:": "a"}, (), "X:"),
        ({}, ("a b",), "a b"),
        ({}, ("a\r\nX: y",), "subprotocol"),
        ({}, ("",), "subprotocol"),
        ({}, ("a", "a"), "twice"),
    ],
)
async def test_header_or_subprotocol_that_would_inject_lines_is_a_config_error(
    headers: dict[str, str], subprotocols: tuple[str, ...], fault: str
) -> None:
    with pytest.raises(ConfigError, match=fault):
        WebSocketClient.connect("ws://127.0.0.1:1", headers=headers, subprotocols=subprotocols)


def redirect_to(location: str, status: str = "302 Found") -> Callable[[RawPeer], Any]:
    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        peer.answer(status, f"Location: {location}")

    return script


@pytest.mark.parametrize(
    "status",
    ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"],
)
async def test_redirect_is_followed_only_when_asked_for(status: str) -> None:
    async def destination(peer: RawPeer) -> None:
        await peer.upgrade()
        await peer.read_close()
        peer.send(CLOSE, close_payload(1000))

    async with (
        raw_server(destination) as there,
        raw_server(redirect_to(f"http://127.0.0.1:{there.port}/new", status)) as here,
    ):
        with pytest.raises(HandshakeError) as caught:
            await WebSocketClient.connect(here.url)
        assert caught.value.status == int(status[:3])
        assert "follow_redirects" in str(caught.value)
        assert f"http://127.0.0.1:{there.port}/new" in str(caught.value)
        assert there.accepted == 0
        async with WebSocketClient.connect(here.url, follow_redirects=1):
            assert there.accepted == 1


async def test_redirect_to_another_origin_takes_no_credentials_along() -> None:
    requests: list[bytes] = []

    async def destination(peer: RawPeer) -> None:
        requests.append((await peer.upgrade()).request)
        await peer.read_close()
        peer.send(CLOSE, close_payload(1000))

    async with raw_server(destination) as there, raw_server(redirect_to(f"ws://127.0.0.1:{there.port}/")) as here:
        url = f"ws://alice:s3cret@127.0.0.1:{here.port}"
        secrets = [
            "Cookie",
            "authorization",
            "Proxy-Authorization",
            "X-API-Key",
            "KC-API-PASSPHRASE",
            "CB-ACCESS-SIGN",
            "X-Auth-Token",
            "x-session-id",
            "Client-Secret",
        ]
        headers = {"X-Kept": "yes", "User-Agent": "desk", "Host": "here.example", **dict.fromkeys(secrets, "s3cret")}
        async with WebSocketClient.connect(f"{url}?token=s3cret", headers=headers, follow_redirects=3):
            pass
    head = requests[0].lower()
    assert b"\r\nx-kept: yes\r\nuser-agent: desk\r\n" in head
    assert b"s3cret" not in head
    assert not any(f"\r\n{name.lower()}:".encode() in head for name in secrets)
    assert f"\r\nhost: 127.0.0.1:{there.port}\r\n".encode() in head


async def test_host_of_its_own_is_for_the_server_that_it_was_given_for() -> None:
    requests: list[bytes] = []

    async def destination(peer: RawPeer) -> None:
        requests.append((await peer.upgrade()).request)
        await peer.read_close()
        peer.send(CLOSE, close_payload(1000))

    async def first(peer: RawPeer) -> None:
        requests.append(await peer.read_head())
        peer.answer("302 Found", f"Location: ws://127.0.0.1:{there.port}/")

    async with (
        raw_server(destination) as there,
        raw_server(first) as here,
        WebSocketClient.connect(here.url, headers={"Host": "desk.example"}, follow_redirects=1),
    ):
        pass
    assert b"\r\nHost: desk.example\r\n" in requests[0]
    assert b"\r\nHost: 127.0.0.1:%d\r\n" % there.port in requests[1]
    assert b"desk.example" not in requests[1]


async def test_redirect_within_the_origin_keeps_credentials() -> None:
    requests: list[bytes] = []

    async def script(peer: RawPeer) -> None:
        if not requests:
            requests.append(await peer.read_head())
            peer.answer("307 Temporary Redirect", "Location: /elsewhere")
            return
        requests.append((await peer.upgrade()).request)
        await peer.read_close()
        peer.send(CLOSE, close_payload(1000))

    async with (
        raw_server(script) as server,
        WebSocketClient.connect(f"ws://u:p@127.0.0.1:{server.port}/first", headers={"Cookie": "c"}, follow_redirects=1),
    ):
        pass
    assert requests[1].startswith(b"GET /elsewhere HTTP/1.1\r\n")
    assert b"Authorization: Basic dTpw\r\n" in requests[1]
    assert b"Cookie: c\r\n" in requests[1]


async def test_redirect_from_wss_to_ws_is_refused_and_nothing_is_sent(certificates: Certificates) -> None:
    async def to_plain(peer: HeadPeer) -> None:
        await peer.write(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://%b/\r\n\r\n" % where.encode())
        await peer.reader.read()

    async def never(peer: RawPeer) -> None:
        pytest.fail("it was connected to")

    async with raw_server(never) as plain:
        where = f"127.0.0.1:{plain.port}"
        async with Network(certificates).raw_server(to_plain) as url:
            with pytest.raises(InvalidURL, match="would give up encryption"):
                await WebSocketClient.connect(url, ssl=certificates.client, follow_redirects=3)
        assert plain.accepted == 0


async def test_redirects_end_at_the_limit() -> None:
    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        peer.answer("302 Found", "Location: /again")

    async with raw_server(script) as server:
        with pytest.raises(HandshakeError) as caught:
            await WebSocketClient.connect(server.url, follow_redirects=5)
        assert caught.value.status == 302
        assert server.accepted == 6


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/", "ws://[::1", "http://user:s3cret@:99999/", "ws://h/#f"])
async def test_redirect_to_no_websocket_url_is_an_error_that_shows_no_password(location: str) -> None:
    async with raw_server(redirect_to(location)) as server:
        with pytest.raises(InvalidURL) as caught:
            await WebSocketClient.connect(server.url, follow_redirects=1)
        assert "s3cret" not in str(caught.value)


def test_invalid_settings_of_the_environment_are_reported_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {"WS_PORT": "many", "WS_PING_INTERVAL": "-1", "WS_RECONNECT_INTERVAL": "soon", "WS_MAX_MESSAGE_SIZE": "0"}
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        WebSocketConfig.from_env()
    assert {fault.partition(":")[0] for fault in caught.value.faults} == wrong.keys()
    assert all(name in str(caught.value) for name in wrong)


async def test_all_wrong_settings_of_a_call_are_reported_at_once_and_nothing_is_opened() -> None:
    with pytest.raises(ConfigError) as caught:
        WebSocketClient.connect("ws://127.0.0.1:1", ping_interval=-1, max_inbox=0)
    assert len(caught.value.faults) == 2
    with pytest.raises(ConfigError):
        WebSocketServer.bind("127.0.0.1:0", max_lag=0)
    for address in ("", "8080", "localhost", "localhost:x", "localhost:65536", "localhost:-1"):
        with pytest.raises(ValueError, match="invalid address"):
            WebSocketServer.bind(address)
