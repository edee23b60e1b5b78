"""What a stream was asked for, as its user holds it: messages to be iterated over, or handed to callbacks."""

import asyncio
import operator
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, Generic, Protocol, Self, TypeVar, cast

from ..._slow import Backpressure, Conflate, DropOldest, SlowPolicy
from ._requests import Request

__all__ = ["Updates", "UpdatesOwner"]

T = TypeVar("T")


class UpdatesOwner(Protocol):
    """The stream, as what it gives out sees it."""

    async def begin(self, updates: "Updates[Any]") -> None:
        """Subscribe to its channels, and wait until the node has acknowledged."""

    async def end(self, updates: "Updates[Any]") -> None:
        """End that."""

    def hold(self, updates: "Updates[Any]") -> None:
        """More waits than may: read no more."""

    def release(self, updates: "Updates[Any]") -> None:
        """Less than half of what may wait does: read again."""

    def run(self, awaitable: Awaitable[Any], size: int) -> None:
        """Run what an `async def` callback returned."""

    def report(self, error: BaseException) -> None:
        """Take what a callback raised."""


class Updates(Generic[T]):
    """Messages of one call of a stream: `async for update in stream.accounts([...])`.

    The call subscribes when it is awaited, or by the first step of the iteration; both raise what the node answers.
    Awaited, it is there when the node has acknowledged: `accounts = await stream.accounts([...])`. It is delivered to
    its callbacks where there are any (`on`), else it waits to be iterated over, up to `max_inbox_messages` messages and
    `max_inbox` bytes of frames; what follows then is the stream's `slow` to say. The iteration goes on over a
    reconnect, and ends with the stream or with `unsubscribe`.
    """

    __slots__ = (
        "_callbacks",
        "_conflated",
        "_dropped",
        "_error",
        "_is_full",
        "_is_over",
        "_key",
        "_keyed",
        "_max_bytes",
        "_max_messages",
        "_owner",
        "_queue",
        "_ready",
        "_size",
        "_slow",
        "_started",
        "_waiters",
        "channels",
        "requests",
    )

    channels: tuple[str, ...]
    """What it stands for, as it is named in events and errors: `accounts:<pubkey>`, `slots`..."""

    requests: tuple[Request, ...]

    def __init__(
        self,
        owner: UpdatesOwner,
        requests: Sequence[Request],
        slow: SlowPolicy,
        *,
        max_messages: int,
        max_bytes: int,
    ) -> None:
        self._owner = owner
        self.requests = tuple(dict.fromkeys(requests))
        self.channels = tuple(request.channel for request in self.requests)
        if not isinstance(cast("object", slow), (Backpressure, DropOldest, Conflate)):
            raise TypeError(f"slow takes Backpressure(), DropOldest() or Conflate(key), not {slow!r}")
        self._slow = slow
        self._key: Callable[[Any], Any] | None = None
        if isinstance(slow, Conflate):
            if slow.key is None:
                raise TypeError("slow=Conflate(key) of a stream takes a key, such as Conflate('pubkey')")
            names = (slow.key,) if isinstance(slow.key, str) else slow.key
            self._key = names if callable(names) else operator.attrgetter(*names)
        elif isinstance(slow, DropOldest) and slow.most is not None:
            max_messages = slow.most
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        # Each message with the bytes of its frame. With a key the latest of each stands in `_keyed`, by its key.
        self._queue: deque[tuple[T, int]] = deque()
        self._keyed: dict[Any, tuple[T, int]] = {}
        self._size = 0
        self._is_full = False
        self._dropped = self._conflated = 0
        self._callbacks: tuple[Callable[[T], object], ...] = ()
        self._waiters: list[asyncio.Future[None]] = []
        self._started: asyncio.Future[None] | None = None
        self._ready = False
        self._is_over = False
        self._error: BaseException | None = None

    # --- subscribing ---

    def __await__(self) -> Generator[Any, None, Self]:
        return self._begun().__await__()

    async def _begun(self) -> Self:
        if self._is_over:
            raise self._error or RuntimeError("these updates are ended: ask the stream anew")
        while not self._ready:
            if self._started is not None:
                # Somebody else is at it.
                await asyncio.wait([self._started])
                continue
            self._started = asyncio.get_running_loop().create_future()
            try:
                await self._owner.begin(self)
                self._ready = True
                await self._end_if_over()
            finally:
                self._started.set_result(None)
                self._started = None
        return self

    async def _end_if_over(self) -> None:
        """It may have been ended meanwhile, when there was nothing to be ended yet."""
        if self._is_over:
            await self._owner.end(self)

    async def unsubscribe(self) -> None:
        """End it: the node is told where nobody else wants the same, and the iteration ends behind what waits.

        Ending it again does nothing.

        Raises:
            SendQueueFull: If more than `max_send_queue` bytes wait to be sent. Nothing has changed.
        """
        if not self._is_over:
            if self._ready:
                await self._owner.end(self)
            self.close(None)

    async def __aenter__(self) -> Self:
        return await self._begun()

    async def __aexit__(self, *_: object) -> None:
        await self.unsubscribe()

    # --- delivery ---

    def on(self, callback: Callable[[T], object]) -> Callable[[T], object]:
        """Call `callback` with each message, inside the read that brings it: the lowest latency.

        What it raises is logged; the stream goes on. It may be a coroutine function, which runs as a task. What waits
        already stays for the iteration. It subscribes to nothing: await this object too.

        Returns:
            `callback`: it can be used as a decorator.
        """
        self._callbacks = (*self._callbacks, callback)
        return callback

    def take(self, message: T, size: int) -> None:
        """Deliver a message; `size` is that of its frame in bytes."""
        callbacks = self._callbacks
        if callbacks:
            for callback in callbacks:
                try:
                    returned = callback(message)
                except Exception as error:  # noqa: BLE001  # a callback's error must not end the read
                    self._owner.report(error)
                else:
                    if returned is not None:
                        self._run(returned, size)
        elif not self._is_over:
            self._put(message, size)
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def _run(self, returned: object, size: int) -> None:
        if asyncio.iscoroutine(returned) or asyncio.isfuture(returned):
            self._owner.run(returned, size)

    def _put(self, message: T, size: int) -> None:
        self._size += size
        if self._key is None:
            self._queue.append((message, size))
        else:
            key = self._key_of(message)
            before = self._keyed.pop(key, None)
            if before is not None:
                self._size -= before[1]
                self._conflated += 1
            self._keyed[key] = (message, size)
        if self.waiting <= self._max_messages and self._size <= self._max_bytes:
            return
        if isinstance(self._slow, Backpressure):
            if not self._is_full:
                self._is_full = True
                self._owner.hold(self)
            return
        # The latest stays, however big it is.
        while self.waiting > 1 and (self.waiting > self._max_messages or self._size > self._max_bytes):
            self._pop()
            self._dropped += 1

    def _key_of(self, message: T) -> Any:
        assert self._key is not None  # noqa: S101  # the caller has looked
        try:
            key = self._key(message)
            hash(key)
        except Exception as error:  # noqa: BLE001  # whatever a function of the user raises: it waits by itself
            self._owner.report(error)
            return object()
        return key

    def _pop(self) -> T:
        if self._key is None:
            message, size = self._queue.popleft()
        else:
            message, size = self._keyed.pop(next(iter(self._keyed)))
        self._size -= size
        if self._is_full and self.waiting <= self._max_messages // 2 and self._size <= self._max_bytes // 2:
            self._is_full = False
            self._owner.release(self)
        return message

    @property
    def waiting(self) -> int:
        """Messages that wait to be iterated over."""
        return len(self._queue) if self._key is None else len(self._keyed)

    @property
    def dropped(self) -> int:
        """Messages that were dropped because too many waited: `slow=DropOldest()` and `Conflate`."""
        return self._dropped

    @property
    def conflated(self) -> int:
        """Messages in whose place a newer one of their key was put: `slow=Conflate(key)`."""
        return self._conflated

    # --- iteration ---

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if not self._ready and not self._is_over:
            await self._begun()
        while not self.waiting:
            if self._is_over:
                error, self._error = self._error, None
                if error is not None:
                    raise error
                raise StopAsyncIteration
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)
        return self._pop()

    def close(self, error: BaseException | None) -> None:
        """It brings no more: who iterates gets what waits, then the error once, then the end."""
        if self._is_over:
            return
        self._is_over = True
        self._error = error
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def __repr__(self) -> str:
        first = self.channels[0] if self.channels else "nothing"
        more = f" and {len(self.channels) - 1} more" if len(self.channels) > 1 else ""
        return f"<Updates {first}{more}{' ended' if self._is_over else ''}>"
