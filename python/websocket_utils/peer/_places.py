"""Where peers listen and are dialled, checked. Pure."""

import ipaddress
from collections.abc import Mapping, Sequence

from websocket_utils._url import UNIX_SCHEME, parse_address, parse_url
from websocket_utils.exceptions import InvalidURL

from ._proofs import is_name

__all__ = ["dialled_url", "is_local", "listening_faults", "named_places"]


def dialled_url(place: str) -> str:
    """The URL of a place: `unix:/path` is one too."""
    return f"ws+{place}" if place.startswith("unix:") else place


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_local(url: str) -> bool:
    """Whether a URL can't lead to another machine.

    Raises:
        InvalidURL: If it is none.
    """
    scheme, host, _ = parse_url(url).origin
    return scheme == UNIX_SCHEME or _is_loopback(host)


def listening_faults(listen: str | None, *, has_key: bool) -> list[str]:
    """What is wrong with an address to listen on."""
    if listen is None:
        return []
    try:
        host, _ = parse_address(listen)
    except ValueError as error:
        return [f"listen: {error}"]
    if has_key or host.startswith("unix:") or _is_loopback(host):
        return []
    return [f"listen: {listen} can be reached from other machines: that needs a key"]


def named_places(
    peers: Mapping[str, str] | Sequence[str], own: str, *, has_key: bool
) -> tuple[list[tuple[str | None, str]], list[str]]:
    """Names (None where they are not known) and URLs to dial, and what is wrong with them."""
    given: list[tuple[str | None, str]] = (
        list(peers.items()) if isinstance(peers, Mapping) else [(None, place) for place in peers]
    )
    places: list[tuple[str | None, str]] = []
    faults: list[str] = []
    for name, place in given:
        url = dialled_url(place)
        if name is not None and not is_name(name):
            faults.append(f"peers: {name!r} is no name: 1 to 64 letters, digits, dots, underscores and hyphens")
        elif name == own:
            faults.append(f"peers: {name!r} is this peer itself")
        else:
            try:
                if not has_key and not is_local(url):
                    faults.append(f"peers: {parse_url(url).url} is another machine: that needs a key")
            except InvalidURL as error:
                faults.append(f"peers: {error}")
        places.append((name, url))
    return places, faults
