"""Files of recorded publications: what a line is, and reading them, whatever is in them.

A recording is JSON Lines. `Recording` writes lines that begin with the time:

    {"at":1767225600000000000,"channel":"prices:SOL-USDC","epoch":7,"sequence":42,"message":{...}}

with `text` in place of `message` for a publication that was a `str`, and `data` (Base64) for bytes. Any other line is
a bare message, such as {"type":"PriceUpdate",...}, whose time is its field `timestamp`, if it has one. A last line
that ends too early, without a line break, was torn when its writer was killed: it is passed over. What follows in
`FILE.1`, `FILE.2` and so on belongs to the recording `FILE`.
"""

import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ._core import Decoder
from .exceptions import DecodeError, RecordingError
from .messages import Raw, WsMessage
from .namespaces import name_fault

__all__ = ["LINE_ADVICE", "MAX_LINE", "Recorded", "check_recording", "fault_of", "part_of", "read_recording"]

# What a client takes by default; a longer line could be replayed to nobody.
MAX_LINE = 16 * 1024 * 1024
LINE_ADVICE = 'each line is one message, such as {"type":"PriceUpdate",...}'
_IS_ENTRY = re.compile(rb'\s*\{\s*"at"\s*:')
_MAX_AT = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Recorded:
    """One line of a recording."""

    at: int | None
    """When it was published, in nanoseconds since 1970; None where the line doesn't tell."""

    channel: str | None
    """The channel it was published to; None of a bare message."""

    epoch: int
    """Epoch of its position; 0 where the line doesn't tell."""

    sequence: int
    """Sequence of its position: a step of more than one is a publication that is not in the file."""

    message: Any
    """What was published, of the class that was asked for; a `str` or `bytes` as it was."""

    path: Path
    """The file it stands in."""

    line: int
    """Number of its line there, from 1."""

    size: int
    """Bytes of its line."""


class _Entry(msgspec.Struct):
    at: int
    channel: str
    epoch: int = 0
    sequence: int = 0
    message: Raw | msgspec.UnsetType = msgspec.UNSET
    text: str | msgspec.UnsetType = msgspec.UNSET
    data: bytes | msgspec.UnsetType = msgspec.UNSET


def part_of(path: Path, number: int) -> Path:
    """The name of one of the files of a recording that goes on in several; 0 is `path` itself."""
    return path.with_name(f"{path.name}.{number}") if number else path


def read_recording(
    path: str | Path, *, channels: str | Sequence[str] = "*", type_of: Callable[[str], Any] | None = None
) -> Iterator[Recorded]:
    """Read a recording line by line; empty lines are passed over.

    Args:
        path: A JSON Lines file; if `FILE.1` is there, it is read after it, and so on.
        channels: Name or pattern, or several, of the channels that are read; bare messages always are.
        type_of: Returns the class of a channel's messages; where it is None, or returns None, the standard messages are
            taken.

    Raises:
        RecordingError: If a line is none. What is before it was returned.
        OSError: If the file cannot be read.
    """
    return _Reader((channels,) if isinstance(channels, str) else tuple(channels), type_of).read(Path(path))


def check_recording(path: str | Path, *, type_of: Callable[[str], Any] | None = None) -> int:
    """Read a whole recording, to know that it can be replayed; returns how many messages it has.

    Raises:
        RecordingError: If it is no regular file, has no message, or a line is no message.
        OSError: If the file cannot be read.
    """
    path = Path(path)
    if not stat.S_ISREG(path.stat().st_mode):
        raise RecordingError(path, None, "is no regular file; a recording is read twice, so save it to a file first")
    count = sum(1 for _ in read_recording(path, type_of=type_of))
    if count == 0:
        raise RecordingError(path, None, f"holds no message; {LINE_ADVICE}")
    return count


class _Reader:
    """Reads entries of the wanted channels."""

    def __init__(self, patterns: Sequence[str], type_of: Callable[[str], Any] | None) -> None:
        self._names = frozenset(pattern for pattern in patterns if not pattern.endswith("*"))
        self._beginnings = tuple(pattern[:-1] for pattern in patterns if pattern.endswith("*"))
        self._type_of = type_of
        self._entries = Decoder(_Entry)
        self._standard: Decoder[Any] = Decoder(WsMessage)
        # One for each class that `type_of` knows, however many channels a file names.
        self._decoders: dict[Any, Decoder[Any]] = {}

    def read(self, path: Path) -> Iterator[Recorded]:
        number = 0
        while number == 0 or part_of(path, number).exists():
            yield from self._read_part(part_of(path, number))
            number += 1

    def _read_part(self, path: Path) -> Iterator[Recorded]:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    raise RecordingError(path, number, f"longer than {MAX_LINE} bytes; a line is one message")
                if line.isspace():
                    continue
                try:
                    recorded = self._recorded(path, number, line)
                except DecodeError as error:
                    if _is_torn(line):
                        return
                    raise RecordingError(
                        path, number, f"{fault_of(error)}; correct the line or remove it: {LINE_ADVICE}"
                    ) from error
                if recorded is not None:
                    yield recorded

    def _recorded(self, path: Path, number: int, line: bytes) -> Recorded | None:
        if not _IS_ENTRY.match(line):
            message = self._standard.decode(line)
            at = getattr(message, "timestamp", None)
            return Recorded(at, None, 0, 0, message, path, number, len(line))
        entry = self._entries.decode(line)
        if fault := _entry_fault(entry):
            raise RecordingError(path, number, fault)
        channel = entry.channel
        if channel not in self._names and not channel.startswith(self._beginnings):
            return None
        content: Any = entry.text if entry.message is msgspec.UNSET else entry.message
        if content is msgspec.UNSET:
            content = entry.data
        elif isinstance(content, Raw):
            decoder = self._decoder(channel)
            try:
                content = decoder.decode(content)
            except DecodeError as error:
                own = decoder is not self._standard
                advice = "correct the line" if own else "correct the line, or declare its namespace with its class"
                at = f"`$.message{error.path[1:]}`"
                raise RecordingError(path, number, f"{error.args[0]} - at {at}; {advice}") from error
        return Recorded(entry.at, channel, entry.epoch, entry.sequence, content, path, number, len(line))

    def _decoder(self, channel: str) -> Decoder[Any]:
        type_ = self._type_of(channel) if self._type_of is not None else None
        if type_ is None:
            return self._standard
        decoder = self._decoders.get(type_)
        if decoder is None:
            decoder = self._decoders[type_] = Decoder(type_)
        return decoder


def _entry_fault(entry: _Entry) -> str | None:
    if fault := name_fault(entry.channel):
        return f"{fault}, unlike {entry.channel[:80]!r}"
    if not 0 <= entry.at <= _MAX_AT:
        return "`at` is no time in nanoseconds since 1970"
    contents = [one for one in (entry.message, entry.text, entry.data) if one is not msgspec.UNSET]
    return None if len(contents) == 1 else "an entry has one of `message`, `text` and `data`"


def _is_torn(line: bytes) -> bool:
    """Whether a line that is no message ends too early, rather than being another one."""
    if line.endswith(b"\n"):
        return False
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return True
    return False


def fault_of(error: DecodeError) -> str:
    """What is wrong with a line that is no message, and where in it."""
    at = f" - at `{error.path}`" if error.path else ""
    return f"{error.args[0]}{at}" + ("" if error.offset is None else f" (byte {error.offset})")
