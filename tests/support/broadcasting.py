"""A broadcaster without a server: what tests of it share."""

from typing import Any, NamedTuple, cast

from tests.support.memory import Link, VirtualLoop
from tests.support.wire import Frame

from websocket_utils import _core

DISCONNECT = ("disconnect", None, None)


class Publication(NamedTuple):
    """What a peer that reads positions got; position None of what is no publication."""

    position: tuple[int, int, int] | None
    channel: str
    payload: bytes


def publication(payload: bytes) -> Publication:
    """Take a payload apart as `rust/core/src/publication.rs` draws it."""
    if not payload.startswith(b"\x1e"):
        return Publication(None, "", payload)
    line, _, rest = payload[1:].partition(b"\n")
    if not line:
        return Publication(None, "", rest)
    epoch, sequence, previous, channel = line.decode().split(" ", 3)
    return Publication((int(epoch), int(sequence), int(previous)), channel, rest)


def publications(frames: list[Frame]) -> list[Publication]:
    return [publication(frame.payload) for frame in frames]


class Feed:
    """A broadcaster and clients of it, in memory."""

    def __init__(self, *, max_lag: int = 1 << 20, **settings: Any) -> None:
        self.loop = VirtualLoop()
        self.cut: list[tuple[Any, int]] = []
        self.aged: list[tuple[Any, int]] = []
        self.faults: list[Exception] = []
        self.broadcaster = _core.Broadcaster(
            cast("Any", self.loop), self._on_lag, self.faults.append, max_lag=max_lag, **settings
        )

    def _on_lag(self, connection: Any, queued: int, reason: str) -> None:
        (self.cut if reason == "size" else self.aged).append((connection, queued))
        connection.abort()

    def client(self, *, format: str = "json", **settings: Any) -> Link:  # the core's word
        link = Link(is_client=False, event_loop=self.loop, format=format, broadcaster=self.broadcaster, **settings)
        self.broadcaster.add(link.connection)
        return link

    def subscriber(self, *names: str, **settings: Any) -> Link:
        link = self.client(**settings)
        for name in names:
            self.broadcaster.subscribe(link.connection, name)
        return link

    def declare(self, namespace: str, **settings: Any) -> None:
        standard = {"classes": None, "policy": DISCONNECT, "history": 0, "history_age": None}
        self.broadcaster.declare(namespace, **{**standard, "history_size": 1 << 20, "snapshot": True, **settings})

    def publish(self, channel: str, message: Any) -> int:
        return self.broadcaster.publish(channel, message).subscribers

    def counts(self, *names: str) -> tuple[int, ...]:
        counters = self.broadcaster.counters()
        return tuple(counters[name] for name in names)

    @property
    def log_bytes(self) -> int:
        return int(self.broadcaster.counters()["held_bytes"])

    @property
    def lagging(self) -> int:
        return int(self.broadcaster.counters()["lagging"])
