"""Waiting for what another task or the kernel is about to do."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], seconds: float = 5) -> None:
    """Let the loop turn until `condition()` holds; fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # what is waited for is the kernel's, or says nothing when it happens
            await asyncio.sleep(0.001)
