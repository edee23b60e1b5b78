"""The feed's sources and its pace, on a clock that only tests move."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocket_utils import AccountUpdate, Message, Ping, PriceUpdate
from websocket_utils._feed import (
    MARKETS,
    MAX_LINE,
    MOST_ARREARS,
    MOST_PER_TURN,
    RandomWalk,
    RecordingError,
    Replay,
    channel_of,
    check_recording,
    play,
    read_recording,
)

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


def price(timestamp: int, **fields: object) -> dict[str, object]:
    return {
        "type": "PriceUpdate",
        "input_mint": "SOL",
        "output_mint": "USDC",
        "price": 1.5,
        "volume": 1,
        "timestamp": timestamp,
        **fields,
    }


def write(path: Path, *lines: object) -> Path:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def dues_of(replay: Replay, most: int = 20) -> list[float]:
    dues: list[float] = []
    while len(dues) < most and (due := replay.due()) is not None:
        dues.append(due)
        replay.take()
    return dues


# --- the random walk ---


def test_walk_takes_markets_in_turn_at_the_rate() -> None:
    walk = RandomWalk(MARKETS[:2], rate=10, seed=1, wall_clock=lambda: 7)
    dues, mints = [], []
    for _ in range(4):
        dues.append(walk.due())
        mints.append(walk.take().input_mint)
    assert dues == [0.0, 0.1, 0.2, 0.3]
    assert mints == [MARKETS[0].input_mint, MARKETS[1].input_mint] * 2


def test_walk_stamps_a_price_when_it_is_taken() -> None:
    now = [1]
    walk = RandomWalk(MARKETS, rate=1, wall_clock=lambda: now[0])
    walk.due()
    now[0] = 2
    assert walk.take().timestamp == 2


def test_walk_with_a_seed_is_the_same_each_time() -> None:
    first, second = (RandomWalk(MARKETS, rate=1, seed=3, wall_clock=lambda: 0) for _ in range(2))
    assert [first.take() for _ in range(50)] == [second.take() for _ in range(50)]


@given(st.integers())
def test_walk_keeps_prices_near_where_they_began(seed: int) -> None:
    walk = RandomWalk(MARKETS[:1], rate=1, seed=seed, wall_clock=lambda: 0)
    prices = [walk.take().price for _ in range(500)]
    assert all(0.9 < one / MARKETS[0].price < 1.1 for one in prices)


def test_messages_go_to_the_channel_of_their_subject() -> None:
    walk = RandomWalk(MARKETS, rate=1)
    assert [channel_of(walk.take()) for _ in MARKETS] == [market.channel for market in MARKETS]
    assert channel_of(PriceUpdate("A", "B", 1.0, 0, 0)) == "prices:A/B"
    assert channel_of(AccountUpdate("key", 1, 2, 3)) == "accounts:key"
    assert channel_of(Ping()) is None


# --- recordings ---


def test_recording_is_read_in_order_without_its_empty_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", price(1), "", "  ", price(2, type="price_update"), {"type": "Ping"})
    messages = list(read_recording(path))
    assert [type(message) for message in messages] == [PriceUpdate, PriceUpdate, Ping]
    assert check_recording(path) == 3


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"type":"PriceUpdate","input_mint":3}', "`$.input_mint`"),
        ('{"type":"Nope"}', "unknown tag 'Nope'"),
        ('{"type":', "truncated"),
        ("[1]", "$"),
        ('{"type":"PriceUpdate"}', "input_mint"),
        ("[" * 5000, ""),
    ],
)
def test_fault_in_line_3_names_file_line_path_and_what_to_do(tmp_path: Path, line: str, reason: str) -> None:
    path = write(tmp_path / "broken.jsonl", price(1), "", line, price(2))
    with pytest.raises(RecordingError) as caught:
        check_recording(path)
    assert caught.value.line == 3
    text = str(caught.value)
    assert text.startswith(f"{path}, line 3: ")
    assert reason in text
    assert "correct the line or remove it" in text


def test_bytes_that_are_no_utf8_are_a_fault_of_their_line(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(b'{"type":"Ping"}\n{"type":"Subscribe","channels":["\xff"]}\n')
    with pytest.raises(RecordingError, match="line 2"):
        check_recording(path)


def test_line_over_the_limit_is_refused_without_reading_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with path.open("wb") as file:
        file.write(b'{"type":"Ping"}\n')
        # A hole: a file of any size that takes no space.
        file.truncate(MAX_LINE * 8)
    with pytest.raises(RecordingError, match=f"line 2: longer than {MAX_LINE} bytes"):
        check_recording(path)


def test_recording_without_a_message_and_what_is_no_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="holds no message"):
        check_recording(write(tmp_path / "empty.jsonl", "", ""))
    with pytest.raises(RecordingError, match="no regular file"):
        check_recording(tmp_path)
    with pytest.raises(FileNotFoundError):
        check_recording(tmp_path / "missing.jsonl")


def test_replay_follows_the_recorded_nanoseconds(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", price(5 * SECOND), price(6 * SECOND), price(8 * SECOND))
    assert dues_of(Replay(path)) == [0.0, 1.0, 3.0]
    assert dues_of(Replay(path, speed=2.0)) == [0.0, 0.5, 1.5]
    assert dues_of(Replay(path, speed=None)) == [0.0, 0.0, 0.0]


def test_replay_never_waits_for_messages_without_time_or_back_in_time(tmp_path: Path) -> None:
    path = write(
        tmp_path / "r.jsonl", {"type": "Ping"}, price(9 * SECOND), price(SECOND), {"type": "Pong"}, price(2 * SECOND)
    )
    assert dues_of(Replay(path)) == [0.0, 0.0, 0.0, 0.0, 1.0]


def test_replay_in_a_loop_begins_again_and_goes_on_in_time(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", price(SECOND), price(2 * SECOND))
    assert dues_of(Replay(path, loop=True), most=5) == [0.0, 1.0, 1.0, 2.0, 2.0]


def test_replay_in_a_loop_ends_when_the_file_is_emptied(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", price(1))
    replay = Replay(path, loop=True)
    assert dues_of(replay, most=1) == [0.0]
    path.write_text("", encoding="utf-8")
    with pytest.raises(RecordingError, match="emptied"):
        replay.due()


def test_replay_says_when_it_is_taken_from_too_early(tmp_path: Path) -> None:
    replay = Replay(write(tmp_path / "r.jsonl", price(1)))
    with pytest.raises(LookupError):
        replay.take()


# --- the pace ---


async def test_play_sleeps_until_each_message_is_due() -> None:
    clock, times = Clock(), list[float]()
    count = await play(
        Listed([0.0, 1.0, 1.0, 2.5]), lambda _: times.append(clock.now - 100.0), clock=clock, sleep=clock.sleep
    )
    assert (count, times, clock.slept) == (4, [0.0, 1.0, 1.0, 2.5], [1.0, 1.5])


async def test_play_ends_the_turn_after_a_bounded_number_of_messages() -> None:
    delivered, turns = list[Message](), list[int]()

    async def end_turn() -> None:
        turns.append(len(delivered))

    clock = Clock()
    await play(
        Listed([0.0] * (2 * MOST_PER_TURN + 1)), delivered.append, clock=clock, sleep=clock.sleep, end_turn=end_turn
    )
    assert turns == [MOST_PER_TURN, 2 * MOST_PER_TURN]


async def test_play_forgives_arrears_after_a_pause_of_the_process() -> None:
    clock, times = Clock(), list[float]()

    def deliver(_: Message) -> None:
        times.append(clock.now - 100.0)
        if len(times) == 1:
            clock.now += 50 * MOST_ARREARS

    await play(Listed([0.0, 1.0, 2.0, 3.0]), deliver, clock=clock, sleep=clock.sleep)
    assert times == [0.0, 50.0, 51.0, 52.0]


async def test_play_yields_to_the_event_loop_by_itself() -> None:
    assert await play(Listed([0.0] * (MOST_PER_TURN + 1)), lambda _: None) == MOST_PER_TURN + 1
