"""Where a client may connect to and what it shows there: values, or callables that are asked anew at each dial."""

import functools
import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, Literal, TypeVar, cast

from ._url import Target, parse_url
from .exceptions import ConfigError, ProviderError

__all__ = ["TOKEN", "Endpoint", "HeadersSource", "TokenSource", "UrlSource"]

T = TypeVar("T")

UrlSource = str | Callable[..., str | Awaitable[str]]
HeadersSource = Mapping[str, str] | Callable[..., Mapping[str, str] | Awaitable[Mapping[str, str]]]
TokenSource = str | Callable[..., str | Awaitable[str]]

# A token of RFC 9110 §5.6.2: names of headers and of subprotocols.
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0A-\x1F\x7F]")
_LATIN_1 = 0xFF
_OURS = frozenset({"connection", "upgrade", "content-length", "transfer-encoding"})


def _header_faults(headers: Mapping[str, str]) -> list[str]:
    """What is wrong with headers that go into a request as they are: a line break would begin another header."""
    faults: list[str] = []
    for name, value in headers.items():
        if not TOKEN.fullmatch(name):
            faults.append(f"headers: {name!r} is no name of a header (RFC 9110 §5.1)")
        elif name.lower() in _OURS or name.lower().startswith("sec-websocket-"):
            faults.append(f"headers: {name} belongs to the handshake itself")
        else:
            faults += value_faults(f"headers: the value of {name}", value)
    return faults


def value_faults(what: str, value: str) -> list[str]:
    # Values are not shown: they may be secrets.
    if _CONTROL.search(value):
        return [f"{what} contains a control character"]
    if any(ord(character) > _LATIN_1 for character in value):
        return [f"{what} contains a character outside Latin-1 (RFC 9110 §5.5)"]
    return []


def _name_of(provider: Callable[..., object]) -> str:
    while isinstance(provider, functools.partial):
        provider = provider.func
    name = getattr(provider, "__qualname__", None) or type(provider).__qualname__
    return cast("str", name)


def takes_refresh(provider: Callable[..., object]) -> bool:
    try:
        parameters = inspect.signature(provider).parameters
    except (TypeError, ValueError):
        # Written in C, without a signature.
        return False
    named = parameters.get("refresh")
    if named is not None and named.kind in {named.KEYWORD_ONLY, named.POSITIONAL_OR_KEYWORD}:
        return True
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())


class _Source(Generic[T]):
    """A value, or the callable that gives it.

    Args:
        what: What it is to an error.
        given: The one or the other.
        kind: What the value has to be.
    """

    __slots__ = ("_kind", "_provider", "_takes_refresh", "_value", "what")

    def __init__(
        self, what: Literal["url", "headers", "token"], given: T | Callable[..., T | Awaitable[T]], kind: type[Any]
    ) -> None:
        self.what = what
        self._kind = kind
        is_value = isinstance(given, kind)
        if not is_value and not callable(given):
            raise TypeError(
                f"{what}: must be a {kind.__name__} or a callable that gives one, not a {type(given).__name__}"
            )
        self._value: T | None = cast("T", given) if is_value else None
        self._provider = None if is_value else cast("Callable[..., T | Awaitable[T]]", given)
        self._takes_refresh = self._provider is not None and takes_refresh(self._provider)

    @property
    def value(self) -> T | None:
        """The value that was given; None where a callable was."""
        return self._value

    @property
    def name(self) -> str:
        """The callable's name."""
        return "" if self._provider is None else _name_of(self._provider)

    async def ask(self, check: Callable[[T], Any], *, refresh: bool) -> Any:
        """What `check` makes of the value; of a provided one it is the provider's fault if it raises.

        Raises:
            ProviderError: If the callable fails, or gives what is no such value.
        """
        if self._provider is None:
            return check(cast("T", self._value))
        try:
            # Told only of what is out of the ordinary: the same callable may have a default of its own.
            given = self._provider(refresh=True) if refresh and self._takes_refresh else self._provider()
            value = await given if inspect.isawaitable(given) else given
            if not isinstance(value, self._kind):
                raise TypeError(f"it gave a {type(value).__name__}, not a {self._kind.__name__}")
            return check(cast("T", value))
        except Exception as error:
            raise ProviderError(self.what) from error


class Endpoint:
    """One address of a server, with what a request to it carries.

    A callable is asked once for each dial, and may be `async`. One that accepts a keyword `refresh` is called with
    `refresh=True` when what it gave before was refused.

    Args:
        url: `ws://` or `wss://`.
        headers: Additional headers of the request; None for none.
        token: Sent as `Authorization: Bearer ...`, before credentials of the URL, behind a header of that name.

    Raises:
        InvalidURL: If `url` is text and no WebSocket URL.
        TypeError: If one of them is neither such a value nor a callable.
    """

    __slots__ = ("_headers", "_shown", "_target", "_token", "_url", "fixed")

    def __init__(
        self, url: UrlSource, *, headers: HeadersSource | None = None, token: TokenSource | None = None
    ) -> None:
        self._url: _Source[str] = _Source("url", url, str)
        # What a caller changes in his mapping afterwards would be unchecked.
        self._headers: _Source[Mapping[str, str]] = _Source(
            "headers", headers if callable(headers) else dict(headers or {}), Mapping
        )
        self._token: _Source[str] | None = None if token is None else _Source("token", token, str)
        self._target = None if self._url.value is None else parse_url(self._url.value)
        self._shown = f"<url from {self._url.name}>" if self._target is None else self._target.url
        self.fixed: tuple[Target, Mapping[str, str]] | None = None
        """Where to connect to and the headers of the request, where all are values: nothing to ask for in a dial."""
        if self._target is not None and not self.can_refresh:
            token = None if self._token is None else f"Bearer {self._token.value}"
            self.fixed = self._target, with_authorization(self._headers.value or {}, token)

    @property
    def shown(self) -> str:
        """The URL as it may be logged, without credentials and query; `<url from NAME>` before a callable was asked."""
        return self._shown

    @property
    def can_refresh(self) -> bool:
        """Whether anything of it comes from a callable."""
        sources = (self._url, self._headers, self._token)
        return any(source is not None and source.value is None for source in sources)

    @property
    def faults(self) -> list[str]:
        """What is wrong with the headers and the token that are values: one sentence for each fault."""
        found = _header_faults(self._headers.value or {})
        if self._token is not None and self._token.value is not None:
            found += value_faults("token: it", self._token.value)
        return found

    def __repr__(self) -> str:
        return f"<Endpoint {self._shown}>"

    def name_of(self, what: Literal["url", "headers", "token"]) -> str:
        """What to call the callable for one of these in an error."""
        sources: dict[str, _Source[Any] | None] = {"url": self._url, "headers": self._headers, "token": self._token}
        source = sources[what]
        return f"the callable for {what} ({source.name if source else ''})"

    async def resolve(self, *, refresh: bool = False) -> Target:
        """Where to connect to now.

        Raises:
            ProviderError: If the callable fails, or what it gives is no WebSocket URL.
        """
        if self._target is not None:
            return self._target
        target: Target = await self._url.ask(parse_url, refresh=refresh)
        self._shown = target.url
        return target

    async def own_headers(self, *, refresh: bool = False) -> Mapping[str, str]:
        """The additional headers of a request.

        Raises:
            ProviderError: If the callable fails, or gives headers that can't be sent.
        """
        headers: Mapping[str, str] = await self._headers.ask(_checked_headers, refresh=refresh)
        return headers

    async def authorization(self, *, refresh: bool = False) -> str | None:
        """The `Authorization` header made of the token; None without one.

        Raises:
            ProviderError: If the callable fails, or gives a token that can't be sent.
        """
        if self._token is None:
            return None
        token: str = await self._token.ask(_checked_token, refresh=refresh)
        return f"Bearer {token}"


def with_authorization(headers: Mapping[str, str], authorization: str | None) -> Mapping[str, str]:
    """Headers with what a token adds; what the caller says in a header is what he means."""
    if authorization is None or any(name.lower() == "authorization" for name in headers):
        return headers
    return {**headers, "Authorization": authorization}


def _checked_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    if faults := _header_faults(headers):
        raise ConfigError(faults)
    return headers


def _checked_token(token: str) -> str:
    if faults := value_faults("token: it", token):
        raise ConfigError(faults)
    return token
