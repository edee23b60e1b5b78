"""What a stream has done so far."""

from dataclasses import dataclass

from ...metrics import ClientStats

__all__ = ["StreamStats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStats:
    """Counters of a stream, over all its connections."""

    link: ClientStats
    """Those of the link: messages, bytes, reconnects, round trips, downtimes..."""

    subscriptions: int
    """Requests of the node that are wanted now, its slots as a guard among them."""

    waiting: int
    """Updates that wait to be iterated over now."""

    dropped: int
    """Updates that were dropped because too many waited."""

    conflated: int
    """Updates in whose place a newer one of their key was put."""

    forks: int
    """How often a channel went back (`Fork`)."""

    unexpected: int
    """Frames that nobody had asked for (`Unexpected`)."""

    malformed: int
    """Frames that could not be read (`DecodeError`)."""

    seeded: int
    """States of accounts that were fetched and delivered."""

    seed_failures: int
    """Requests for states that failed (`SeedFailed`)."""
