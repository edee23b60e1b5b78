"""How publishing to the edge fails."""

from websocket_utils._redaction import on_one_line

from ._endings import ConnectionClosedError
from ._faults import WebSocketError

__all__ = [
    "AcknowledgementTimeout",
    "BatchRefused",
    "PublisherBufferFull",
    "PublisherSuperseded",
    "UpdatesUnacknowledged",
]


class PublisherBufferFull(WebSocketError):
    """Too much is published that the edge has not acknowledged. This update was not taken.

    Attributes:
        waiting: Bytes that wait, those on their way included.
        size: Bytes of this update.
        limit: `buffer` in force, in bytes.
    """

    def __init__(self, waiting: int, size: int, limit: int) -> None:
        super().__init__(waiting, size, limit)
        self.waiting = waiting
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"publisher's buffer full: {self.waiting} bytes are not acknowledged and {self.size} more would pass the "
            f"limit of {self.limit}; await flush(), raise buffer, or have when_full drop or conflate"
        )


class PublisherSuperseded(WebSocketError):
    """A newer publisher of the same name has taken over: this one is over, and does not fight for the name.

    Attributes:
        name: Name of the publisher.
        epoch: Epoch of this one.
    """

    def __init__(self, name: str, epoch: int) -> None:
        super().__init__(name, epoch)
        self.name = name
        self.epoch = epoch

    def __str__(self) -> str:
        return (
            f"a newer publisher has taken the name {on_one_line(self.name)} from this one (epoch {self.epoch}); "
            "give each publisher a name of its own"
        )


class BatchRefused(WebSocketError):
    """The edge does not take what this publisher sends: the publisher is over.

    Attributes:
        code: Its close code: 4400 (malformed) or 1009 (too big).
        reason: The edge's words.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        said = f": {on_one_line(self.reason)}" if self.reason else ""
        return f"the edge refused a batch{said} (close code {self.code}); check that both sides are of one version"


class AcknowledgementTimeout(ConnectionClosedError):
    """The edge took updates and acknowledged none of them in time: the connection is replaced.

    Attributes:
        count: Updates that were sent and are not acknowledged.
        timeout: `acknowledge_timeout` in force, in seconds.
    """

    def __init__(self, count: int, timeout: float) -> None:
        super().__init__()
        self.args: tuple[int, float] = (count, timeout)
        self.count = count
        self.timeout = timeout

    def __str__(self) -> str:
        return (
            f"no acknowledgement of {self.count} updates within {self.timeout:g} s (acknowledge_timeout): the "
            "connection is replaced"
        )


class UpdatesUnacknowledged(WebSocketError):
    """Updates are not known to be at the edge: `flush` or `close` did not get their acknowledgement in time.

    Some of them may be there; `publisher.unacknowledged()` has them all.

    Attributes:
        count: How many.
        first: Number of the first of them, as `publish` returned it.
        last: Number of the last of them.
    """

    def __init__(self, count: int, first: int, last: int) -> None:
        super().__init__(count, first, last)
        self.count = count
        self.first = first
        self.last = last

    def __str__(self) -> str:
        why = f", because {type(self.__cause__).__name__}: {self.__cause__}" if self.__cause__ else " in time"
        return f"{self.count} updates ({self.first} to {self.last}) were not acknowledged by the edge{why}"
