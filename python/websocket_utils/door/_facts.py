"""What the door tells about a server: the JSON of `/api/info`, which the dashboard plots, and where it comes from.

`Info` is the shape of `GET /api/info`. All times and durations are seconds, all sizes bytes, all rates are a second's
average. The page at `/` is served to anybody, without facts in it; with a key set, it has to send what its reader
types as the header `X-API-Key` with each `GET /api/info`, which is answered 401 without it. Asking once a second is
cheap: an answer holds at most 20 channels, 20 clients and 120 samples.
"""

from typing import TypedDict

__all__ = ["ChannelRow", "ClientRow", "Info", "Latency", "Quantiles", "Rates", "Sample"]


class Quantiles(TypedDict):
    """A distribution of durations."""

    count: int
    p50: float
    p90: float
    p99: float
    p999: float
    max: float


class Latency(TypedDict):
    """How late things are; None where nothing was measured yet, or nothing measures it."""

    publish_to_flush: Quantiles | None
    """From `publish` to the bytes being handed to the operating system, since the server began."""

    round_trip: Quantiles | None
    """The last ping and pong of each connection that is open; `count` is these connections."""

    loop_lag: Quantiles | None
    """How much later than asked for the event loop ran a timer, over the last minute."""


class Rates(TypedDict):
    """Averages over the last `seconds`."""

    seconds: float
    published: float
    deliveries: float
    bytes_sent: float
    messages_received: float
    dropped: float
    conflated: float


class Sample(TypedDict):
    """One second of the past."""

    at: float
    """The uptime at its end."""

    connections: int
    lagging: int
    published: float
    deliveries: float
    bytes_sent: float
    lost: float
    """Dropped or conflated, a second."""

    behind: int
    """Bytes that the slowest client had not taken."""

    loop_lag: float
    """The longest lag of the event loop in that second."""


class ChannelRow(TypedDict):
    """One channel."""

    channel: str
    subscribers: int
    epoch: str
    offset: int
    """Sequence of its latest publication."""


class ClientRow(TypedDict):
    """One client that has not taken all that was published to it."""

    address: str
    """`host:port`; `unknown` where the transport does not tell."""

    behind: int
    """Bytes published to it that it has not taken."""

    blocked: float
    """Seconds for which its socket has taken nothing."""


class Info(TypedDict):
    """The answer to `GET /api/info`."""

    version: str
    """Of this package."""

    url: str
    """Where clients connect, `ws://...`."""

    ready: bool
    """As `/readyz`: False while it is draining."""

    now: float
    """Unix time of the answer."""

    uptime: float
    """Since the server was bound."""

    connections: int
    lagging: int
    """Connections that have not taken all that was published to them."""

    channel_count: int
    subscriptions: int
    """Channels of each client, added up."""

    totals: dict[str, int]
    """Counters since the beginning: those of `server.stats()`, and `dropped`, `conflated`, `lag_notices`, `recovered`,
    `unrecovered`, `history_messages`, `history_bytes`, `held_bytes` where the server has them."""

    rates: Rates
    latency: Latency
    samples: list[Sample]
    """The last two minutes, oldest first, one a second."""

    channels: list[ChannelRow]
    """Those with most subscribers, these first."""

    slowest: list[ClientRow]
    """Those most behind, these first; empty where nobody is."""
