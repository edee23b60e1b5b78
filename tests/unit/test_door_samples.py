"""What the door remembers of the last minutes, and how it measures the event loop."""

import asyncio
from typing import Any

import pytest

from websocket_utils.door._facts import Counted
from websocket_utils.door._pulse import Pulse
from websocket_utils.door._samples import Samples, quantiles


def test_quantiles_are_what_a_part_does_not_exceed() -> None:
    found = quantiles([number / 100 for number in range(100, 0, -1)])
    assert found == {"count": 100, "p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 1.0, "max": 1.0}
    assert quantiles([3.0]) == {"count": 1, "p50": 3.0, "p90": 3.0, "p99": 3.0, "p999": 3.0, "max": 3.0}
    assert quantiles([]) is None


def test_sample_has_what_a_second_brought() -> None:
    samples = Samples(Counted(published=100), 50.0)
    assert not samples.is_due(50.9)
    assert samples.is_due(51.0)
    samples.beat(0.25, 51.0)
    samples.beat(0.125, 51.5)
    later = Counted(
        connections=3, lagging=1, published=300, deliveries=600, bytes_sent=4000, dropped=6, conflated=2, behind=77
    )
    samples.take(later, 52.0)
    samples.take(later, 53.0)
    first, second = samples.samples
    assert first == {
        "at": 2.0,
        "connections": 3,
        "lagging": 1,
        "published": 100.0,
        "deliveries": 300.0,
        "bytes_sent": 2000.0,
        "lost": 4.0,
        "behind": 77,
        "loop_lag": 0.25,
    }
    assert (second["at"], second["published"], second["loop_lag"]) == (3.0, 0.0, 0.0)


def test_samples_of_two_minutes_are_kept_and_no_more() -> None:
    samples = Samples(Counted(), 0.0)
    for second in range(1, 1001):
        for _ in range(10):
            samples.beat(0.001, float(second))
        samples.take(Counted(published=second), float(second))
    assert [sample["at"] for sample in samples.samples] == [float(second) for second in range(881, 1001)]
    lag = samples.loop_lag()
    assert lag is not None
    assert lag["count"] <= 61 * 10


def test_rates_are_averages_of_the_last_seconds() -> None:
    samples = Samples(Counted(), 0.0)
    for second in range(1, 31):
        samples.take(Counted(published=1000 * second if second > 20 else 0), float(second))
    rates = samples.rates(Counted(published=31_000), 31.0)
    assert (rates["seconds"], rates["published"]) == (5.0, 1000.0)


def test_rates_of_the_first_moment_are_none() -> None:
    rates = Samples(Counted(published=5), 1.0).rates(Counted(published=5), 1.0)
    assert (rates["seconds"], rates["published"]) == (0.0, 0.0)


def test_longest_lag_is_forgotten_in_time() -> None:
    samples = Samples(Counted(), 0.0)
    samples.beat(2.0, 10.0)
    samples.beat(0.5, 15.0)
    assert samples.worst_lag(10.0, 19.0) == 2.0
    assert samples.worst_lag(10.0, 21.0) == 0.5
    assert samples.worst_lag(10.0, 30.0) == 0.0


@pytest.mark.virtual_clock
async def test_pulse_takes_a_sample_a_second_until_it_is_stopped() -> None:
    read = 0

    def counted() -> Counted:
        nonlocal read
        read += 1
        return Counted(published=10 * read)

    pulse = Pulse(asyncio.get_running_loop(), counted)
    await asyncio.sleep(5.55)
    assert len(pulse.samples.samples) == 5
    assert [sample["published"] for sample in pulse.samples.samples] == pytest.approx([10.0] * 5, rel=0.15)
    assert pulse.is_well
    pulse.stop()
    await asyncio.sleep(5)
    assert len(pulse.samples.samples) == 5


class LateLoop:
    """An event loop whose timers run when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timer: tuple[float, Any] | None = None

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: object) -> "LateLoop":
        self.timer = (when, callback)
        return self

    def run(self) -> None:
        assert self.timer is not None
        self.timer[1]()

    def cancel(self) -> None:
        self.timer = None


def test_loop_that_was_late_is_not_well_until_that_is_some_seconds_ago() -> None:
    loop = LateLoop()
    pulse = Pulse(loop, Counted)  # type: ignore[arg-type]  # as much of a loop as it uses
    loop.now += 0.1
    loop.run()
    assert pulse.worst_lag == 0.0
    # Nothing has run yet that could have noticed.
    loop.now += 0.1 + 3.0
    assert pulse.worst_lag == pytest.approx(3.0)
    assert not pulse.is_well
    loop.run()
    for _ in range(120):
        loop.now += 0.1
        loop.run()
    assert [pulse.worst_lag, pulse.is_well] == [pytest.approx(0.0), True]
    assert max(sample["loop_lag"] for sample in pulse.samples.samples) == pytest.approx(3.0)
