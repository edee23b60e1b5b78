"""The messages of the benches, equal to those of the load generator (``benches/load/src/payload.rs``)."""

import importlib
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

import msgspec

from benches._results import is_installed

CYCLE: Final = 64
SIZE: Final = 122
# Added to a send time, so that it has the 16 digits of the other timestamps.
TIME_BASE: Final = 1_000_000_000_000_000
# Clients of each channel, where there are many; a time stamp there is the number of a sweep times this, and its own.
SUBSCRIBERS: Final = 10
SWEEP: Final = 1_000_000
MARKETS: Final = (
    ("SOL", "USDC"),
    ("BTC", "USDT"),
    ("ETH", "USDC"),
    ("JUP", "USDT"),
    ("RAY", "USDC"),
    ("WIF", "USDT"),
    ("JTO", "USDC"),
    ("HNT", "USDT"),
)


class PriceUpdate(msgspec.Struct, tag=True):
    """What users of the peers write: the message of the issue as a plain msgspec class."""

    input_mint: str
    output_mint: str
    price: float
    volume: int
    timestamp: int


MessageT_co = TypeVar("MessageT_co", covariant=True)


class PriceUpdateClass(Protocol[MessageT_co]):
    """A class that is built like `PriceUpdate`: the peers' or ours."""

    def __call__(self, input_mint: str, output_mint: str, price: float, volume: int, timestamp: int) -> MessageT_co: ...


def cycle(cls: PriceUpdateClass[MessageT_co]) -> list[MessageT_co]:
    """Return the 64 messages as instances of `cls`."""
    return [
        cls(
            *MARKETS[index % len(MARKETS)],
            100.0 + index + (2 * index + 1) % 16 / 16,
            1000 + 37 * index,
            1_718_035_200_000_000 + 1001 * index,
        )
        for index in range(CYCLE)
    ]


def column_sum() -> Callable[[Any], float]:
    """Return what adds up a column of floats: NumPy where it is installed, and plain Python where it isn't."""
    if not is_installed("numpy"):
        return lambda column: float(sum(memoryview(column)))
    numpy = importlib.import_module("numpy")
    return lambda column: float(numpy.asarray(column).sum())
