"""Random numbers, strings and untyped values, chosen where readers and writers have edges."""

import random
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypeVar

import msgspec

__all__ = ["Chance", "Format"]

Format = Literal["json", "msgpack"]
ItemT = TypeVar("ItemT")

_POWERS: Final = [2**bits for bits in (5, 7, 8, 15, 16, 31, 32, 53, 62, 63, 64)]
_INTEGERS: Final[list[int]] = [
    *range(-3, 12),
    *(number + step for number in _POWERS for step in (-1, 0, 1)),
    *(-number + step for number in _POWERS for step in (-1, 0, 1)),
    10**15,
    10**18,
    10**19,
    10**20 - 1,
    10**40,
    -(10**40),
]
_FLOATS: Final = [
    0.0,
    -0.0,
    0.1,
    0.5,
    1.0,
    -1.5,
    100.0,
    187.25,
    1e15,
    1e16,
    1e17,
    1e22,
    1e23,
    2.0**53,
    2.0**63,
    2.0**64,
    -(2.0**63),
    5e-324,
    -5e-324,
    2.2250738585072014e-308,
    1.7976931348623157e308,
    -1.7976931348623157e308,
    0.30000000000000004,
    123456.789,
    3.4028234663852886e38,
]
# Spellings of numbers that no encoder writes.
_NUMERALS: Final = [
    "-0",
    "-0.0",
    "0e0",
    "1e5",
    "1E+5",
    "1.50",
    "10e-1",
    "1.0",
    "100e-2",
    "12.00",
    "1e19",
    "1e400",
    "-1e400",
    "1e-400",
    "0.3000000000000000000000000000000004",
    "9007199254740993",
    "9007199254740993.0",
    "18446744073709551615.0",
    "18446744073709551616",
    "-9223372036854775809",
    "123456789012345678901234567890",
    "1" + "0" * 400,
    "0." + "0" * 400 + "1",
    "4.9406564584124654e-324",
    "2.4703282292062327e-324",
    "8.98846567431158e307",
]
_WORDS: Final = [
    "",
    "a",
    "SOL",
    "USDC",
    "BTC-USD",
    "SOL",
    "So11111111111111111111111111111111111111112",
    "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGkZwyTDt1v",
    "prices:SOL-USDC",
    "null",
    "true",
    "1",
    "1.5",
    "type",
    'quo"te',
    "back\\slash",
    "tab\tnew\nline",
    "nul\0byte",
    "\x01\x1f\x7f",
    "/slash/",
    "é",
    "äöü€",
    "日本語",
    "😀",
    "a😀b",
    "\U0010ffff",
    "\ud7ff\ue000\uffff",
    "\u2028",
    "é" * 20,
    "x" * 31,
    "x" * 32,
    "x" * 63,
    "x" * 64,
    "x" * 65,
    "x" * 255,
    "x" * 300,
]
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -_.:"


class Chance(random.Random):
    """A random source for one format, cheap to ask."""

    format: Format = "json"
    # Whether values that are made now may be wrong in places.
    slips: bool = True

    def below(self, number: int) -> int:
        """An integer from 0 to one less than `number`."""
        return int(self.random() * number)

    def often(self, share: float) -> bool:
        """True that often."""
        return self.random() < share

    def slip(self, share: float) -> bool:
        """True that often, where values may be wrong."""
        return self.slips and self.random() < share

    def one_of(self, items: Sequence[ItemT]) -> ItemT:
        """One of the items."""
        return items[int(self.random() * len(items))]

    def integer(self, low: int = -(2**63), high: int = 2**64 - 1) -> int:
        """An integer of that range, small ones and edges more often."""
        match self.below(5):
            case 0:
                number = _INTEGERS[self.below(len(_INTEGERS))]
            case 1 | 2:
                number = self.below(1000)
            case 3:
                number = self.getrandbits(self.below(64) + 1)
            case _:
                number = -self.getrandbits(self.below(63) + 1)
        return min(max(number, low), high)

    def float(self) -> float:
        """A finite float."""
        match self.below(4):
            case 0:
                return _FLOATS[self.below(len(_FLOATS))]
            case 1:
                return round(self.random() * 1000, self.below(6))
            case 2:
                return self.below(10**6) / 100
            case _:
                value: float = struct.unpack("<d", self.getrandbits(64).to_bytes(8, "little"))[0]
                return value if value - value == 0 else 0.25

    def text(self) -> str:
        """A string without surrogates."""
        match self.below(4):
            case 0:
                return "".join([_LETTERS[self.below(len(_LETTERS))] for _ in range(self.below(12))])
            case 1 if self.often(0.1):
                return "".join([_LETTERS[self.below(len(_LETTERS))] for _ in range(self.below(80))])
            case 1 if self.often(0.1):
                return "".join([chr(self.below(0xD800)) for _ in range(self.below(8))])
            case _:
                return _WORDS[self.below(len(_WORDS))]

    def bytes(self) -> bytes:
        """Some bytes."""
        return self.randbytes(self.below(12) if self.often(0.95) else self.below(400))

    def number(self) -> Any:
        """What travels as a number: an integer, a float, or a spelling of one."""
        if self.format == "json" and self.often(0.3):
            return self.numeral()
        return self.integer() if self.often(0.6) else self.float()

    def numeral(self) -> msgspec.Raw:
        """A number as JSON text that no encoder writes, or a big integer."""
        text = _NUMERALS[self.below(len(_NUMERALS))] if self.often(0.5) else str(self.one_of(_INTEGERS))
        return msgspec.Raw(text.encode())

    def anything(self, depth: int = 3) -> Any:
        """A value without a type."""
        which = self.below(10 if depth else 7)
        return _ANYTHING[which](self, depth)


def _mapping(chance: Chance, depth: int) -> dict[str, Any]:
    return {chance.text(): chance.anything(depth - 1) for _ in range(chance.below(4))}


def _sequence(chance: Chance, depth: int) -> list[Any]:
    return [chance.anything(depth - 1) for _ in range(chance.below(4))]


def _packed_only(chance: Chance, _: int) -> Any:
    if chance.format == "json":
        return None
    if chance.often(0.6):
        return chance.bytes()
    # The timestamps of MessagePack have code -1.
    size = chance.one_of([1, 2, 3, 4, 8, 12, 16, 40])
    return msgspec.msgpack.Ext(chance.one_of([-1, -1, 0, 5, 127, -128]), chance.randbytes(size))


_ANYTHING: Final[list[Callable[[Chance, int], Any]]] = [
    lambda chance, _: None,
    lambda chance, _: chance.often(0.5),
    lambda chance, _: chance.number(),
    lambda chance, _: chance.number(),
    lambda chance, _: chance.text(),
    lambda chance, _: chance.text(),
    _packed_only,
    _mapping,
    _sequence,
    _sequence,
]
