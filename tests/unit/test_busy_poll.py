"""Busy polling, on a loop and a clock of the test's."""

from typing import Any, cast

from tests.support.memory import VirtualLoop

from websocket_utils._busy_poll import BusyPoll

WINDOW_NS = 1_000_000
# How long one turn of the loop takes.
TURN_NS = 10_000


class Spinning:
    """A busy poll with a window of 1 ms; in each turn of its loop 10 us pass."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.spent_ns = 0
        self.read_ns = 0
        self.poll = BusyPoll(
            cast("Any", self.loop), lambda: self.read_ns, WINDOW_NS / 1e9, clock_ns=lambda: self.clock_ns
        )

    @property
    def clock_ns(self) -> int:
        return round(self.loop.now * 1e9) + self.spent_ns

    def read(self) -> None:
        self.read_ns = self.clock_ns

    def look(self) -> None:
        """Until the next timer."""
        while self._soon:
            self.turn()

    @property
    def _soon(self) -> bool:
        return bool(self.loop._soon)

    def turn(self) -> int:
        self.spent_ns += TURN_NS
        return self.loop.turn()
