"""When to dial again: the waits of `ReconnectPolicy`. What ends ask for is in test_close_policy.py."""

import math
import pickle
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocket_utils import ConfigError, ReconnectPolicy

longest = st.floats(min_value=0.001, max_value=1e6)
unit = st.floats(min_value=0, max_value=1, exclude_max=True)
failures = st.integers(min_value=0, max_value=100_000)
factor = st.floats(min_value=1, max_value=1e300)


def bounds(*, flapping: bool, policy: ReconnectPolicy | None = None) -> list[tuple[float, float]]:
    """The least and the longest of the first nine waits."""
    policy = policy or ReconnectPolicy()
    return [
        (policy.delay(n, 0.0, flapping=flapping, longest=5.0), policy.delay(n, 1.0, flapping=flapping, longest=5.0))
        for n in range(9)
    ]


def test_waits_after_failed_dials_have_full_jitter_under_a_bound_that_doubles_to_the_longest() -> None:
    assert [least for least, _ in bounds(flapping=False)] == [0.0] * 9
    assert [most for _, most in bounds(flapping=False)] == pytest.approx(
        [0.001, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0]
    )


def test_waits_after_connections_that_did_not_last_are_at_least_half_of_the_bound() -> None:
    assert [most for _, most in bounds(flapping=True)] == pytest.approx(
        [0.001, 0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]
    )
    assert [least for least, _ in bounds(flapping=True)] == pytest.approx(
        [0.0, 0.125, 0.25, 0.5, 1.0, 2.0, 2.5, 2.5, 2.5]
    )


def test_waits_are_made_of_the_fields() -> None:
    policy = ReconnectPolicy(base=0.5, factor=3.0, first_jitter=0.25, flapping_base=1.0)
    assert [most for _, most in bounds(flapping=False, policy=policy)][:4] == pytest.approx([0.25, 0.5, 1.5, 4.5])
    assert [most for _, most in bounds(flapping=True, policy=policy)][:4] == pytest.approx([0.25, 1.0, 3.0, 5.0])


@given(longest=longest, failures=failures, unit=unit, flapping=st.booleans(), factor=factor)
def test_wait_is_never_negative_and_never_over_the_longest(
    longest: float, failures: int, unit: float, flapping: bool, factor: float
) -> None:
    wait = ReconnectPolicy(factor=factor).delay(failures, unit, flapping=flapping, longest=longest)
    assert 0 <= wait <= longest


@given(longest=longest, failures=failures, flapping=st.booleans(), factor=factor)
def test_bound_of_the_wait_never_shrinks_with_failures(
    longest: float, failures: int, flapping: bool, factor: float
) -> None:
    policy = ReconnectPolicy(factor=factor)
    before, after = (policy.delay(n, 1.0, flapping=flapping, longest=longest) for n in (failures, failures + 1))
    assert before <= after


@given(longest=longest, failures=failures, units=st.tuples(unit, unit), flapping=st.booleans())
def test_wait_grows_with_chance(longest: float, failures: int, units: tuple[float, float], flapping: bool) -> None:
    low, high = (ReconnectPolicy().delay(failures, each, flapping=flapping, longest=longest) for each in sorted(units))
    assert low <= high


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"base": 0}, ["base"]),
        ({"factor": 0.5}, ["factor"]),
        ({"max_delay": 0.0}, ["max_delay"]),
        ({"first_jitter": -1.0}, ["first_jitter"]),
        ({"flapping_base": -1.0}, ["flapping_base"]),
        ({"strikes": 0}, ["strikes"]),
        ({"late_floor": -1.0}, ["late_floor"]),
        ({"give_up_after": 0.0}, ["give_up_after"]),
        ({"base": math.nan, "factor": math.inf, "give_up_after": math.nan}, ["base", "give_up_after", "factor"]),
    ],
)
def test_policy_with_wrong_values_names_all_of_them(values: Mapping[str, float], named: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        ReconnectPolicy(**values)  # type: ignore[arg-type]  # a mapping of mixed fields
    assert [fault.partition(":")[0] for fault in caught.value.faults] == named


def test_policy_at_the_edges_of_its_ranges_is_taken() -> None:
    policy = ReconnectPolicy(factor=1.0, first_jitter=0.0, strikes=1, late_floor=0.0, max_delay=None)
    assert policy.delay(0, 0.9, flapping=False, longest=5.0) == 0.0
    assert policy.delay(50, 1.0, flapping=False, longest=5.0) == policy.base


def test_policy_survives_pickling_and_compares_by_value() -> None:
    policy = ReconnectPolicy(base=0.1)
    assert pickle.loads(pickle.dumps(policy)) == policy != ReconnectPolicy()
