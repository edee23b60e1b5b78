"""Who a client of a server is, and what it may do there."""

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ..namespaces import pattern_fault

__all__ = ["Credentials", "Grant", "Identity", "Operation"]

Operation = Literal["subscribe", "publish"]
"""What a grant allows on the channels of its pattern."""

_OPERATIONS: frozenset[str] = frozenset(get_args(Operation))
_MAX_NAME = 256
# Each name of a `Subscribe` is compared with all of them.
_MAX_GRANTS = 256


@dataclass(frozen=True, slots=True)
class Grant:
    """What may be done on the channels of one pattern.

    Raises:
        ValueError: If the pattern is none, or an operation is unknown or missing.
    """

    pattern: str
    """The name of a channel, or a pattern: `prices:*` is all that begin with `prices:`, `*` is all there are."""

    operations: AbstractSet[Operation] = frozenset({"subscribe"})
    """`subscribe`, `publish` or both."""

    def __post_init__(self) -> None:
        """Check both."""
        fault = pattern_fault(self.pattern)
        if fault:
            raise ValueError(f"{self.pattern!r} is no pattern: {fault}")
        operations = frozenset(self.operations)
        if not operations or not operations <= _OPERATIONS:
            raise ValueError(
                f"grant of {self.pattern!r}: operations are {sorted(_OPERATIONS)}, not {self.operations!r}"
            )
        object.__setattr__(self, "operations", operations)

    def covers(self, name: str) -> bool:
        """Whether it speaks of a channel; of a pattern, whether it speaks of every channel that the pattern can be."""
        if self.pattern.endswith("*"):
            return name.startswith(self.pattern[:-1])
        return name == self.pattern


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a client is and what it may do; it never changes.

    Raises:
        ValueError: If the name is none, there are too many grants, or `expires_at` is no time.
    """

    name: str
    """Who it is; connections are counted by it (`max_connections_per_identity`)."""

    grants: tuple[Grant, ...] = ()
    """What it may do; nothing without any."""

    expires_at: float | None = None
    """When this ends, in seconds since 1970: the connection is closed then. None never ends it."""

    claims: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False, hash=False)
    """What else its token says, for handlers."""

    _names: Mapping[str, frozenset[str]] = field(init=False, repr=False, compare=False)
    _prefixes: Mapping[str, tuple[str, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check all of it, and sort the grants by what they are looked up for."""
        if not 0 < len(self.name) <= _MAX_NAME or not self.name.isprintable():
            raise ValueError(
                f"names of identities have 1 to {_MAX_NAME} characters, none of which is a control character"
            )
        if len(self.grants) > _MAX_GRANTS:
            raise ValueError(f"identity {self.name!r}: at most {_MAX_GRANTS} grants, not {len(self.grants)}")
        if self.expires_at is not None and not math.isfinite(self.expires_at):
            raise ValueError(f"identity {self.name!r}: expires_at is seconds since 1970, not {self.expires_at!r}")
        object.__setattr__(self, "grants", tuple(self.grants))
        patterns = {
            operation: [grant.pattern for grant in self.grants if operation in grant.operations]
            for operation in _OPERATIONS
        }
        names = {one: frozenset(name for name in all_ if not name.endswith("*")) for one, all_ in patterns.items()}
        prefixes = {one: tuple(name[:-1] for name in all_ if name.endswith("*")) for one, all_ in patterns.items()}
        object.__setattr__(self, "_names", names)
        object.__setattr__(self, "_prefixes", prefixes)

    def may(self, operation: Operation, name: str) -> bool:
        """Whether it may do something on a channel, or on every channel that a pattern can be.

        A pattern needs one grant that covers it whole: `prices:*` is not made of grants for single channels.
        """
        return name in self._names[operation] or name.startswith(self._prefixes[operation])


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client says about itself: of its opening request, and of its `Authenticate` message if it sent one.

    Its `repr` shows nothing that a log must not hold.
    """

    token: str | None = field(repr=False)
    """Out of `Authenticate`, or of `Authorization: Bearer ...`; None where there is neither."""

    path: str = field(repr=False)
    """Path and query of the request."""

    headers: Sequence[tuple[str, str]] = field(repr=False)
    """Headers of the request, names in lower case."""

    address: str | None
    """The client's; None where the transport does not know it."""

    subprotocol: str | None = None
    """The one that is agreed on; None if there is none."""

    peer_certificate: Mapping[str, Any] | None = field(default=None, repr=False)
    """The client's certificate, checked by TLS, as `ssl.SSLSocket.getpeercert` returns it; None without one."""
