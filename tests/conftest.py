"""Coroutine tests run on both event loops that the package supports, in debug mode (see pyproject.toml)."""

import asyncio
import gc
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import uvloop
from tests.property.scale import CODEC_SEED
from xdist.scheduler import LoadScopeScheduling

from websocket_utils.testing import VirtualClock


def pytest_configure() -> None:
    # A shell starts background jobs with Ctrl-C ignored, and the processes that tests interrupt would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Deals tests out by file with `-n 2`; what listens, measures or waits for a peer is alone among its kind."""
    return ByFile(config, log)


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Tests that use sockets are one unit of work, each other file is one of its own."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.split("::", 1)[0]
        return "sockets" if path.startswith("tests/integration/") else path


def pytest_report_header() -> str:
    return f"CODEC_SEED={CODEC_SEED}"


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.get_closest_marker("virtual_clock"):
        return {"virtual": VirtualClock}
    if item.get_closest_marker("one_loop"):
        return {"uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def plain_collections() -> Iterator[None]:
    """Collect without callbacks: Hypothesis times collections in one, which fails at the end of the stack.

    And without what other tests have left: looking through that is most of the time that a collection takes.
    """
    callbacks = gc.callbacks[:]
    gc.callbacks.clear()
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
    gc.callbacks.extend(callbacks)
