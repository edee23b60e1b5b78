"""What happens when messages come faster than the strategy takes them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .messages import WsMessage

__all__ = ["Backpressure", "Conflate", "DropOldest", "SlowPolicy"]


@dataclass(frozen=True, slots=True)
class Backpressure:
    """Stop reading from the socket until half of what waits is taken: nothing is lost, and everything gets older.

    The server notices, and may drop a client that stays behind. The default.
    """


@dataclass(frozen=True, slots=True)
class DropOldest:
    """Drop the oldest messages that wait, and count them as `dropped`. Reading never stops; events are never dropped.

    The latest message is kept, however big it is.
    """


@dataclass(frozen=True, slots=True)
class Conflate:
    """Keep only the latest message of each key: `Conflate("symbol")`.

    A message takes the place of an older one of its class and key that still waits when its read has ended, and the
    older one counts as `conflated`. A reader that keeps up gets all that come in reads of their own. Nothing moves past
    an event of `events()`. Messages of other classes all wait, and so do those without such a key; where more waits
    than may, the oldest go, counted as `dropped`. Reading never stops.
    """

    key: str | tuple[str, ...] | Callable[[Any], object]
    """What tells messages apart: a field's name, several of them, or a function of the message. What it raises is
    reported as what a handler raises, and the message waits by itself."""

    type: Any = WsMessage
    """The messages that it is for: a class, a union of classes, or a `Decoder` of them. Each is decoded once more for
    its key, if anything else waits."""


SlowPolicy = Backpressure | DropOldest | Conflate
"""Any of these."""


def describe(policy: SlowPolicy) -> tuple[Any, ...] | None:
    """As the inbox takes it.

    Raises:
        TypeError: If it is no policy.
    """
    match policy:
        case Backpressure():
            return None
        case DropOldest():
            return ("drop_oldest",)
        case Conflate(key, type_):
            return ("conflate", type_, key)
    raise TypeError(f"slow takes Backpressure(), DropOldest() or Conflate(key), not {policy!r}")
