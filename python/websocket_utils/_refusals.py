"""What a server answers to what it does not do: codes of `SubscriptionRejected`, and how much of it is answered."""

from collections.abc import Collection

__all__ = [
    "INVALID",
    "MOST_REFUSED",
    "MOST_REFUSED_CHARACTERS",
    "NOT_PERMITTED",
    "POLICY_VIOLATION",
    "TOO_MANY",
    "UNKNOWN",
    "is_answerable",
]

INVALID = 4400
"""A name, a position or a policy that is none."""
NOT_PERMITTED = 4403
"""The client's identity has no grant for it."""
UNKNOWN = 4404
"""There is no such namespace."""
TOO_MANY = 4429
"""Too many channels, or commands; also a close code."""

POLICY_VIOLATION = 1008
"""The close code (RFC 6455 §7.4.1) of who can't be told in any other way."""

MOST_REFUSED = 1024
"""Names of one request that are refused one by one: answers to more would cost more than the requests."""
MOST_REFUSED_CHARACTERS = 64 * 1024
"""Characters of these."""


def is_answerable(names: Collection[str]) -> bool:
    """Whether all of these are refused name by name; the connection is closed if not."""
    return len(names) <= MOST_REFUSED and sum(map(len, names)) <= MOST_REFUSED_CHARACTERS
