"""Legs and what comes out of them, for tests of merging."""

from typing import Any

import msgspec

from websocket_utils import Gap, Message, Ping
from websocket_utils._merging import Keys, Race, Received, Standby


class Tick(Message):
    channel: str
    sequence: int


class Trade(Message):
    identity: str | None = None
    note: str = ""


class Lines:
    """Lead times as they were recorded."""

    def __init__(self) -> None:
        self.values: list[int] = []

    @property
    def count(self) -> int:
        return len(self.values)

    def record(self, value_ns: int) -> None:
        self.values.append(value_ns)

    def quantile(self, q: float) -> int:
        return sorted(self.values)[min(len(self.values) - 1, int(q * len(self.values)))]


NUMBERED = ("channel", "sequence")


def keys(key: Any = NUMBERED, type_: Any = Tick | Ping, faults: list[BaseException] | None = None) -> Keys:
    told: list[BaseException] = [] if faults is None else faults
    return Keys(key, type_, on_fault=told.append)


def tick(sequence: int, channel: str = "SOL") -> str:
    return msgspec.json.encode(Tick(channel, sequence)).decode()


PING = msgspec.json.encode(Ping()).decode()


class Course:
    """A race or a standby, and what came out of it."""

    def __init__(self, merger: Race | Standby, *, live: int = 2) -> None:
        self.merger = merger
        self.now = 1_000_000_000_000
        self.delivered: list[Any] = []
        for leg in range(live):
            merger.begin(leg)

    def bring(self, leg: int, *items: int | str, channel: str = "SOL") -> None:
        for item in items:
            payload = tick(item, channel) if isinstance(item, int) else item
            if self.merger.take(leg, payload, self.now):
                self.delivered.append(named(payload))
            else:
                self.drain()

    def drain(self) -> None:
        self.deliver(self.merger.ready)
        self.merger.ready.clear()

    def deliver(self, items: list[Received | Gap]) -> None:
        self.delivered += [item if isinstance(item, Gap) else named(item.payload) for item in items]

    def promote(self, leg: int) -> None:
        assert isinstance(self.merger, Standby)
        self.deliver(self.merger.promote(leg, self.now))

    def wait(self, ns: int) -> None:
        self.now += ns


def named(payload: bytes | str) -> Any:
    fields = msgspec.json.decode(payload)
    return fields.get("sequence", payload)


def race(**settings: Any) -> Course:
    return Course(Race(keys(), ["first", "second"], Lines, **settings))


def standby(**settings: Any) -> Course:
    return Course(Standby(keys(), ["first", "second"], Lines, **settings))
