"""What a chaos proxy does to the bytes of one direction of one connection. The words are those of toxiproxy."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["CLEAR", "Stream", "Toxics"]

# Bytes that one direction holds back at most, beside what its transport does: reading pauses above.
_HELD_BYTES = 1 << 20
# A narrow line's pieces leave at an even pace of at least so many a second.
_PIECES_A_SECOND = 100


@dataclass(frozen=True, slots=True)
class Toxics:
    """The toxics of one direction; the defaults do nothing."""

    latency: float = 0.0
    jitter: float = 0.0
    slice_bytes: int | None = None
    slice_delay: float = 0.0
    bandwidth: float | None = None
    blackhole: bool = False
    limit: int | None = None
    """Bytes that pass before the connection is closed."""
    reset_after: int | None = None
    """Bytes that pass before the connection is reset."""

    @property
    def delays(self) -> bool:
        """Whether bytes leave otherwise than they came: later, or in pieces."""
        return bool(self.latency or self.jitter or self.slice_bytes or self.bandwidth)


CLEAR = Toxics()


class Stream:
    """One direction: bytes that were read from the source go to the sink, in their order, as its toxics let them.

    Args:
        unit: Gives the randomness of the jitter.
        on_close: Called when the limit is reached and all before it was sent.
        on_reset: Called when as many bytes have passed as are to before a reset.
        on_end: Called when the end of the stream was passed on.

    Attributes:
        passed: Bytes handed to the sink.
        swallowed: Bytes that a black hole took.
        has_ended: The sink was told of the end of the stream.
    """

    def __init__(
        self,
        toxics: Toxics,
        unit: random.Random,
        *,
        on_close: Callable[[], None],
        on_reset: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._random = unit
        self._on_close = on_close
        self._on_reset = on_reset
        self._on_end = on_end
        self._toxics = toxics
        # Bytes that may still pass, counted from when the toxic was set.
        self._left_to_limit = toxics.limit
        self._left_to_reset = toxics.reset_after
        self._source: asyncio.Transport | None = None
        self._sink: asyncio.Transport | None = None
        self._is_sink_full = False
        self._is_source_paused = False
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._waiting_bytes = 0
        self._line_free_at = 0.0
        self._pump: asyncio.Handle | None = None
        self._is_over = False
        self._ends = False
        self.passed: int = 0
        self.swallowed: int = 0
        self.has_ended: bool = False

    def set(self, toxics: Toxics) -> None:
        """Change the toxics; what was read before keeps its time."""
        if toxics.limit != self._toxics.limit:
            self._left_to_limit = toxics.limit
        if toxics.reset_after != self._toxics.reset_after:
            self._left_to_reset = toxics.reset_after
        self._toxics = toxics

    def connect(self, source: asyncio.Transport, sink: asyncio.Transport) -> None:
        """Both ends are there."""
        self._source, self._sink = source, sink
        if self._ends:
            self._pass_end()

    def feed(self, data: bytes) -> None:
        """Bytes were read from the source."""
        if self._is_over or self._sink is None:
            return
        toxics = self._toxics
        if toxics is CLEAR and not self._waiting:
            self.passed += len(data)
            self._sink.write(data)
            return
        if toxics.blackhole:
            self.swallowed += len(data)
            return
        has_limit = has_reset = False
        if self._left_to_reset is not None:
            has_reset = len(data) >= self._left_to_reset
            data = data[: self._left_to_reset]
            self._left_to_reset -= len(data)
        if self._left_to_limit is not None:
            has_limit = len(data) >= self._left_to_limit
            data = data[: self._left_to_limit]
            self._left_to_limit -= len(data)
        if data:
            self._take(data, toxics)
        if has_reset:
            self._is_over = True
            self._on_reset()
        elif has_limit:
            self._is_over = True
            if not self._waiting:
                self._on_close()

    def _take(self, data: bytes, toxics: Toxics) -> None:
        if not toxics.delays and not self._waiting:
            self._write(data)
            return
        size = toxics.slice_bytes or len(data)
        if toxics.bandwidth:
            size = min(size, max(1, int(toxics.bandwidth / _PIECES_A_SECOND)))
        now = self._loop.time()
        for at in range(0, len(data), size):
            piece = data[at : at + size]
            free = max(now, self._line_free_at) + (toxics.slice_delay if at else 0.0)
            if toxics.bandwidth:
                free += len(piece) / toxics.bandwidth
            self._line_free_at = free
            jitter = toxics.jitter * (2 * self._random.random() - 1) if toxics.jitter else 0.0
            # Behind what was read earlier, also where jitter has it due before: the order of a stream is exact.
            self._waiting.append((free + max(0.0, toxics.latency + jitter), piece))
        self._waiting_bytes += len(data)
        self._balance()
        self._plan()

    def _plan(self) -> None:
        if self._pump is None and self._waiting and not self._is_sink_full:
            due = self._waiting[0][0]
            if due <= self._loop.time():
                self._pump = self._loop.call_soon(self._send_due)
            else:
                self._pump = self._loop.call_at(due, self._send_due)

    def _send_due(self) -> None:
        self._pump = None
        now = self._loop.time()
        pieces: list[bytes] = []
        # A piece of a slicer is a segment, and so a turn of the loop, of its own.
        most = 1 if self._toxics.slice_bytes else len(self._waiting)
        while self._waiting and self._waiting[0][0] <= now and len(pieces) < most:
            pieces.append(self._waiting.popleft()[1])
        data = b"".join(pieces)
        self._waiting_bytes -= len(data)
        if data:
            self._write(data)
        self._balance()
        self._plan()
        if not self._waiting:
            if self._is_over:
                self._on_close()
            elif self._ends:
                self._pass_end()

    def _write(self, data: bytes) -> None:
        if self._sink is not None:
            self.passed += len(data)
            self._sink.write(data)

    # --- pace ---

    def pause(self) -> None:
        """The sink's transport holds more than it wants."""
        self._is_sink_full = True
        if self._pump is not None:
            self._pump.cancel()
            self._pump = None
        self._balance()

    def resume(self) -> None:
        """The sink's transport takes more."""
        self._is_sink_full = False
        self._balance()
        self._plan()

    def _balance(self) -> None:
        if self._source is None:
            return
        is_full = self._is_sink_full or self._waiting_bytes > _HELD_BYTES
        if is_full and not self._is_source_paused:
            self._is_source_paused = True
            self._source.pause_reading()
        elif self._is_source_paused and not self._is_sink_full and self._waiting_bytes <= _HELD_BYTES // 2:
            self._is_source_paused = False
            self._source.resume_reading()

    # --- ends ---

    def end(self) -> None:
        """The source has ended its stream; so does the sink, behind all that waits."""
        if not self._is_over and not self._toxics.blackhole:
            self._ends = True
            if not self._waiting:
                self._pass_end()

    def half_close(self) -> None:
        """End the sink's stream now, and drop what still comes."""
        self.stop()
        self._ends = True
        self._pass_end()

    def _pass_end(self) -> None:
        if self._sink is None or self.has_ended:
            return
        self.has_ended = True
        if not self._sink.is_closing():
            self._sink.write_eof()
        self._on_end()

    def stop(self) -> None:
        """Drop what waits and what still comes."""
        self._is_over = True
        self._waiting.clear()
        self._waiting_bytes = 0
        if self._pump is not None:
            self._pump.cancel()
            self._pump = None

    def disconnect(self) -> None:
        """Neither end is there any more."""
        self.stop()
        self._source = self._sink = None
