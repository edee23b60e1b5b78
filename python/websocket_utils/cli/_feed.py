"""`websocket-utils feed`: serve invented prices, or a recording."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import click

from websocket_utils._feed import MARKETS, Market, RandomWalk, channel_of
from websocket_utils._pacing import Player
from websocket_utils._recorded import Recorded, check_recording
from websocket_utils.cli._door import door_options
from websocket_utils.cli._loop import counted, run_until_stopped
from websocket_utils.cli._serving import Feed
from websocket_utils.config import WebSocketConfig
from websocket_utils.messages import Message
from websocket_utils.replay import Replay
from websocket_utils.server import WebSocketServer

# How often to look whether somebody listens yet.
_LISTENER_CHECK = 0.02


def _markets(_: click.Context, __: click.Parameter, names: str) -> list[Market]:
    known = {market.name: market for market in MARKETS}
    wanted = [name.strip() for name in names.split(",") if name.strip()] or list(known)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise click.BadParameter(f"no market {unknown[0]!r}; there are {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(wanted)]


def _speed(_: click.Context, __: click.Parameter, text: str) -> float | None:
    if text == "max":
        return None
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0.0 < factor < float("inf"):
        raise click.BadParameter(f"{text!r} is neither 'max' nor a factor above 0")
    return factor


@click.command(
    short_help="Serve invented prices, or a recording.",
    epilog="""Exit codes: 0 the recording ended, or Ctrl-C ended the feed; 1 the address cannot be listened on, or the
recording is broken; 2 called wrongly.

\b
Examples:
  websocket-utils feed --port 8080 --rate 1000 --markets SOL-USDC,JUP-USDC
  websocket-utils feed --workers 4 --history 5000
  websocket-utils feed --replay session.jsonl --speed 10 --loop
  websocket-utils feed --replay session.jsonl --speed max --broadcast
""",
)
@click.option("--host", help="Address to listen on.  [default: WS_HOST, else 0.0.0.0]")
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one.  [default: WS_PORT, else 8080]")
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    default=1000.0,
    show_default=True,
    help="Invented prices a second, over all markets.",
)
@click.option(
    "--markets", callback=_markets, default="", metavar="A,B", help="Markets of the invented prices.  [default: all]"
)
@click.option("--seed", type=int, help="Makes the invented prices the same each time.")
@click.option(
    "--replay",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Serve the messages of a JSON Lines file, one JSON message a line, checked before anything is served.",
)
@click.option(
    "--speed",
    callback=_speed,
    default="1.0",
    metavar="FACTOR|max",
    help="Replay this many times as fast as the messages' `timestamp` (nanoseconds) says; max: as fast as the slowest "
    "client takes it.  [default: 1.0]",
)
@click.option("--loop", is_flag=True, help="Begin the recording again at its end.")
@click.option("--broadcast", is_flag=True, help="Send every message to every client, whatever it subscribed to.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Serve clients by so many processes, which share the port; this one publishes, and starts them anew.",
)
@click.option(
    "--history",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    metavar="N",
    help="Messages kept of each channel, for clients that come back.",
)
@click.option("--stats", is_flag=True, help="Tell every five seconds what each worker does.")
@click.option(
    "--drain",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Ctrl-C and SIGTERM let clients go within this time; a second one ends at once.",
)
@door_options
@click.option("--until-eof", is_flag=True, help="End when standard input ends: for programs that start a feed.")
def feed(
    host: str | None,
    port: int | None,
    rate: float,
    markets: list[Market],
    seed: int | None,
    replay: Path | None,
    speed: float | None,
    loop: bool,
    broadcast: bool,
    workers: int,
    history: int,
    stats: bool,
    drain: float,
    http: str | None,
    http_key: str | None,
    until_eof: bool,
) -> None:
    """Serve a feed: invented prices of some markets, or a recording.

    A PriceUpdate goes to the subscribers of its market's channel, such as prices:SOL-USDC (prices:IN/OUT for mints that
    are none of the built-in markets), an AccountUpdate to those of accounts:PUBKEY, any other message to everyone.
    Clients choose JSON or MessagePack. Timestamps of invented prices are nanoseconds since 1970. A recording begins
    when the first client subscribes (with --broadcast: connects).
    """
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    config = WebSocketConfig.from_env(**given)  # type: ignore[arg-type]  # mypy can't see which value has which name
    if replay is None:
        what = f"{counted(len(markets), 'market')}, {rate:,g} prices a second"

        async def play(server: WebSocketServer, listens: Callable[[], bool]) -> None:
            del listens
            deliver = server.broadcast if broadcast else _publisher(server)
            await Player(deliver).play(RandomWalk(markets, rate=rate, seed=seed))
    else:
        file = replay
        what = f"{counted(check_recording(replay), 'message')} of {replay}, as soon as somebody listens"

        async def play(server: WebSocketServer, listens: Callable[[], bool]) -> None:
            await _replay(server, file, listens, speed=speed, loop=loop, broadcast=broadcast)

    if workers > 1 and not hasattr(socket, "SO_REUSEPORT"):
        raise click.UsageError("--workers share a port, which this system has no way for")
    if speed is None and workers > 1:
        raise click.UsageError("--speed max goes by the slowest client, and --workers has them in other processes")
    look = None if replay or broadcast else ",".join(market.channel for market in markets)
    serving = Feed(config, play, what, look, broadcast, history, http, http_key, drain, until_eof)
    run_until_stopped(serving.serve() if workers == 1 else serving.serve_by(workers, tells=stats))


async def _replay(
    server: WebSocketServer,
    path: Path,
    listens: Callable[[], bool],
    *,
    speed: float | None,
    loop: bool,
    broadcast: bool,
) -> None:
    while not listens():  # noqa: ASYNC110  # no event
        await asyncio.sleep(_LISTENER_CHECK)

    publish = _publisher(server)

    def deliver(entry: Recorded) -> None:
        if broadcast:
            server.broadcast(entry.message)
        elif entry.channel is None:
            publish(entry.message)
        else:
            server.publish(entry.channel, entry.message)

    replay = Replay(path, deliver, speed=speed, loop=loop, is_behind=lambda: server.stats().lagging)
    async with replay:
        await replay


def _publisher(server: WebSocketServer) -> Callable[[Message], object]:
    def publish(message: Message) -> None:
        channel = channel_of(message)
        if channel is None:
            server.broadcast(message)
        else:
            server.publish(channel, message)

    return publish
