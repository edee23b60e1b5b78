"""Who may connect: counting without a network, and the forms of origins and hosts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocket_utils import ConfigError, WebSocketServer
from websocket_utils._admission import Admission, is_host_listed, normal_origin


def test_room_is_for_as_many_as_are_allowed_and_comes_back() -> None:
    admission = Admission(2, None)
    assert [admission.enter() for _ in range(3)] == [True, True, False]
    assert admission.count == 2
    admission.leave(None)
    assert admission.enter()
    assert not admission.enter()


def test_each_address_has_room_of_its_own_and_leaves_nothing_behind() -> None:
    admission = Admission(None, 2)
    assert [admission.identify("a") for _ in range(3)] == [True, True, False]
    assert admission.identify("b")
    admission.leave("a")
    assert admission.identify("a")
    for address in ("a", "a", "b"):
        admission.leave(address)
    # An attacker with many addresses fills no table.
    assert len(admission._by_address) == 0


@pytest.mark.parametrize(
    ("origin", "normal"),
    [
        ("https://desk.example", "https://desk.example:443"),
        ("https://desk.example:443", "https://desk.example:443"),
        ("HTTPS://Desk.Example", "https://desk.example:443"),
        ("http://desk.example", "http://desk.example:80"),
        ("http://desk.example:8080", "http://desk.example:8080"),
        ("https://[::1]:9", "https://::1:9"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example:443"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef:None"),
        ("null", "null"),
        # No origins: they have more than scheme, host and port, or less, or can't be read.
        ("", None),
        ("desk.example", None),
        ("https://", None),
        ("https://desk.example/", None),
        ("https://desk.example/path", None),
        ("https://desk.example?query", None),
        ("https://user@desk.example", None),
        ("https://desk.example:port", None),
        ("https://desk.example:99999", None),
        ("https://[::1", None),
        ("https://desk.example https://evil.example", None),
    ],
)
def test_origin_has_one_form_or_none(origin: str, normal: str | None) -> None:
    assert normal_origin(origin) == normal


@pytest.mark.parametrize(
    ("host", "listed", "is_listed"),
    [
        ("desk.example", ("desk.example",), True),
        ("desk.example:8080", ("desk.example",), True),
        ("DESK.example", ("desk.example",), True),
        ("desk.example:8080", ("desk.example:8080",), True),
        ("desk.example:8081", ("desk.example:8080",), False),
        ("desk.example", ("desk.example:8080",), False),
        ("[::1]:8080", ("[::1]",), True),
        ("evil.example", ("desk.example",), False),
        ("desk.example.evil.example", ("desk.example",), False),
        ("evildesk.example", ("desk.example",), False),
        ("desk.example@evil.example", ("desk.example", "evil.example"), False),
        ("desk.example/", ("desk.example",), False),
        ("desk.example:x", ("desk.example",), False),
        ("", ("desk.example",), False),
        ("desk.example", (), False),
    ],
)
def test_host_is_one_of_those_listed(host: str, listed: tuple[str, ...], is_listed: bool) -> None:
    assert is_host_listed(host, listed) == is_listed


@given(st.text(max_size=40))
def test_any_text_is_an_origin_and_a_host_or_is_none(text: str) -> None:
    normal_origin(text)
    is_host_listed(text, ("desk.example",))


async def test_entry_that_would_match_nobody_is_refused_when_the_server_is_made() -> None:
    with pytest.raises(ConfigError) as caught:
        await WebSocketServer.bind(
            "127.0.0.1:0",
            origins=("https://desk.example", "desk.example", "https://desk.example/page"),
            hosts=("feed.example:8080", "feed.example/", "http://feed.example"),
        )
    named = [fault.split(" is no ")[0] for fault in caught.value.faults]
    assert named == [
        "origins: 'desk.example'",
        "origins: 'https://desk.example/page'",
        "hosts: 'feed.example/'",
        "hosts: 'http://feed.example'",
    ]
