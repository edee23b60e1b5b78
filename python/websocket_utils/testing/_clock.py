"""An event loop whose time jumps over what nobody would do anything in."""

import asyncio
import math
import selectors
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple, Unpack

__all__ = ["VirtualClock"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_RESOLUTION = 1e-9


class _Selector(selectors.DefaultSelector):
    """Asks the clock how long to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.clock: VirtualClock | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for at most `timeout` seconds, of the clock's time."""
        if self.clock is None or (timeout is not None and timeout <= 0):
            return super().select(timeout)
        return self.clock.wait(timeout, super().select)


class VirtualClock(asyncio.SelectorEventLoop):
    """An event loop with a time of its own: when nothing is left to do, it is at once when the next timer is due.

        clock = VirtualClock()
        clock.run(main())              # sleeps, timeouts and backoff take no time
        asyncio.Runner(loop_factory=VirtualClock)     # or wherever a loop is made

    Time begins at 0 and stands still while code runs. It is for connections in memory (`MemoryNetwork`): as long as a
    descriptor is watched or an executor has a job, what comes next is not for this process to say, and time goes on as
    it does outside. The clocks of `time` and what is read from them (timestamps of received messages) stay real.
    """

    def __init__(self) -> None:
        # Before `super`, which asks for the time.
        self._now = 0.0
        self._jobs = 0
        # Those that were there before know nothing of this loop.
        self._others = frozenset(threading.enumerate())
        selector = _Selector()
        super().__init__(selector)
        # The loop's own way to wake itself is no I/O.
        self._own_descriptors = len(selector.get_map())
        self._selector_map = selector.get_map()
        selector.clock = self

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass with nothing running meanwhile, as when a machine is suspended or a call blocks the loop.

        Timers that are due by then run next, behind what is ready to run. To wait, use `asyncio.sleep`.

        Raises:
            ValueError: If `seconds` is negative.
        """
        if seconds < 0:
            raise ValueError(f"time does not go back: {seconds}")
        self._pass_to(self._now + seconds)

    def _pass_to(self, now: float) -> None:
        # Always later than before: a step too small for a float would be taken for ever.
        self._now = max(now, math.nextafter(self._now, math.inf))
        # How close to now a timer has to be to run, by asyncio; far from 0, floats are further from each other.
        self._clock_resolution = max(_RESOLUTION, 2 * math.ulp(self._now))

    def run(self, main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
        """Run `main` to its end on this loop, and close it.

        Raises:
            RuntimeError: If everything waits and no timer is set: that would be for ever.
        """
        with asyncio.Runner(loop_factory=lambda: self, debug=debug) as runner:
            return runner.run(main)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run `func` in a thread; time is real until it is done."""
        future = super().run_in_executor(executor, func, *args)
        self._jobs += 1
        future.add_done_callback(self._end_job)
        return future

    def _end_job(self, future: asyncio.Future[Any]) -> None:
        self._jobs -= 1

    def wait(
        self, timeout: float | None, select: Callable[[float | None], list[tuple[selectors.SelectorKey, int]]]
    ) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait as `select` does, in virtual time."""
        if self._jobs or len(self._selector_map) > self._own_descriptors:
            before = time.monotonic()
            ready = select(timeout)
            self._pass_to(self._now + time.monotonic() - before)
            return ready
        if timeout is None:
            # Another thread or a signal may still wake it.
            if any(thread not in self._others for thread in threading.enumerate()):
                return select(None)
            raise RuntimeError("everything waits, and no timer is set: this would be for ever")
        ready = select(0)
        if not ready:
            self._pass_to(self._now + timeout)
        return ready
