"""Message classes: what travels, typed.

A message class is a `msgspec.Struct`, told from others by its tag: the class's name, in the field `type`. On the wire a
`Ping` is `{"type":"Ping"}`. Both spellings of a tag are read (`PriceUpdate`, `price_update`); the class's name is
written. Fields that a class doesn't have are ignored, so that a sender may know more than a receiver.

This module imports nothing of ours.
"""

from collections.abc import Callable

import msgspec

__all__ = ["AccountUpdate", "Message", "Ping", "Pong", "PriceUpdate", "Subscribe", "Unsubscribe", "WsMessage"]


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
    volume: int = 0
    """Traded amount in the input token's smallest unit, 0 to 2**64 - 1; 0 if the sender doesn't know."""
    timestamp: int = msgspec.field(default_factory=_required("timestamp"))
    """Time of the price, as the sender defines it (mostly milliseconds since 1970), -2**63 to 2**63 - 1."""


class AccountUpdate(Message, gc=False):
    """The state of an account at a slot."""

    pubkey: str
    """Address of the account, base58."""
    lamports: int
    """Balance in lamports, 0 to 2**64 - 1."""
    slot: int
    """Slot in which the account was written, 0 to 2**64 - 1."""
    timestamp: int
    """Time of the update, as the sender defines it (mostly milliseconds since 1970), -2**63 to 2**63 - 1."""


class Subscribe(Message):
    """A client wants what is published on these channels."""

    channels: list[str]
    """Names of channels, such as `prices:SOL-USDC`."""


class Unsubscribe(Message):
    """A client no longer wants what is published on these channels."""

    channels: list[str]
    """Names of channels, such as `prices:SOL-USDC`."""


class Ping(Message, gc=False):
    """Asks the peer's application for a `Pong`. Not the protocol's ping frame, which the connection answers itself."""


class Pong(Message, gc=False):
    """Answers a `Ping`."""


WsMessage = PriceUpdate | AccountUpdate | Subscribe | Unsubscribe | Ping | Pong
"""Any standard message."""
