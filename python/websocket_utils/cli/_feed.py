"""`websocket-utils feed`: serve invented prices, or a recording."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click

from websocket_utils._feed import MARKETS, Market, RandomWalk, channel_of
from websocket_utils._pacing import Player
from websocket_utils._recorded import Recorded, check_recording
from websocket_utils._server_drain import on_signals
from websocket_utils._url import parse_address
from websocket_utils.cli._failures import Failure, cannot_listen, one_line
from websocket_utils.cli._loop import counted, run_until_stopped, say
from websocket_utils.cli._output import LineWriter
from websocket_utils.cli._stdin import read_chunks
from websocket_utils.config import WebSocketConfig
from websocket_utils.door import check_libraries
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


def _http(_: click.Context, __: click.Parameter, address: str | None) -> str | None:
    if address is not None:
        try:
            parse_address(address)
            check_libraries()
        except (ValueError, ModuleNotFoundError) as error:
            raise click.BadParameter(str(error)) from error
    return address


def _key(_: click.Context, __: click.Parameter, file: Path | None) -> str | None:
    # A file, because everybody on a machine sees the words of a command.
    try:
        return None if file is None else file.read_text("utf-8").strip()
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"{file} is no text: {error}") from error


@click.command(
    short_help="Serve invented prices, or a recording.",
    epilog="""Exit codes: 0 the recording ended, or Ctrl-C ended the feed; 1 the address cannot be listened on, or the
recording is broken; 2 called wrongly.

\b
Examples:
  websocket-utils feed --port 8080 --rate 1000 --markets SOL-USDC,JUP-USDC
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
@click.option(
    "--http",
    callback=_http,
    metavar="HOST:PORT",
    help="Open the HTTP side door there: /api/publish, /api/broadcast, /api/info, /metrics, /healthz, /readyz.",
)
@click.option(
    "--http-key-file",
    "http_key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    callback=_key,
    metavar="FILE",
    help="Holds the key that requests to the door present; needed where other machines can reach it.",
)
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

        async def play(server: WebSocketServer) -> None:
            deliver = server.broadcast if broadcast else _publisher(server)
            await Player(deliver).play(RandomWalk(markets, rate=rate, seed=seed))
    else:
        file = replay
        what = f"{counted(check_recording(replay), 'message')} of {replay}, as soon as somebody listens"

        async def play(server: WebSocketServer) -> None:
            await _replay(server, file, speed=speed, loop=loop, broadcast=broadcast)

    look = None if replay or broadcast else ",".join(market.channel for market in markets)
    run_until_stopped(_serve(config, play, what, look, http=http, http_key=http_key, drain=drain, until_eof=until_eof))


async def _serve(
    config: WebSocketConfig,
    play: Callable[[WebSocketServer], Coroutine[Any, Any, None]],
    what: str,
    look: str | None,
    *,
    http: str | None,
    http_key: str | None,
    drain: float,
    until_eof: bool,
) -> None:
    try:
        server = await WebSocketServer.bind(config=config, http=http, http_key=http_key)
    except OSError as error:
        for note in getattr(error, "__notes__", ()):
            if "side door" in note:
                raise Failure(f"{one_line(error)} {note}") from error
        raise cannot_listen(config.host, config.port, error) from error
    async with server:
        # For programs that start a feed: the address, on stdout, in a line of its own.
        LineWriter().write([f"listening on {server.url}"])
        say(f"serving {what}; Ctrl-C ends")
        if server.http_url is not None:
            say(f"side door: {server.http_url}")
        if look is not None:
            say(f"look at it: websocket-utils tail {server.url} --channels {look}")
        playing = asyncio.create_task(play(server))
        ends = {playing, asyncio.create_task(server.serve_forever())}
        if until_eof:
            ends.add(asyncio.create_task(_stdin_end()))
        try:
            with on_signals(lambda: _drain(server, drain)):
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if playing.done():
                playing.result()
        finally:
            for task in ends:
                task.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
            stats = server.stats()
            say(
                f"served {counted(stats.messages_sent, 'message')} in {stats.deliveries:,} deliveries "
                f"to {counted(stats.accepted, 'client')}"
            )


async def _drain(server: WebSocketServer, seconds: float) -> None:
    if server.connections:
        say(f"{counted(len(server.connections), 'client')} may go within {seconds:g} s; once more ends at once")
    await server.drain(deadline=seconds)


async def _replay(server: WebSocketServer, path: Path, *, speed: float | None, loop: bool, broadcast: bool) -> None:
    while not any(broadcast or client.channels for client in server.connections):  # noqa: ASYNC110  # no event
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


async def _stdin_end() -> None:
    async for _ in read_chunks(sys.stdin.fileno()):
        pass
