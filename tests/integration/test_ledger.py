"""What becomes of every message while connections are killed, and what many reconnects leave behind."""

import sys

import pytest
from hostile.ledger import ledger
from hostile.soak import soak
from hostile.storm import storm


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_message_ends_in_one_way_while_connections_are_killed(seed: int) -> None:
    found = await ledger(100_000, seed, mean_bytes=300_000)
    assert found.met, found


@pytest.mark.skipif(sys.platform != "linux", reason="memory and descriptors are read from /proc")
@pytest.mark.one_loop
async def test_storm_of_reconnects_leaves_nothing_behind() -> None:
    found = await storm(500)
    assert found.met, found


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.one_loop
@pytest.mark.timeout(120)
async def test_soak_of_churning_stalled_slow_and_cut_clients_leaves_exact_books() -> None:
    found = await soak(12.0)
    assert found.is_balanced, found
