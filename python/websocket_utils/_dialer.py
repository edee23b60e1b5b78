"""One dial of a client: the opening handshake, and redirects where they are allowed."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ssl import SSLContext

from ._handshake import Compression, Opened, Taker
from ._transport import context_faults, dial
from ._url import Target
from .config import WebSocketConfig
from .exceptions import ConfigError, HandshakeError

__all__ = ["Dialer"]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0A-\x1F\x7F]")
_LATIN_1 = 0xFF
_OURS = frozenset({"connection", "upgrade", "content-length", "transfer-encoding"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Meant for the server they were given for, not for wherever it points: credentials by the names that exchanges give
# them (X-API-Key, CB-ACCESS-SIGN, X-Session-Token...), and the name of that server.
_OF_ONE_ORIGIN = re.compile(r"auth|cookie|token|key|secret|sign|pass|session|credential|jwt|^host$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Dialer:
    """Where a client connects to, and how."""

    target: Target
    config: WebSocketConfig
    headers: Mapping[str, str] = field(repr=False)
    subprotocols: tuple[str, ...]
    ssl: SSLContext | None

    def __post_init__(self) -> None:
        """Check what goes into the request as it is: a line break in it would begin another header.

        Raises:
            ConfigError: If a header or a subprotocol can't be sent, or `ssl` is no context; it names all faults.
        """
        faults = context_faults(self.ssl)
        for name, value in self.headers.items():
            if not _TOKEN.fullmatch(name):
                faults.append(f"headers: {name!r} is no name of a header (RFC 9110 §5.1)")
            elif name.lower() in _OURS or name.lower().startswith("sec-websocket-"):
                faults.append(f"headers: {name} belongs to the handshake itself")
            # Values are not shown: they may be secrets.
            elif _CONTROL.search(value):
                faults.append(f"headers: the value of {name} contains a control character")
            elif any(ord(character) > _LATIN_1 for character in value):
                faults.append(f"headers: the value of {name} contains a character outside Latin-1 (RFC 9110 §5.5)")
        faults += [
            f"subprotocols: {name!r} is no name of a subprotocol (RFC 6455 §4.1)"
            for name in self.subprotocols
            if not _TOKEN.fullmatch(name)
        ]
        if len(set(self.subprotocols)) < len(self.subprotocols):
            faults.append("subprotocols: one is named twice (RFC 6455 §4.1)")
        if faults:
            raise ConfigError(faults)

    async def dial(self, take: Callable[[Opened], Taker]) -> None:
        """Open one connection and hand it to what `take` makes of it.

        Raises:
            HandshakeError: If the answer is no 101 and no redirect that may be followed.
            InvalidURL: If a redirect leads nowhere, or from `wss` to `ws`.
            TimeoutError: If one handshake takes longer than `open_timeout`.
            OSError: If the name does not resolve or nobody listens.
        """
        target = self.target
        redirects = self.config.follow_redirects
        while True:
            try:
                await dial(
                    target,
                    take,
                    headers=self._headers_for(target),
                    subprotocols=self.subprotocols,
                    ssl=self.ssl,
                    compression=Compression.of(self.config),
                    open_timeout=self.config.open_timeout,
                )
            except HandshakeError as error:
                location = error.headers.get("location")
                if not redirects or location is None or error.status not in _REDIRECTS:
                    raise
                redirects -= 1
                target = target.redirected(location)
            except OSError as error:
                error.add_note(f"while connecting to {target.url}")
                raise
            else:
                return

    def _headers_for(self, target: Target) -> Mapping[str, str]:
        if target.origin == self.target.origin:
            return self.headers
        return {name: value for name, value in self.headers.items() if not _OF_ONE_ORIGIN.search(name)}
