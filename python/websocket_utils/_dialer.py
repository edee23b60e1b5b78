"""One dial of a client: callables asked, the opening handshake, and redirects where they are allowed."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Protocol, TypeVar

from ._endpoints import TOKEN, Endpoint, with_authorization
from ._handshake import Opened, Taker
from ._phases import DialPhases
from ._transport import context_faults, dial
from ._url import Target
from .config import WebSocketConfig
from .exceptions import ConfigError, HandshakeError

__all__ = ["Dialer", "Network", "network_in_use"]

T = TypeVar("T")

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Meant for the server they were given for, not for wherever it points: credentials by the names that exchanges give
# them (X-API-Key, CB-ACCESS-SIGN, X-Session-Token...), and the name of that server.
_OF_ONE_ORIGIN = re.compile(r"auth|cookie|token|key|secret|sign|pass|session|credential|jwt|^host$", re.IGNORECASE)


class Network(Protocol):
    """What opens connections: `_transport.dial`, or a network in memory."""

    def __call__(
        self,
        target: Target,
        take: Callable[[Opened], Taker],
        /,
        *,
        headers: Mapping[str, str],
        subprotocols: tuple[str, ...],
        config: WebSocketConfig,
        ssl: SSLContext | None,
        phases: DialPhases,
    ) -> Awaitable[object]: ...


network_in_use: "ContextVar[Network | None]" = ContextVar("network_in_use", default=None)
"""What clients that are made in this context connect through: tests put a network in memory in the place of TCP."""


@dataclass(frozen=True, slots=True)
class Dialer:
    """Where a client connects to, and how."""

    endpoints: tuple[Endpoint, ...]
    config: WebSocketConfig
    subprotocols: tuple[str, ...]
    ssl: SSLContext | None
    network: Network | None = field(default_factory=network_in_use.get)
    """None is TCP and TLS."""

    def __post_init__(self) -> None:
        """Check what goes into the request as it is: a line break in it would begin another header.

        Raises:
            ConfigError: If a header or a subprotocol can't be sent, `ssl` is no context, or there is nowhere to connect
                to; it names all faults.
        """
        faults = context_faults(self.ssl)
        if not self.endpoints:
            faults.append("urls: at least one is needed")
        # Endpoints often share their headers.
        faults += dict.fromkeys(fault for endpoint in self.endpoints for fault in endpoint.faults)
        faults += [
            f"subprotocols: {name!r} is no name of a subprotocol (RFC 6455 §4.1)"
            for name in self.subprotocols
            if not TOKEN.fullmatch(name)
        ]
        if len(set(self.subprotocols)) < len(self.subprotocols):
            faults.append("subprotocols: one is named twice (RFC 6455 §4.1)")
        if faults:
            raise ConfigError(faults)

    async def dial(self, take: Callable[[Opened], Taker], *, endpoint: int = 0, refresh: bool = False) -> DialPhases:
        """Open one connection and hand it to what `take` makes of it.

        Args:
            take: Called once, when the handshake is complete.
            endpoint: Which of the endpoints.
            refresh: Callables that accept it are told that what they gave before was refused.

        Returns:
            How long each phase took. An error has a note that says in which phase it came.

        Raises:
            ProviderError: If a callable for the URL, the headers or the token fails.
            HandshakeError: If the answer is no 101 and no redirect that may be followed.
            InvalidURL: If a redirect leads nowhere, or from `wss` to `ws`.
            TimeoutError: If callables, connection and redirects together take longer than `open_timeout`.
            OSError: If the name does not resolve, nobody listens, or the server's certificate proves nothing.
        """
        phases = DialPhases()
        within = _Limit(self.config.open_timeout)
        place = self.endpoints[endpoint]
        shown = place.shown
        phases.enter("provider", time.monotonic_ns())
        try:
            target, headers = await _asked(place, within, refresh=refresh)
            origin = target.origin
            redirects = self.config.follow_redirects
            while True:
                shown = target.url
                allowed = headers if target.origin == origin else _elsewhere(headers)
                try:
                    await within(self._open(target, take, allowed, phases), f"no connection to {shown}")
                except HandshakeError as error:
                    location = error.headers.get("location")
                    if not redirects or location is None or error.status not in _REDIRECTS:
                        raise
                    redirects -= 1
                    target = target.redirected(location)
                else:
                    return phases
        except Exception as error:
            error.add_note(f"while connecting to {shown}, in phase {phases.reached}")
            raise

    def _open(
        self, target: Target, take: Callable[[Opened], Taker], headers: Mapping[str, str], phases: DialPhases
    ) -> Awaitable[object]:
        return (self.network or dial)(
            target,
            take,
            headers=headers,
            subprotocols=self.subprotocols,
            config=self.config,
            ssl=self.ssl,
            phases=phases,
        )


async def _asked(place: Endpoint, within: "_Limit", *, refresh: bool) -> tuple[Target, Mapping[str, str]]:
    """Where to connect to and the headers of the request, after asking all callables."""
    if place.fixed is not None:
        return place.fixed
    target = await within(place.resolve(refresh=refresh), f"no answer from {place.name_of('url')}")
    headers = dict(await within(place.own_headers(refresh=refresh), f"no answer from {place.name_of('headers')}"))
    authorization = await within(place.authorization(refresh=refresh), f"no answer from {place.name_of('token')}")
    return target, with_authorization(headers, authorization)


class _Limit:
    """The time that all parts of a dial have together."""

    __slots__ = ("_ends", "_seconds")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends = asyncio.get_running_loop().time() + seconds

    async def __call__(self, part: Awaitable[T], complaint: str) -> T:
        limit = asyncio.timeout_at(self._ends)
        try:
            async with limit:
                return await part
        except TimeoutError as error:
            # The system has timeouts of its own.
            if not limit.expired():
                raise
            raise TimeoutError(f"{complaint} within {self._seconds:g} s (open_timeout)") from error


def _elsewhere(headers: Mapping[str, str]) -> Mapping[str, str]:
    """What may be shown to a server that another one points to."""
    return {name: value for name, value in headers.items() if not _OF_ONE_ORIGIN.search(name)}
