"""How much input the property tests look at: `PROPERTY_SCALE` times as much as by default (`make differential`)."""

import os
import random
from typing import Final

import pytest
from hypothesis import settings

__all__ = ["BOUNDED", "CODEC_SEED", "SCALE", "examples", "scaled"]

SCALE: Final = int(os.environ.get("PROPERTY_SCALE", "1"))
# What the comparisons of the codec with its judges begin with: another one each time, told in the head of the report.
CODEC_SEED: Final = int(os.environ.get("CODEC_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
# Every test has that long.
BOUNDED: Final = pytest.mark.timeout(60 * SCALE)


def scaled(number: int) -> int:
    """`number` inputs, or as many more as were asked for."""
    return number * SCALE


def examples(number: int) -> settings:
    """Settings of hypothesis for `number` examples, or as many more as were asked for."""
    return settings(max_examples=scaled(number), deadline=None)
