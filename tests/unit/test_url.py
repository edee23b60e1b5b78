import base64

import pytest

from websocket_utils._redaction import without_credentials
from websocket_utils._url import Target, parse_address, parse_url
from websocket_utils.exceptions import InvalidURL


@pytest.mark.parametrize(
    ("url", "plain", "origin"),
    [
        ("ws://localhost", "ws://localhost", ("ws", "localhost", 80)),
        ("wss://localhost", "wss://localhost", ("wss", "localhost", 443)),
        ("ws://h:8080/feed?a=b&c=%20d", "ws://h:8080/feed?...", ("ws", "h", 8080)),
        ("WS://Host:1/Path", "ws://Host:1/Path", ("ws", "host", 1)),
        ("ws://[::1]:9/", "ws://[::1]:9/", ("ws", "::1", 9)),
        ("ws://user:pw@h:1/x@y", "ws://h:1/x@y", ("ws", "h", 1)),
        ("ws://under_score.example", "ws://under_score.example", ("ws", "under_score.example", 80)),
        ("ws://h/a%2Fb;c=d!$&'()*+,~", "ws://h/a%2Fb;c=d!$&'()*+,~", ("ws", "h", 80)),
        ("ws://h/ü?k=€", "ws://h/%C3%BC?...", ("ws", "h", 80)),
        ("ws://bücher.example/", "ws://xn--bcher-kva.example/", ("ws", "xn--bcher-kva.example", 80)),
        ("wss://u:p@bücher.example:99", "wss://xn--bcher-kva.example:99", ("wss", "xn--bcher-kva.example", 99)),
    ],
)
def test_url_is_taken_apart(url: str, plain: str, origin: tuple[str, str, int]) -> None:
    target = parse_url(url)
    assert (target.url, target.origin) == (plain, origin)
    assert target.url.isascii()


@pytest.mark.parametrize(
    ("url", "authority", "resource"),
    [
        ("ws://h:8080/feed?a=b&c=%20d", "h:8080", "/feed?a=b&c=%20d"),
        ("ws://u:p@h?token=s3cret", "h", "/?token=s3cret"),
        ("ws://h/ü?k=€", "h", "/%C3%BC?k=%E2%82%AC"),
        ("ws://h", "h", "/"),
        ("ws://h/?", "h", "/"),
    ],
)
def test_query_is_asked_for_and_shown_nowhere(url: str, authority: str, resource: str) -> None:
    target = parse_url(url)
    assert (target.authority, target.resource) == (authority, resource)
    _, mark, query = resource.partition("?")
    assert not mark or query not in repr(target) + target.url


@pytest.mark.parametrize(("location", "resource"), [("", "/a?t=1"), ("b", "/b"), ("?u=2", "/a?u=2"), ("/", "/")])
def test_redirect_is_relative_to_path_and_query(location: str, resource: str) -> None:
    assert parse_url("ws://h/a?t=1").redirected(location).resource == resource


@pytest.mark.parametrize(
    ("userinfo", "pair"),
    [
        ("alice:s3cret", "alice:s3cret"),
        ("alice", "alice:"),
        (":s3cret", ":s3cret"),
        ("a%40b:c%3Ad%2F", "a@b:c:d/"),
        ("ä:ö", "ä:ö"),
        ("", None),
    ],
)
def test_credentials_become_a_header_and_leave_the_url(userinfo: str, pair: str | None) -> None:
    target = parse_url(f"ws://{userinfo}@h:1/x")
    assert target.url == "ws://h:1/x"
    expected = "Basic " + base64.b64encode((pair or ":").encode()).decode()
    assert target.authorization == expected
    assert parse_url("ws://h:1/x").authorization is None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "no scheme"),
        ("localhost:8080", "scheme is 'localhost'"),
        ("//h/x", "no scheme"),
        ("http://h", "scheme is 'http'"),
        ("https://h", "scheme is 'https'"),
        ("ws://", "no host"),
        ("ws:///path", "no host"),
        ("ws://:80", "no host"),
        ("ws://u:p@", "no host"),
        ("ws://h/#top", "fragments"),
        ("ws://h:0", "port 0"),
        ("ws://h:65536", "(?i)port"),
        ("ws://h:-1", "(?i)port"),
        ("ws://h:x", "(?i)port"),
        ("ws://[::1", "IPv6"),
        ("ws://h /", "space"),
        ("ws://h/a b", "space"),
        ("ws://h/\r\nX: y", "space"),
        ("ws://h/\x7f", "control"),
        ("ws://a..b/", "no name"),
        (f"ws://{'a' * 64}.example/", "no name"),
    ],
)
def test_bad_url_is_refused_with_its_reason(url: str, reason: str) -> None:
    with pytest.raises(InvalidURL, match=reason) as caught:
        parse_url(url)
    assert "ws://host[:port]/path" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://u:s3cret@h",
        "ws://u:s3cret@h:99999",
        "ws://u:s3cret@h/ x",
        "ws://u:s3/cret@h:x",
        "ws://u:s3cret@[::1",
        # What urllib has to say of these repeats a part of the password.
        "ws://u:s3c/ret@h",
        "ws://u:s3cret@h℀/",
        "ws://u:s3cret@[zz]/",
        "ws://h:99999/?token=s3cret",
        "http://h/feed?token=s3cret#top",
        "ws://h/#access_token=s3cret",
    ],
)
def test_error_about_a_bad_url_shows_no_password_and_no_token(url: str) -> None:
    with pytest.raises(InvalidURL) as caught:
        parse_url(url)
    for shown in (str(caught.value), repr(caught.value), repr(vars(caught.value))):
        assert not any(part in shown for part in ("s3", "cret")), shown
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("wss://h/0a1b2c3d4e5f60718293/", "wss://h/.../"),
        ("wss://h/v2/Ab1dEfGhIjKlMnOpQrStUvWx", "wss://h/v2/..."),
        ("wss://h/4f9c2e70-1b7d-4a55-9c0e-6f0b1d2a3c4d?x=y", "wss://h/...?..."),
        ("wss://h/aB3-dE6_gH9jK2mN5pQ8rS1tU4vW7xYz", "wss://h/..."),
        # Names, however long; and numbers.
        ("wss://h/stream/btcusdt@trade/ethusdt@depth20", "wss://h/stream/btcusdt@trade/ethusdt@depth20"),
        ("wss://h/perpetual-futures-order-book-2024", "wss://h/perpetual-futures-order-book-2024"),
        ("wss://h/withoutanydigitsinitatall", "wss://h/withoutanydigitsinitatall"),
        ("wss://h/12345678901234567890123", "wss://h/12345678901234567890123"),
        ("wss://0a1b2c3d4e5f60718293abcdef.example/", "wss://0a1b2c3d4e5f60718293abcdef.example/"),
    ],
)
def test_key_in_a_path_is_shown_nowhere(url: str, shown: str) -> None:
    target = parse_url(url)
    assert target.url == shown
    assert without_credentials(url) == shown
    # It is sent all the same.
    assert target.resource == "/" + url.split("/", 3)[3]
    assert repr(target) == f"<Target {shown}>"


@pytest.mark.parametrize(
    ("start", "location", "url"),
    [
        ("ws://h:1/a/b", "/c", "ws://h:1/c"),
        ("ws://h:1/a/b", "c?d", "ws://h:1/a/c?..."),
        ("ws://h:1/a", "http://h:1/c", "ws://h:1/c"),
        ("ws://h:1/a", "https://h:2/c", "wss://h:2/c"),
        ("wss://h/a", "//other/c", "wss://other/c"),
        ("wss://h/a", "https://h:443/c", "wss://h:443/c"),
    ],
)
def test_redirect_leads_to(start: str, location: str, url: str) -> None:
    assert parse_url(start).redirected(location).url == url


@pytest.mark.parametrize(
    ("start", "location", "kept"),
    [
        ("wss://u:p@h/a", "/b", True),
        ("wss://u:p@h/a", "https://h:443/b", True),
        ("wss://u:p@h/a", "wss://H/b", True),
        ("wss://u:p@h/a", "wss://h:444/b", False),
        ("wss://u:p@h/a", "wss://h.evil/b", False),
        ("ws://u:p@h/a", "wss://h/b", False),
    ],
)
def test_redirect_keeps_credentials_within_the_origin_only(start: str, location: str, kept: bool) -> None:
    assert (parse_url(start).redirected(location).authorization is not None) == kept


def test_redirect_from_wss_to_ws_is_refused() -> None:
    for location in ("ws://h/", "http://h/"):
        with pytest.raises(InvalidURL, match="encryption"):
            parse_url("wss://h/").redirected(location)


def test_redirect_s_own_credentials_are_used() -> None:
    assert parse_url("ws://u:p@h/").redirected("ws://x:y@other/") == Target(
        url="ws://other/",
        authority="other",
        resource="/",
        authorization="Basic " + base64.b64encode(b"x:y").decode(),
        origin=("ws", "other", 80),
    )


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("0.0.0.0:8080", ("0.0.0.0", 8080)),
        (":8080", ("0.0.0.0", 8080)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:65535", ("::1", 65535)),
        ("[::]:1", ("::", 1)),
    ],
)
def test_address_is_split(address: str, expected: tuple[str, int]) -> None:
    assert parse_address(address) == expected


@pytest.mark.parametrize("address", ["", "8080", "localhost", "h:", "h:x", "h:-1", "h:65536", "h:1.5"])
def test_bad_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="expected host:port"):
        parse_address(address)


@pytest.mark.parametrize(
    ("url", "path", "resource"),
    [
        ("ws+unix:/run/feed.sock", "/run/feed.sock", "/"),
        ("ws+unix:/run/feed.sock:/prices?a=b", "/run/feed.sock", "/prices?a=b"),
        ("ws+unix:/run/a%20b%3Ac", "/run/a b:c", "/"),
        ("ws+unix:///run/feed.sock", "/run/feed.sock", "/"),
    ],
)
def test_url_of_a_unix_socket_is_taken_apart(url: str, path: str, resource: str) -> None:
    target = parse_url(url)
    assert (target.origin, target.resource, target.authority) == (("ws+unix", path, 0), resource, "localhost")
    assert "a=b" not in target.url


@pytest.mark.parametrize(
    "url",
    [
        "ws+unix:",
        "ws+unix:feed.sock",
        "ws+unix://host/feed.sock",
        "ws+unix:/feed.sock:prices",
        "ws+unix:/feed.sock#x",
        "ws+unix:/" + "x" * 107,
        "ws+unix:/a%00b",
    ],
)
def test_url_of_a_unix_socket_without_an_absolute_short_path_is_refused(url: str) -> None:
    with pytest.raises(InvalidURL, match="Unix socket"):
        parse_url(url)


def test_address_of_a_unix_socket_is_its_own_host() -> None:
    assert parse_address("unix:/run/feed.sock") == ("unix:/run/feed.sock", 0)


@pytest.mark.parametrize("address", ["unix:", "unix:feed.sock", "unix:/" + "x" * 107, "unix:/a\0b"])
def test_address_of_a_unix_socket_without_an_absolute_short_path_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="absolute"):
        parse_address(address)
