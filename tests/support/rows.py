"""Messages with a field of each type that has a column."""

import enum
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, Literal

import msgspec

from websocket_utils import Columns, Float32, Int32, Message, UInt32, UInt64, decode_columns

FORMATS: dict[str, Callable[[Any], bytes]] = {"json": msgspec.json.encode, "msgpack": msgspec.msgpack.encode}


class Side(enum.Enum):
    BUY = "buy"
    SELL = "sell"


class Level(enum.IntEnum):
    LOW = -1
    HIGH = 7


class Every(Message):
    """A field of each type that has a column."""

    a_float: float
    a_float32: Float32
    an_int: int
    a_uint64: UInt64
    an_int32: Int32
    a_uint32: UInt32
    a_bool: bool
    a_text: str
    some_bytes: bytes
    side: Side
    level: Level
    kind: Literal["bid", "ask"]
    maybe_float: float | None = None
    maybe_int: Int32 | None = None
    maybe_bool: bool | None = None
    maybe_text: str | None = None
    maybe_bytes: bytes | None = None
    maybe_side: Side | None = None
    with_default: int = 5
    text_default: str = "none"


TEXTS = [
    "",
    "a",
    "SOL",
    "\0",
    "eight by",
    "nine byte",
    "é",
    "\u2028",
    'a "quote"',
    "back\\slash",
    "tab\t",
    "\U0001f680" * 5,
]


def random_message(random: Random) -> Every:
    def integer(low: int, high: int) -> int:
        return random.choice([low, high, 0 if low <= 0 else low, random.randint(low, high), random.randint(0, 9)])

    def real() -> float:
        return random.choice(
            [0.0, -0.0, 1.5, 5e-324, 1.7976931348623157e308, random.random(), random.uniform(-1e9, 1e9)]
        )

    def text() -> str:
        return random.choice(TEXTS) + random.choice(["", "", str(random.randint(0, 99))])

    def maybe(value: Any) -> Any:
        return random.choice([None, value])

    return Every(
        a_float=real(),
        a_float32=random.randint(-1000, 1000) / 8,
        an_int=integer(-(2**63), 2**63 - 1),
        a_uint64=integer(0, 2**64 - 1),
        an_int32=integer(-(2**31), 2**31 - 1),
        a_uint32=integer(0, 2**32 - 1),
        a_bool=random.choice([True, False]),
        a_text=text(),
        some_bytes=random.randbytes(random.randint(0, 9)),
        side=random.choice(list(Side)),
        level=random.choice(list(Level)),
        kind=random.choice(["bid", "ask"]),
        maybe_float=maybe(real()),
        maybe_int=maybe(integer(-(2**31), 2**31 - 1)),
        maybe_bool=maybe(True),
        maybe_text=maybe(text()),
        maybe_bytes=maybe(random.randbytes(3)),
        maybe_side=maybe(Side.SELL),
        with_default=integer(-5, 5),
        text_default=random.choice(["none", "some"]),
    )


def value_of(message: object, name: str) -> object:
    value = getattr(message, name)
    return value.value if isinstance(value, enum.Enum) else value


def example(number: int = 0) -> Every:
    return Every(
        a_float=number + 0.5,
        a_float32=1.5,
        an_int=-number,
        a_uint64=2**64 - 1 - number,
        an_int32=-(2**31) + number,
        a_uint32=2**32 - 1 - number,
        a_bool=number % 2 == 0,
        a_text=f"text {number % 3}",
        some_bytes=b"\xff%d" % (number % 2),
        side=Side.SELL if number % 2 else Side.BUY,
        level=Level.HIGH,
        kind="ask",
        maybe_float=None if number % 3 == 0 else 2.5,
        maybe_int=None if number % 3 == 1 else number,
        maybe_bool=None if number % 3 == 2 else True,
        maybe_text=None if number % 3 == 0 else "é",
        maybe_bytes=None if number % 3 == 1 else b"\0",
        maybe_side=None if number % 3 == 2 else Side.SELL,
    )


def columns_of(messages: Iterable[object], format: Literal["json", "msgpack"] = "json") -> Columns:
    sent = list(messages)
    return decode_columns(type(sent[0]), [FORMATS[format](message) for message in sent], format=format)
