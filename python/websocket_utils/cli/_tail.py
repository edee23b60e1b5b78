"""`websocket-utils tail`: print what a server sends, one message a line."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import click

from websocket_utils.cli._failures import connection_lost
from websocket_utils.cli._link import Codec, link_options, open_link
from websocket_utils.cli._loop import counted, every, run_until_stopped, say
from websocket_utils.cli._output import LineWriter, raw_line, standard_line, typed_line, unpacked_line
from websocket_utils.client import WebSocketClient
from websocket_utils.exceptions import ConnectionClosed, DecodeError
from websocket_utils.messages import WsMessage
from websocket_utils.metrics import ClientStats

# A server that sends nothing for this long without a subscription mostly waits for one.
_SILENCE = 3.0


@click.command(
    short_help="Print what a WebSocket server sends.",
    epilog="""Exit codes: 0 the server closed normally, or --count, --seconds or Ctrl-C ended it; 1 no connection, or it
was lost; 2 called wrongly.

\b
Examples:
  websocket-utils tail ws://127.0.0.1:8080 --channels prices:SOL-USDC,prices:JUP-USDC
  websocket-utils tail ws://127.0.0.1:8080 --channels prices:SOL-USDC --typed | jq .price
  websocket-utils tail wss://your.server/stream --header 'Authorization: Bearer TOKEN' --stats
""",
)
@link_options
@click.option("--channels", default="", metavar="A,B", help="Channels to subscribe to, apart by commas.")
@click.option(
    "--raw",
    "form",
    flag_value="raw",
    default=None,
    help="Print text as it came and binary as hexadecimal digits, also with another codec than JSON.",
)
@click.option(
    "--typed",
    "form",
    flag_value="typed",
    default=None,
    help="Decode the standard messages and print them as JSON; others are reported on stderr.",
)
@click.option("--stats", is_flag=True, help="Print rates to stderr once a second.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N messages.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), metavar="N", help="End after N seconds.")
@click.option(
    "--reconnect", is_flag=True, help="Connect again when the connection is lost (see WS_RECONNECT_INTERVAL)."
)
def tail(
    url: str,
    codec: Codec,
    headers: dict[str, str],
    channels: str,
    form: str | None,
    stats: bool,
    count: int | None,
    seconds: float | None,
    reconnect: bool,
) -> None:
    """Connect to any WebSocket server at URL and print each message as one line.

    Text is printed as it came, with line breaks (and control characters, on a terminal) escaped. Binary is printed as
    hexadecimal digits, or as JSON: with --codec msgpack all of it, with --codec protobuf the standard messages.
    """
    names = [name.strip() for name in channels.split(",") if name.strip()]

    async def main() -> None:
        async with open_link(url, codec=codec, headers=headers, reconnect=reconnect) as client:
            say(f"connected to {client.url}")
            await client.subscribe(*names)
            await _print(client, form or codec, stats=stats, count=count, seconds=seconds, subscribed=bool(names))

    run_until_stopped(main())


async def _print(
    client: WebSocketClient, form: str, *, stats: bool, count: int | None, seconds: float | None, subscribed: bool
) -> None:
    writer = LineWriter()
    type_, render = _FORMS[form]
    printed = 0
    silence = asyncio.get_running_loop().call_later(_SILENCE, _tell_silence, client, subscribed)
    deadline = asyncio.timeout(seconds)
    try:
        async with every(1.0, Rates(client.stats).show if stats else _nothing), deadline:
            async for batch in _batches(client, type_):
                lines = [render(message) for message in batch[: None if count is None else count - printed]]
                writer.write(lines)
                printed += len(lines)
                if printed == count:
                    return
    except TimeoutError:
        if not deadline.expired():
            raise
        return
    except ConnectionClosed as error:
        raise connection_lost(client.url, error) from error
    finally:
        silence.cancel()
    say(f"the server closed the connection after {counted(client.stats().messages_received, 'message')}")


async def _batches(client: WebSocketClient, type_: Any) -> AsyncIterator[list[Any]]:
    """Batches of messages; those that are no `type_` are told on stderr and passed over."""
    while True:
        try:
            async for batch in client.batches(type_):
                yield batch
            return
        except DecodeError as error:
            say(str(error))


def _tell_silence(client: WebSocketClient, subscribed: bool) -> None:
    if client.stats().messages_received == 0:
        hint = "check the names of the channels" if subscribed else "a server with channels waits for --channels A,B"
        say(f"nothing received for {_SILENCE:g} s; {hint}")


def _nothing() -> None:
    """Called where nothing is to be shown."""


class Rates:
    """Tells, each time it is asked, what came since the last time, which was a second ago."""

    def __init__(self, stats: Callable[[], ClientStats]) -> None:
        self._stats = stats
        self._before = stats()

    def line(self) -> str:
        """The rates of the last second as a line."""
        now = self._stats()
        messages = now.messages_received - self._before.messages_received
        size = now.bytes_received - self._before.bytes_received
        self._before = now
        line = f"{messages:,} msg/s  {size / 1024:,.1f} KiB/s  {counted(now.messages_received, 'message')}"
        if now.reconnects:
            line += f"  {counted(now.reconnects, 'reconnect')}"
        return line if now.state == "live" else f"{line}  {now.state}"

    def show(self) -> None:
        """Print the rates of the last second to stderr."""
        say(self.line())


_FORMS: dict[str, tuple[Any, Callable[[Any], str]]] = {
    "raw": (str | bytes, raw_line),
    "json": (str | bytes, raw_line),
    "msgpack": (str | bytes, unpacked_line),
    "protobuf": (str | bytes, standard_line),
    "typed": (WsMessage, typed_line),
}
