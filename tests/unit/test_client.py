"""What a client decides before there is a connection; its life is in tests/integration."""

import pytest

from websocket_utils import (
    ConfigError,
    DecodeError,
    InvalidURL,
    PriceUpdate,
    WebSocketClient,
    WebSocketConfig,
)

URL = "ws://alice:s3cret@127.0.0.1:1/feed"


async def client_of(**options: object) -> WebSocketClient:
    return WebSocketClient.connect(URL, **options)._opened  # type: ignore[arg-type]  # tables of options


async def test_client_shows_its_url_without_credentials() -> None:
    client = await client_of()
    assert client.url == "ws://127.0.0.1:1/feed"
    assert repr(client) == "<WebSocketClient ws://127.0.0.1:1/feed idle>"
    assert not client.is_connected
    assert client.channels == ()
    assert client.stats().state == "idle"


async def test_overrides_win_over_config() -> None:
    client = await client_of(config=WebSocketConfig(max_inbox=5, ping_interval=7), max_inbox=6)
    assert (client._config.max_inbox, client._config.ping_interval) == (6, 7.0)


@pytest.mark.parametrize(
    ("options", "offered"),
    [
        ({}, ()),
        ({"codec": "msgpack"}, ("websocket-utils.msgpack",)),
        ({"codec": "msgpack", "subprotocols": []}, ()),
        ({"subprotocols": ["a", "b"]}, ("a", "b")),
    ],
)
async def test_subprotocol_follows_the_codec_unless_given(options: dict[str, object], offered: tuple[str, ...]) -> None:
    client = await client_of(**options)
    assert client._links[0]._dialer.subprotocols == offered


async def test_bad_arguments_are_found_before_anything_is_opened() -> None:
    with pytest.raises(InvalidURL):
        WebSocketClient.connect("http://h")
    with pytest.raises(ConfigError):
        await client_of(open_timeout=0)
    with pytest.raises(TypeError, match="ping_interval"):
        await client_of(ping_intervall=1)
    with pytest.raises(ValueError, match="xml"):
        await client_of(codec="xml")


async def test_all_bad_headers_are_reported_at_once_and_no_value_is_shown() -> None:
    headers = {
        "X Y": "a",
        "Connection": "close",
        "Sec-WebSocket-Key": "k",
        "X-Token": "s3cret\r\nX: y",
        "X-Good": "a\tb",
    }
    with pytest.raises(ConfigError) as caught:
        await client_of(headers=headers, subprotocols=["a b"])
    assert len(caught.value.faults) == 5
    assert "s3cret" not in str(caught.value)


async def test_handlers_are_registered_by_call_and_by_decorator() -> None:
    client = await client_of()

    def callback(_: PriceUpdate) -> None: ...

    assert client.on(PriceUpdate, callback) is callback
    assert client.on(PriceUpdate)(callback) is callback
    assert client.on(DecodeError)(print) is print


async def test_subscriptions_are_remembered_while_there_is_no_connection() -> None:
    client = await client_of()
    await client.subscribe("b", "a", "b")
    await client.unsubscribe("b", "x")
    await client.subscribe("c")
    assert client.channels == ("a", "c")


async def test_close_without_a_connection_ends_the_stream() -> None:
    client = await client_of()
    await client.close()
    await client.close()
    assert await client.receive() is None
    assert client.stats().state == "closed"
