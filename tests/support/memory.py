"""A connection without a network: a loop with a clock of its own, a transport that records, and an owner that notes."""

import heapq
import itertools
from collections.abc import Callable
from typing import Any, cast

import pytest
from tests.support.wire import COMPRESSED, Frame, FrameReader

from websocket_utils import _core
from websocket_utils._connection import Connection

BOTH_ROLES = pytest.mark.parametrize("is_client", [True, False], ids=["client", "server"])


class Handle:
    def __init__(self, when: float, callback: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self.when = when
        self._callback = callback
        self._arguments = arguments
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def run(self) -> None:
        if not self.is_cancelled:
            self._callback(*self._arguments)


class Future:
    """As much of `asyncio.Future` as the core uses."""

    def __init__(self) -> None:
        self.is_done = False

    def done(self) -> bool:
        return self.is_done

    def set_result(self, value: object) -> None:
        assert not self.is_done
        assert value is None
        self.is_done = True


class VirtualLoop:
    """Time moves by `advance` alone; turns are taken by `turn`.

    A callback that sets `now` blocks the loop until then: timers that were due meanwhile are late.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._soon: list[Handle] = []
        self._later: list[tuple[float, int, Handle]] = []
        self._order = itertools.count()

    def time(self) -> float:
        return self.now

    def create_future(self) -> Future:
        return Future()

    def call_soon(self, callback: Callable[..., object], *arguments: Any) -> Handle:
        handle = Handle(self.now, callback, arguments)
        self._soon.append(handle)
        return handle

    def call_later(self, delay: float, callback: Callable[..., object], *arguments: Any) -> Handle:
        handle = Handle(self.now + delay, callback, arguments)
        heapq.heappush(self._later, (handle.when, next(self._order), handle))
        return handle

    @property
    def timers(self) -> int:
        return sum(not handle.is_cancelled for _, _, handle in self._later)

    def turn(self) -> int:
        """Run what was asked for soon; what that asks for waits for the next turn. Returns how many ran."""
        due, self._soon = self._soon, []
        for handle in due:
            handle.run()
        return len(due)

    def advance(self, seconds: float) -> None:
        """Let time pass, stopping at every timer that is due."""
        end = self.now + seconds
        while self._later and self._later[0][0] <= end:
            when, _, handle = heapq.heappop(self._later)
            self.now = max(self.now, when)
            handle.run()
            while self._soon:
                self.turn()
        self.now = max(self.now, end)


class MemoryTransport:
    """Records what it is told. With `room`, it holds what goes beyond that many bytes and says so."""

    def __init__(self) -> None:
        self.protocol: Connection | None = None
        self.writes: list[bytes] = []
        self.room: int | None = None
        self.held = 0
        self._is_reading = True
        self.has_eof = False
        self.is_closed = False
        self.is_aborted = False
        self.has_half_close = True

    def write(self, data: bytes) -> None:
        assert not self.is_closed
        assert not self.has_eof
        assert self.held == 0, "written past bytes that the transport holds"
        self.writes.append(bytes(data))
        if self.room is not None:
            self.held = max(0, len(data) - self.room)
            self.room = max(0, self.room - len(data))
            if self.held:
                assert self.protocol is not None
                self.protocol.pause_writing()

    def drain(self, room: int | None = None) -> None:
        """The kernel took what was held, and takes `room` bytes more (None: any number)."""
        self.held = 0
        self.room = room
        assert self.protocol is not None
        self.protocol.resume_writing()

    def can_write_eof(self) -> bool:
        return self.has_half_close

    def write_eof(self) -> None:
        assert not self.has_eof
        self.has_eof = True

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_aborted = True

    def is_closing(self) -> bool:
        return self.is_closed or self.is_aborted

    def reads(self) -> bool:
        return self._is_reading

    def pause_reading(self) -> None:
        assert self._is_reading
        self._is_reading = False

    def resume_reading(self) -> None:
        assert not self._is_reading
        self._is_reading = True


class Owner:
    """What a client or server is to its connections."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.error: BaseException | None = None

    def connection_closing(self, connection: Connection) -> None:
        self.calls.append("closing")

    def connection_lost(self, connection: Connection, error: BaseException | None) -> None:
        self.calls.append("lost")
        self.error = error


class Link:
    """One connection and everything around it, in memory."""

    def __init__(
        self,
        *,
        is_client: bool = True,
        event_loop: Any = None,
        format: str = "json",  # the core's word
        max_inbox: int = 1 << 20,
        max_inbox_messages: int = 65536,
        slow: tuple[Any, ...] | None = None,
        max_message_size: int = 1 << 24,
        max_send_queue: int = 1 << 20,
        busy: bool = False,
        pass_connection: bool = False,
        broadcaster: _core.Broadcaster | None = None,
        deflate: tuple[int, bool, int, bool] | None = None,
        compression_threshold: int = 1024,
        epoch: int = 0,
        rtt: Any = None,
        positions: _core.Positions | None = None,
        inbox: _core.Inbox | None = None,
        sequenced: bool = False,
        enveloped: bool = False,
        descriptor: int = -1,
        run: Callable[[Any, _core.Connection, int], object] | None = None,
    ) -> None:
        self.is_client = is_client
        self.loop = cast("Any", event_loop or VirtualLoop())
        self.transport = MemoryTransport()
        self.owner = Owner()
        self.faults: list[BaseException] = []
        self.awaitables: list[Any] = []
        # No method: a link would keep itself alive.
        awaitables = self.awaitables

        def note(awaitable: object, connection: _core.Connection, nbytes: int) -> None:
            del connection, nbytes
            awaitables.append(awaitable)

        self.inbox = inbox or _core.Inbox(
            self.loop,
            self.faults.append,
            run or note,
            limit=max_inbox,
            max_messages=max_inbox_messages,
            pass_connection=pass_connection,
            slow=slow,
        )
        self.connection = Connection(
            is_client=is_client,
            format=format,
            inbox=self.inbox,
            owner=self.owner,
            transport=cast("Any", self.transport),
            event_loop=self.loop,
            descriptor=descriptor,
            watched_descriptor=-1,
            transport_busy=busy,
            max_message_size=max_message_size,
            max_send_queue=max_send_queue,
            broadcaster=broadcaster,
            deflate=deflate,
            compression_threshold=compression_threshold,
            epoch=epoch,
            rtt=rtt,
            positions=positions,
            sequenced=sequenced,
            enveloped=enveloped,
        )
        self.transport.protocol = self.connection
        self._reader = FrameReader(reserved_bits=COMPRESSED if deflate else 0)
        self._read_writes = 0

    def receive(self, data: bytes) -> None:
        """One read that brings `data`."""
        view: Any = self.connection.get_buffer(-1)
        assert len(data) <= len(view)
        view[: len(data)] = data
        self.connection.buffer_updated(len(data))

    def sent(self) -> list[Frame]:
        """Frames written since the last call."""
        new = b"".join(self.transport.writes[self._read_writes :])
        self._read_writes = len(self.transport.writes)
        return self._reader.feed(new)

    def queued(self) -> list[bytes]:
        """Take all messages that wait in the inbox, undecoded."""
        taken: list[bytes] = []
        while self.inbox.counters()[5]:
            try:
                self.inbox.receive(bytes).send(None)
            except StopIteration as stop:
                taken.append(stop.value)
        return taken
