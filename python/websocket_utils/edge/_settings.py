"""The arguments of `EdgePublisher.connect`: checked, and as a client takes them."""

import inspect
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast, get_args
from urllib.parse import quote

from websocket_utils._endpoints import TokenSource, takes_refresh, value_faults
from websocket_utils.config import ConfigOverrides, WebSocketConfig
from websocket_utils.exceptions import ConfigError
from websocket_utils.namespaces import name_fault

from ._unacknowledged import MAX_BATCH, MAX_BATCH_UPDATES, OVERHEAD, WhenFull

__all__ = ["check", "client_settings", "headers_of", "publisher_url"]

_KEY_HEADER: Final = "X-API-Key"
_LEAST_BATCH: Final = 1024
_MOST_BYTES: Final = 2**30


def check(
    *,
    name: str,
    key: TokenSource | None,
    interval: float,
    max_batch: int,
    max_batch_updates: int,
    buffer: int,
    window: int,
    when_full: WhenFull,
    acknowledge_timeout: float,
    flush_timeout: float,
) -> None:
    """Check what a publisher was asked to be.

    Raises:
        ConfigError: It names all that is wrong.
    """
    name_wrong = name_fault(name)
    faults = [f"name: {name!r} is none: {name_wrong}"] if name_wrong else []
    if isinstance(key, str):
        faults += value_faults("key", key)
    faults += [
        f"{what}: must be a whole number from {least} to {most}, not {value!r}"
        for what, value, least, most in (
            ("max_batch", max_batch, _LEAST_BATCH, MAX_BATCH),
            ("max_batch_updates", max_batch_updates, 1, MAX_BATCH_UPDATES),
            ("buffer", buffer, max_batch, _MOST_BYTES),
            ("window", window, 1, _MOST_BYTES),
        )
        if isinstance(value, bool) or not least <= value <= most
    ]
    faults += [
        f"{what}: must be a finite number of seconds {than} {least}, not {value!r}"
        for what, value, least, than in (
            ("interval", interval, 0, "of at least"),
            ("acknowledge_timeout", acknowledge_timeout, 0, "above"),
            ("flush_timeout", flush_timeout, 0, "of at least"),
        )
        if not (value > least if than == "above" else value >= least) or value == math.inf
    ]
    if when_full not in get_args(WhenFull):
        faults.append(f"when_full: must be one of {', '.join(get_args(WhenFull))}, not {when_full!r}")
    if faults:
        raise ConfigError(faults)


def client_settings(
    config: WebSocketConfig | None, overrides: ConfigOverrides, *, max_batch: int, window: int
) -> WebSocketConfig:
    """The settings of the client.

    Raises:
        ConfigError: If one is wrong, or is none for a publisher.
    """
    settings = (config or WebSocketConfig(max_reconnect_attempts=None)).replace(**overrides)
    if settings.max_connection_age is not None:
        # Two connections at once would bring batches in any order.
        raise ConfigError(["max_connection_age: a publisher has one connection at a time; leave it at None"])
    # What is in flight is at most all in the connection's queue.
    least = window + max_batch + OVERHEAD
    return settings if settings.max_send_queue >= least else settings.replace(max_send_queue=least)


def publisher_url(url: str, name: str) -> str:
    """The URL with the publisher's name in its query."""
    return f"{url}{'&' if '?' in url else '?'}name={quote(name, safe='')}"


def headers_of(key: TokenSource | None, begins: Callable[[], object]) -> Callable[..., Awaitable[Mapping[str, str]]]:
    """What gives the headers of each dial.

    Args:
        key: The key, or what gives it; None sends none.
        begins: Called first: a dial begins.
    """

    async def headers(refresh: bool = False) -> Mapping[str, str]:
        begins()
        if key is None:
            return {}
        if isinstance(key, str):
            return {_KEY_HEADER: key}
        given: Any = key(refresh=refresh) if takes_refresh(key) else key()
        return {_KEY_HEADER: cast("str", await given if inspect.isawaitable(given) else given)}

    return headers
