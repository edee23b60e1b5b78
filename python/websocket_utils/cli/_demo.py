"""`websocket-utils demo`: the main job, a price feed and a strategy on it, each in its own process.

Two processes, because that is how a strategy meets its feed: the age of an update then is what the way between them
takes, kernel and wake-up included, and not what one event loop does between two of its own callbacks.
"""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import cast

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from websocket_utils._feed import MARKETS
from websocket_utils.cli._board import Board, Row
from websocket_utils.cli._failures import Failure, connection_lost
from websocket_utils.cli._link import open_link
from websocket_utils.cli._loop import counted, every, run_until_stopped
from websocket_utils.cli._output import LineWriter
from websocket_utils.exceptions import ConnectionClosed
from websocket_utils.messages import PriceUpdate

_START_TIMEOUT = 20.0
_END_TIMEOUT = 5.0
# Drawing takes some 3 ms of the strategy's loop, in which updates wait: twice a second keeps that out of the p99.
_DRAW_INTERVAL = 0.5


@click.command(
    short_help="Show the main job: a price feed and a strategy on it.",
    epilog="""Exit codes: 0 --seconds or Ctrl-C ended it, 1 the feed failed, 2 called wrongly.

\b
Examples:
  websocket-utils demo
  websocket-utils demo --seconds 5 --rate 50000
""",
)
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), metavar="N", help="End after N seconds.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    default=2000.0,
    show_default=True,
    help="Prices a second, over all markets.",
)
def demo(seconds: float | None, rate: float) -> None:
    """Show the main job: a server that publishes prices of several markets, and a strategy that receives them.

    The server runs in a process of its own. The strategy subscribes to each market's channel, gets typed PriceUpdates,
    and shows each market's price, its change, the age of updates on arrival (microseconds since the server made them:
    median and 99th percentile of the last second) and updates a second. Without a terminal, it prints a line a second.
    """
    run_until_stopped(_demo(seconds, rate))


async def _demo(seconds: float | None, rate: float) -> None:
    async with _feed_process(rate) as url, open_link(url, codec="json", headers={}) as client:
        board = Board(MARKETS, wall_clock=time.time_ns)
        client.on(PriceUpdate, board.take)
        await client.subscribe(*(market.channel for market in MARKETS))
        deadline = asyncio.timeout(seconds)
        try:
            with _display(board, url) as display:
                async with every(display.interval, display.draw), deadline:
                    # Nothing but prices comes, and those go to the board: this waits for the end.
                    await client.receive()
            raise Failure("the feed ended before its time")
        except TimeoutError:
            if not deadline.expired():
                raise
        except ConnectionClosed as error:
            raise connection_lost(url, error) from error
        finally:
            LineWriter().write([_summary(board)])


def _summary(board: Board) -> str:
    seconds = board.seconds()
    return f"received {counted(board.total, 'update')} in {seconds:.1f} s, {board.total / seconds:,.0f} a second"


# --- the server's process ---


@asynccontextmanager
async def _feed_process(rate: float) -> AsyncGenerator[str]:
    """Run `websocket-utils feed` on a free port of this machine while the block runs; gives its URL."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "websocket_utils", "feed"),
        *("--host", "127.0.0.1", "--port", "0", "--rate", str(rate), "--until-eof"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        # Ctrl-C is for the strategy, which then ends the feed in order.
        start_new_session=True,
    )
    # There is one of each, since both are pipes.
    stdin, stdout = cast("asyncio.StreamWriter", process.stdin), cast("asyncio.StreamReader", process.stdout)
    try:
        url = await _address(stdout)
        # What it says further must not fill the pipe, or it would stand still.
        drain = asyncio.create_task(_drain(stdout))
        try:
            yield url
        finally:
            drain.cancel()
    finally:
        stdin.close()
        try:
            async with asyncio.timeout(_END_TIMEOUT):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _address(lines: asyncio.StreamReader) -> str:
    said: list[str] = []
    try:
        async with asyncio.timeout(_START_TIMEOUT):
            while line := (await lines.readline()).decode(errors="replace").strip():
                said.append(line)
                if line.startswith("listening on "):
                    return line.rpartition(" ")[2]
    except TimeoutError:
        said.append(f"nothing for {_START_TIMEOUT:g} s")
    raise Failure(f"the feed did not start: {' '.join(said)}")


async def _drain(lines: asyncio.StreamReader) -> None:
    while await lines.read(65_536):
        pass


# --- what is shown ---


class _Table:
    """A table in place, for a terminal."""

    interval = _DRAW_INTERVAL

    def __init__(self, board: Board, url: str, console: Console) -> None:
        self._board = board
        self._url = url
        # Redrawn by us alone: a thread that draws would hold the interpreter whenever updates arrive.
        self._live = Live(self._table(board.rows()), console=console, auto_refresh=False)

    def __enter__(self) -> "_Table":
        self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def draw(self) -> None:
        self._live.update(self._table(self._board.rows()), refresh=True)

    def _table(self, rows: Sequence[Row]) -> Table:
        table = Table(
            title=f"price feed at {self._url}",
            caption=f"{counted(self._board.total, 'update')} in {self._board.seconds():.0f} s; Ctrl-C ends",
            title_justify="left",
            caption_justify="left",
        )
        table.add_column("market")
        for name in ("price", "change", "age p50 us", "age p99 us", "msgs/s"):
            table.add_column(name, justify="right", min_width=8)
        for row in rows:
            color = "green" if row.change > 0 else "red" if row.change < 0 else ""
            change = f"[{color}]{row.change:+.3%}[/]" if color else f"{row.change:+.3%}"
            table.add_row(row.name, _price(row.price), change, _age(row.age_p50), _age(row.age_p99), f"{row.rate:,.0f}")
        return table


class _Lines:
    """A line a second, for pipes and logs."""

    interval = 1.0

    def __init__(self, board: Board) -> None:
        self._board = board
        self._writer = LineWriter()

    def __enter__(self) -> "_Lines":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def draw(self) -> None:
        rows = self._board.rows()
        prices = "  ".join(f"{row.name} {_price(row.price)}" for row in rows)
        p50 = max((row.age_p50 for row in rows if row.age_p50 is not None), default=None)
        p99 = max((row.age_p99 for row in rows if row.age_p99 is not None), default=None)
        rate = sum(row.rate for row in rows)
        self._writer.write([f"{rate:,.0f} msg/s  age p50 {_age(p50)} us p99 {_age(p99)} us  {prices}"])


def _display(board: Board, url: str) -> _Table | _Lines:
    console = Console()
    return _Table(board, url, console) if console.is_terminal else _Lines(board)


def _price(price: float | None) -> str:
    return "-" if price is None else f"{price:.7g}" if price >= 1e-4 else f"{price:.4e}"  # noqa: PLR2004  # BONK's zeros


def _age(age: float | None) -> str:
    return "-" if age is None else f"{age:,.0f}"
