"""Snapshots of the counters that clients and servers keep.

A snapshot is taken by `stats()` and never changes; the rate of anything is the difference of two snapshots over the
time between them. Counters start at 0 and only grow, through reconnects too; gauges (marked "now") go up and down.
"""

from dataclasses import dataclass
from typing import Literal

__all__ = ["ClientState", "ClientStats", "ServerStats"]

ClientState = Literal[
    "idle", "connecting", "authenticating", "restoring", "live", "stale", "backoff", "closed", "failed"
]
"""Where a client is in its life."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientStats:
    """What a client has done so far. Bytes are message payloads, without frame headers and TLS."""

    state: ClientState
    """Where the client is in its life, now."""

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

    send_queue_bytes: int
    """Bytes accepted by `send` and not yet taken by the operating system, now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStats:
    """What a server has done so far, over all connections.

    Bytes are message payloads, without frame headers and TLS.
    """

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

    lagging: int
    """Connections that have not yet taken all that was published to them, now."""

    lag_disconnects: int
    """Connections cut because they fell more than `max_lag` behind."""

    unread_disconnects: int
    """Connections cut because they did not read the answers they asked for: acknowledgements, and `Pong` messages."""

    decode_errors: int
    """Messages from clients that no known message class fits."""

    handler_errors: int
    """Exceptions raised by handlers given to `on`; each is logged, and the connection goes on."""

    unhandled: int
    """Messages from clients dropped because no handler asked for their class."""
