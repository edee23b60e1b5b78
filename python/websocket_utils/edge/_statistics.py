"""What a publisher has done so far, as numbers."""

from dataclasses import dataclass

from websocket_utils.metrics import ClientStats, Distribution

__all__ = ["EdgePublisherStats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgePublisherStats:
    """A snapshot. `published == acknowledged + dropped + waiting` at any time."""

    epoch: int
    """Epoch in use, as the edge knows it: milliseconds since 1970 when it began."""

    published: int
    """Updates that `publish` took; the number of the last one."""

    acknowledged: int
    """Of these, those that the edge has on its disk, or has refused."""

    rejected: int
    """Of the acknowledged ones, those that it has refused."""

    dropped: int
    """Updates that were never sent and were left out for newer ones (`when_full`)."""

    waiting: int
    """Updates that are not acknowledged, those on their way included."""

    waiting_bytes: int
    """Bytes of these; `buffer` at most."""

    in_flight_bytes: int
    """Of these, what was sent on this connection; `window` at most, but for one update."""

    batches: int
    """Batches sent."""

    resent: int
    """How often an update was sent again."""

    stalls: int
    """How often a connection was given up because nothing was acknowledged."""

    events_dropped: int
    """Events that `events()` did not have room for: nobody took them. Callbacks (`on`) get all."""

    rtt: Distribution
    """From sending a batch to its acknowledgement, which comes when it is on the edge's disk."""

    latency: Distribution
    """The same from the first `publish` of the batch on: `interval`, and waiting for the window, included."""

    client: ClientStats
    """The connection: reconnects, bytes, pings."""
