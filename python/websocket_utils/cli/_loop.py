"""Running a command on the event loop: until it is done, or until Ctrl-C."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, cast

from websocket_utils._transport import run


def run_until_stopped(main: Coroutine[Any, Any, None]) -> None:
    """Run `main`; Ctrl-C and SIGTERM are its normal end. Its `async with` blocks close what they opened."""

    async def supervised() -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        # Windows has no signal handlers on the loop; there, SIGTERM ends a process without asking.
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        await main

    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        run(supervised())


@asynccontextmanager
async def every(seconds: float, call: Callable[[], object]) -> AsyncGenerator[None]:
    """Call `call` each `seconds` while the block runs; what it raises ends the block."""

    async def tick() -> None:
        while True:
            await asyncio.sleep(seconds)
            call()

    owner = cast("asyncio.Task[None]", asyncio.current_task())
    task = asyncio.create_task(tick())
    failed = False

    def ended(ticker: asyncio.Task[None]) -> None:
        nonlocal failed
        if not ticker.cancelled():
            failed = True
            owner.cancel()

    task.add_done_callback(ended)
    try:
        yield
    except asyncio.CancelledError:
        if failed:
            owner.uncancel()
            await task
        raise
    finally:
        task.cancel()


def say(text: str) -> None:
    """Tell the user something that is no output: one line on stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def counted(count: int, noun: str) -> str:
    """A count with its noun: `1 message`, `12,345 messages`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
