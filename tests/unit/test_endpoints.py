"""Where to connect to and with what: values, and callables that are asked at each dial."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from websocket_utils import ConfigError, InvalidURL, ProviderError
from websocket_utils._endpoints import Endpoint

URL = "ws://desk.example/feed"


async def test_callable_is_asked_anew_each_time_whether_it_is_async_or_not() -> None:
    asked: list[str] = []

    def url() -> str:
        asked.append("url")
        return f"ws://desk.example/{len(asked)}"

    async def headers() -> Mapping[str, str]:
        asked.append("headers")
        return {"X-Number": str(len(asked))}

    async def token() -> str:
        asked.append("token")
        return f"secret{len(asked)}"

    endpoint = Endpoint(url, headers=headers, token=token)
    assert asked == []
    assert (await endpoint.resolve()).resource == "/1"
    assert await endpoint.own_headers() == {"X-Number": "2"}
    assert await endpoint.authorization() == "Bearer secret3"
    assert (await endpoint.resolve()).resource == "/4"
    assert asked == ["url", "headers", "token", "url"]


async def test_values_are_what_they_are_and_a_mapping_that_changes_afterwards_is_not_followed() -> None:
    headers = {"X-A": "1"}
    endpoint = Endpoint(URL, headers=headers, token="t")
    headers["X-B"] = "a\r\nb"
    assert (await endpoint.resolve()).origin == ("ws", "desk.example", 80)
    assert await endpoint.own_headers() == {"X-A": "1"}
    assert await endpoint.authorization() == "Bearer t"
    assert await Endpoint(URL).own_headers() == {}
    assert await Endpoint(URL).authorization() is None


def test_url_that_is_none_is_raised_at_once() -> None:
    with pytest.raises(InvalidURL):
        Endpoint("http://desk.example")


def test_what_is_neither_a_value_nor_a_callable_is_a_type_error() -> None:
    wrong: Any = 5
    for what, arguments in {"url": (wrong,), "token": (URL,)}.items():
        with pytest.raises(TypeError, match=f"^{what}: must be a str or a callable that gives one, not a int$"):
            Endpoint(*arguments, token=wrong)


def test_faults_of_values_are_listed_without_the_secrets_in_them() -> None:
    endpoint = Endpoint(URL, headers={"X Y": "1", "Upgrade": "x", "X-Key": "s3cret\n"}, token="s3cret\r")
    assert endpoint.faults == [
        "headers: 'X Y' is no name of a header (RFC 9110 §5.1)",
        "headers: Upgrade belongs to the handshake itself",
        "headers: the value of X-Key contains a control character",
        "token: it contains a control character",
    ]
    assert Endpoint(URL, headers={"X": "1"}, token="t").faults == []


class Minter:
    async def __call__(self) -> str:
        return "ws://user:s3cret@desk.example/feed?key=s3cret"


def mint(key: str) -> str:
    return f"ws://desk.example/?key={key}"


async def test_what_is_shown_is_the_callable_before_it_was_asked_and_then_the_url_without_secrets() -> None:
    endpoint = Endpoint(Minter())
    assert endpoint.shown == "<url from Minter>"
    target = await endpoint.resolve()
    assert target.authorization is not None
    assert endpoint.shown == "ws://desk.example/feed?..."
    assert "s3cret" not in repr(endpoint)
    assert Endpoint(functools.partial(mint, "s3cret")).shown == "<url from mint>"
    assert Endpoint("ws://u:s3cret@h/?s3cret").shown == "ws://h/?..."


ASKED: dict[str, Callable[[Any], Any]] = {
    "url": lambda given: Endpoint(given).resolve(),
    "headers": lambda given: Endpoint(URL, headers=given).own_headers(),
    "token": lambda given: Endpoint(URL, token=given).authorization(),
}


@pytest.mark.parametrize("what", ASKED)
async def test_callable_that_fails_is_a_provider_error_from_its_own(what: str) -> None:
    async def failing() -> Any:
        raise RuntimeError("the vault is sealed")

    with pytest.raises(ProviderError, match=f"the callable for {what} failed: .*the vault is sealed") as caught:
        await ASKED[what](failing)
    assert caught.value.what == what
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize(
    ("what", "given", "cause"),
    [
        ("url", b"ws://h", TypeError),
        ("url", "http://h", InvalidURL),
        ("headers", [("X", "1")], TypeError),
        ("headers", {"X": "s3cret\r\nX-Injected: 1"}, ConfigError),
        ("headers", {"X": 1}, TypeError),
        ("token", None, TypeError),
        ("token", "s3cret\r\nX-Injected: 1", ConfigError),
        ("token", "s3cret€", ConfigError),
    ],
)
async def test_callable_that_gives_what_can_not_be_used_is_a_provider_error_that_shows_no_secret(
    what: str, given: Any, cause: type[Exception]
) -> None:
    with pytest.raises(ProviderError) as caught:
        await ASKED[what](lambda: given)
    assert caught.value.what == what
    assert type(caught.value.__cause__) is cause
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("what", ASKED)
async def test_callable_that_accepts_refresh_is_told_and_others_are_not(what: str) -> None:
    good: Any = {"url": URL, "headers": {}, "token": "t"}[what]
    calls: list[dict[str, Any]] = []

    async def by_keyword(*, refresh: bool = False) -> Any:
        calls.append({"refresh": refresh})
        return good

    def with_any(**options: Any) -> Any:
        calls.append(options)
        return good

    def without() -> Any:
        calls.append({})
        return good

    def by_position(refresh: object = None, /) -> Any:
        calls.append({"position": refresh})
        return good

    asked: dict[str, Callable[[Any, bool], Any]] = {
        "url": lambda given, refresh: Endpoint(given).resolve(refresh=refresh),
        "headers": lambda given, refresh: Endpoint(URL, headers=given).own_headers(refresh=refresh),
        "token": lambda given, refresh: Endpoint(URL, token=given).authorization(refresh=refresh),
    }
    for provider in (by_keyword, with_any, without, by_position):
        for refresh in (False, True):
            await asked[what](provider, refresh)
    assert calls == [
        {"refresh": False},
        {"refresh": True},
        {},
        {"refresh": True},
        {},
        {},
        {"position": None},
        {"position": None},
    ]


async def test_callable_without_a_signature_is_asked_without_arguments() -> None:
    # Written in C, as a callable of an extension module may be.
    given = iter(["one", "two"])
    endpoint = Endpoint(URL, token=given.__next__)
    assert await endpoint.authorization(refresh=True) == "Bearer one"
    assert await endpoint.authorization() == "Bearer two"


async def test_callable_is_named_in_complaints_about_it() -> None:
    endpoint = Endpoint(URL, headers=Minter(), token=functools.partial(mint, "s3cret"))  # type: ignore[arg-type]  # only its name matters
    assert endpoint.name_of("headers") == "the callable for headers (Minter)"
    assert endpoint.name_of("token") == "the callable for token (mint)"
