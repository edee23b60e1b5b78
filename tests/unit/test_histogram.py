"""Histograms against the sorted list of what was recorded."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocket_utils import Histogram

HOUR = 3_600_000_000_000
DURATIONS = st.one_of(st.integers(-5, 1000), st.integers(0, 10**9), st.integers(0, 2 * HOUR))


@given(st.lists(DURATIONS, min_size=1, max_size=300), st.floats(0, 1))
def test_histogram_agrees_with_the_sorted_list(values: list[int], q: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    known = sorted(min(max(value, 0), HOUR) for value in values)
    assert (histogram.count, histogram.min, histogram.max) == (len(known), known[0], known[-1])
    assert histogram.mean == pytest.approx(sum(known) / len(known))
    # The least value that the part `q` of all does not exceed; next to a whole `q * count`, its neighbour too.
    rank = q * len(known)
    near = {known[min(len(known), max(1, math.ceil(rank + error))) - 1] for error in (-1e-6, 0, 1e-6)}
    assert any(one * 0.99 <= histogram.quantile(q) <= one * 1.01 + 1 for one in near)


def test_histogram_without_values_is_zero() -> None:
    empty = Histogram()
    assert (empty.count, empty.min, empty.max, empty.mean, empty.quantile(0.5)) == (0, 0, 0, 0.0, 0)


def test_copy_of_a_histogram_stays_as_it_was() -> None:
    histogram = Histogram()
    histogram.record(5)
    copy = histogram.copy()
    histogram.record(7)
    assert (copy.count, copy.max, histogram.count, histogram.max) == (1, 5, 2, 7)
    copy.record(9)
    assert histogram.max == 7


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_quantile_outside_of_its_range_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        Histogram().quantile(q)
