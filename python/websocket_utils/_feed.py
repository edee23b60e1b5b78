"""Where a feed's messages come from, and when each is due.

A source says when its next message is due, in seconds since the feed began, and makes that message when it is taken:
a price made at its due time carries the time of sending, not of planning. `play` takes what is due and sleeps between.
No clock is read here except through arguments, so that tests move time as they like.
"""

import asyncio
import os
import random
import stat
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Protocol

from websocket_utils._core import Decoder
from websocket_utils.exceptions import DecodeError
from websocket_utils.messages import AccountUpdate, Message, PriceUpdate, WsMessage

NANOSECONDS = 1_000_000_000
# What a client takes by default; a longer line could be replayed to nobody.
MAX_LINE = 16 * 1024 * 1024
# Messages between two turns of the event loop: some 50 us of work, so that connections are served in between.
MOST_PER_TURN = 64
# Arrears over this are forgiven: after a pause of the process, a burst of old prices helps nobody.
MOST_ARREARS = 1.0
LINE_ADVICE = 'each line is one message, such as {"type":"PriceUpdate",...}'

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


class Source(Protocol):
    """Messages of a feed, in order."""

    def due(self) -> float | None:
        """When the next message is due, in seconds since the feed began; None when there is none."""
        ...

    def take(self) -> Message:
        """Make the next message; allowed once `due` has said that there is one."""
        ...


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


class RecordingError(Exception):
    """A recording cannot be replayed. Nothing of the fault's line was sent.

    Attributes:
        path: The file.
        line: Number of the line at fault, from 1; None when it is the file as a whole.
        reason: What is wrong, with the path to the field at fault where there is one.
    """

    def __init__(self, path: Path, line: int | None, reason: str) -> None:
        super().__init__(path, line, reason)
        self.path = path
        self.line = line
        self.reason = reason

    def __str__(self) -> str:
        where = f"{self.path}, line {self.line}" if self.line else str(self.path)
        return f"{where}: {self.reason}"


def fault_of(error: DecodeError) -> str:
    """What is wrong with a line that is no message, and where in it."""
    at = f" - at `{error.path}`" if error.path else ""
    return f"{error.args[0]}{at}" + ("" if error.offset is None else f" (byte {error.offset})")


def read_recording(path: Path) -> Iterator[Message]:
    """Read the messages of a JSON Lines file one by one; empty lines are passed over.

    Raises:
        RecordingError: If a line is no message.
        OSError: If the file cannot be read.
    """
    decoder = Decoder(WsMessage)
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                raise RecordingError(path, number, f"longer than {MAX_LINE} bytes; a line is one message")
            if line.isspace():
                continue
            try:
                message: Message = decoder.decode(line)
            except DecodeError as error:
                raise RecordingError(
                    path, number, f"{fault_of(error)}; correct the line or remove it: {LINE_ADVICE}"
                ) from error
            yield message


def check_recording(path: Path) -> int:
    """Read a whole recording, to know that it can be replayed; returns how many messages it has.

    Raises:
        RecordingError: If it is no regular file, has no message, or a line is no message.
        OSError: If the file cannot be read.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise RecordingError(path, None, "is no regular file; a recording is read twice, so save it to a file first")
    count = sum(1 for _ in read_recording(path))
    if count == 0:
        raise RecordingError(path, None, f"holds no message; {LINE_ADVICE}")
    return count


class Replay:
    """The messages of a recording, `speed` times as fast as their timestamps (nanoseconds) say.

    A message without a timestamp, or with one before its predecessor's, is due at once.
    """

    def __init__(self, path: Path, *, speed: float | None = 1.0, loop: bool = False) -> None:
        """Prepare the replay of `path`, which `check_recording` has found good.

        Args:
            path: A JSON Lines file.
            speed: Factor on the recorded speed; None makes every message due at once.
            loop: Whether to begin again at its end.
        """
        self._messages = self._read(path, loop)
        self._speed = speed
        self._next: Message | None = None
        self._last_timestamp: int | None = None
        self._due = 0.0

    @staticmethod
    def _read(path: Path, loop: bool) -> Iterator[Message]:
        yield from read_recording(path)
        while loop:
            empty = True
            for message in read_recording(path):
                empty = False
                yield message
            if empty:
                raise RecordingError(path, None, "was emptied while it was replayed")

    def due(self) -> float | None:
        """When the next message is due."""
        if self._next is None:
            self._next = next(self._messages, None)
            if self._next is None:
                return None
            timestamp = getattr(self._next, "timestamp", None)
            if timestamp is not None:
                if self._last_timestamp is not None and self._speed is not None:
                    self._due += max(0, timestamp - self._last_timestamp) / NANOSECONDS / self._speed
                self._last_timestamp = timestamp
        return self._due

    def take(self) -> Message:
        """Return the next message."""
        message, self._next = self._next, None
        if message is None:
            raise LookupError("take() comes after a due() that is not None")
        return message


async def _end_turn() -> None:
    await asyncio.sleep(0)


async def play(
    source: Source,
    deliver: Callable[[Message], object],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    end_turn: Callable[[], Awaitable[None]] = _end_turn,
) -> int:
    """Deliver each message of `source` when it is due; returns how many there were.

    Args:
        source: What to deliver.
        deliver: Called with each message.
        clock: Seconds, from anywhere.
        sleep: Waits for seconds of that clock.
        end_turn: Awaited after each `MOST_PER_TURN` messages that were due without a wait.
    """
    begun = clock()
    delivered = in_turn = 0
    while (due := source.due()) is not None:
        ahead = due - (clock() - begun)
        if ahead > 0:
            await sleep(ahead)
            in_turn = 0
        elif in_turn == MOST_PER_TURN:
            await end_turn()
            in_turn = 0
        elif ahead < -MOST_ARREARS:
            begun -= ahead
        deliver(source.take())
        delivered += 1
        in_turn += 1
    return delivered
