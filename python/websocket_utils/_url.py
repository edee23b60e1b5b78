"""URLs of WebSocket servers: parsed once, with credentials taken out."""

import base64
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

from ._redaction import without_credentials
from .exceptions import InvalidURL

__all__ = ["UNIX_SCHEME", "Target", "parse_address", "parse_url"]

_DEFAULT_PORTS = {"ws": 80, "wss": 443}
_MAX_PORT = 65535
# The errors of `urllib` repeat what they don't understand, which may be a piece of a password.
_MALFORMED_HOST = "its host is no name, IPv4 address or [IPv6 address] (RFC 3986 §3.2.2)"
_ASCII = "".join(map(chr, range(0x21, 0x7F)))
UNIX_SCHEME = "ws+unix"
_UNIX_PREFIX = "unix:"
# `sun_path` of Linux less its final zero byte; macOS takes 103.
_MAX_UNIX_PATH = 107


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect."""

    url: str
    """Without user and password, and with `?...` for its query: safe for logs and errors."""
    authority: str
    """Host and port as the URL has them: the `Host` header."""
    resource: str
    """Path and query: what is asked for (RFC 6455 §3). The query may hold a token, so it is shown nowhere."""
    authorization: str | None
    """Value of the `Authorization` header made of the URL's user and password (RFC 7617)."""
    origin: tuple[str, str, int]
    """Scheme, host and port: what decides whether a redirect may be shown credentials. Of `ws+unix` the host is the
    path of the socket, and the port is 0."""

    def __repr__(self) -> str:
        return f"<Target {self.url}>"

    def redirected(self, location: str) -> "Target":
        """Return where `location` leads from here; credentials stay only with the same origin.

        Raises:
            InvalidURL: If it is no WebSocket URL, or leads from `wss` to `ws`.
        """
        try:
            absolute = urljoin(f"{self.origin[0]}://{self.authority}{self.resource}", location)
        except ValueError:
            raise InvalidURL(location, _MALFORMED_HOST) from None
        # Servers name redirects in the scheme of HTTP.
        for http, ws in (("http://", "ws://"), ("https://", "wss://")):
            if absolute.startswith(http):
                absolute = ws + absolute.removeprefix(http)
        target = parse_url(absolute)
        if self.origin[0] == "wss" and target.origin[0] == "ws":
            raise InvalidURL(target.url, "a redirect from wss to ws would give up encryption")
        if target.origin == self.origin and target.authorization is None:
            return replace(target, authorization=self.authorization)
        return target


def parse_url(url: str) -> Target:
    """Parse and check a `ws://`, `wss://` or `ws+unix:` URL.

    A Unix socket is named by its path: `ws+unix:/run/feed.sock`, or `ws+unix:/run/feed.sock:/resource`.

    Raises:
        InvalidURL: If it is not such a URL; it names the fault, and never the password or the query.
    """
    if any(ord(character) <= ord(" ") or ord(character) == 0x7F for character in url):  # noqa: PLR2004  # DEL
        raise InvalidURL(url, "it contains a space or a control character")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InvalidURL(url, _MALFORMED_HOST) from None
    try:
        port = parts.port
    except ValueError:
        raise InvalidURL(url, f"its port is no number from 1 to {_MAX_PORT}") from None
    if parts.scheme == UNIX_SCHEME:
        return _unix_target(url, parts.netloc, parts.path, parts.query, parts.fragment)
    if parts.scheme not in _DEFAULT_PORTS:
        raise InvalidURL(url, f"the scheme is {parts.scheme!r}" if parts.scheme else "it has no scheme")
    if not parts.hostname:
        raise InvalidURL(url, "it has no host")
    if parts.fragment:
        raise InvalidURL(url, "fragments have no meaning in WebSocket URLs (RFC 6455 §3)")
    if port == 0:
        raise InvalidURL(url, "port 0 cannot be connected to")
    try:
        # Also finds what no resolver takes: empty labels and labels over 63 bytes.
        host = parts.hostname if ":" in parts.hostname else parts.hostname.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise InvalidURL(url, f"its host is no name: {error}") from None
    authority = parts.netloc.rpartition("@")[2]
    if not authority.isascii():
        authority = host if port is None else f"{host}:{port}"
    authorization = None
    if parts.username is not None or parts.password is not None:
        pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    # What is not ASCII is written in its percent form; what is, stays as it was written (RFC 3987 §3.1).
    path, query = (quote(part, safe=_ASCII) for part in (parts.path, parts.query))
    return Target(
        url=without_credentials(urlunsplit((parts.scheme, authority, path, query, ""))),
        authority=authority,
        resource=(path or "/") + (f"?{query}" if query else ""),
        authorization=authorization,
        origin=(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme]),
    )


def _unix_target(url: str, netloc: str, path: str, query: str, fragment: str) -> Target:
    where, separator, resource = path.partition(":")
    if netloc or not where.startswith("/") or fragment or (separator and not resource.startswith("/")):
        raise InvalidURL(url, "a Unix socket is named by an absolute path: ws+unix:/path, or ws+unix:/path:/resource")
    where = unquote(where)
    if len(where.encode()) > _MAX_UNIX_PATH or "\0" in where:
        raise InvalidURL(url, f"the path of a Unix socket has at most {_MAX_UNIX_PATH} bytes, and no zero among them")
    resource, query = (quote(part, safe=_ASCII) for part in (resource, query))
    return Target(
        url=without_credentials(f"{UNIX_SCHEME}:{quote(where)}{separator}{resource}" + (f"?{query}" if query else "")),
        authority="localhost",
        resource=(resource or "/") + (f"?{query}" if query else ""),
        authorization=None,
        origin=(UNIX_SCHEME, where, 0),
    )


def parse_address(address: str) -> tuple[str, int]:
    """Split `host:port`, `[v6]:port` or `:port` (all interfaces).

    Of a Unix socket, `unix:/path`, the whole address is the host, and the port 0.

    Raises:
        ValueError: If there is no port, or it is out of range, or the path of a Unix socket is not absolute or long.
    """
    if address.startswith(_UNIX_PREFIX):
        path = address.removeprefix(_UNIX_PREFIX)
        if not path.startswith("/") or len(path.encode()) > _MAX_UNIX_PATH or "\0" in path:
            raise ValueError(
                f"invalid address {address!r}: the path of a Unix socket is absolute, has at most {_MAX_UNIX_PATH} "
                "bytes, and no zero among them"
            )
        return address, 0
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > _MAX_PORT:
        raise ValueError(
            f"invalid address {address!r}: expected host:port with a port from 0 to {_MAX_PORT}, such as 0.0.0.0:8080"
        )
    return host.removeprefix("[").removesuffix("]") or "0.0.0.0", int(port)  # noqa: S104  # `:8080` means all interfaces
