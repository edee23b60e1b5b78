"""temporary"""

import asyncio
from collections.abc import Callable


class BusyPoll:
    def __init__(self, loop: asyncio.AbstractEventLoop, last_read_ns: Callable[[], int], window: float) -> None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
