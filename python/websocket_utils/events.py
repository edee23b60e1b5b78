"""What happens to a link, as values: items of `client.events()`, in order with its messages, and to `client.on`.

This module imports nothing of ours.
"""

from dataclasses import dataclass

__all__ = [
    "Disconnected",
    "Event",
    "Gap",
    "Lagged",
    "Promoted",
    "Reconnected",
    "Restored",
    "Stale",
    "SubscriptionLost",
]


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is lost: from here on the strategy is blind, until `Reconnected`. Behind all that it brought.

    Also told of a connection that was lost before it was complete: two can follow each other.
    """

    epoch: int
    """Number of the connection, from 1."""

    error: BaseException
    """Why: a `ConnectionClosed` with the close code, a `HeartbeatTimeout`, a `StaleData`..."""


@dataclass(frozen=True, slots=True)
class Reconnected:
    """A new connection is complete: authenticated, and all subscriptions acknowledged where the server does that.

    Its first messages may come before this; never before the `Gap` of their channel.
    """

    epoch: int
    """Number of the new connection."""

    downtime_ns: int
    """From the loss to now; 0 where the new connection was there before the old one was left."""

    recovered: bool
    """Whether it is proven that nothing was missed meanwhile."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages of a channel may be missing here: nothing proves that the next one follows the one before."""

    channel: str
    """As it was subscribed to."""

    last: int | None = None
    """Sequence of the last message before the gap; None where the server doesn't number them."""

    next: int | None = None
    """Sequence of the first message behind it; None where that is unknown."""


@dataclass(frozen=True, slots=True)
class Lagged:
    """The server left messages of a channel out, because this side was slow. It stands before the next that came."""

    channel: str
    """The channel they were published to."""

    first: int
    """Sequence of the first one left out."""

    last: int
    """Sequence of the last one left out."""

    count: int
    """How many: fewer than lie between the two, where some in between did come."""


@dataclass(frozen=True, slots=True)
class Stale:
    """A channel has been silent for longer than its `stale_after`, whatever the connection says."""

    channel: str
    """As it was subscribed to."""

    age: float
    """Seconds since its last message, or since it was subscribed to."""


@dataclass(frozen=True, slots=True)
class Restored:
    """A stale channel brings messages again."""

    channel: str
    """As it was subscribed to."""

    silence: float
    """Seconds from the last message before to the first one behind."""


@dataclass(frozen=True, slots=True)
class SubscriptionLost:
    """The server refused to renew a subscription: the channel is not subscribed to any more."""

    channel: str
    """As it was subscribed to."""

    error: BaseException
    """What the server said, a `SubscribeRejected`."""


@dataclass(frozen=True, slots=True)
class Promoted:
    """Another source has become the one that is listened to, in mode `failover` or `standby`."""

    source: str
    """Its URL, without credentials."""

    epoch: int
    """Number of its connection."""

    gap_ns: int
    """From the loss of the source before to now; 0 where it had not failed."""


Event = Disconnected | Reconnected | Gap | Lagged | Stale | Restored | SubscriptionLost | Promoted
"""Any of these."""
