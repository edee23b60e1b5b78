"""Coroutine tests run on both event loops that the package supports, in debug mode (see pyproject.toml)."""

import asyncio
import gc
import signal
from collections.abc import Callable, Iterator, Mapping

import pytest
import uvloop
from tests.property.scale import CODEC_SEED

from websocket_utils.testing import VirtualClock


def pytest_configure() -> None:
    # A shell starts background jobs with Ctrl-C ignored, and the processes that tests interrupt would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Groups for `-n 2 --dist loadgroup`: what listens, measures or waits for a peer is alone among its kind."""
    for item in items:
        path = item.path.relative_to(config.rootpath).as_posix()
        item.add_marker(pytest.mark.xdist_group("sockets" if path.startswith("tests/integration/") else path))


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
    """Collect without callbacks: Hypothesis times collections in one, which fails at the end of the stack."""
    callbacks = gc.callbacks[:]
    gc.callbacks.clear()
    yield
    gc.callbacks.extend(callbacks)
