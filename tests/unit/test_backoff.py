import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocket_utils._reconnect import Backoff, is_final

longest = st.floats(min_value=0.001, max_value=1e6)
unit = st.floats(min_value=0, max_value=1)
failures = st.integers(min_value=0, max_value=10_000)


@given(longest=longest, failures=failures, unit=unit)
def test_wait_is_never_negative_and_never_over_the_longest(longest: float, failures: int, unit: float) -> None:
    assert 0 <= Backoff(longest, failures).delay(unit) <= longest


@given(longest=longest, failures=failures)
def test_bound_of_the_wait_never_shrinks_with_failures(longest: float, failures: int) -> None:
    assert Backoff(longest, failures).delay(1) <= Backoff(longest, failures + 1).delay(1)


@given(longest=longest, failures=failures, units=st.tuples(unit, unit))
def test_wait_grows_with_chance_from_zero(longest: float, failures: int, units: tuple[float, float]) -> None:
    backoff = Backoff(longest, failures)
    low, high = sorted(units)
    assert backoff.delay(0) == 0
    assert backoff.delay(low) <= backoff.delay(high)


def test_waits_double_from_a_tenth_of_a_second_to_the_longest() -> None:
    backoff = Backoff(5.0)
    bounds = []
    for _ in range(9):
        bounds.append(backoff.delay(1))
        backoff = backoff.failed()
    assert bounds == pytest.approx([0.01, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])


def test_first_wait_is_bounded_by_the_longest_too() -> None:
    assert Backoff(0.001).delay(1) == 0.001


@given(failures=failures)
def test_connection_that_lived_long_forgives_all_and_a_short_one_counts_as_a_failure(failures: int) -> None:
    backoff = Backoff(5.0, failures)
    assert backoff.dropped(5.0).failures == 0
    assert backoff.dropped(4.99).failures == failures + 1


def test_failure_makes_a_new_value() -> None:
    backoff = Backoff(5.0)
    assert (backoff.failed().failures, backoff.failures) == (1, 0)


FINAL = {400, 401, 403, 404, 405, 410, 418, 426, 451, 499}
NOT_FINAL = {200, 204, 301, 302, 307, 399, 408, 425, 429, 500, 502, 503, 504, 599}


@pytest.mark.parametrize("status", sorted(FINAL))
def test_status_that_blames_the_request_is_final(status: int) -> None:
    assert is_final(status)


@pytest.mark.parametrize("status", [None, *sorted(NOT_FINAL)])
def test_status_that_time_may_change_is_not_final(status: int | None) -> None:
    assert not is_final(status)
