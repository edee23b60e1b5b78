"""What tests of one connection share."""

import asyncio

import pytest
from tests.support.memory import Link


@pytest.fixture
async def link() -> Link:
    return Link(event_loop=asyncio.get_running_loop())
