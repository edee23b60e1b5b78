"""What a server knows of channels before they are published to: their namespaces.

A channel's name is `namespace:rest`; the namespace of a name without a colon is that name. Names have 1 to 256
characters, none of which is a control character or `*`. A subscriber may ask for a pattern, a name whose last character
is `*`: `prices:*` is every channel that begins with `prices:`, `*` is every channel.
"""

import typing
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ._slow import Conflate, Disconnect, DropOldest

__all__ = ["MAX_NAME", "Namespace", "name_fault", "namespace_faults", "namespace_of", "pattern_fault"]

MAX_NAME = 256
_MIB = 1024 * 1024


def namespace_of(channel: str) -> str:
    """Return the namespace of a channel or pattern: what is before its first colon; all of it if there is none."""
    return channel.partition(":")[0]


def name_fault(channel: str) -> str | None:
    """What is wrong with the name of a channel; None if nothing is."""
    if not 0 < len(channel) <= MAX_NAME:
        return f"channel names have 1 to {MAX_NAME} characters"
    if not channel.isprintable():
        return "channel names hold no control characters"
    return "channel names hold no `*`: a pattern ends with one" if "*" in channel else None


def pattern_fault(name: str) -> str | None:
    """What is wrong with what a subscriber asks for, a name or a pattern; None if nothing is."""
    return None if name == "*" else name_fault(name.removesuffix("*"))


@dataclass(frozen=True, slots=True)
class Namespace:
    """What all channels `name:...` of a server have in common.

    Raises:
        ValueError: If the name is none, or a number is out of its range.
        TypeError: If `slow` is no policy of a server.
    """

    name: str
    """What is before the colon; no colon and no `*` in it."""

    type: Any = None
    """Class of the messages, or a union of classes: publishing another one raises. None takes any."""

    slow: Conflate | DropOldest | Disconnect = field(default_factory=Disconnect)
    """What happens to a client's messages while its socket takes nothing."""

    history: int = 0
    """Publications kept for each channel, for those who come back. 0 keeps none."""

    history_age: float | None = None
    """Seconds for which they are kept; None: until newer ones take their place."""

    history_size: int = 4 * _MIB
    """Bytes kept for each channel; the oldest go, the latest is kept however big it is."""

    snapshot: bool = True
    """Whether who subscribes anew gets the latest publication at once, where there is history."""

    def __post_init__(self) -> None:
        """Check all of it."""
        fault = name_fault(self.name) or ("namespaces hold no colon" if ":" in self.name else None)
        if fault:
            raise ValueError(f"{self.name!r} is no namespace: {fault}")
        if self.history < 0 or self.history_size < 1 or (self.history_age is not None and self.history_age <= 0):
            raise ValueError(f"namespace {self.name!r}: history is at least 0, its age and size above 0")
        # Typed, and checked all the same: a client's `Backpressure()` is a mistake that is easily made.
        if not isinstance(self.slow, Conflate | DropOldest | Disconnect):  # pyright: ignore[reportUnnecessaryIsInstance]  # as said
            raise TypeError(
                f"namespace {self.name!r}: slow takes Conflate, DropOldest or Disconnect, not {self.slow!r}"
            )

    @property
    def classes(self) -> "tuple[Any, ...] | None":
        """The classes of `type`; None if it takes any."""
        if self.type is None or self.type is Any:
            return None
        members = typing.get_args(self.type) or (self.type,)
        return tuple(typing.get_origin(member) or member for member in members)


def namespace_faults(declared: Sequence[object]) -> list[str]:
    """What is wrong with the namespaces of a server, each of which is right by itself."""
    strange = [f"namespaces: takes Namespace(...), not {one!r}" for one in declared if not isinstance(one, Namespace)]
    names = Counter(one.name for one in declared if isinstance(one, Namespace))
    return strange + [f"namespaces: {name!r} is declared twice" for name, count in names.items() if count > 1]
