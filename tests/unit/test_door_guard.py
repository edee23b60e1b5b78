"""Who may ask the door, and where it may listen."""

import hmac
import logging
from typing import Any

import pytest

from websocket_utils import ConfigError
from websocket_utils.door._guard import Guard, checked_address
from websocket_utils.door._refusals import Refusal

KEY = "correct-horse-battery"


def scope(
    *headers: tuple[bytes, bytes], client: tuple[str, int] | None = ("127.0.0.1", 5), host: bytes | None = b"localhost"
) -> dict[str, Any]:
    hosts = [] if host is None else [(b"host", host)]
    return {"type": "http", "headers": [*hosts, *headers], "client": client}


def status_of(guard: Guard, asked: dict[str, Any]) -> int:
    try:
        guard.check(asked)
    except Refusal as refusal:
        return refusal.status
    return 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"x-api-key", KEY.encode())], 200),
        ([(b"X-API-Key", KEY.encode())], 200),
        ([(b"authorization", b"apikey " + KEY.encode())], 200),
        ([(b"authorization", b"ApiKey  " + KEY.encode())], 200),
        ([], 401),
        ([(b"x-api-key", b"")], 401),
        ([(b"x-api-key", KEY[:-1].encode())], 401),
        ([(b"x-api-key", KEY.encode() + b"x")], 401),
        ([(b"x-api-key", KEY.upper().encode())], 401),
        ([(b"x-api-key", b"\xff\x00")], 401),
        ([(b"authorization", b"Bearer " + KEY.encode())], 401),
        ([(b"authorization", KEY.encode())], 401),
        ([(b"cookie", b"x-api-key=" + KEY.encode())], 401),
    ],
)
def test_key_is_asked_for_from_everybody_where_one_is_set(headers: list[tuple[bytes, bytes]], status: int) -> None:
    guard = Guard(KEY)
    for client in (("127.0.0.1", 5), ("192.0.2.1", 5), None):
        assert status_of(guard, scope(*headers, client=client, host=b"feed.example")) == status


def test_keys_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []
    in_constant_time = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return in_constant_time(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    guard = Guard(KEY)
    for presented in (b"k", b"k" * 1000, KEY.encode()):
        status_of(guard, scope((b"x-api-key", presented)))
    # Digests: neither where they differ nor how long the key is can be told from the time.
    assert compared == [(32, 32)] * 3


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (scope(), 200),
        (scope(host=b"127.0.0.1:9002"), 200),
        (scope(host=b"[::1]:9002", client=("::1", 5)), 200),
        (scope(host=b"LOCALHOST:9002"), 200),
        (scope(client=None), 200),
        (scope((b"origin", b"http://localhost"), (b"sec-fetch-site", b"same-origin")), 200),
        (scope((b"sec-fetch-site", b"none")), 200),
        (scope(client=("192.0.2.1", 5)), 403),
        (scope(host=None), 403),
        (scope((b"host", b"localhost")), 403),
        (scope(host=b"evil.example:9002"), 403),
        (scope(host=b"localhost.evil.example"), 403),
        (scope(host=b"127.0.0.1@evil.example"), 403),
        (scope((b"origin", b"https://evil.example")), 403),
        (scope((b"origin", b"http://localhost:3000")), 403),
        (scope((b"origin", b"null")), 403),
        (scope((b"sec-fetch-site", b"cross-site")), 403),
        (scope((b"sec-fetch-site", b"same-site")), 403),
    ],
)
def test_without_a_key_this_machine_and_the_door_s_own_page_alone_may_ask(asked: dict[str, Any], status: int) -> None:
    assert status_of(Guard(None), asked) == status


def test_refused_requests_are_logged_at_powers_of_ten(caplog: pytest.LogCaptureFixture) -> None:
    guard = Guard(KEY)
    with caplog.at_level(logging.WARNING, "websocket_utils.server.http"):
        for _ in range(150):
            status_of(guard, scope((b"x-api-key", b"guess")))
    assert guard.refused == 150
    assert [record.args[-1] for record in caplog.records if isinstance(record.args, tuple)] == [1, 10, 100]
    assert "guess" not in caplog.text


@pytest.mark.parametrize("address", ["0.0.0.0:9002", ":9002", "192.0.2.1:9002", "[::]:9002", "feed.example:9002"])
def test_door_that_others_can_reach_without_a_key_is_a_config_error_that_says_so(address: str) -> None:
    with pytest.raises(ConfigError, match=r"reachable from other machines.*set http_key"):
        checked_address(address, None)
    assert checked_address(address, KEY) is not None


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:9002", "[::1]:9002", "127.5.5.5:1"])
def test_door_of_this_machine_needs_no_key(address: str) -> None:
    assert checked_address(address, None) is not None


@pytest.mark.parametrize("key", ["", "x" * 15, "x" * 15 + " y", "schlüssel-von-zuhause", "line\nbreak-in-the-key"])
def test_key_that_is_short_or_no_header_is_a_config_error(key: str) -> None:
    for address in ("127.0.0.1:0", None):
        with pytest.raises(ConfigError, match="http_key"):
            checked_address(address, key)


def test_address_that_is_none_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="host:port"):
        checked_address("9002", None)
    assert checked_address(None, None) is None
