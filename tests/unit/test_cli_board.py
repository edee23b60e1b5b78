import pytest

from websocket_utils import PriceUpdate
from websocket_utils._feed import MARKETS, Market
from websocket_utils.cli._board import Board, percentile

SECOND = 1_000_000_000


class WallClock:
    def __init__(self) -> None:
        self.now = 1_000 * SECOND

    def __call__(self) -> int:
        return self.now


def update(market: Market, price: float, timestamp: int) -> PriceUpdate:
    return PriceUpdate(market.input_mint, market.output_mint, price, 0, timestamp)


def test_board_is_empty_before_the_first_update() -> None:
    row = Board(MARKETS, wall_clock=WallClock()).rows()[0]
    assert (row.name, row.price, row.change, row.age_p50, row.age_p99, row.rate) == (
        "SOL-USDC",
        None,
        0.0,
        None,
        None,
        0.0,
    )


def test_board_says_price_change_age_and_rate_of_each_market() -> None:
    clock = WallClock()
    board = Board(MARKETS[:2], wall_clock=clock)
    for step in range(100):
        clock.now += SECOND // 100
        board.take(update(MARKETS[0], 100.0 + step, clock.now - (step + 1) * 1000))
    first, second = board.rows()
    assert first.price == 199.0
    assert first.change == pytest.approx(0.99)
    assert (first.age_p50, first.age_p99) == (51.0, 100.0)
    assert first.rate == 100.0
    assert second.price is None
    assert (board.total, board.seconds()) == (100, 1.0)


def test_ages_and_rate_are_of_the_last_second_alone() -> None:
    clock = WallClock()
    board = Board(MARKETS[:1], wall_clock=clock)
    board.take(update(MARKETS[0], 1.0, clock.now - 5_000_000))
    clock.now += SECOND // 2
    assert board.rows()[0].rate == 2.0
    clock.now += SECOND
    board.take(update(MARKETS[0], 1.0, clock.now - 1_000))
    clock.now += SECOND // 2
    row = board.rows()[0]
    assert (row.age_p50, row.age_p99) == (1.0, 1.0)
    assert row.rate == pytest.approx(1 / 1.5)


def test_updates_of_other_markets_count_in_the_total_alone() -> None:
    board = Board(MARKETS[:1], wall_clock=WallClock())
    board.take(PriceUpdate("A", "B", 1.0, 0, 0))
    assert board.total == 1
    assert board.rows()[0].price is None


@pytest.mark.parametrize(
    ("ages", "share", "expected"), [([], 0.5, None), ([7000], 0.99, 7.0), ([1000, 2000], 0.5, 2.0)]
)
def test_percentile_is_the_nearest_rank(ages: list[int], share: float, expected: float | None) -> None:
    assert percentile(ages, share) == expected
