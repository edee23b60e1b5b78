"""Publishing a recording again: the same messages in the same order, at a chosen multiple of their pace.

Lines are read ahead in a thread of the replay's own, a chunk bounded in bytes at a time, so that the event loop never
waits for a disk. When each is due is said by `Pace`, and `Player` waits for it.
"""

import asyncio
import math
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ._pacing import Pace, Player
from ._recorded import Recorded, read_recording
from .exceptions import RecordingError
from .namespaces import name_fault, pattern_fault

__all__ = ["Replay", "Schedule", "publishing"]

# Two of these are held, one that is played and one that is read; a longer line is a chunk by itself.
_CHUNK = 256 * 1024
# How often to look whether all have taken what was published.
_LAG_CHECK = 0.001


class Schedule:
    """Recorded entries as a source: the next one, and when it is due."""

    __slots__ = ("_due", "_entries", "_next", "_pace")

    def __init__(self, entries: Iterator[Recorded], pace: Pace) -> None:
        self._entries = entries
        self._pace = pace
        self._next: Recorded | None = None
        self._due = 0.0

    def due(self) -> float | None:
        """When the next entry is due."""
        if self._next is None:
            self._next = next(self._entries, None)
            if self._next is None:
                return None
            self._due = self._pace.due(self._next.at)
        return self._due

    def take(self) -> Recorded:
        """Return the next entry."""
        entry, self._next = self._next, None
        if entry is None:
            raise LookupError("take() comes after a due() that is not None")
        return entry


class Replay:
    """A recording that is being published again; made by `server.replay(...)`, and runs until its end.

    Awaiting it returns how many messages were published, and raises `RecordingError` where a line cannot be: nothing of
    that line was published, and nothing behind it will be. `async with` ends it when the block is left, as `cancel`.

    Attributes:
        path: The file.
        count: Messages published so far.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        deliver: Callable[[Recorded], object],
        *,
        speed: float | None = 1.0,
        channels: str | Sequence[str] = "*",
        loop: bool = False,
        type_of: Callable[[str], Any] | None = None,
        is_behind: Callable[[], object] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Begin a replay, as a task of the running event loop.

        Args:
            path: A recording, or a JSON Lines file of bare messages.
            deliver: Called with each entry when it is due.
            speed: Factor on the recorded pace; None: as fast as the event loop, and `is_behind`, allow.
            channels: Name or pattern, or several, of what is replayed.
            loop: Whether to begin again at its end, for ever.
            type_of: As for `read_recording`.
            is_behind: Whether somebody has not taken yet what was delivered. It is waited for after each burst, and at
                the end; None waits for nobody.
            clock: Seconds; None takes the event loop's.

        Raises:
            ValueError: If `speed` is not above 0, or `channels` has what is no name or pattern.
        """
        if speed is not None and not 0.0 < speed < math.inf:
            raise ValueError(f"speed is a factor above 0, or None, not {speed}")
        for name in (channels,) if isinstance(channels, str) else channels:
            if fault := pattern_fault(name):
                raise ValueError(f"cannot replay {name!r}: {fault}")
        event_loop = asyncio.get_running_loop()
        self.path: Path = Path(path)
        self.count: int = 0
        self._deliver = deliver
        self._is_behind = is_behind
        self._pace = Pace(speed)
        self._entries = self._read(channels, type_of, loop)
        self._player = Player(self._publish, clock=clock or event_loop.time, end_turn=self._taken)
        self._task = event_loop.create_task(self._run())

    def _read(
        self, channels: str | Sequence[str], type_of: Callable[[str], Any] | None, loop: bool
    ) -> Generator[Recorded]:
        yield from read_recording(self.path, channels=channels, type_of=type_of)
        while loop:
            empty = True
            for entry in read_recording(self.path, channels=channels, type_of=type_of):
                empty = False
                yield entry
            if empty:
                raise RecordingError(self.path, None, "has nothing to be replayed in a loop")

    async def _run(self) -> int:
        event_loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, thread_name_prefix="websocket-utils-replay")

        def ahead() -> "asyncio.Future[tuple[list[Recorded], Exception | None]]":
            return event_loop.run_in_executor(thread, _chunk, self._entries)

        try:
            error = None
            reading = ahead()
            while error is None:
                entries, error = await reading
                if not entries and error is None:
                    break
                if error is None:
                    reading = ahead()
                await self._player.play(Schedule(iter(entries), self._pace))
            await self._taken()
            if error is not None:
                raise error
        finally:
            # Behind a read that is under way: the file is closed by the thread that reads it, and the thread ends.
            thread.submit(self._entries.close)
            thread.shutdown(wait=False)
        return self.count

    def _publish(self, entry: Recorded) -> None:
        try:
            self._deliver(entry)
        except RecordingError:
            raise
        except Exception as error:
            raise RecordingError(entry.path, entry.line, f"cannot be published: {error}") from error
        self.count += 1

    async def _taken(self) -> None:
        await asyncio.sleep(0)
        while self._is_behind is not None and self._is_behind():  # noqa: ASYNC110  # a server has no event for it
            await asyncio.sleep(_LAG_CHECK)

    # --- the task ---

    def done(self) -> bool:
        """Whether it has ended."""
        return self._task.done()

    def cancel(self) -> None:
        """End it; who awaits it gets `asyncio.CancelledError`."""
        self._task.cancel()

    def __await__(self) -> Generator[Any, None, int]:
        return self._task.__await__()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()


def _chunk(entries: Iterator[Recorded]) -> tuple[list[Recorded], Exception | None]:
    """Read on, in a thread; what was read in front of an error comes with it."""
    chunk: list[Recorded] = []
    size = 0
    try:
        for entry in entries:
            chunk.append(entry)
            size += entry.size
            if size >= _CHUNK:
                break
    except Exception as error:  # noqa: BLE001  # told where the entries before it have been delivered
        return chunk, error
    return chunk, None


def publishing(publish: Callable[[str, Any], object], prefix: str = "") -> Callable[[Recorded], object]:
    """Return what publishes an entry to the channel it was recorded from, with `prefix` in front of its name.

    Raises:
        ValueError: If names can't begin with `prefix`.
    """
    if prefix and (fault := name_fault(prefix)):
        raise ValueError(f"{prefix!r} cannot stand in front of channels: {fault}")

    def deliver(entry: Recorded) -> None:
        if entry.channel is None:
            raise RecordingError(
                entry.path, entry.line, "names no channel: only `websocket-utils feed --replay` serves bare messages"
            )
        channel = prefix + entry.channel
        if fault := name_fault(channel):
            raise RecordingError(entry.path, entry.line, f"{fault}, unlike {channel[:80]!r}")
        publish(channel, entry.message)

    return deliver
