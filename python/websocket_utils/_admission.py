"""Who may connect to a server: how many at once, from which pages, under which names."""

from collections import Counter
from collections.abc import Iterable
from urllib.parse import urlsplit

__all__ = ["Admission", "is_host_listed", "list_faults", "normal_origin"]

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class Admission:
    """Counts connections from their accept to their end, in all and for each address.

    Args:
        most: Connections at once; None sets no limit.
        most_per_address: The same for one remote address.
    """

    def __init__(self, most: int | None, most_per_address: int | None) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._by_address: Counter[str] = Counter()
        self.count = 0
        """Connections that have entered and not left."""

    def enter(self) -> bool:
        """Count a connection that was accepted just now; False, and uncounted, if there is no room."""
        if self._most is not None and self.count >= self._most:
            return False
        self.count += 1
        return True

    def identify(self, address: str) -> bool:
        """Count a connection that has entered for its address; False, and not counted there, if there is no room."""
        if self._most_per_address is not None and self._by_address[address] >= self._most_per_address:
            return False
        self._by_address[address] += 1
        return True

    def leave(self, address: str | None) -> None:
        """Forget a connection; `address` is None if it was never identified."""
        self.count -= 1
        if address is None:
            return
        self._by_address[address] -= 1
        if not self._by_address[address]:
            # An attacker with many addresses must not fill the table.
            del self._by_address[address]


def normal_origin(origin: str) -> str | None:
    """Bring an origin into its one form: lower case, with its port; None if it is none.

    `null`, which browsers send for pages without an origin, stays as it is.
    """
    if origin == "null":
        return origin
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return None
    # An origin has nothing but scheme, host and port (RFC 6454 §6.2).
    if not parts.hostname or "@" in parts.netloc or origin.lower() != f"{parts.scheme}://{parts.netloc}".lower():
        return None
    if port is None:
        port = _DEFAULT_PORTS.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}:{port}"


def list_faults(origins: Iterable[str] | None, hosts: Iterable[str] | None) -> list[str]:
    """What is wrong with a server's lists: an entry that is no origin, or no host, would match nobody."""
    return [
        *(
            f"origins: {origin!r} is no origin, such as https://desk.example or http://localhost:3000 (RFC 6454 §6.2)"
            for origin in origins or ()
            if normal_origin(origin) is None
        ),
        *(
            f"hosts: {host!r} is no host, such as feed.example or feed.example:8080"
            for host in hosts or ()
            if _split_host(host) is None
        ),
    ]


def is_host_listed(host: str, listed: Iterable[str]) -> bool:
    """Whether the value of a `Host` header is among `listed`: `name:port`, or `name` for any port."""
    found = _split_host(host)
    return found is not None and any(
        wanted is not None and wanted[0] == found[0] and wanted[1] in (None, found[1])
        for wanted in map(_split_host, listed)
    )


def _split_host(host: str) -> tuple[str, int | None] | None:
    """Name in lower case and port of `name[:port]`; None if it is no host."""
    try:
        parts = urlsplit(f"//{host}")
        port = parts.port
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname and parts.netloc == host and "@" not in host else None
