"""The built-in feed: invented prices of some markets, and the channels that messages of a feed belong to."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

from websocket_utils.messages import AccountUpdate, Message, PriceUpdate

# Relative size of one step of a price; at 1000 steps a second it moves some 0.3 % a second.
_STEP = 1e-4


@dataclass(frozen=True, slots=True)
class Market:
    """A pair of mints that is traded, and the price it begins at."""

    name: str
    input_mint: str
    output_mint: str
    price: float

    @property
    def channel(self) -> str:
        """The channel that its updates are published to."""
        return f"prices:{self.name}"


_USDC = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
_SOL = "So11111111111111111111111111111111111111112"

MARKETS = (
    Market("SOL-USDC", _SOL, _USDC, 152.40),
    Market("JUP-USDC", "JUPyiwrYJFskUPiHa7hkeR8VUtAeFoSYbKedZNsDvCN", _USDC, 0.8125),
    Market("JTO-USDC", "jtojtomepa8beP8AuQc6eXt5FriJwfFMwQx2v2f9mCL", _USDC, 2.46),
    Market("PYTH-USDC", "HZ1JovNiVvGrGNiiYvEozEVgZ58xaU3RKwX8eACQBCt3", _USDC, 0.3471),
    Market("BONK-USDC", "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263", _USDC, 0.0000215),
    Market("mSOL-SOL", "mSoLzYCxHdYgdzU16g5QSh3i5K3z3KZK7ytfqcJm7So", _SOL, 1.2044),
)
"""Markets of the built-in feed; prices are invented."""

_NAMES = {(market.input_mint, market.output_mint): market.name for market in MARKETS}


def channel_of(message: Message) -> str | None:
    """The channel that a feed publishes `message` to; None for messages that belong to no channel."""
    if isinstance(message, PriceUpdate):
        pair = (message.input_mint, message.output_mint)
        return f"prices:{_NAMES.get(pair) or '/'.join(pair)}"
    return f"accounts:{message.pubkey}" if isinstance(message, AccountUpdate) else None


class RandomWalk:
    """Invented prices of some markets, one market after the other, `rate` updates a second in all, without end."""

    def __init__(
        self,
        markets: Sequence[Market],
        *,
        rate: float,
        seed: int | None = None,
        wall_clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._prices = {market: market.price for market in markets}
        self._turn: Iterator[Market] = cycle(markets)
        self._rate = rate
        self._taken = 0
        self._random = random.Random(seed)  # noqa: S311  # invented prices are no secret
        self._wall_clock = wall_clock

    def due(self) -> float:
        """When the next price is due."""
        return self._taken / self._rate

    def take(self) -> PriceUpdate:
        """Move the next market's price by one step."""
        market = next(self._turn)
        # Pulled back to where it began, or hours of steps would take it anywhere.
        pull = (market.price / self._prices[market] - 1.0) * _STEP
        price = self._prices[market] * (1.0 + self._random.gauss(pull, _STEP))
        self._prices[market] = price
        self._taken += 1
        return PriceUpdate(
            input_mint=market.input_mint,
            output_mint=market.output_mint,
            price=float(f"{price:.7g}"),
            volume=self._random.randrange(1_000_000, 5_000_000_000),
            timestamp=self._wall_clock(),
        )
