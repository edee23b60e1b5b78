"""Numbers in JSON as CPython reads and writes them: floats bit for bit, integers over their whole range and beyond."""

import json
import random
import struct
from collections.abc import Callable, Iterable
from decimal import Context, Decimal
from typing import Any

import msgspec
import pytest
from tests.property.scale import BOUNDED, CODEC_SEED, scaled

from websocket_utils import Decoder, Encoder

pytestmark = BOUNDED

# Numbers of one payload.
BATCH = 500
ROUNDS = 40
# All digits of a number halfway between two floats.
EXACT = Context(prec=1100)
EDGES = [
    "0",
    "-0",
    "0.0",
    "-0.0",
    "0e5",
    "1.7976931348623157e308",
    "1.7976931348623158e308",
    "2.2250738585072011e-308",
    "4.9e-324",
    "2.47e-324",
    "2.4703282292062327e-324",
    "2.4703282292062328e-324",
    "1e-400",
    "-1e-400",
    "9007199254740993",
    "9007199254740993.0",
]


class Holder(msgspec.Struct):
    x: float = 0.0
    n: int = 0


FLOATS = Decoder(list[float])
INTEGERS = Decoder(list[int])
EITHER = Decoder(list[int | float])
FIELD = Decoder(Holder)


def bits(value: float) -> int:
    found: int = struct.unpack("<Q", struct.pack("<d", value))[0]
    return found


def of_bits(number: int) -> float:
    value: float = struct.unpack("<d", number.to_bytes(8, "little"))[0]
    return value


def finite(chance: random.Random) -> float:
    while (value := of_bits(chance.getrandbits(64))) - value != 0:
        pass
    return value


def shortest(chance: random.Random) -> str:
    return repr(finite(chance))


def digits(chance: random.Random) -> str:
    """Digits with a point somewhere and an exponent, more of them than a float has or fewer."""
    whole = str(chance.randrange(10 ** chance.randrange(1, 25)))
    fraction = "".join(chance.choices("0123456789", k=chance.randrange(1, 40)))
    exponent = chance.choice(["", "e", "E", "e+", "e-", "E-"])
    size = str(chance.randrange(330)) if exponent else ""
    return chance.choice(["", "-"]) + whole + (f".{fraction}" if chance.random() < 0.7 else "") + exponent + size


def price(chance: random.Random) -> str:
    return f"{chance.randrange(10**9) / 10 ** chance.randrange(9):.{chance.randrange(12)}f}"


def halfway(chance: random.Random) -> str:
    """The exact middle of two neighbours, or just beside it: what is hardest to round."""
    value = abs(finite(chance))
    above = of_bits(min(bits(value) + 1, 0x7FEFFFFFFFFFFFFF))
    middle = EXACT.divide(EXACT.add(Decimal(value), Decimal(above)), Decimal(2))
    text = f"{middle:e}"
    if chance.random() < 0.5:
        mantissa, _, exponent = text.partition("e")
        beside = "0" * chance.randrange(30) + "1" if chance.random() < 0.5 else ""
        text = mantissa + ("" if "." in mantissa else ".0") + beside + "e" + exponent
    return text


def subnormal(chance: random.Random) -> str:
    return repr(of_bits(chance.getrandbits(chance.randrange(1, 53))))


def edges(chance: random.Random) -> str:
    return chance.choice(EDGES)


def read(text: str) -> float:
    """What CPython reads; without a point and exponent it is an integer, which knows no -0."""
    return float(text) if any(letter in text for letter in ".eE") else float(int(text))


@pytest.mark.parametrize("make", [shortest, digits, price, halfway, subnormal, edges])
def test_floats_are_those_of_cpython_bit_for_bit(make: Callable[[random.Random], str]) -> None:
    chance = random.Random(CODEC_SEED)
    for _ in range(scaled(ROUNDS)):
        texts = [text for text in (make(chance) for _ in range(BATCH)) if abs(float(text)) != float("inf")]
        payload = f"[{','.join(texts)}]".encode()
        expected = [bits(read(text)) for text in texts]
        assert [bits(value) for value in FLOATS.decode(payload)] == expected, wrong(texts, FLOATS.decode)
        one = chance.choice(texts)
        for spaced in (f'{{"x":{one}}}', f'{{"n":1,"x": {one} }}', f'{{"u":{one},"x":{one}\n}}'):
            assert bits(FIELD.decode(spaced.encode()).x) == bits(read(one)), (CODEC_SEED, one)


def wrong(texts: Iterable[str], decode: Callable[[bytes], Any]) -> str:
    """The first text that is read in another way."""
    for text in texts:
        if bits(decode(f"[{text}]".encode())[0]) != bits(read(text)):
            return f"seed {CODEC_SEED}: {text}"
    return f"seed {CODEC_SEED}: only together"


def test_integers_are_those_of_cpython() -> None:
    chance = random.Random(CODEC_SEED)
    for _ in range(scaled(ROUNDS)):
        numbers = [chance.getrandbits(chance.randrange(1, 200)) * chance.choice([1, -1]) for _ in range(BATCH)]
        payload = json.dumps(numbers, separators=(",", ":")).encode()
        assert INTEGERS.decode(payload) == numbers, CODEC_SEED
        either = EITHER.decode(payload)
        assert [type(value) for value in either] == [int] * BATCH
        assert either == numbers
        number = chance.choice(numbers)
        for text in (f'{{"n":{number}}}', f'{{"x":1,"n" :{number} , "u":{number}}}'):
            assert FIELD.decode(text.encode()).n == number


@pytest.mark.parametrize("power", [8, 16, 31, 32, 53, 62, 63, 64, 65, 66, 128])
def test_integers_beside_powers_of_two_are_exact(power: int) -> None:
    for number in range(2**power - 300, 2**power + 300):
        for one in (number, -number):
            assert FIELD.decode(b'{"n":%d}' % one).n == one
            assert bits(FIELD.decode(b'{"x":%d}' % one).x) == bits(float(one))


def test_floats_that_were_written_are_read_the_same() -> None:
    chance = random.Random(CODEC_SEED)
    written, packed = Encoder("json"), Encoder("msgpack")
    unpack = Decoder(Holder, format="msgpack")
    for _ in range(scaled(20_000)):
        value = finite(chance) if chance.random() < 0.5 else float(chance.choice([price, subnormal])(chance))
        text = written.encode(Holder(value))
        assert bits(json.loads(text)["x"]) == bits(value), CODEC_SEED
        assert bits(FIELD.decode(text).x) == bits(value)
        # As few digits as tell it from its neighbours.
        assert len(text) <= len(repr(value)) + len('{"x":,"n":0}') + 1
        assert bits(unpack.decode(packed.encode(Holder(value))).x) == bits(value)
