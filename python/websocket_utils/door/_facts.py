"""What the door tells about a server: the JSON of `/api/info`, which the dashboard plots, and where it comes from.

`Info` is the shape of `GET /api/info`. All times and durations are seconds, all sizes bytes, all rates are a second's
average. The page at `/` is served to anybody, without facts in it; with a key set, it has to send what its reader
types as the header `X-API-Key` with each `GET /api/info`, which is answered 401 without it. Asking once a second is
cheap: an answer holds at most 20 channels, 20 clients and 120 samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict

from websocket_utils._connection import ServerConnection
from websocket_utils._core import Broadcaster, Inbox, Receipt
from websocket_utils._server_channels import ServerChannels
from websocket_utils.metrics import ServerStats

__all__ = [
    "ChannelRow",
    "ClientRow",
    "Counted",
    "Facts",
    "Info",
    "Latency",
    "Quantiles",
    "Rates",
    "Sample",
    "Served",
    "Server",
]

_CHANNELS = 20
_CLIENTS = 20


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
    `unrecovered`, `history_messages`, `history_bytes`, `log_bytes`."""

    rates: Rates
    latency: Latency
    samples: list[Sample]
    """The last two minutes, oldest first, one a second."""

    channels: list[ChannelRow]
    """Those with most subscribers, these first."""

    slowest: list[ClientRow]
    """Those most behind, these first; empty where nobody is."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Counters at one time, which are cheap to read once a second."""

    connections: int = 0
    lagging: int = 0
    published: int = 0
    deliveries: int = 0
    bytes_sent: int = 0
    messages_received: int = 0
    dropped: int = 0
    conflated: int = 0
    behind: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """A server at one time."""

    url: str
    is_ready: bool
    stats: ServerStats
    counted: Counted
    channels: tuple[tuple[str, int, int, int], ...] = ()
    """Name, subscribers, epoch and sequence of the channels with most subscribers."""

    slowest: tuple[tuple[str, int, float], ...] = ()
    """Address, bytes behind and seconds blocked of the clients that are most behind."""

    round_trips: tuple[float, ...] = ()
    """The last one of each connection, in seconds."""


class Server(Protocol):
    """What the door needs of a `WebSocketServer`."""

    _broadcaster: Broadcaster
    _channels: ServerChannels
    _inbox: Inbox
    _shutting_down: bool

    @property
    def url(self) -> str:
        """Where clients connect."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether clients are welcome."""
        ...

    @property
    def connections(self) -> frozenset[ServerConnection]:
        """Clients connected now."""
        ...

    def stats(self) -> ServerStats:
        """What it has done."""
        ...

    def publish(self, channel: str, message: Any) -> Receipt:
        """Publish a message."""
        ...


class Served:
    """A server as the door sees it: what can be read of it, and where publications go."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @property
    def types(self) -> Mapping[str, Any]:
        """Declared namespaces and the type of their messages; None or Any where they take any."""
        return {name: space.type for name, space in self._server._channels._namespaces.items()}

    @property
    def allows_undeclared(self) -> bool:
        """Whether channels of other namespaces may be published to."""
        return self._server._channels._allows_undeclared

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be published any more."""
        return self._server._shutting_down

    @property
    def is_ready(self) -> bool:
        """Whether clients are welcome."""
        return self._server.is_ready

    def publish(self, channel: str, message: Any) -> tuple[int, int]:
        """Publish a message, and return epoch and sequence."""
        receipt = self._server.publish(channel, message)
        return receipt.epoch, receipt.sequence

    def counted(self) -> Counted:
        """Read the counters that are cheap."""
        counters = self._server._broadcaster.counters()
        slowest = self._slowest(1)
        return Counted(
            connections=len(self._server.connections),
            lagging=counters["lagging"],
            published=counters["published"],
            deliveries=counters["deliveries"],
            bytes_sent=counters["bytes"],
            messages_received=self._server._inbox.counters()[0],
            dropped=counters["dropped"],
            conflated=counters["conflated"],
            behind=slowest[0][1] if slowest else 0,
        )

    def facts(self) -> Facts:
        """Read all of it."""
        round_trips = (connection.last_rtt_ns for connection in self._server.connections)
        return Facts(
            url=self._server.url,
            is_ready=self._server.is_ready,
            stats=self._server.stats(),
            counted=self.counted(),
            channels=tuple(self._server._broadcaster.channel_table(_CHANNELS)),
            slowest=tuple(self._slowest(_CLIENTS)),
            round_trips=tuple(nanoseconds / 1e9 for nanoseconds in round_trips if nanoseconds),
        )

    def _slowest(self, limit: int) -> list[tuple[str, int, float]]:
        return [
            (_address(connection), behind, blocked_ns / 1e9)
            for connection, behind, blocked_ns in self._server._broadcaster.slowest(limit)
            if behind or blocked_ns
        ]


def _address(connection: ServerConnection) -> str:
    address = connection.remote_addr
    if not address:
        return "unknown"
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
