"""Servers that accept and drop, and crowds that come back, in virtual time: `python hostile/herd.py [--save]`.

The client's own state machine is asked what it does next, and time goes by as fast as it answers: no socket, no event
loop, no clock. Dials and opening handshakes take no time here, so that nothing but the waits slows a client down.
"""

import argparse
import math
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

# Run as a script, the folder of this file is on the path in place of the one above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benches._results import commit, machine, today, versions

from hostile._results import DialRow, HerdResult, HerdRow, save
from websocket_utils._lifecycle import Fail, Lifecycle, Wait
from websocket_utils._reconnect import ClosePolicy, ReconnectPolicy
from websocket_utils.config import WebSocketConfig
from websocket_utils.exceptions import Close, ConnectionClosedError, ConnectionFlapping

CLIENTS: Final = 10_000
SEEDS: Final = 1000
# How long the server is away, in seconds.
DOWNTIMES: Final = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0)
# The default, and one for who has crowds.
INTERVALS: Final = (WebSocketConfig().reconnect_interval, 1.0)
_BIN: Final = 0.1
_MINUTE: Final = 60.0
# Chance at its worst: the least wait each time, and the longest.
LEAST: Final = 0.0
MOST: Final = math.nextafter(1.0, 0.0)

# What a peer can end a connection with: every code with a meaning of its own, and one of each range.
CODES: Final[tuple[int | None, ...]] = (
    None,
    *(1000, 1001, 1002, 1003, 1005, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014),
    *(3000, 3999, 4000, 4099, 4100, 4199, 4200, 4299, 4300, 4401, 4403, 4999),
)

Chance = Callable[[], float]
"""Returns a number from 0 to below 1."""


def lifecycle(
    policy: ReconnectPolicy | None = None,
    *,
    interval: float = WebSocketConfig().reconnect_interval,
    closes: ClosePolicy | None = None,
) -> Lifecycle:
    """Return a client's state machine, with default settings but that it never gives up for the number of attempts."""
    return Lifecycle(
        policy or ReconnectPolicy(),
        closes or ClosePolicy(),
        reconnect_interval=interval,
        max_attempts=None,
        stable_after=WebSocketConfig().stable_after,
    )


def ending(code: int | None) -> ConnectionClosedError:
    """Return what a client is told of a peer that ended with a code, or with no close frame."""
    if code is None:
        return ConnectionClosedError(initiator="transport")
    return ConnectionClosedError(Close(code), Close(code), "peer")


def dials(codes: Iterator[int | None], chance: Chance, link: Lifecycle | None = None) -> tuple[list[float], str]:
    """Dial a server that accepts, sends a message and drops, for a minute.

    Args:
        codes: What it ends each connection with.
        chance: Where waits take their chance from.
        link: The client; None makes one.

    Returns:
        When it was dialled, in seconds, and what became of the client.
    """
    link = link or lifecycle()
    now, times = 0.0, list[float]()
    while now < _MINUTE:
        link.dial(now)
        times.append(now)
        epoch = _live(link, now)
        decision = link.lost(
            epoch,
            ending(next(codes)),
            now=now,
            wall_now=now,
            unit=chance(),
            messages=1,
            holds_subscriptions=True,
        )
        if isinstance(decision, Fail):
            times_told = f"{type(decision.error).__name__} after {len(times)}"
            return times, times_told if isinstance(decision.error, ConnectionFlapping) else f"ends after {len(times)}"
        if not isinstance(decision, Wait):
            return times, "done"
        now += decision.delay
    return times, "goes on"


def title(code: int | None) -> str:
    """Return what the report calls a code."""
    return "no close frame" if code is None else str(code)


def dial_row(code: int | None, seeds: int = SEEDS) -> DialRow:
    """Dial that server with many chances, and the two worst ones; return the most that came of any."""
    runs = [dials(_always(code), chance) for chance in (lambda: LEAST, lambda: MOST)]
    runs += [dials(_always(code), random.Random(seed).random) for seed in range(seeds)]
    return DialRow(
        title=title(code),
        runs=len(runs),
        first_second=max(count(times, 1.0) for times, _ in runs),
        first_minute=max(count(times, _MINUTE) for times, _ in runs),
        how=", ".join(sorted({how for _, how in runs})),
    )


def count(times: list[float], seconds: float) -> int:
    """Return how many lie in the first seconds."""
    return sum(moment < seconds for moment in times)


def back(downtime: float, chance: Chance, link: Lifecycle) -> tuple[float, int]:
    """Lose a good connection to a server that goes away; return when it is back at it, and after how many dials."""
    began = -2 * WebSocketConfig().stable_after
    link.dial(began)
    epoch = _live(link, began)
    decision = link.lost(
        epoch, ending(None), now=0.0, wall_now=0.0, unit=chance(), messages=1, holds_subscriptions=True
    )
    now, attempts = 0.0, 0
    while isinstance(decision, Wait):
        now += decision.delay
        attempts += 1
        link.dial(now)
        if now >= downtime:
            _live(link, now)
            return now, attempts
        decision = link.dial_failed(ConnectionRefusedError(), now=now, wall_now=now, unit=chance())
    raise RuntimeError(f"a client that never gives up did: {decision}")


def herd(
    downtime: float, *, interval: float, seed: int, clients: int = CLIENTS, policy: ReconnectPolicy | None = None
) -> HerdRow:
    """Drop many clients at once and count when they are back."""
    chance = random.Random(seed).random
    returns = [back(downtime, chance, lifecycle(policy, interval=interval)) for _ in range(clients)]
    after = sorted(now - downtime for now, _ in returns)
    bins = Counter(int(seconds / _BIN) for seconds in after)
    return HerdRow(
        clients=clients,
        seed=seed,
        interval=interval,
        downtime=downtime,
        dials=sum(attempts for _, attempts in returns),
        bins=max(bins) - min(bins) + 1,
        fullest=max(bins.values()),
        median_s=after[clients // 2],
        last_s=after[-1],
    )


def _live(link: Lifecycle, now: float) -> int:
    epoch = link.opened(now)
    link.authenticated(epoch, now)
    link.restored(epoch, now)
    return epoch


def _always(code: int | None) -> Iterator[int | None]:
    while True:
        yield code


def main(arguments: list[str] | None = None) -> int:
    """Simulate, and tell."""
    parser = argparse.ArgumentParser(description="Servers that accept and drop, and crowds that come back.")
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--seed", type=int, default=1, help="of the crowd")
    parser.add_argument("--save", action="store_true", help="keep the result for docs/RELIABILITY.md")
    chosen = parser.parse_args(arguments)
    rows = [dial_row(code, chosen.seeds) for code in CODES]
    for row in rows:
        print(f"{row.title}: {row.first_second} dials in a second, {row.first_minute} in a minute, {row.how}")
    crowds = [
        herd(downtime, interval=interval, seed=chosen.seed, clients=chosen.clients)
        for interval in INTERVALS
        for downtime in DOWNTIMES
    ]
    for crowd in crowds:
        print(f"away {crowd.downtime} s, waits up to {crowd.interval} s: fullest bin {crowd.ratio:.2f} x the mean")
    if chosen.save:
        result = HerdResult(
            dials=rows,
            crowds=crowds,
            date=today(),
            commit=commit(),
            machine=machine(),
            versions=versions(("websocket_utils",)),
        )
        print(f"kept in {save(result, 'herd')}; render: python hostile/render.py")
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
