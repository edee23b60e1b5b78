"""What happens to a stream of a node, beside what happens to any link."""

from dataclasses import dataclass

from ...events import Event

__all__ = ["Fork", "SeedFailed", "Seeded", "StreamEvent", "Unexpected"]


@dataclass(frozen=True, slots=True)
class Fork:
    """A channel went back: what was told of slots behind `slot` is not part of the chain that the node follows now.

    A fork was given up, or, behind a reconnect, another node is not as far. Nothing is dropped because of that: the
    update that goes back follows, and it is the state from then on.
    """

    channel: str
    """`slots`, or an account's channel."""

    slot: int
    """Slot of the update that follows."""

    before: int
    """Slot of the one before it: for `slots` one that the new slot does not descend from."""


@dataclass(frozen=True, slots=True)
class Seeded:
    """States of accounts were fetched, and delivered as updates but where newer ones had come."""

    accounts: int
    """How many the node told of."""

    applied: int
    """How many of them were delivered."""

    slot: int
    """Slot that they are of; the highest where there were several requests."""


@dataclass(frozen=True, slots=True)
class SeedFailed:
    """States of accounts could not be fetched. It is tried again; the stream itself is not affected."""

    error: BaseException
    """Why."""

    attempts: int
    """How often it has failed in a row, from 1."""

    retry_after: float
    """Seconds until the next attempt."""


@dataclass(frozen=True, slots=True)
class Unexpected:
    """The node sent what nobody asked for. It is dropped, and told at its 1st, 10th, 100th... time.

    A few are normal behind `unsubscribe`, which are not told.
    """

    what: str
    """`fooNotification`, or what else it was."""

    detail: str
    """More about this one, such as the number of its subscription."""

    count: int
    """How many of this kind there were so far."""


StreamEvent = Event | Fork | Seeded | SeedFailed | Unexpected
"""What `LaserStream.events()` yields: any of these."""
