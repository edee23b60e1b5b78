"""Two transports that are each other's network: what a socket pair is, without a socket.

Bytes go from a transport's buffer into the link, which holds `capacity` bytes as a kernel does, and from there to the
other end's protocol in a turn of the event loop of their own, `latency` seconds later. All of it happens in the loop's
time, so that it works with a `VirtualClock`.
"""

import asyncio
from collections import deque
from typing import Final, cast

__all__ = ["CAPACITY", "MemoryTransport", "memory_pair"]

CAPACITY: Final = 1 << 18
# Most that one read brings a protocol which has no buffer of its own.
_READ_BYTES: Final = 1 << 18


class _Descriptorless:
    """Stands where a transport has its socket, for who asks for its descriptor."""

    def fileno(self) -> int:
        """Return what a closed socket does."""
        return -1


class MemoryTransport(asyncio.Transport):
    """One end of a connection in memory; made by `memory_pair`.

    Args:
        capacity: Bytes that the link takes from here before the other end has read any.
        latency: Seconds from a write until the other end reads it.
        address: Of this end: its `sockname`.
        peer_address: Of the other end: its `peername`.
    """

    def __init__(
        self, *, capacity: int, latency: float, address: tuple[str, int], peer_address: tuple[str, int]
    ) -> None:
        super().__init__({"socket": _Descriptorless(), "sockname": address, "peername": peer_address})
        self._loop = asyncio.get_running_loop()
        self._capacity = capacity
        self._latency = latency
        self._protocol: asyncio.BaseProtocol | None = None
        self.peer: MemoryTransport | None = None
        # What was written here and is not read there: each piece with the time it arrives.
        self._sent: deque[tuple[float, bytes]] = deque()
        self._sent_bytes = 0
        self._eof_at: float | None = None
        self._eof_was_read = False
        self._high, self._low = 1 << 16, 1 << 14
        self._is_writing_paused = False
        self._is_reading = True
        self._has_begun = False
        self._is_closing = False
        self._is_lost = False
        self._is_cut = False
        self._delivery: asyncio.Handle | None = None

    def begin(self, protocol: asyncio.BaseProtocol) -> None:
        """Let `protocol` have this end: `connection_made` comes in the next turn, and its first bytes behind it."""
        self._protocol = protocol
        self._loop.call_soon(self._connection_made)

    def _connection_made(self) -> None:
        if self._protocol is not None and not self._is_lost:
            self._has_begun = True
            self._protocol.connection_made(self)
            self._plan_reading()

    # --- writing ---

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes; they are copied."""
        if self._is_closing or not data:
            return
        if self._eof_at is not None:
            raise RuntimeError("Cannot call write() after write_eof()")
        peer = self.peer
        if peer is not None and peer._is_lost and not self._is_cut:
            # Nobody is there any more; a host says so when it is written to.
            self._loop.call_soon(self._lose, BrokenPipeError("the other end is closed"))
            return
        self._sent.append((self._loop.time() + self._latency, bytes(data)))
        self._sent_bytes += len(data)
        if peer is not None:
            peer._plan_reading()
        if self.get_write_buffer_size() > self._high and not self._is_writing_paused:
            self._is_writing_paused = True
            cast("asyncio.Protocol", self._protocol).pause_writing()

    def write_eof(self) -> None:
        """End the stream in this direction, behind what was written."""
        if self._eof_at is None and not self._is_closing:
            self._send_eof()

    def _send_eof(self) -> None:
        if self._eof_at is None:
            self._eof_at = self._loop.time() + self._latency
            if self.peer is not None:
                self.peer._plan_reading()

    def can_write_eof(self) -> bool:
        """Return True: either direction ends by itself."""
        return True

    def get_write_buffer_size(self) -> int:
        """Return the bytes that the link has not taken."""
        return max(0, self._sent_bytes - self._capacity)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the marks at which writing resumes and pauses."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when the protocol is told to pause and to resume writing; as asyncio's transports do."""
        if high is None:
            high = 1 << 16 if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low

    # --- reading ---

    def pause_reading(self) -> None:
        """Hand nothing on until `resume_reading`."""
        self._is_reading = False

    def resume_reading(self) -> None:
        """Hand bytes on again."""
        self._is_reading = True
        self._plan_reading()

    def is_reading(self) -> bool:
        """Return whether bytes are handed on."""
        return self._is_reading and not self._is_closing

    def _plan_reading(self) -> None:
        """Read in a turn to come, if there is anything to be read from the other end."""
        peer = self.peer
        if self._delivery is not None or peer is None or self._is_cut or not self._has_begun:
            return
        if not self.is_reading() or self._is_lost:
            return
        if peer._sent:
            due = peer._sent[0][0]
        elif peer._eof_at is not None and not self._eof_was_read:
            due = peer._eof_at
        else:
            return
        if due <= self._loop.time():
            self._delivery = self._loop.call_soon(self._read)
        else:
            self._delivery = self._loop.call_at(due, self._read)

    def _read(self) -> None:
        self._delivery = None
        peer, protocol = self.peer, self._protocol
        if peer is None or protocol is None or self._is_lost or self._is_cut or not self.is_reading():
            return
        if peer._sent:
            self._read_bytes(peer, protocol)
        elif peer._eof_at is not None and peer._eof_at <= self._loop.time():
            self._eof_was_read = True
            stays_open = cast("asyncio.Protocol", protocol).eof_received()
            if not stays_open and not self._is_closing:
                self.close()
            return
        self._plan_reading()

    def _read_bytes(self, peer: "MemoryTransport", protocol: asyncio.BaseProtocol) -> None:
        now = self._loop.time()
        if isinstance(protocol, asyncio.BufferedProtocol):
            view = memoryview(protocol.get_buffer(-1))
            most = len(view)
        else:
            view = None
            most = _READ_BYTES
        read = bytearray()
        # A clock's ticks are no reason to read a piece in a turn of its own.
        while peer._sent and peer._sent[0][0] <= now and len(read) < most:
            due, piece = peer._sent.popleft()
            room = most - len(read)
            if len(piece) > room:
                peer._sent.appendleft((due, piece[room:]))
            read += piece[:room]
        if not read:
            return
        peer._was_read(len(read))
        if view is not None:
            view[: len(read)] = read
            cast("asyncio.BufferedProtocol", protocol).buffer_updated(len(read))
        else:
            cast("asyncio.Protocol", protocol).data_received(bytes(read))

    def _was_read(self, nbytes: int) -> None:
        self._sent_bytes -= nbytes
        if self._is_writing_paused and self.get_write_buffer_size() <= self._low:
            self._is_writing_paused = False
            # Not from inside the other end's read.
            self._loop.call_soon(self._resume_writing)
        self._close_when_taken()

    def _resume_writing(self) -> None:
        if not self._is_lost and not self._is_writing_paused and self._protocol is not None:
            cast("asyncio.Protocol", self._protocol).resume_writing()

    # --- protocol ---

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand all that comes from now on to `protocol`."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol that bytes are handed to."""
        return cast("asyncio.BaseProtocol", self._protocol)

    # --- ends ---

    def is_closing(self) -> bool:
        """Return whether it is closed or about to be."""
        return self._is_closing

    def close(self) -> None:
        """End the connection behind what was written."""
        if not self._is_closing:
            self._is_closing = True
            self._send_eof()
            self._close_when_taken()

    def _close_when_taken(self) -> None:
        if self._is_closing and not self._is_lost and not self.get_write_buffer_size():
            self._loop.call_soon(self._lose, None)

    def abort(self) -> None:
        """End it at once: what the link has not taken is lost, the other end sees an end of file behind the rest."""
        self._is_closing = True
        while self.get_write_buffer_size() and self._sent:
            due, piece = self._sent.pop()
            kept = piece[: len(piece) - min(len(piece), self.get_write_buffer_size())]
            self._sent_bytes -= len(piece) - len(kept)
            if kept:
                self._sent.append((due, kept))
        self._send_eof()
        self._loop.call_soon(self._lose, None)

    def reset(self) -> None:
        """End it at once as RST does: what is on the way is lost, and the other end gets a `ConnectionResetError`."""
        self._is_closing = True
        self._sent.clear()
        self._sent_bytes = 0
        self._loop.call_soon(self._lose, None)
        if self.peer is not None and not self._is_cut:
            self._loop.call_soon(self.peer._lose, ConnectionResetError("connection reset by the other end"))

    def cut(self) -> None:
        """Cut the link: nothing comes through in either direction any more, and nobody is told."""
        self._is_cut = True
        if self.peer is not None:
            self.peer._is_cut = True

    def _lose(self, error: Exception | None) -> None:
        if self._is_lost:
            return
        self._is_lost = self._is_closing = True
        if self._delivery is not None:
            self._delivery.cancel()
            self._delivery = None
        if self._protocol is not None and self._has_begun:
            self._protocol.connection_lost(error)
        self._protocol = None
        if self.peer is not None and not self._is_cut:
            self.peer._lose_reader()

    def _lose_reader(self) -> None:
        """The other end reads no more: what waits for it is lost, and so is who waits until it is taken."""
        self._sent.clear()
        self._sent_bytes = 0
        if self._is_writing_paused:
            self._loop.call_soon(self._lose, ConnectionResetError("the other end closed with bytes unread"))
        else:
            self._close_when_taken()

    def __repr__(self) -> str:
        state = "closed" if self._is_lost else "closing" if self._is_closing else "open"
        return f"<MemoryTransport to {self.get_extra_info('peername')} {state}, {self._sent_bytes} bytes on the way>"


def memory_pair(
    *,
    capacity: int = CAPACITY,
    latency: float = 0.0,
    client: tuple[str, int] = ("memory", 0),
    server: tuple[str, int] = ("memory", 1),
) -> tuple[MemoryTransport, MemoryTransport]:
    """Make both ends of a connection; each needs a protocol, by `begin`."""
    one = MemoryTransport(capacity=capacity, latency=latency, address=client, peer_address=server)
    other = MemoryTransport(capacity=capacity, latency=latency, address=server, peer_address=client)
    one.peer, other.peer = other, one
    return one, other
