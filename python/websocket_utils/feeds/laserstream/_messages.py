"""Messages of nodes that are not standard messages of the package."""

from msgspec import Raw

from ...messages import Int64, Message, UInt64

__all__ = ["LogsUpdate", "TransactionUpdate"]


class LogsUpdate(Message, gc=False):
    """What the programs of a transaction logged."""

    signature: str
    """Signature of the transaction, base58."""
    slot: UInt64
    """Slot in which it was processed."""
    error: str | None
    """Why it failed, as the node's JSON; None where it succeeded."""
    logs: list[str]
    """Lines, in their order."""
    timestamp: Int64
    """When this machine received it, in milliseconds since 1970: nodes send no time."""


class TransactionUpdate(Message):
    """A transaction, by nodes that offer `transactionSubscribe` (Helius)."""

    signature: str
    """Its signature, base58."""
    slot: UInt64
    """Slot in which it was processed."""
    transaction: Raw
    """Transaction and `meta`, as the node's JSON: `msgspec.json.decode(update.transaction)` reads it, or a part of it
    with a type. Numbers are exact to the digit."""
    timestamp: Int64
    """When this machine received it, in milliseconds since 1970: nodes send no time."""
