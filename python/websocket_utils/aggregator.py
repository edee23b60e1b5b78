"""Several clients as one stream, each item with the name of its source."""

import asyncio
import functools
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, Self, TypeVar, get_args, overload

from ._core import Decoder
from .events import Event
from .exceptions import DecodeError
from .messages import WsMessage

__all__ = ["Aggregator", "EventSource", "SourceFailed", "Sourced"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# As a tuple: an `isinstance` with the union would cost twice as much.
_EVENTS = get_args(Event)

_logger = logging.getLogger("websocket_utils.aggregator")


class EventSource(Protocol):
    """What an `Aggregator` asks of a source: as much of a `WebSocketClient` as it uses."""

    @property
    def url(self) -> str:
        """Names the source where no name is given."""
        ...

    def events(self, type_: Any, *, with_timestamps: Literal[True]) -> AsyncIterator[tuple[int, Any]]:
        """Messages and lifecycle events in their order, each with the time when it was read."""
        ...

    def on(self, type_: Any, callback: Callable[[Any], object]) -> object:
        """Call back with each message of a class."""
        ...

    def close(self) -> Coroutine[Any, Any, None]:
        """End it."""
        ...


@dataclass(frozen=True, slots=True)
class Sourced(Generic[T_co]):
    """A message or a lifecycle event, and where it came from."""

    source: str
    """Name of its source."""

    event: T_co
    """The message, or an event such as `Disconnected`."""

    received_ns: int
    """When it was read from the socket, in ns since 1970."""


@dataclass(frozen=True, slots=True)
class SourceFailed:
    """A source failed; the others go on."""

    source: str
    """Its name."""

    error: Exception
    """A `DecodeError` where it brought a message that is none of the type, else what it ended with."""

    is_over: bool
    """Whether it has ended. After a `DecodeError` it goes on."""


class Aggregator:
    """Merges clients into one typed stream: `async for item in Aggregator([first, second]).events(PriceUpdate)`.

    Each item says its `source`. No source starves another: of those that have something, each is taken from in turn.
    Of each source one item is read ahead, so that a strategy that can't keep up pauses them all, as it would one. What
    fails at one source is an item (`SourceFailed`), and the others go on. The stream ends when all sources have.

    With `async with`, the sources are closed at the end. Messages of a client that has handlers go to them alone, as
    always: either iterate, or use `on`, which is the fastest way.

    Args:
        sources: Clients by name, or clients in a row, which are named by their URLs (and `#2` and so on where a URL
            comes again). More of them may not be added later.
        type_: What messages are where none is asked for: see `WebSocketClient.receive`.
        owns: Whether `close` closes the sources too, as the end of `async with` always does.

    Raises:
        ValueError: If there is no source.
    """

    def __init__(
        self,
        sources: Mapping[str, EventSource] | Sequence[EventSource],
        type_: Any = WsMessage,
        *,
        owns: bool = False,
    ) -> None:
        self._sources = dict(sources) if isinstance(sources, Mapping) else dict(_named(sources))
        if not self._sources:
            raise ValueError("an Aggregator needs at least one source")
        self._type = type_
        self._owns = owns
        self._streams: dict[Any, _Stream] = {}

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources."""
        return tuple(self._sources)

    @overload
    def events(self) -> AsyncIterator[Sourced[Any] | SourceFailed]: ...
    @overload
    def events(self, type_: type[T] | Decoder[T]) -> AsyncIterator[Sourced[T | Event] | SourceFailed]: ...
    @overload
    def events(self, type_: Any) -> AsyncIterator[Sourced[Any] | SourceFailed]: ...
    def events(self, type_: Any = None) -> AsyncIterator[Sourced[Any] | SourceFailed]:
        """Iterate over messages and lifecycle events of all sources, and over what fails.

        Events of a source stand in order with its messages. Calling it again for the same type goes on where the last
        iteration was left; nothing is lost between them.

        Args:
            type_: What messages are; None takes that of the aggregator.
        """
        return self._stream(type_)

    @overload
    def messages(self) -> AsyncIterator[Sourced[Any]]: ...
    @overload
    def messages(self, type_: type[T] | Decoder[T]) -> AsyncIterator[Sourced[T]]: ...
    @overload
    def messages(self, type_: Any) -> AsyncIterator[Sourced[Any]]: ...
    def messages(self, type_: Any = None) -> AsyncIterator[Sourced[Any]]:
        """Iterate over messages alone; what fails is logged, and events are passed over.

        Args:
            type_: As for `events`, with which it shares what there is of one type.

        Raises:
            ExceptionGroup: At the end, with the errors of the sources, if every one of them ended with an error.
        """
        return _data(self._stream(type_))

    def _stream(self, type_: Any) -> "_Stream":
        asked = self._type if type_ is None else type_
        stream = self._streams.get(asked)
        if stream is None:
            stream = self._streams[asked] = _Stream(self._sources, asked)
        return stream

    @overload
    def on(self, type_: type[T] | Decoder[T], callback: Callable[[str, T], object]) -> Callable[[str, T], object]: ...
    @overload
    def on(self, type_: type[T] | Decoder[T]) -> Callable[[Callable[[str, T], object]], Callable[[str, T], object]]: ...
    @overload
    def on(self, type_: Any, callback: Callable[[str, Any], object] | None = None) -> Any: ...
    def on(self, type_: Any, callback: Callable[[str, Any], object] | None = None) -> Any:
        """Call `callback(source, message)` inside the read that brings a message, as `WebSocketClient.on` does.

        Args:
            type_: As there: a message class, a union of them, a `Decoder`, `DecodeError`, or a class of events.
            callback: None makes this a decorator: `@aggregator.on(PriceUpdate)`.

        Returns:
            `callback`, or a decorator.
        """
        if callback is None:
            return functools.partial(self.on, type_)
        for name, source in self._sources.items():
            source.on(type_, functools.partial(callback, name))
        return callback

    async def close(self) -> None:
        """End the iterations, and close the sources if the aggregator owns them."""
        await self._close(self._owns)

    async def _close(self, closes_sources: bool) -> None:
        for stream in self._streams.values():
            await stream.stop()
        if closes_sources:
            closed = await asyncio.gather(
                *(source.close() for source in self._sources.values()), return_exceptions=True
            )
            errors = [error for error in closed if isinstance(error, Exception)]
            if errors:
                raise ExceptionGroup("sources could not be closed", errors)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._close(True)


def _named(sources: Sequence[EventSource]) -> Iterator[tuple[str, EventSource]]:
    times: Counter[str] = Counter()
    for source in sources:
        times[source.url] += 1
        yield (source.url if times[source.url] == 1 else f"{source.url} #{times[source.url]}"), source


async def _data(stream: "_Stream") -> AsyncIterator[Sourced[Any]]:
    async for item in stream:
        if isinstance(item, SourceFailed):
            _logger.warning("source %s: %s", item.source, item.error)
        elif not isinstance(item.event, _EVENTS):
            yield item
    if stream.all_failed:
        raise ExceptionGroup("all sources failed", stream.errors)


class _Stream:
    """The items of all sources for who asks for one type: a task for each, which waits until its item is taken."""

    def __init__(self, sources: Mapping[str, EventSource], type_: Any) -> None:
        self._type = type_
        # Asked for at once: a type that can't be decoded is the caller's error.
        self._sources = [(name, source, source.events(type_, with_timestamps=True)) for name, source in sources.items()]
        self._tasks: list[asyncio.Task[None]] = []
        self._running: int | None = None
        self.errors: list[Exception] = []
        # One item at most of each source, in the order they came: whoever was taken from stands behind the others.
        self._items: deque[tuple[Sourced[Any] | SourceFailed, asyncio.Future[None]]] = deque()
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def all_failed(self) -> bool:
        """Whether every source ended with an error."""
        return len(self.errors) == len(self._sources)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Sourced[Any] | SourceFailed:
        if self._running is None:
            self._start()
        while not self._items:
            if not self._running:
                raise StopAsyncIteration
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            finally:
                self._waiting.remove(turn)
        item, taken = self._items.popleft()
        if not taken.done():
            taken.set_result(None)
        return item

    def _start(self) -> None:
        self._running = len(self._sources)
        for name, source, items in self._sources:
            task = asyncio.create_task(self._pull(name, source, items), name=f"websocket_utils.aggregator {name}")
            task.add_done_callback(self._end)
            self._tasks.append(task)

    def _end(self, _: asyncio.Task[None]) -> None:
        if self._running:
            self._running -= 1
        self._wake()

    def _wake(self) -> None:
        for turn in self._waiting:
            if not turn.done():
                turn.set_result(None)

    async def _pull(self, name: str, source: EventSource, items: AsyncIterator[tuple[int, Any]]) -> None:
        """Bring what a source has, item by item, until it ends."""
        while True:
            try:
                received_ns, event = await anext(items)
            except StopAsyncIteration:
                return
            except DecodeError as error:
                # An iterator may be over once it has raised; what it stands for is not.
                items = source.events(self._type, with_timestamps=True)
                await self._give(SourceFailed(name, error, is_over=False))
            except Exception as error:  # noqa: BLE001  # whatever a source ends with is told, and not raised here
                self.errors.append(error)
                await self._give(SourceFailed(name, error, is_over=True))
                return
            else:
                await self._give(Sourced(name, event, received_ns))

    async def _give(self, item: Sourced[Any] | SourceFailed) -> None:
        """Wait until the item is taken."""
        taken = asyncio.get_running_loop().create_future()
        self._items.append((item, taken))
        self._wake()
        await taken

    async def stop(self) -> None:
        """End what waits for sources; who iterates gets what was read ahead, and then the end."""
        self._running = self._running or 0
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
