"""From the arguments of `connect` to the parts of a client, checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any, Literal

from ._alone import Alone, Strategy
from ._dialer import Dialer
from ._endpoints import Endpoint, HeadersSource, TokenSource, UrlSource
from ._held import Overflow
from ._legs import Legs
from ._lifecycle import Lifecycle
from ._link import Link
from ._merging import Key
from ._reconnect import ClosePolicy, ReconnectPolicy
from ._slow import Backpressure, Conflate, DropOldest
from ._subscription_protocol import RecoveringProtocol
from ._terms import Codec, Terms
from .config import WebSocketConfig
from .exceptions import ConfigError

__all__ = ["Assembly", "Mode", "dialer_of"]

Mode = Literal["failover", "standby", "race"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "mode": ("failover", "standby", "race"),
    "when_down": ("raise", "queue"),
    "overflow": ("raise", "drop_oldest", "drop_newest"),
    "when_stale": ("replace", "tell"),
}


def dialer_of(
    url: UrlSource | Sequence[UrlSource],
    settings: WebSocketConfig,
    codec: Codec,
    headers: HeadersSource | None,
    token: TokenSource | None,
    ssl: SSLContext | None,
    subprotocols: Sequence[str] | None,
    *,
    recover: bool = False,
) -> Dialer:
    """What opens the connections of a client.

    Raises:
        InvalidURL: If a URL is none.
        ConfigError: If a header, the token or a subprotocol can't be sent, or `recover` can't be had with them.
    """
    ours = f"websocket-utils.{codec}"
    if subprotocols is None:
        subprotocols = (ours,) if recover or codec != "json" else ()
    elif recover and ours not in subprotocols:
        raise ConfigError([f"recover: needs {ours} among the subprotocols, or none given"])
    urls = [url] if isinstance(url, str) or callable(url) else list(url)
    endpoints = tuple(Endpoint(one, headers=headers, token=token) for one in urls)
    return Dialer(endpoints, settings, tuple(subprotocols), ssl)


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """The parts of a client, as `connect` was asked for them.

    Raises:
        ConfigError: If they do not go together; it names all faults.
    """

    terms: Terms
    dialer: Dialer
    mode: Mode
    reconnect: bool | ReconnectPolicy
    closes: ClosePolicy
    when_down: Literal["raise", "queue"]
    overflow: Overflow
    slow: Backpressure | DropOldest | Conflate | None
    when_stale: Literal["replace", "tell"]
    key: Key | None
    of: Any
    timeout: float | None
    recover: bool = False

    def __post_init__(self) -> None:
        """Check what the types of a caller without a type checker would let through."""
        faults = [
            f"{name}: must be one of {', '.join(allowed)}, not {getattr(self, name)!r}"
            for name, allowed in _CHOICES.items()
            if getattr(self, name) not in allowed
        ]
        if self.terms.heartbeat not in {"frame", "message"}:
            faults.append(f"heartbeat: must be frame or message, not {self.terms.heartbeat!r}")
        if self.recover and not isinstance(self.terms.protocol, RecoveringProtocol):
            faults.append("recover: needs the standard subscriptions, this protocol presents no positions")
        if self.mode in {"standby", "race"} and len(self.dialer.endpoints) < 2:  # noqa: PLR2004  # a pair at least
            faults.append(f"mode: {self.mode} needs several URLs; one may be given twice")
        if self.mode == "race" and self.key is None:
            faults.append("key: mode race needs one, to know which messages of its sources are equal")
        if self.merges and isinstance(self.slow, Backpressure):
            faults.append("slow: connections that are merged can't be held back; use DropOldest() or Conflate(...)")
        if self.timeout is not None and not self.timeout > 0:
            faults.append(f"timeout: must be above 0, not {self.timeout!r}; None dials once")
        if faults:
            raise ConfigError(faults)

    @property
    def merges(self) -> bool:
        """Whether what several connections bring goes through one door."""
        return self.mode in {"standby", "race"} or self.key is not None

    @property
    def slow_rule(self) -> Backpressure | DropOldest | Conflate:
        """What happens when messages come faster than they are taken."""
        return self.slow or (DropOldest() if self.merges else Backpressure())

    def _lifecycle(self) -> Lifecycle:
        config = self.terms.config
        return Lifecycle(
            self.reconnect if isinstance(self.reconnect, ReconnectPolicy) else ReconnectPolicy(),
            self.closes,
            reconnect_interval=config.reconnect_interval,
            max_attempts=config.max_reconnect_attempts,
            stable_after=config.stable_after,
            can_refresh=self.terms.authenticate is not None or any(one.can_refresh for one in self.dialer.endpoints),
        )

    def links(self, strategy: Strategy) -> tuple[tuple[Link, ...], Legs | None]:
        """Make the links of a client, and what merges them if anything does."""
        reconnects = self.reconnect is not False
        every = range(len(self.dialer.endpoints))
        if not self.merges:
            alone = Alone(strategy)
            link = Link(self.terms, self.dialer, every, strategy.inbox, alone, self._lifecycle(), reconnects=reconnects)
            return (link,), None
        groups: list[Sequence[int]] = [(one,) for one in every] if self.mode in {"standby", "race"} else [every]
        sources = [self.dialer.endpoints[group[0]].shown for group in groups]
        legs = Legs(strategy, self.terms, sources, is_standby=self.mode == "standby", key=self.key, of=self.of)
        links = tuple(
            Link(
                self.terms,
                self.dialer,
                group,
                legs.inbox_of(number),
                legs,
                self._lifecycle(),
                reconnects=reconnects,
                deduplicates=True,
            )
            for number, group in enumerate(groups)
        )
        legs.links = links
        return links, legs
