"""Short runs of what `make ledger` and `make storm` run in full."""

import asyncio
import logging

import pytest
from hostile.ledger import balance
from hostile.storm import storm
from tests.integration.quiet import frozen, quiet  # noqa: F401  # fixtures, used by every test
from tests.integration.strategy import nothing_left  # noqa: F401  # a fixture, used by every test

pytestmark = pytest.mark.usefixtures("nothing_left")

MESSAGES = 20_000
CYCLES = 300


@pytest.mark.filterwarnings("ignore:Executing")
async def test_every_message_is_accounted_for_over_a_network_that_kills() -> None:
    async with asyncio.timeout(19):
        result = await balance(MESSAGES, seed=5)
    assert result.faults == []
    # It was no quiet day: each way to end has been met.
    assert result.kills >= 10
    assert result.epochs >= result.kills // 2
    for count in (result.written, result.dropped, result.expired, result.unknown, result.received, result.delivered):
        assert count > 0
    assert result.accepted + result.refused >= MESSAGES


async def test_reconnecting_again_and_again_leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    # Each line of the log would be kept for the report of this test.
    caplog.set_level(logging.ERROR)
    async with asyncio.timeout(19):
        result = await storm(CYCLES, warm=100)
    assert (result.descriptors, result.tasks) == (0, 0)
    # One object for each reconnect would be three times that.
    assert result.objects < CYCLES // 3
    assert result.met
