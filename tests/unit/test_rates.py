"""How often somebody may do something: on times that the test makes up."""

from hypothesis import given
from hypothesis import strategies as st

from websocket_utils._rates import BURST_SECONDS, EXCESS_SECONDS, CommandRate, TokenBucket

rates = st.floats(0.1, 10_000)
bursts = st.floats(0.1, 10_000)
gaps = st.lists(st.floats(0, 3) | st.just(0.0), min_size=1, max_size=300)
# What sums of floats may be off by.
SLACK = 1e-6


@given(rates, bursts, gaps)
def test_bucket_allows_no_more_than_its_burst_and_its_rate_in_any_time(
    rate: float, burst: float, steps: list[float]
) -> None:
    bucket, now, allowed = TokenBucket(rate, burst, 0.0), 0.0, list[float]()
    for step in steps:
        now += step
        if bucket.take(now):
            allowed.append(now)
    for first in range(0, len(allowed), 7):
        for last in range(first, len(allowed), 7):
            most = max(1.0, burst) + rate * (allowed[last] - allowed[first])
            assert last - first + 1 <= most + SLACK * (1 + most)


@given(rates, bursts, st.integers(1, 300))
def test_bucket_refuses_nobody_who_keeps_to_the_rate(rate: float, burst: float, count: int) -> None:
    bucket = TokenBucket(rate, burst, 0.0)
    assert all(bucket.take(number / rate * (1 + SLACK)) for number in range(count))


@given(rates, bursts)
def test_bucket_gives_its_whole_burst_at_once_and_no_more(rate: float, burst: float) -> None:
    bucket = TokenBucket(rate, burst, 5.0)
    allowed = 0
    while bucket.take(5.0):
        allowed += 1
    assert allowed == int(max(1.0, burst))
    # A clock that goes back adds nothing.
    assert not bucket.take(1.0)


def commands(rate: float, per_second: float, seconds: float) -> list[str]:
    """What becomes of commands that come evenly."""
    judge = CommandRate(rate, 0.0).judge
    return [judge(number / per_second) for number in range(int(per_second * seconds))]


def test_commands_within_the_rate_are_allowed_for_ever() -> None:
    assert set(commands(100, 100, 60)) == {"allowed"}


def test_burst_of_two_seconds_is_allowed_and_what_follows_at_once_is_refused() -> None:
    judge = CommandRate(100, 0.0).judge
    verdicts = [judge(0.0) for _ in range(1100)]
    assert verdicts[:200] == ["allowed"] * int(100 * BURST_SECONDS)
    assert verdicts[200:1000] == ["refused"] * int(100 * EXCESS_SECONDS)
    assert verdicts[1000:] == ["excessive"] * 100


def test_who_asks_half_as_often_again_as_it_may_is_refused_some_and_never_cut() -> None:
    verdicts = commands(100, 150, 120)
    assert set(verdicts) == {"allowed", "refused"}
    assert verdicts.count("allowed") >= 100 * 120


def test_who_asks_ten_times_as_often_as_it_may_is_cut_within_little_more_than_a_second() -> None:
    verdicts = commands(100, 1000, 3)
    assert 1.0 < verdicts.index("excessive") / 1000 < 1.5
