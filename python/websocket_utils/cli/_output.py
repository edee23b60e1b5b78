"""Lines to stdout that a pipe, a file and a terminal can all take."""

import re
import sys
from collections.abc import Iterable
from typing import BinaryIO

import msgspec

from websocket_utils._core import Decoder
from websocket_utils.exceptions import DecodeError
from websocket_utils.messages import WsMessage

_STANDARD = Decoder(WsMessage, format="protobuf")

# A message is one line, whatever it holds.
_LINE_BREAKS = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# A server must not be able to drive the terminal of whoever looks at it: C0 but for the tab, DEL, C1.
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


class OutputClosed(Exception):
    """Whoever read stdout is gone."""


class LineWriter:
    """Writes lines to stdout as UTF-8; nothing is buffered once `write` returns."""

    def __init__(self, stream: BinaryIO | None = None) -> None:
        self._stream = sys.stdout.buffer if stream is None else stream
        self._unsafe = _CONTROLS if self._stream.isatty() else _LINE_BREAKS

    def write(self, lines: Iterable[str]) -> None:
        """Write each line.

        Raises:
            OutputClosed: If nobody reads any more.
        """
        shown = "".join(f"{self._unsafe.sub(_escaped, line)}\n" for line in lines)
        try:
            self._stream.write(shown.encode("utf-8", errors="backslashreplace"))
            self._stream.flush()
        except BrokenPipeError as error:
            raise OutputClosed from error


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


def raw_line(message: str | bytes) -> str:
    """Text as it came, binary as hexadecimal digits."""
    return message if isinstance(message, str) else message.hex()


def unpacked_line(message: str | bytes) -> str:
    """As `raw_line`, but binary that is MessagePack is shown as the JSON that says the same."""
    if isinstance(message, str):
        return message
    try:
        return msgspec.json.encode(msgspec.msgpack.decode(message)).decode()
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError, ValueError, RecursionError):
        return message.hex()


def standard_line(message: str | bytes) -> str:
    """As `raw_line`, but binary that is a standard message in Protocol Buffers is shown as JSON."""
    if isinstance(message, str):
        return message
    try:
        return typed_line(_STANDARD.decode(message))
    except DecodeError:
        return message.hex()


def typed_line(message: msgspec.Struct) -> str:
    """A message as its JSON form."""
    return msgspec.json.encode(message).decode()
