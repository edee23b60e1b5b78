"""Message classes: what travels, typed.

A message class is a `msgspec.Struct`, told from others by its tag: the class's name, in the field `type`. On the wire a
`Ping` is `{"type":"Ping"}`. Both spellings of a tag are read (`PriceUpdate`, `price_update`); the class's name is
written. Fields that a class doesn't have are ignored, so that a sender may know more than a receiver.

This module imports nothing of ours.
"""

from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Raw

__all__ = [
    "AccountUpdate",
    "Authenticate",
    "Authenticated",
    "FieldId",
    "Float32",
    "GoAway",
    "Int32",
    "Int64",
    "LagNotice",
    "Message",
    "Ping",
    "Pong",
    "PriceUpdate",
    "Raw",
    "SlotUpdate",
    "Subscribe",
    "Subscribed",
    "SubscriptionRejected",
    "UInt32",
    "UInt64",
    "Unsubscribe",
    "Wire",
    "WsMessage",
]


class Wire(msgspec.Struct, frozen=True):
    """An annotation: the type of a number in Protocol Buffers and in columns. It changes nothing in other formats."""

    name: str


class FieldId(msgspec.Struct, frozen=True):
    """An annotation: the Protocol Buffers number of a field, `price: Annotated[float, FieldId(7)]`.

    Fields without one are numbered in the order in which they are declared, from 1 or on from the one before.
    """

    number: int


UInt64 = Annotated[int, Wire("uint64")]
"""An integer from 0 to 2**64 - 1, as amounts on chains are."""
Int64 = Annotated[int, Wire("int64")]
"""An integer from -2**63 to 2**63 - 1, which is what a plain `int` is too."""
UInt32 = Annotated[int, Wire("uint32")]
"""An integer from 0 to 2**32 - 1."""
Int32 = Annotated[int, Wire("int32")]
"""An integer from -2**31 to 2**31 - 1."""
Float32 = Annotated[float, Wire("float")]
"""A float that may be rounded to 32 bits where it is packed."""


class Message(msgspec.Struct, tag_field="type", tag=True):
    """Base of message classes: subclass it and annotate the fields.

    class Fill(Message):
        order_id: str
        qty: float

    Fields of type `bool`, `int`, `float`, `str`, `None`, lists and unions of these are read and written at the full
    speed of the core; any other type that msgspec knows works too. Two classes of the same name can't be asked for
    together: give one another tag (`class Fill(Message, tag="venue_fill")`).
    """


class _MissingField(msgspec.ValidationError, TypeError):
    """A message lacks a field: a `TypeError` to who constructs it, a validation error to who decodes it."""


def _required(name: str) -> Callable[[], int]:
    # msgspec wants fields without default before those with one, but the order on the wire is fixed. A default that
    # refuses keeps the field required, and both ways of construction: by position and by keyword.
    def refuse() -> int:
        raise _MissingField(f"Object missing required field `{name}`")

    refuse.is_required = True  # type: ignore[attr-defined]  # tells the description of the class, see _shapes.py
    return refuse


# No field of these classes can be part of a reference cycle, so the garbage collector need not look at them: a strategy
# that keeps a million updates pays nothing for them in a collection.
class PriceUpdate(Message, gc=False):
    """The price of one token in another."""

    input_mint: str
    """Token that is sold, as base58 address or symbol."""
    output_mint: str
    """Token that is bought."""
    price: float
    """Units of the output token for one of the input token."""
    volume: UInt64 = 0
    """Traded amount in the input token's smallest unit, 0 to 2**64 - 1; 0 if the sender doesn't know."""
    timestamp: Int64 = msgspec.field(default_factory=_required("timestamp"))
    """Time of the price, as the sender defines it (mostly milliseconds since 1970), -2**63 to 2**63 - 1."""


class AccountUpdate(Message, gc=False):
    """The state of an account at a slot."""

    pubkey: str
    """Address of the account, base58."""
    lamports: UInt64
    """Balance in lamports, 0 to 2**64 - 1."""
    slot: UInt64
    """Slot in which the account was written, 0 to 2**64 - 1."""
    timestamp: Int64
    """Time of the update, as the sender defines it (mostly milliseconds since 1970), -2**63 to 2**63 - 1."""


class SlotUpdate(Message, gc=False):
    """A chain has come to a slot. Slots may go back: a fork that is given up is followed by the slots of another."""

    slot: UInt64
    """The slot, 0 to 2**64 - 1."""
    parent: UInt64
    """The slot that it builds on."""
    root: UInt64
    """The newest slot that no fork can undo."""
    timestamp: Int64
    """Time of the update, as the sender defines it (mostly milliseconds since 1970), -2**63 to 2**63 - 1.

    A slot of LaserStream has none: there it is when this machine received it.
    """


class Subscribe(Message, omit_defaults=True):
    """A client wants what is published on these channels."""

    channels: list[str]
    """Names of channels, such as `prices:SOL-USDC`, or patterns: `prices:*` is all that begin with `prices:`."""
    positions: list[str] = []
    """What the client has already: `<epoch> <sequence> <channel>` for each channel, none for those it is new to."""
    slow: str = ""
    """What happens to these while the client is slow, where it is not what the server's namespaces say: `conflate`,
    `drop_oldest`, `drop_oldest:100` or `disconnect`."""


class Unsubscribe(Message):
    """A client no longer wants what is published on these channels."""

    channels: list[str]
    """Names of channels, such as `prices:SOL-USDC`."""


class Subscribed(Message, omit_defaults=True):
    """A server's acknowledgement of `Subscribe`, to peers that speak one of our subprotocols."""

    channels: list[str]
    """Names of channels, as they were asked for."""
    positions: list[str] = []
    """Where each channel goes on: `<epoch> <sequence> <channel>`, the publication before the next one to come here."""
    recovered: list[str] = []
    """Those of the channels in `positions` of which nothing is missing behind the position that the client named."""


class SubscriptionRejected(Message):
    """A server's refusal of channels of a `Subscribe`, to peers that speak one of our subprotocols."""

    channels: list[str]
    """Names of channels, as they were asked for."""
    code: int
    """Why, as a number; those of the server of this package are close codes (RFC 6455 §7.4)."""
    reason: str
    """Why, in words."""


class LagNotice(Message, gc=False):
    """A server has left publications out for a client that was slow; in front of the channel's next one.

    To peers that speak one of our subprotocols.
    """

    channel: str
    """Name of the channel."""
    first: UInt64
    """Sequence of the first one left out."""
    last: UInt64
    """Sequence of the last one left out."""
    count: UInt64
    """How many: fewer than lie between the two, where some in between do come."""


class GoAway(Message, gc=False):
    """A server is about to end the connection: connect anew, elsewhere or to its successor.

    To peers that speak one of our subprotocols.
    """

    after: float
    """Seconds to wait before: each client is told another number, so that not all come at once."""
    reason: str = ""
    """Why, in words."""


class Authenticate(Message, gc=False):
    """A client says who it is, before anything else and again before that ends.

    To servers that authenticate their clients; where it is told in the opening request, this only renews it.
    """

    token: str
    """What proves it."""

    def __repr__(self) -> str:
        return "Authenticate(...)"


class Authenticated(Message, gc=False):
    """A server's answer to `Authenticate`. A refusal is no message: the connection is closed with 4401."""

    name: str
    """Whom the server takes the client for."""
    expires_in: float | None
    """Seconds until the server ends the connection, if nothing renews it; None: never."""


class Ping(Message, gc=False):
    """Asks the peer's application for a `Pong`. Not the protocol's ping frame, which the connection answers itself."""


class Pong(Message, gc=False):
    """Answers a `Ping`."""


WsMessage = PriceUpdate | AccountUpdate | Subscribe | Unsubscribe | Ping | Pong
"""Any standard message."""
