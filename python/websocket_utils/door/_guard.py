"""Who may ask the door: whoever has the key; without a key, programs of this machine and the door's own page.

A key in a header can't be sent by a web page of somebody else: a browser asks first whether it may, and the door never
says yes. Without a key that holds nobody off: a page that the user of this machine looks at can send to 127.0.0.1, and
one under a name that was made to point there can read from it. So the names of this machine alone are served then, and
what says that it comes from another page is not.
"""

import hashlib
import hmac
import ipaddress
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from websocket_utils._faults import is_power_of_ten
from websocket_utils._url import parse_address
from websocket_utils.exceptions import ConfigError

from ._refusals import PERMISSION_DENIED, UNAUTHORIZED, Refusal

__all__ = ["MIN_KEY", "Guard", "checked_address", "is_loopback"]

_logger = logging.getLogger("websocket_utils.server.http")

MIN_KEY = 16
_SCHEME = "apikey"


def is_loopback(host: str) -> bool:
    """Whether a name or address is this machine's, for itself alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def checked_address(address: str | None, key: str | None) -> tuple[str, int] | None:
    """Return host and port that the door is to listen on; None if it is not to.

    Raises:
        ConfigError: If the key is none, or there is none and the address is reachable from other machines.
        ValueError: If the address is none.
    """
    faults: list[str] = []
    if key is not None:
        if len(key) < MIN_KEY:
            faults.append(f"http_key has {len(key)} characters: at least {MIN_KEY} that nobody guesses are needed")
        if not all("!" <= character <= "~" for character in key):
            faults.append("http_key: a header holds it, so its characters are ASCII and no spaces")
    parsed = None if address is None else parse_address(address)
    if parsed is not None and key is None and not is_loopback(parsed[0]):
        faults.append(
            f"http={address!r} is reachable from other machines, and whoever reaches it may publish: set http_key, or "
            "listen on 127.0.0.1"
        )
    if faults:
        raise ConfigError(faults)
    return parsed


class Guard:
    """Judges the head of a request, an ASGI scope.

    Args:
        key: What a request has to present; None takes those of this machine.

    Attributes:
        refused: Requests refused so far.
    """

    def __init__(self, key: str | None) -> None:
        # Digests have one length: what is compared tells nothing of the key's.
        self._digest = None if key is None else _digest(key.encode())
        self.refused = 0

    @property
    def wants_key(self) -> bool:
        """Whether a key is set."""
        return self._digest is not None

    def check(self, scope: Mapping[str, Any]) -> None:
        """Let a request pass.

        Raises:
            Refusal: If it may not.
        """
        headers = [(bytes(name).lower(), bytes(value)) for name, value in scope["headers"]]
        try:
            if self._digest is None:
                _check_local(scope, headers)
            else:
                self._check_key(self._digest, headers)
        except Refusal as refusal:
            self.refused += 1
            if is_power_of_ten(self.refused):
                _logger.warning(
                    "request of %s refused: %s (refused %d times; logged at each power of ten)",
                    (scope.get("client") or ("unknown",))[0],
                    refusal.message,
                    self.refused,
                )
            raise

    @staticmethod
    def _check_key(digest: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
        is_right = False
        for name, value in headers:
            presented = None
            if name == b"x-api-key":
                presented = value
            elif name == b"authorization":
                scheme, _, rest = value.partition(b" ")
                presented = rest.strip() if scheme.lower() == _SCHEME.encode() else None
            if presented is not None:
                is_right |= hmac.compare_digest(_digest(presented), digest)
        if not is_right:
            raise Refusal(401, UNAUTHORIZED, "the header X-API-Key is missing or wrong")


def _check_local(scope: Mapping[str, Any], headers: list[tuple[bytes, bytes]]) -> None:
    client = scope.get("client")
    if client and not is_loopback(client[0]):
        raise Refusal(403, PERMISSION_DENIED, "only this machine may ask where no http_key is set")
    hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
    if len(hosts) != 1 or not is_loopback(_without_port(hosts[0])):
        raise Refusal(403, PERMISSION_DENIED, "only names of this machine are served where no http_key is set")
    pages = {name: value.decode("latin-1") for name, value in headers if name in {b"origin", b"sec-fetch-site"}}
    origin = pages.get(b"origin")
    if origin is not None and origin.lower() not in {f"{scheme}://{hosts[0].lower()}" for scheme in ("http", "https")}:
        raise Refusal(403, PERMISSION_DENIED, "pages of other origins may not ask where no http_key is set")
    if pages.get(b"sec-fetch-site", "none") not in {"none", "same-origin"}:
        raise Refusal(403, PERMISSION_DENIED, "pages of other origins may not ask where no http_key is set")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
