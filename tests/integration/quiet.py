"""The fixture that holds a test to a silent event loop: no traceback from inside it, whatever a peer does."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

__all__ = ["Quiet", "frozen", "quiet"]

_LOGGERS = ("asyncio", "picows", "aiofastnet", "websocket_utils")


class Quiet(logging.Handler):
    """What came to light that should not have; a test takes off `errors` what it expects.

    That a client has come to its end is no such thing: it is logged for those that nobody pulls from.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[str] = []
        self.gave_up: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("gave up on ws") and not record.exc_info:
            self.gave_up.append(record.getMessage())
        elif record.name.partition(".")[0] in _LOGGERS:
            self.errors.append(f"{record.name}: {record.getMessage()}")

    def on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        del loop
        self.errors.append(f"event loop: {context}")


@pytest.fixture(scope="session")
def frozen() -> None:
    """All that was imported is garbage never: collecting after each test need not look at it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
async def quiet(frozen: None) -> AsyncIterator[Quiet]:
    del frozen
    watch = Quiet()
    root = logging.getLogger()
    root.addHandler(watch)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(watch.on_loop_error)
    loggers = set(logging.root.manager.loggerDict)
    before = asyncio.all_tasks()
    try:
        yield watch
        # What is garbage may have something to say: futures whose exception nobody saw, transports left open.
        gc.collect()
        # Callbacks of what was just closed.
        for _ in range(3):
            await asyncio.sleep(0)
        left = [task for task in asyncio.all_tasks() - before - {asyncio.current_task()} if not task.done()]
    finally:
        root.removeHandler(watch)
    assert watch.errors == [], watch.errors
    assert left == [], f"tasks outlive the test: {left}"
    new = {name for name in set(logging.root.manager.loggerDict) - loggers if name.startswith(_LOGGERS)}
    assert not {name for name in new if any(part.isdecimal() for part in name.split("."))}, (
        "a logger for one connection"
    )
