"""`websocket-utils send`: lines of standard input become messages."""

import asyncio
from collections.abc import Callable

import click

from websocket_utils._core import Decoder
from websocket_utils._recorded import LINE_ADVICE, fault_of
from websocket_utils._transport import run
from websocket_utils.cli._failures import Failure, one_line
from websocket_utils.cli._link import Codec, link_options, open_link
from websocket_utils.cli._loop import counted, say
from websocket_utils.cli._output import LineWriter, raw_line, standard_line, unpacked_line
from websocket_utils.cli._stdin import read_lines
from websocket_utils.client import WebSocketClient
from websocket_utils.exceptions import ConnectionClosed, DecodeError
from websocket_utils.messages import WsMessage


@click.command(
    short_help="Send lines of standard input as messages.",
    epilog="""Exit codes: 0 all lines were sent, 1 a line is no message or the connection failed, 2 called wrongly, 130
Ctrl-C before the end.

\b
Examples:
  echo '{"type":"Ping"}' | websocket-utils send ws://127.0.0.1:8080 --wait 1
  websocket-utils send ws://127.0.0.1:8080 --codec msgpack < messages.jsonl
  echo hello | websocket-utils send wss://your.server/echo --raw --wait 1
""",
)
@link_options
@click.option("--raw", is_flag=True, help="Send each line as a text message, whatever it holds.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    metavar="S",
    help="Print what the server answers, until S seconds after the last line was sent.",
)
def send(url: str, codec: Codec, headers: dict[str, str], raw: bool, wait: float | None) -> None:
    """Send each line of standard input to the WebSocket server at URL as one message.

    A line is a standard message in its JSON form, such as {"type":"Ping"}; it is checked, and sent in --codec. The
    first line that is none ends the command; those before it were sent. How many were is told on stderr.
    """

    async def main() -> None:
        async with open_link(url, codec=codec, headers=headers) as client:
            show: Callable[[list[str | bytes]], None] = _ignore if wait is None else _printer(codec)
            await _Exchange(client, _as_text if raw else _Parser()).run(show, wait or 0.0)

    run(main())


def _ignore(_: list[str | bytes]) -> None:
    """Answers are read even when nobody wants to see them: see `_Exchange`."""


def _printer(codec: Codec) -> Callable[[list[str | bytes]], None]:
    writer = LineWriter()
    render = {"json": raw_line, "msgpack": unpacked_line, "protobuf": standard_line}[codec]
    return lambda batch: writer.write(map(render, batch))


def _as_text(number: int, line: bytes) -> object:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise Failure(f"line {number}: no UTF-8 at byte {error.start}; text messages are UTF-8") from error


class _Parser:
    """Makes a standard message of each line; None of an empty one."""

    def __init__(self) -> None:
        self._decoder = Decoder(WsMessage)

    def __call__(self, number: int, line: bytes) -> object:
        if not line.strip():
            return None
        try:
            return self._decoder.decode(line)
        except DecodeError as error:
            raise Failure(f"line {number}: {fault_of(error)}; {LINE_ADVICE}, or send any text with --raw") from error


class _Exchange:
    """Lines out, and answers in at the same time: a peer that waits to be read would not read us either."""

    def __init__(self, client: WebSocketClient, parse: Callable[[int, bytes], object]) -> None:
        self._client = client
        self._parse = parse
        self._sent = 0

    async def run(self, show: Callable[[list[str | bytes]], None], wait: float) -> None:
        """Send all lines, then go on showing answers for `wait` seconds."""
        answers = asyncio.create_task(self._answers(show))
        lines = asyncio.create_task(self._lines())
        try:
            await asyncio.wait({answers, lines}, return_when=asyncio.FIRST_COMPLETED)
            if not lines.done():
                # Only the end of the connection ends the answers.
                answers.result()
                raise Failure("the server closed the connection before the end of the input")
            lines.result()
            await asyncio.wait({answers}, timeout=wait)
            if answers.done():
                answers.result()
        except ConnectionClosed as error:
            raise Failure(f"lost {self._client.url}: {one_line(error)}") from error
        finally:
            await _end(answers, lines)
            say(f"sent {counted(self._sent, 'message')}")

    async def _answers(self, show: Callable[[list[str | bytes]], None]) -> None:
        async for batch in self._client.batches(str | bytes):
            show(batch)

    async def _lines(self) -> None:
        async for number, line in read_lines():
            message = self._parse(number, line)
            if message is not None:
                await self._client.send(message)
                self._sent += 1


async def _end(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
