"""Recording what is published to a file, at no cost to those it is published to.

Theory of operation: a publication becomes one line where it is published, in a buffer that is bounded in bytes. A
thread of the recording's own takes what the buffer holds, at most one write at a time, once there is enough of it or a
tenth of a second after the first line. So the event loop never waits for a disk. A disk that can't keep up fills the
buffer; what does not fit then is not recorded, counted as `dropped`, and seen in the file as a step in `sequence`: a
recording must not hurt what it records. A disk that fails ends the recording.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from pathlib import Path
from typing import Any

import msgspec

from ._core import Encoder
from ._opening import Closing
from ._recorded import MAX_LINE, Recorded, part_of, read_recording
from .exceptions import EncodeError, RecordingError
from .namespaces import pattern_fault

__all__ = ["Recorded", "Recording", "Tap", "read_recording"]

Tap = Callable[[str, int, int, int, Any], object]
"""Is called with each publication: channel, epoch, sequence, the sequence before it, and the message."""

_MIB = 1024 * 1024
# What is worth a write of its own, and how long a line waits at most for others: a killed process loses that much.
_BATCH = 256 * 1024
_INTERVAL = 0.1

_logger = logging.getLogger("websocket_utils.recording")


class _Entry(msgspec.Struct, omit_defaults=True):
    """A line as it is written; `_recorded` reads it."""

    at: int
    channel: str
    epoch: int = 0
    sequence: int = 0
    message: Any = msgspec.UNSET
    text: Any = msgspec.UNSET
    data: Any = msgspec.UNSET


class _Files:
    """The files of a recording; everything here runs in its thread."""

    def __init__(self, path: Path, max_file_size: int | None) -> None:
        self._path = path
        self._limit = max_file_size
        self._number = 0
        self._size = 0
        self._file: FileIO | None = None
        self._error: OSError | None = None

    def open(self) -> None:
        if part_of(self._path, 1).exists():
            raise FileExistsError(f"{part_of(self._path, 1)} belongs to an older recording of this name")
        self._file = FileIO(self._path, "x")

    def write(self, lines: list[bytes]) -> None:
        """Write whole lines; a file that would grow over the limit is closed, and the next one begun.

        Raises:
            OSError: If that fails. Nothing is written any more then: it would stand behind half a line.
        """
        if self._error is not None:
            raise self._error
        try:
            self._write_lines(lines)
        except OSError as error:
            self._error = error
            raise

    def _write_lines(self, lines: list[bytes]) -> None:
        batch: list[bytes] = []
        for line in lines:
            if self._limit is not None and self._size and self._size + len(line) > self._limit:
                self._write(b"".join(batch))
                batch = []
                self._turn()
            batch.append(line)
            self._size += len(line)
        self._write(b"".join(batch))

    def _turn(self) -> None:
        self.close()
        self._number += 1
        self._size = 0
        self._file = FileIO(part_of(self._path, self._number), "x")

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view and self._file is not None:
            view = view[self._file.write(view) or 0 :]

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with file:
                os.fsync(file.fileno())


class Recording(Closing):
    """A file that publications are written to; made by `server.record(...)`, closed by `async with` or `close`.

    Attributes:
        path: The file; with `max_file_size` it goes on in `FILE.1`, `FILE.2` and so on.
        count: Publications written.
        bytes: Bytes written.
        dropped: Publications that are not in the file: the disk did not keep up, the line would be too long, or the
            message has no form in JSON.
        error: What ended the recording before it was closed; `close` raises it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        channels: str = "*",
        tap: Callable[[str, Tap], int] | None = None,
        untap: Callable[[int], object] | None = None,
        max_buffer: int = 16 * _MIB,
        max_file_size: int | None = None,
        wall_clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Prepare a recording; `Opening` opens it.

        Args:
            path: The file, which must not be there yet.
            channels: Name or pattern of what is recorded, for `tap`.
            tap: Registers `add` with whatever publishes; None leaves it to the caller to call `add`.
            untap: Undoes that.
            max_buffer: Bytes that may wait for the disk.
            max_file_size: Bytes after which the recording goes on in another file; None never does.
            wall_clock: Nanoseconds since 1970.

        Raises:
            ValueError: If `channels` is no name or pattern, or a size is below 1.
        """
        if fault := pattern_fault(channels):
            raise ValueError(f"cannot record {channels!r}: {fault}")
        if max_buffer < 1 or (max_file_size is not None and max_file_size < 1):
            raise ValueError("max_buffer and max_file_size are at least 1 byte")
        self.path: Path = Path(path)
        self.count: int = 0
        self.bytes: int = 0
        self.dropped: int = 0
        self.error: RecordingError | None = None
        self._channels = channels
        self._tap = tap
        self._untap = untap
        self._token: int | None = None
        self._max_buffer = max_buffer
        self._wall_clock = wall_clock
        self._encoder = Encoder("json")
        self._loop = asyncio.get_running_loop()
        self._files = _Files(self.path, max_file_size)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="websocket-utils-recording")
        self._lines: list[bytes] = []
        # What waits and what is being written.
        self._buffered = 0
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Future[None] | None = None
        self._is_open = False
        self._is_closed = False
        self._has_warned = False

    async def open(self) -> None:
        """Make the file, and begin.

        Raises:
            FileExistsError: If it is there already: a recording neither overwrites another nor goes on with it.
            OSError: If it cannot be made.
        """
        try:
            await self._loop.run_in_executor(self._thread, self._files.open)
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        self._is_open = True
        if self._tap is not None:
            self._token = self._tap(self._channels, self.add)

    @property
    def waiting(self) -> int:
        """Bytes that wait for the disk."""
        return self._buffered

    def add(self, channel: str, epoch: int, sequence: int, previous: int, message: Any) -> None:
        """Record one publication; never waits. A recording that is over ignores it."""
        del previous
        entry = _Entry(self._wall_clock(), channel, epoch, sequence)
        if isinstance(message, str):
            entry.text = message
        elif isinstance(message, bytes | bytearray | memoryview):
            entry.data = message
        else:
            entry.message = message
        self._keep(entry)

    def add_bare(self, message: Any) -> None:
        """Record a standard message of no known channel: a line without channel, whose time is its `timestamp`."""
        self._keep(message)

    def _keep(self, content: Any) -> None:
        if not self._is_open:
            return
        try:
            line = self._encoder.encode(content)
        except EncodeError as error:
            self._drop(str(error))
            return
        # JSON has line breaks only between its parts, and only where a `Raw` brought them.
        line = line.replace(b"\n", b" ") + b"\n"
        if len(line) > MAX_LINE:
            self._drop(f"its line of {len(line)} bytes is longer than {MAX_LINE}")
        elif self._buffered + len(line) > self._max_buffer:
            self._drop(f"{self._buffered} bytes wait for the disk already")
        else:
            self._lines.append(line)
            self._buffered += len(line)
            if self._writing is None:
                if self._buffered >= _BATCH:
                    self._write()
                elif self._timer is None:
                    self._timer = self._loop.call_later(_INTERVAL, self._write)

    def _drop(self, reason: str) -> None:
        self.dropped += 1
        if not self._has_warned:
            self._has_warned = True
            _logger.warning("%s: a publication is not recorded: %s; more are counted only", self.path, reason)

    def _take_lines(self) -> list[bytes]:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        return lines

    def _write(self) -> None:
        lines = self._take_lines()
        self._writing = self._loop.run_in_executor(self._thread, self._files.write, lines)
        self._writing.add_done_callback(lambda written: self._on_written(written, lines))

    def _on_written(self, written: "asyncio.Future[None]", lines: list[bytes]) -> None:
        self._writing = None
        size = sum(map(len, lines))
        self._buffered -= size
        error = written.exception()
        if error is not None:
            self._fail(error, len(lines))
            return
        self.count += len(lines)
        self.bytes += size
        if self._lines and self._is_open:
            self._write()

    def _fail(self, error: BaseException, lost: int) -> None:
        waiting = self._take_lines()
        self._buffered -= sum(map(len, waiting))
        self.dropped += lost + len(waiting)
        self._leave()
        if self.error is None:
            self.error = RecordingError(self.path, None, f"cannot be written on: {error}; the recording ended there")
            self.error.__cause__ = error
            _logger.error("%s", self.error)

    def _leave(self) -> None:
        self._is_open = False
        if self._token is not None and self._untap is not None:
            self._untap(self._token)
            self._token = None

    async def close(self) -> None:
        """Write what waits, make it durable (`fsync`), and close the file. Calling it again does nothing.

        All of it is done in the recording's thread, also if the caller is cancelled meanwhile.

        Raises:
            RecordingError: If the recording ended before, or ends now, because its file can't be written.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._leave()
        if self._lines:
            self._write()
        closing = self._loop.run_in_executor(self._thread, self._files.close)
        # The thread ends when it has done what it was given.
        self._thread.shutdown(wait=False)
        closing.add_done_callback(self._on_file_closed)
        await asyncio.wait([closing])
        if self.error is not None:
            raise self.error

    def _on_file_closed(self, closing: "asyncio.Future[None]") -> None:
        if (error := closing.exception()) is not None:
            self._fail(error, 0)
