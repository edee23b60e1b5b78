"""How often a server is dialled, and how a crowd comes back: the client's state machine in virtual time."""

import itertools
import math
import random
from collections.abc import Callable

import pytest
from hostile import herd
from hostile._results import DIALS_FIRST_MINUTE, DIALS_FIRST_SECOND
from tests.property.scale import scaled

from websocket_utils import ClosePolicy, ReconnectPolicy

# Codes that are retried without end; the others end the client within three dials.
ENDLESS = (None, 1000, 1001, 1005, 1011, 1012, 1013, 1014, 3000, 4100, 4200)
FEW = scaled(40)


def assert_spared(times: list[float]) -> None:
    assert herd.count(times, 1.0) <= DIALS_FIRST_SECOND
    assert herd.count(times, 60.0) <= DIALS_FIRST_MINUTE


@pytest.mark.parametrize("chance", [lambda: herd.LEAST, lambda: herd.MOST], ids=["least", "most"])
@pytest.mark.parametrize("code", herd.CODES, ids=str)
def test_server_that_accepts_and_drops_is_spared_by_the_worst_of_chance(
    code: int | None, chance: Callable[[], float]
) -> None:
    times, how = herd.dials(itertools.repeat(code), chance)
    assert_spared(times)
    assert (how == "goes on") is (code in (*ENDLESS, 3999, 4199, 4299))


def test_server_that_accepts_and_drops_is_spared_by_any_chance() -> None:
    for code in herd.CODES:
        row = herd.dial_row(code, FEW)
        assert row.met, row
        assert row.runs == FEW + 2


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_server_that_accepts_and_drops_is_spared_in_a_thousand_runs_of_any_mix_of_codes() -> None:
    for seed in range(1000):
        chance = random.Random(seed)
        codes = chance.choices((None, 1001, 1008, 1012, 1012, 4401, 4200), k=100)
        # The worst of chance with every second seed.
        times, _ = herd.dials(iter(codes), chance.random if seed % 2 else lambda: herd.LEAST)
        assert_spared(times)


def test_server_that_orders_clients_back_and_refuses_them_in_turn_is_spared_too() -> None:
    for order in itertools.product([None, 1012, 4401], repeat=5):
        times, _ = herd.dials(itertools.chain(order, itertools.repeat(1012)), lambda: herd.LEAST)
        assert_spared(times)


class NoWait(ReconnectPolicy):
    def delay(self, failures: int, unit: float, *, flapping: bool, longest: float) -> float:
        del failures, unit, flapping, longest
        return 0.001


def test_dials_of_a_client_that_hammers_are_counted() -> None:
    times, _ = herd.dials(itertools.repeat(None), random.random, herd.lifecycle(NoWait()))
    assert herd.count(times, 1.0) == pytest.approx(1000, abs=1)
    times, how = herd.dials(itertools.repeat(4001), random.random, herd.lifecycle(closes=ClosePolicy.pusher()))
    assert (len(times), how) == (1, "ends after 1")


@pytest.mark.parametrize(
    ("downtime", "interval"), [(3.0, 5.0), (5.0, 5.0), (10.0, 5.0), (0.5, 1.0), (1.0, 1.0), (2.0, 1.0), (10.0, 1.0)]
)
def test_crowd_comes_back_spread_over_the_longest_wait(downtime: float, interval: float) -> None:
    row = herd.herd(downtime, interval=interval, seed=3, clients=2000)
    # A smaller crowd than the report's: chance has more weight in its bins.
    assert row.ratio <= 3.3
    assert interval / 0.1 * 0.8 <= row.bins <= math.ceil(interval / 0.1)
    assert row.last_s <= interval


def test_crowd_whose_server_is_there_again_comes_back_within_the_first_jitter() -> None:
    row = herd.herd(0.0, interval=5.0, seed=3, clients=2000)
    assert (row.bins, row.fullest, row.dials) == (1, 2000, 2000)
    assert row.last_s <= 0.01
    longer = herd.herd(0.0, interval=5.0, seed=3, clients=2000, policy=ReconnectPolicy(first_jitter=2.0))
    assert longer.bins == 20
    assert longer.ratio < 1.5


def test_crowd_that_does_not_spread_is_told() -> None:
    assert not herd.herd(0.5, interval=5.0, seed=3, clients=2000).met


def test_command_tells_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert herd.main(["--clients", "20", "--seeds", "1"]) == 0
    told = capsys.readouterr().out
    assert "1008: 3 dials in a second, 3 in a minute, ConnectionFlapping after 3" in told
    assert "away 30.0 s, waits up to 5.0 s: fullest bin" in told
