"""Snapshots of the counters that clients and servers keep.

A snapshot is taken by `stats()` and never changes; the rate of anything is the difference of two snapshots over the
time between them. Counters start at 0 and only grow, through reconnects too; gauges (marked "now") go up and down.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

__all__ = ["ClientState", "ClientStats", "Distribution", "Downtime", "LegStats", "SendCounts", "ServerStats"]

ClientState = Literal[
    "idle", "connecting", "authenticating", "restoring", "live", "stale", "backoff", "closed", "failed"
]
"""Where a client is in its life."""


class Distribution(Protocol):
    """How long something took, over all times it was measured: a histogram with a precision of 1 %."""

    @property
    def count(self) -> int:
        """How often it was measured."""
        ...

    @property
    def min(self) -> int:
        """The shortest, in nanoseconds; 0 if it was never measured."""
        ...

    @property
    def max(self) -> int:
        """The longest, in nanoseconds; 0 if it was never measured."""
        ...

    @property
    def mean(self) -> float:
        """The mean, in nanoseconds; 0 if it was never measured."""
        ...

    def quantile(self, q: float, /) -> int:
        """Return what the fraction `q` of them did not exceed, in nanoseconds: 0.5 is the median."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Downtime:
    """One reconnect, from the loss of a connection until the next one was live, in nanoseconds.

    None of a phase: it was not needed, or is not known.
    """

    epoch: int
    """Number of the connection that ended it."""

    total_ns: int
    """From the loss to live."""

    wait_ns: int
    """From the loss to the dial that succeeded: waiting, and dials that failed."""

    provider_ns: int | None
    """Callables for URL, headers and token."""

    dns_ns: int | None
    """Name resolution."""

    tcp_ns: int | None
    """Until an address took the connection."""

    tls_ns: int | None
    """TLS handshake."""

    upgrade_ns: int | None
    """From the request to the 101."""

    subscribe_ns: int
    """From the 101 to live: authentication and subscriptions."""

    first_data_ns: int | None
    """From the loss to the first message of the new connection; None if none has come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendCounts:
    """How messages that `send` accepted have ended; what is missing to `accepted` has not ended yet."""

    accepted: int
    """All that `send` did not raise for."""

    written: int
    """Taken by the operating system in full."""

    dropped: int
    """Not a byte left: superseded, over the bound, or the connection was lost or closed before their turn."""

    expired: int
    """Not a byte left: their `ttl` passed."""

    unknown: int
    """The connection ended while they were being written."""

    @property
    def waiting(self) -> int:
        """Accepted, and not ended yet."""
        return self.accepted - self.written - self.dropped - self.expired - self.unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class LegStats:
    """What one source of a client in mode `race` or `standby` has done so far, over all its connections."""

    source: str
    """Its URL, without credentials."""

    is_live: bool
    """Whether it has a complete connection, now."""

    messages: int
    """Messages it brought."""

    wins: int
    """Messages of it that were delivered: in a race, those it brought first."""

    duplicates: int
    """Messages of it that were removed, for they had been there already."""

    lead_p50_ns: int
    """From the arrival of a message it brought first to that of its equal from another source: the median; 0 before
    the first one."""

    lead_p99_ns: int
    """The same, which one in a hundred exceeds."""

    behind_ns: int
    """From its last message to the last one of any source. If it is live and this grows, it is dead, and the others
    mask that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientStats:
    """What a client has done so far. Bytes are message payloads, without frame headers and TLS."""

    state: ClientState
    """Where the client is in its life, now."""

    epoch: int
    """Number of the connection in use, or used last; 0 before the first."""

    connects: int
    """Opening handshakes completed, the first one included."""

    reconnects: int
    """Opening handshakes completed after a connection was lost."""

    messages_received: int
    """Messages the peer sent that were received in full, also those that could not be decoded."""

    bytes_received: int
    """Bytes of those messages."""

    messages_sent: int
    """Messages accepted by `send`."""

    bytes_sent: int
    """Bytes of those messages, as encoded."""

    sends: SendCounts
    """How they have ended, those included that were kept and never met a connection."""

    decode_errors: int
    """Messages that were no message of the class asked for."""

    handler_errors: int
    """Exceptions raised by callbacks given to `on`; each is logged, and the connection goes on."""

    unhandled: int
    """Messages dropped because nobody asked for their class."""

    inbox_messages: int
    """Messages received and not yet taken by a reader, now."""

    inbox_bytes: int
    """Bytes of those messages, now; reading from the socket pauses at `max_inbox`."""

    inbox_dropped: int
    """Messages dropped because the reader was too slow (`slow=DropOldest()`)."""

    inbox_conflated: int
    """Messages that a newer one with the same key has covered (`slow=Conflate(...)`)."""

    events_dropped: int
    """Events dropped because nobody took thousands of them."""

    duplicates: int
    """Publications dropped because they had come before; they are not among `messages_received`."""

    gaps: int
    """`Gap` events told."""

    lagged: int
    """Publications that a server left out because this side was slow, as its `Lagged` events say."""

    send_queue_bytes: int
    """Bytes accepted by `send` and not yet taken by the operating system, now."""

    rtt: Distribution
    """From a ping to its pong."""

    message_age: Distribution
    """From the read that brought messages to the first of them being taken by the strategy."""

    downtime_ns: int
    """Time without a live connection after the first, over all reconnects that are over."""

    downtimes: tuple[Downtime, ...]
    """The last 64 reconnects, each split into its phases."""

    legs: tuple[LegStats, ...]
    """What each source has done, in the modes `standby` and `race`; else empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStats:
    """What a server has done so far, over all connections.

    Bytes are message payloads, without frame headers and TLS.
    """

    draining: bool
    """Whether it is letting its clients go, now."""

    connections: int
    """Connections that are open, now."""

    accepted: int
    """Opening handshakes completed."""

    rejected: int
    """Opening handshakes that failed or were refused."""

    messages_received: int
    """Messages clients sent that were received in full, also those that could not be decoded."""

    bytes_received: int
    """Bytes of those messages."""

    messages_sent: int
    """Messages published by `broadcast` and `publish`, and messages sent to one connection; each counts once."""

    deliveries: int
    """Messages handed to connections: one message to ten clients is ten deliveries."""

    bytes_sent: int
    """Bytes of those deliveries."""

    channels: int
    """Channels that are subscribed to, or were published to and not forgotten, now."""

    subscriptions: int
    """Subscriptions of all connections, to channels and patterns, now."""

    conflated: int
    """Deliveries left out because a newer message of their key took their place (`slow=Conflate()`)."""

    dropped: int
    """Deliveries left out because a slow client had too many waiting (`slow=DropOldest()`)."""

    lag_notices: int
    """`LagNotice` messages sent: how often clients were told of either."""

    recovered: int
    """Channels that clients came back to and missed nothing of."""

    unrecovered: int
    """Channels that clients came back to and missed something of, or may have."""

    history_messages: int
    """Publications kept for those who come back, now."""

    history_bytes: int
    """Bytes of those, now."""

    log_bytes: int
    """Memory of the logs that clients are sent from, now."""

    lagging: int
    """Connections that have not yet taken all that was published to them, now."""

    lag_disconnects: int
    """Connections cut because they fell more than `max_lag` behind."""

    unread_disconnects: int
    """Connections cut because they did not read the answers they asked for: acknowledgements, and `Pong` messages."""

    unauthorized: int
    """Clients that were not let in or were cut because `authenticate` didn't know them, they said nothing in time, or
    their time was over."""

    commands_refused: int
    """Commands of clients that were not done because they came too often (`commands_per_second`)."""

    decode_errors: int
    """Messages from clients that no known message class fits."""

    handler_errors: int
    """Exceptions raised by handlers given to `on`; each is logged, and the connection goes on."""

    unhandled: int
    """Messages from clients dropped because no handler asked for their class."""
