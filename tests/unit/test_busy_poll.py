"""Busy polling, on a loop whose time is the test's."""

from collections.abc import Callable
from typing import Any, cast

from tests.support.memory import Handle, VirtualLoop

from websocket_utils._busy_poll import BusyPoll

WINDOW = 0.001
TURN = 0.000_01


class TurningLoop(VirtualLoop):
    """Each turn takes 10 us; what looks for it sees which turns there were."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: list[float] = []
        self.on_turn: Callable[[], None] = lambda: None

    def turn(self) -> int:
        self.now += TURN
        self.turns.append(self.now)
        self.on_turn()
        return super().turn()


class Spinning:
    def __init__(self) -> None:
        self.loop = TurningLoop()
        self.read_ns = 0
        self.poll = BusyPoll(
            cast("Any", self.loop),
            lambda: self.read_ns,
            WINDOW,
            clock_ns=lambda: round(self.loop.now * 1e9),
        )
        self.poll.start()

    def read(self) -> None:
        self.read_ns = round(self.loop.now * 1e9)


def test_loop_without_traffic_only_looks_for_it_every_five_milliseconds() -> None:
    spinning = Spinning()
    looks: list[float] = []
    later = spinning.loop.call_later

    def call_later(delay: float, callback: Callable[..., object], *arguments: Any) -> Handle:
        looks.append(delay)
        return later(delay, callback, *arguments)

    spinning.loop.call_later = call_later  # type: ignore[method-assign]  # it is looked at, and does what it did
    spinning.loop.advance(1)
    assert spinning.loop.turns == []
    assert set(looks) == {0.005}
    assert 195 <= len(looks) <= 200
    assert not spinning.poll.is_spinning


def test_loop_turns_for_the_window_after_traffic_and_then_rests() -> None:
    spinning = Spinning()
    spinning.loop.advance(0.0099)
    spinning.read()
    spinning.loop.advance(0.0002)
    assert spinning.loop.turns[0] < 0.0101
    # One turn each 10 us, from the look at 10 ms on until 1 ms after the read; the clock is looked at each 16 turns.
    assert 88 <= len(spinning.loop.turns) <= 92 + 16
    assert not spinning.poll.is_spinning
    spinning.loop.advance(1)
    assert len(spinning.loop.turns) <= 92 + 16


def test_traffic_while_turning_prolongs_it() -> None:
    spinning = Spinning()
    reads = iter(range(20))

    def read_in_gaps_below_the_window() -> None:
        if len(spinning.loop.turns) % 80 == 0 and next(reads, None) is not None:
            spinning.read()

    spinning.loop.on_turn = read_in_gaps_below_the_window
    spinning.loop.advance(0.0049)
    spinning.read()
    spinning.loop.advance(0.1)
    # 20 gaps of 80 turns, then the window.
    assert 1690 <= len(spinning.loop.turns) <= 1705 + 16


def test_traffic_that_is_over_when_it_is_looked_for_costs_no_turn() -> None:
    spinning = Spinning()
    spinning.loop.advance(0.001)
    spinning.read()
    spinning.loop.advance(1)
    assert spinning.loop.turns == []


def test_what_was_read_before_the_start_is_no_traffic() -> None:
    loop = TurningLoop()
    loop.now = 5.0
    poll = BusyPoll(cast("Any", loop), lambda: 5_004_900_000, WINDOW, clock_ns=lambda: round(loop.now * 1e9))
    poll.start()
    loop.advance(1)
    assert loop.turns == []


def test_nothing_is_called_after_stop_whether_it_rests_or_turns() -> None:
    resting = Spinning()
    resting.poll.stop()
    assert resting.loop.timers == 0
    turning = Spinning()
    turning.loop.advance(0.0049)
    turning.read()

    def stop() -> None:
        assert turning.poll.is_spinning
        turning.poll.stop()

    turning.loop.on_turn = stop
    turning.loop.advance(1)
    assert len(turning.loop.turns) == 1
    assert not turning.poll.is_spinning
    assert turning.loop.timers == 0
    turning.poll.stop()
