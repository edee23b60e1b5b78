"""Several sources as one stream: order, fairness, backpressure, and what fails."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import pytest

from websocket_utils import (
    Aggregator,
    DecodeError,
    Disconnected,
    PriceUpdate,
    ReconnectGaveUp,
    Sourced,
    SourceFailed,
    WsMessage,
)

SECONDS = 5
T = TypeVar("T")


class Source:
    """A client in memory: brings what it is given; an exception among it is raised, None is the end."""

    def __init__(self, *items: Any, url: str = "ws://source") -> None:
        self.url = url
        self.items: deque[Any] = deque(items)
        self.asked: list[Any] = []
        self.read = 0
        self.handlers: list[tuple[Any, Callable[[Any], object]]] = []
        self.is_closed = False
        self._came = asyncio.Event()

    def put(self, *items: Any) -> None:
        self.items.extend(items)
        self._came.set()

    def events(self, type_: Any, *, with_timestamps: bool) -> AsyncIterator[tuple[int, Any]]:
        assert with_timestamps
        if not isinstance(type_, type | type(WsMessage)):
            raise TypeError("nothing to decode")
        self.asked.append(type_)
        return self._bring()

    async def _bring(self) -> AsyncIterator[tuple[int, Any]]:
        while True:
            while not self.items:
                self._came.clear()
                await self._came.wait()
            item = self.items.popleft()
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            self.read += 1
            yield 1000 + self.read, item

    def on(self, type_: Any, callback: Callable[[Any], object]) -> None:
        self.handlers.append((type_, callback))

    async def close(self) -> None:
        self.is_closed = True


class StuckSource(Source):
    async def close(self) -> None:
        raise OSError("stuck")


def decode_error() -> DecodeError:
    return DecodeError("no such message", format="json")


async def soon(awaitable: Awaitable[T]) -> T:
    async with asyncio.timeout(SECONDS):
        return await awaitable


async def take(stream: AsyncIterator[T], count: int) -> list[T]:
    return [await soon(anext(stream)) for _ in range(count)]


async def rest(stream: AsyncIterator[T]) -> list[T]:
    async with asyncio.timeout(SECONDS):
        return [item async for item in stream]


async def settle() -> None:
    """Let all that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_items_say_their_source_and_when_they_were_read() -> None:
    lost = Disconnected(1, OSError())
    merged = Aggregator({"cf": Source("a", lost, None), "ls": Source("b", None)})
    items = await rest(merged.events(str))
    assert sorted(items, key=lambda item: (item.source, getattr(item, "received_ns", 0))) == [
        Sourced("cf", "a", 1001),
        Sourced("cf", lost, 1002),
        Sourced("ls", "b", 1001),
    ]
    assert merged.sources == ("cf", "ls")


async def test_sources_in_a_row_are_named_by_their_urls() -> None:
    merged = Aggregator([Source(url="ws://a"), Source(url="ws://b"), Source(url="ws://a")])
    assert merged.sources == ("ws://a", "ws://b", "ws://a #2")


async def test_no_source_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Aggregator([])


async def test_type_is_that_of_the_call_or_of_the_aggregator() -> None:
    source = Source()
    Aggregator([source], PriceUpdate).events()
    Aggregator([source], PriceUpdate).events(str)
    Aggregator([source]).events()
    assert source.asked == [PriceUpdate, str, WsMessage]


async def test_type_that_cannot_be_decoded_is_raised_to_the_caller() -> None:
    with pytest.raises(TypeError):
        Aggregator([Source()]).events("no type")


async def test_busy_source_starves_no_other() -> None:
    busy, quiet = Source(*range(1000)), Source("x", "y", "z")
    stream = Aggregator({"busy": busy, "quiet": quiet}).events(str)
    first = await take(stream, 6)
    assert [item.source for item in first] == ["busy", "quiet"] * 3


async def test_each_source_is_read_one_item_ahead() -> None:
    sources = {name: Source(*range(100)) for name in "ab"}
    stream = Aggregator(sources).events(int)
    await soon(anext(stream))
    await settle()
    assert [source.read for source in sources.values()] == [2, 1]
    await take(stream, 10)
    await settle()
    assert sum(source.read for source in sources.values()) == 11 + 2


async def test_source_waits_in_one_task() -> None:
    before = asyncio.all_tasks()
    source = Source()
    stream = Aggregator([source]).events(str)
    waiting = asyncio.create_task(take(stream, 1))
    await settle()
    assert len(asyncio.all_tasks() - before) == 2
    source.put("a")
    assert await soon(waiting) == [Sourced("ws://source", "a", 1001)]


async def test_order_of_each_source_is_kept() -> None:
    sources = {name: Source(*range(200), None) for name in "abc"}
    items = await rest(Aggregator(sources).messages(int))
    for name in sources:
        assert [item.event for item in items if item.source == name] == list(range(200))


async def test_failure_of_one_source_is_an_item_and_the_others_go_on() -> None:
    error = ReconnectGaveUp(3, None)
    good = Source("a")
    stream = Aggregator({"bad": Source(error), "good": good}).events(str)
    items = await take(stream, 2)
    assert SourceFailed("bad", error, is_over=True) in items
    good.put("b", None)
    assert [item.event for item in await rest(stream) if isinstance(item, Sourced)] == ["b"]


async def test_decode_error_is_an_item_and_its_source_goes_on() -> None:
    error = decode_error()
    items = await rest(Aggregator({"a": Source("x", error, "y", None)}).events(str))
    assert items == [Sourced("a", "x", 1001), SourceFailed("a", error, is_over=False), Sourced("a", "y", 1002)]


async def test_messages_are_data_alone_and_failures_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    sources = {
        "a": Source("x", decode_error(), Disconnected(1, OSError()), "y", None),
        "b": Source(OSError("gone")),
    }
    with caplog.at_level(logging.WARNING):
        items = await rest(Aggregator(sources).messages(str))
    assert [item.event for item in items] == ["x", "y"]
    assert [record.args[0] for record in caplog.records if isinstance(record.args, tuple)] == ["b", "a"]


async def test_messages_raise_when_every_source_has_failed() -> None:
    errors = [OSError("gone"), ReconnectGaveUp(1, None)]
    stream = Aggregator([Source("x", errors[0]), Source(errors[1])]).messages(str)
    assert (await soon(anext(stream))).event == "x"
    with pytest.raises(ExceptionGroup) as raised:
        await soon(anext(stream))
    assert set(raised.value.exceptions) == set(errors)


async def test_iteration_that_is_left_goes_on_where_it_was() -> None:
    merged = Aggregator([Source(*range(10), None)])
    async for item in merged.messages(int):
        if item.event == 3:
            break
    assert [item.event for item in await rest(merged.messages(int))] == [4, 5, 6, 7, 8, 9]


async def test_wait_that_is_cancelled_loses_nothing() -> None:
    source = Source()
    stream = Aggregator([source]).events(str)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await anext(stream)
    source.put("a", "b", None)
    assert [item.event for item in await rest(stream) if isinstance(item, Sourced)] == ["a", "b"]


async def test_two_who_iterate_share_the_items() -> None:
    sources = [Source(*range(50), None) for _ in range(2)]
    merged = Aggregator(sources)
    halves = await asyncio.gather(rest(merged.events(int)), rest(merged.events(int)))
    assert len(halves[0]) + len(halves[1]) == 100


async def test_stream_that_has_ended_stays_ended() -> None:
    stream = Aggregator([Source("a", None)]).events(str)
    assert len(await rest(stream)) == 1
    assert await rest(stream) == []


async def test_callbacks_are_given_the_source() -> None:
    sources = {"a": Source(), "b": Source()}
    merged = Aggregator(sources)
    calls: list[tuple[str, Any]] = []

    @merged.on(PriceUpdate)
    def record(source: str, message: Any) -> None:
        calls.append((source, message))

    assert merged.on(str, record) is record
    for source in sources.values():
        assert [type_ for type_, _ in source.handlers] == [PriceUpdate, str]
        source.handlers[0][1]("message")
    assert calls == [("a", "message"), ("b", "message")]


@pytest.mark.parametrize("owns", [False, True])
async def test_close_ends_iterations_and_closes_what_it_owns(owns: bool) -> None:
    before = asyncio.all_tasks()
    sources = [Source(), Source("a")]
    merged = Aggregator(sources, owns=owns)
    stream = merged.events(str)
    await soon(anext(stream))
    waiting = asyncio.create_task(rest(stream))
    await settle()
    await soon(merged.close())
    assert await soon(waiting) == []
    assert [source.is_closed for source in sources] == [owns, owns]
    assert asyncio.all_tasks() == before


async def test_close_before_the_first_item_ends_the_stream() -> None:
    merged = Aggregator([Source("a")])
    stream = merged.events(str)
    await merged.close()
    assert await rest(stream) == []


async def test_context_closes_all_sources_and_tells_which_could_not_be() -> None:
    sources = [StuckSource(), Source()]
    with pytest.RaisesGroup(OSError):
        async with Aggregator(sources):
            pass
    assert sources[1].is_closed
