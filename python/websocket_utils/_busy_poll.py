"""Busy polling: after traffic the event loop looks for more without going to sleep, for a while.

A loop that sleeps is woken by the kernel, which costs a message some microseconds, and many where the core has gone to
sleep as well. One that always has something to call never sleeps: it asks the kernel what has come, and goes on. That
takes the whole core that it runs on, so it ends when nothing has come for `window` seconds, and begins again with the
next traffic.

    idle:  a timer, 200 times a second, looks whether anything was read since      spinning: one call in each turn
    idle --- something was read ---> spinning --- nothing for `window` ---> idle

Nothing is asked of a read itself. The message that ends a silence comes as fast as without busy polling; those within
some milliseconds of it still may.
"""

import asyncio
import time
from collections.abc import Callable

__all__ = ["BusyPoll"]

# While idle: how often it is looked whether traffic has begun.
_LOOK_SECONDS = 0.005
# While spinning: after how many turns, of some 700 ns each. In between a turn costs a message as little as it can.
_LOOK_TURNS = 16


class BusyPoll:
    """Keeps a loop from sleeping while there is traffic.

    Args:
        loop: Its `call_soon` and `call_later` are used.
        last_read_ns: When something was read last, in monotonic nanoseconds; 0 before the first time.
        window: Seconds after a read in which the loop does not sleep.
        clock_ns: Monotonic nanoseconds.
    """

    __slots__ = ("_clock_ns", "_handle", "_last_read_ns", "_loop", "_seen_ns", "_turns", "_window_ns", "is_spinning")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        last_read_ns: Callable[[], int],
        window: float,
        *,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._loop = loop
        self._last_read_ns = last_read_ns
        self._window_ns = round(window * 1e9)
        self._clock_ns = clock_ns
        self._seen_ns = 0
        # Until the next look.
        self._turns = 0
        self._handle: asyncio.Handle | None = None
        self.is_spinning = False

    def start(self) -> None:
        """Begin, with what is read from now on."""
        self._seen_ns = self._last_read_ns()
        self._rest()

    def stop(self) -> None:
        """End; nothing is called afterwards."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self.is_spinning = False

    def _rest(self) -> None:
        self.is_spinning = False
        self._handle = self._loop.call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        last_ns = self._last_read_ns()
        if last_ns == self._seen_ns:
            self._rest()
            return
        self._seen_ns = last_ns
        if self._clock_ns() - last_ns >= self._window_ns:
            self._rest()
            return
        self.is_spinning = True
        self._turns = _LOOK_TURNS
        self._handle = self._loop.call_soon(self._spin)

    def _spin(self) -> None:
        self._turns -= 1
        if not self._turns:
            self._turns = _LOOK_TURNS
            self._seen_ns = self._last_read_ns()
            if self._clock_ns() - self._seen_ns >= self._window_ns:
                self._rest()
                return
        self._handle = self._loop.call_soon(self._spin)
