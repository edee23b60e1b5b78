"""What the text of every scheme begins with: names of types, enums, a class that takes hooks, and the hooks."""

import collections.abc
import dataclasses
import datetime
import decimal
import enum
import uuid
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, Required, TypedDict, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType, field

from websocket_utils.messages import (
    AccountUpdate,
    Float32,
    Int32,
    Message,
    Ping,
    Pong,
    PriceUpdate,
    Subscribe,
    UInt64,
)

__all__ = [
    "UNSET",
    "AccountUpdate",
    "Annotated",
    "Any",
    "Code",
    "Custom",
    "Float32",
    "Forgiving",
    "Generic",
    "Int32",
    "Level",
    "Literal",
    "Message",
    "Meta",
    "NamedTuple",
    "NotRequired",
    "Ping",
    "Pong",
    "PriceUpdate",
    "Raw",
    "Required",
    "Side",
    "Subscribe",
    "T",
    "TypedDict",
    "UInt64",
    "UnsetType",
    "Venue",
    "collections",
    "dataclasses",
    "datetime",
    "dec_hook",
    "decimal",
    "enc_hook",
    "field",
    "msgspec",
    "uuid",
]

T = TypeVar("T")


class Side(enum.Enum):
    BUY = "buy"
    SELL = "sell"
    OTHER = "é"
    NONE = ""


class Venue(enum.StrEnum):
    A = "a"
    B = "b b"


class Level(enum.Enum):
    ZERO = 0
    ONE = 1
    LOW = -5
    HIGH = 2**40


class Code(enum.IntEnum):
    C0 = 0
    C1 = 1
    C2 = 2
    C3 = 3
    C4 = 4
    C17 = 17


class Forgiving(enum.Enum):
    """An enum that knows more values than its own."""

    YES = "yes"
    NO = "no"

    @classmethod
    def _missing_(cls, value: object) -> "Forgiving | None":
        return cls.NO if value in ("nope", "SOL") else None


class Custom:
    """A class that msgspec does not know."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Custom({self.value!r})"


def dec_hook(type: Any, value: Any) -> Any:
    """Make a `Custom`; some values are refused, and one breaks the hook."""
    if value is None or value == "SOL":
        raise ValueError("no such custom value")
    if value == "USDC":
        raise ZeroDivisionError("a hook that is broken")
    return type(value)


def enc_hook(value: Any) -> Any:
    """What a `Custom` travels as."""
    return value.value
