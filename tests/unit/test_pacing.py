"""When recorded moments are due, and a player on a clock that only tests move."""

import asyncio
from collections.abc import Iterable

import pytest

from websocket_utils import Message, Ping
from websocket_utils._pacing import MOST_ARREARS, MOST_PER_TURN, Pace, Player

SECOND = 1_000_000_000


class Clock:
    """Seconds that pass only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Listed:
    """A source of given due times."""

    def __init__(self, dues: Iterable[float]) -> None:
        self._dues = list(dues)

    def due(self) -> float | None:
        return self._dues[0] if self._dues else None

    def take(self) -> Message:
        self._dues.pop(0)
        return Ping()


# --- the pace ---


@pytest.mark.parametrize(("speed", "dues"), [(1.0, [0, 1, 3]), (2.0, [0, 0.5, 1.5]), (None, [0, 0, 0])])
def test_pace_follows_the_recorded_nanoseconds(speed: float | None, dues: list[float]) -> None:
    pace = Pace(speed)
    assert [pace.due(at) for at in (5 * SECOND, 6 * SECOND, 8 * SECOND)] == dues


def test_moment_that_is_not_known_or_back_in_time_is_due_at_once() -> None:
    pace = Pace()
    assert [pace.due(at) for at in (None, 9 * SECOND, SECOND, None, 2 * SECOND)] == [0.0, 0.0, 0.0, 0.0, 1.0]


# --- the player ---


async def test_play_sleeps_until_each_message_is_due() -> None:
    clock, times = Clock(), list[float]()
    player = Player[Message](lambda _: times.append(clock.now - 100.0), clock=clock, sleep=clock.sleep)
    await player.play(Listed([0.0, 1.0, 1.0, 2.5]))
    assert (times, clock.slept) == ([0.0, 1.0, 1.0, 2.5], [1.0, 1.5])


async def test_sources_played_one_after_the_other_have_one_beginning() -> None:
    clock, times = Clock(), list[float]()
    player = Player[Message](lambda _: times.append(clock.now - 100.0), clock=clock, sleep=clock.sleep)
    await player.play(Listed([0.0, 1.0]))
    clock.now += 0.25
    await player.play(Listed([2.0]))
    assert (times, clock.slept) == ([0.0, 1.0, 2.0], [1.0, 0.75])


async def test_play_ends_the_turn_after_a_bounded_number_of_messages() -> None:
    delivered, turns = list[Message](), list[int]()

    async def end_turn() -> None:
        turns.append(len(delivered))

    clock = Clock()
    player = Player(delivered.append, clock=clock, sleep=clock.sleep, end_turn=end_turn)
    await player.play(Listed([0.0] * (MOST_PER_TURN + 1)))
    await player.play(Listed([0.0] * MOST_PER_TURN))
    assert turns == [MOST_PER_TURN, 2 * MOST_PER_TURN]


async def test_play_forgives_arrears_after_a_pause_of_the_process() -> None:
    clock, times = Clock(), list[float]()

    def deliver(_: Message) -> None:
        times.append(clock.now - 100.0)
        if len(times) == 1:
            clock.now += 50 * MOST_ARREARS

    player = Player(deliver, clock=clock, sleep=clock.sleep)
    await player.play(Listed([0.0, 1.0, 2.0]))
    await player.play(Listed([3.0]))
    assert times == [0.0, 50.0, 51.0, 52.0]


async def test_play_yields_to_the_event_loop_by_itself() -> None:
    turns: list[None] = []
    asyncio.get_running_loop().call_soon(turns.append, None)
    await Player[Message](lambda _: None).play(Listed([0.0] * (MOST_PER_TURN + 1)))
    assert turns
