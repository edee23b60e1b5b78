"""What happens when messages come faster than the strategy takes them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .messages import WsMessage

__all__ = [
    "Backpressure",
    "Conflate",
    "Disconnect",
    "DropOldest",
    "NamespacePolicy",
    "Rule",
    "SlowPolicy",
    "asked",
    "describe",
    "described",
    "read_rule",
]

# More messages than that are bounded by their bytes.
_MANY = 1 << 31


@dataclass(frozen=True, slots=True)
class Backpressure:
    """Stop reading from the socket until half of what waits is taken: nothing is lost, and everything gets older.

    The server notices, and may drop a client that stays behind. The default.
    """


@dataclass(frozen=True, slots=True)
class DropOldest:
    """Drop the oldest messages that wait, and count them as `dropped`.

    Of a client: reading never stops; events are never dropped; the latest message is kept, however big it is. Of a
    server's namespace: for each channel and client, while the client's socket takes nothing.
    """

    most: int | None = None
    """Messages that may wait; None: as many as fit the bounds in bytes (a client's `max_inbox`, a server's `max_lag`).
    A client takes `max_inbox_messages` for it, and no number here."""


@dataclass(frozen=True, slots=True)
class Conflate:
    """Keep only the latest message of each key: `Conflate("symbol")`.

    Of a client: a message takes the place of an older one of its class and key that still waits when its read has
    ended, and the older one counts as `conflated`. A reader that keeps up gets all that come in reads of their own.
    Nothing moves past an event of `events()`. Messages of other classes all wait, and so do those without such a key;
    where more waits than may, the oldest go, counted as `dropped`. Reading never stops.

    Of a server's namespace: while a client's socket takes nothing, the latest message of each key waits for it, in
    each channel. A client that keeps up gets every message, with no delay.
    """

    key: str | tuple[str, ...] | Callable[[Any], object] | None = None
    """What tells messages apart: a field's name, several of them, or a function of the message. What it raises is
    reported as what a handler raises, and the message waits by itself. None, of a server alone: the channel."""

    type: Any = WsMessage
    """Of a client: the messages that it is for, a class, a union of classes, or a `Decoder` of them. Each is decoded
    once more for its key, if anything else waits."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Of a server's namespace: end the connection of a client that has fallen too far behind; until then all waits.

    The default of servers.
    """

    size: int | None = None
    """Bytes that may wait; None: `max_lag`."""

    age: float | None = None
    """Seconds for which the client's socket may take nothing; None: any time. Prices get old before they get many."""


SlowPolicy = Backpressure | DropOldest | Conflate
"""What a client may be given."""

NamespacePolicy = Conflate | DropOldest | Disconnect
"""What a server's namespace may be given."""


# As the broadcaster takes a policy: its word, and what it is given.
Rule = tuple[Any, ...]


def described(policy: NamespacePolicy) -> Rule:
    """As the broadcaster takes it."""
    match policy:
        case Conflate(key, _):
            return ("conflate", key)
        case DropOldest(most):
            return ("drop_oldest", most)
        case Disconnect(size, age):
            return ("disconnect", size, age)


def read_rule(text: str) -> Rule | None:
    """Read what a client asks for in `Subscribe.slow`; None if it asks for nothing.

    Raises:
        ValueError: If it is no policy.
    """
    match text.partition(":"):
        case ("", "", ""):
            return None
        case ("conflate", "", ""):
            return ("conflate", None)
        case ("disconnect", "", ""):
            return ("disconnect", None, None)
        case ("drop_oldest", "", ""):
            return ("drop_oldest", None)
        case ("drop_oldest", ":", most) if most.isascii() and most.isdigit() and 0 < int(most[:10]) < _MANY:
            return ("drop_oldest", int(most[:10]))
        case _:
            raise ValueError("slow is one of conflate, disconnect, drop_oldest and drop_oldest:N, with N from 1 on")


def describe(policy: SlowPolicy) -> tuple[Any, ...] | None:
    """As the inbox takes it.

    Raises:
        TypeError: If it is no policy of a client.
    """
    match policy:
        case Backpressure():
            return None
        case DropOldest(None):
            return ("drop_oldest",)
        case Conflate(key, type_) if key is not None:
            return ("conflate", type_, key)
        case DropOldest():
            raise TypeError("slow=DropOldest() of a client takes no number: set max_inbox_messages")
        case Conflate():
            raise TypeError("slow=Conflate(key) of a client takes a key: it knows no channels")
    raise TypeError(f"slow takes Backpressure(), DropOldest() or Conflate(key), not {policy!r}")


def asked(policy: NamespacePolicy) -> str:
    """As a `Subscribe` says what the server is asked for.

    Raises:
        TypeError: If it is no policy of a server, or says what the server alone can say.
    """
    match policy:
        case Conflate(None):
            return "conflate"
        case DropOldest(None):
            return "drop_oldest"
        case DropOldest(int() as most) if most > 0:
            return f"drop_oldest:{most}"
        case Disconnect(None, None):
            return "disconnect"
        case Conflate() | Disconnect():
            raise TypeError(f"slow={policy!r}: keys and bounds are those of the server's namespace, none goes here")
        case _:
            raise TypeError(f"slow takes Conflate(), DropOldest(), DropOldest(n) or Disconnect(), not {policy!r}")
