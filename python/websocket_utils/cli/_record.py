"""`websocket-utils record`: write what a server sends to a file that can be served again."""

from pathlib import Path

import click

from websocket_utils._feed import channel_of
from websocket_utils._opening import Opening
from websocket_utils.cli._failures import Failure, connection_lost
from websocket_utils.cli._link import Codec, link_options, open_link
from websocket_utils.cli._loop import counted, run_until_stopped, say
from websocket_utils.client import WebSocketClient
from websocket_utils.exceptions import ConnectionClosed, DecodeError
from websocket_utils.messages import WsMessage
from websocket_utils.recording import Recording

_MIB = 1024 * 1024


@click.command(
    short_help="Write what a server sends to a file.",
    epilog="""Exit codes: 0 the server closed normally, or --count or Ctrl-C ended it; 1 no connection, or it was lost,
or the file cannot be written; 2 called wrongly.

\b
Examples:
  websocket-utils record ws://127.0.0.1:8080 --channel 'prices:*' session.jsonl
  websocket-utils feed --replay session.jsonl --speed 10
""",
)
@link_options
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--channel", "channels", multiple=True, required=True, metavar="NAME", help="Channel or pattern; may be repeated."
)
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N messages.")
@click.option(
    "--max-file-size",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MIB",
    help="Go on in FILE.1, FILE.2 and so on after as many MiB.",
)
@click.option(
    "--reconnect", is_flag=True, help="Connect again when the connection is lost (see WS_RECONNECT_INTERVAL)."
)
def record(
    url: str,
    codec: Codec,
    headers: dict[str, str],
    file: Path,
    channels: tuple[str, ...],
    count: int | None,
    max_file_size: float | None,
    reconnect: bool,
) -> None:
    """Subscribe to channels of the server at URL and write their standard messages to FILE, which must not be there.

    Each line tells when the message came, its channel, and the message. A message does not say which channel it came
    by: with one --channel that is no pattern it is that one; else a price goes to prices:PAIR and an account to
    accounts:PUBKEY, as the command feed names them, and others are written without one.
    """
    only = channels[0] if len(channels) == 1 and not channels[0].endswith("*") else None
    limit = None if max_file_size is None else int(max_file_size * _MIB)

    async def main() -> None:
        recording = Recording(file, max_file_size=limit)
        try:
            opened = await Opening(recording, recording.open)
        except FileExistsError as error:
            raise Failure(f"{file} is there already: choose another name, or move it away") from error
        is_connected = False
        try:
            async with opened, open_link(url, codec=codec, headers=headers, reconnect=reconnect) as client:
                is_connected = True
                say(f"connected to {client.url}")
                await client.subscribe(*channels)
                await _write(client, opened, only, count)
        finally:
            if is_connected:
                lost = f", {opened.dropped:,} more are lost: the disk was too slow" if opened.dropped else ""
                say(f"recorded {counted(opened.count, 'message')} in {file}{lost}")
            else:
                _remove_empty(file)

    run_until_stopped(main())


def _remove_empty(file: Path) -> None:
    """Leave the name free: the same command is to find it so once the server is there."""
    file.unlink(missing_ok=True)


async def _write(client: WebSocketClient, recording: Recording, only: str | None, count: int | None) -> None:
    written = 0
    while True:
        try:
            async for batch in client.batches(WsMessage):
                for message in batch[: None if count is None else count - written]:
                    written += 1
                    channel = only or channel_of(message)
                    if channel is None:
                        recording.add_bare(message)
                    else:
                        recording.add(channel, 0, 0, 0, message)
                if written == count:
                    return
            return
        except DecodeError as error:
            say(str(error))
        except ConnectionClosed as error:
            raise connection_lost(client.url, error) from error
