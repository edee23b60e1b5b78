"""The built-in feed: prices that are invented, at a rate, and what channels they belong to."""

from hypothesis import given
from hypothesis import strategies as st

from websocket_utils import AccountUpdate, Ping, PriceUpdate
from websocket_utils._feed import MARKETS, RandomWalk, channel_of


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
