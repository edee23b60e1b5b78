"""A short form of the benches with many clients: every side does its work, and what arrives is right."""

from pathlib import Path

import msgspec
import pytest
from benches._harness import Runner, build_load_generator
from benches._results import Bench, Side, is_there
from benches.run import all_benches

# Fewer clients and channels than there are; and messages, or sweeps over the channels.
SHORT: dict[str, tuple[dict[str, int], int]] = {
    "broadcast_1000": ({"clients": 120}, 128),
    "spread_5000": ({"clients": 120, "rate": 50}, 10),
    "channels_10000": ({"clients": 100, "channels": 500, "burst": 50}, 2),
    "stalled": ({"clients": 20}, 60),
    "memory_subscriber": ({"clients": 20}, 0),
    "laserstream": ({}, 128),
}


def cases() -> list[tuple[Bench, Side, int]]:
    known = all_benches()
    return [
        (msgspec.structs.replace(known[name], **fewer), side, messages)
        for name, (fewer, messages) in SHORT.items()
        for side in known[name].sides
        if is_there(side)
    ]


@pytest.fixture(scope="module")
def load_generator() -> Path:
    return build_load_generator()


# The first of them may have to compile the load generator.
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("bench", "side", "messages"), [pytest.param(*case, id=f"{case[0].name}-{case[1].name}") for case in cases()]
)
def test_side_of_a_bench_in_short_reports_its_metrics(
    load_generator: Path, bench: Bench, side: Side, messages: int
) -> None:
    run = Runner(load_generator).run(bench, side, messages)
    assert set(bench.metrics) <= set(run.numbers)
    # All but memory, which may not have grown.
    assert all(run.numbers[metric] > 0 for metric in bench.metrics if metric not in {"grown_kib", "kib_per_connection"})
