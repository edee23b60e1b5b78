"""What a stream of updates into workerd found."""

from typing import Final

from hostile._results import Result

# The part of the rate that was asked for which a publisher to the edge has to keep up.
EDGE_RATE_KEPT: Final = 0.98


class EdgeResult(Result, kw_only=True):
    """What became of updates that were published to workerd while its object was reset, killed and evicted."""

    # Updates a second that were asked for, and over how many channels.
    rate: int
    channels: int
    # Seconds of silence, 0: there were none; and whether the object was evicted in them, which was another one then.
    idle_s: float
    was_evicted: bool
    # The publisher's books.
    published: int
    acknowledged: int
    waiting: int
    dropped: int
    rejected: int
    resent: int
    batches: int
    reconnects: int
    # The object's: the last update that it has of the publisher, and the numbers of all its channels together.
    kept: int
    numbered: int
    # The reader's, by the numbers that updates carry themselves; and gaps that the object's numbers show.
    received: int
    lost: int
    doubled: int
    disordered: int
    gaps: int
    reader_reconnects: int
    # Published in a second while it was published, and CPU of the publisher's process for each update, in µs.
    achieved_rate: float
    cpu_us: float
    # Median and 99th percentile, in milliseconds: from sending a batch to its acknowledgement, from the first `publish`
    # of a batch to its acknowledgement, and from `publish` to the reader; the latter two with all outages in them.
    rtt_ms: list[float]
    latency_ms: list[float]
    reader_ms: list[float]

    @property
    def met(self) -> bool:
        """Whether the rate was kept and the three books agree, over losses of the connection."""
        return self.is_balanced and self.achieved_rate >= EDGE_RATE_KEPT * self.rate

    @property
    def is_balanced(self) -> bool:
        """Whether the three books agree, over losses of the connection."""
        return (
            self.published == self.acknowledged == self.kept == self.numbered == self.received > 0
            and self.waiting == self.dropped == self.rejected == 0
            and self.lost == self.doubled == self.disordered == self.gaps == 0
            and self.reconnects > 1
            and self.reader_reconnects > 1
            and self.was_evicted == (self.idle_s > 0)
        )
