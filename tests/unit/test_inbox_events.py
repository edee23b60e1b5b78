"""Events between the messages of an inbox, in the order in which things happened."""

import asyncio
import gc
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.memory import Link
from tests.support.pulling import NothingWaits, take, take_all
from tests.support.wire import TEXT, frame

from websocket_utils import Message
from websocket_utils.exceptions import ConnectionClosedError


class Tick(Message):
    n: int


def tick(number: int) -> bytes:
    return frame(TEXT, b'{"type":"Tick","n":%d}' % number, masked=False)


def plain(items: list[Any]) -> list[Any]:
    """Messages as their numbers."""
    return [item.n if isinstance(item, Tick) else item for item in items]


def test_event_stands_behind_what_came_before_it_and_before_what_came_later() -> None:
    link = Link()
    stream = link.inbox.events(Tick)
    link.inbox.tell("start")
    link.receive(tick(1) + tick(2))
    link.inbox.tell("gap")
    link.inbox.tell("again")
    link.receive(tick(3))
    link.inbox.tell("end")
    assert plain(take_all(stream)) == ["start", 1, 2, "gap", "again", 3, "end"]


def test_event_told_inside_a_read_stands_behind_the_messages_that_were_taken_so_far() -> None:
    link = Link()
    stream = link.inbox.events(Tick)

    def wanted(message: Tick) -> bool:
        if message.n == 2:
            link.inbox.tell("two")
        return message.n == 2

    link.inbox.watch(1, Tick, wanted)
    link.receive(tick(1) + tick(2) + tick(3))
    # The watch has its look at the message before the message goes on.
    assert plain(take_all(stream)) == [1, "two", 2, 3]


def test_events_that_nobody_asked_for_are_not_kept() -> None:
    link = Link()
    link.inbox.tell("early")
    stream = link.inbox.events(Tick)
    link.inbox.tell("late")
    assert take_all(stream) == ["late"]


def test_events_that_messages_pass_are_gone() -> None:
    link = Link()
    stream = link.inbox.events(Tick)
    link.receive(tick(1))
    link.inbox.tell("between")
    link.receive(tick(2))
    link.inbox.tell("behind")
    assert [message.n for message in take_all(link.inbox.messages(Tick))] == [1, 2]
    assert take_all(stream) == ["behind"], "an event that comes late would say what is no longer so"


def test_batches_and_columns_pass_events() -> None:
    link = Link()
    stream = link.inbox.events(Tick)
    for number in range(4):
        link.receive(tick(number))
        link.inbox.tell("between")
    assert [message.n for message in take(anext(link.inbox.batches(Tick)))] == [0, 1, 2, 3]
    link.receive(tick(4))
    assert len(take(anext(link.inbox.columns(Tick)))) == 1
    link.receive(tick(5))
    assert plain(take_all(stream)) == [5]


def test_events_are_bounded_and_the_oldest_go() -> None:
    link = Link()
    stream = link.inbox.events(Tick)
    link.receive(tick(1))
    for number in range(5000):
        link.inbox.tell(number)
    assert link.inbox.counters()[9] == 5000 - 4096
    first, *events = take_all(stream)
    assert first.n == 1
    assert events == list(range(5000 - 4096, 5000))


def test_end_of_the_stream_is_behind_all_events() -> None:
    link = Link()
    stream = link.inbox.events(Tick)
    link.receive(tick(1))
    link.inbox.tell("lost")
    link.inbox.close(ConnectionClosedError(initiator="transport"))
    assert take(anext(stream)).n == 1
    assert take(anext(stream)) == "lost"
    with pytest.raises(ConnectionClosedError):
        take(anext(stream))
    with pytest.raises(StopAsyncIteration):
        take(anext(stream))


async def test_event_wakes_who_takes_events_and_nobody_else(link: Link) -> None:
    receiver = asyncio.create_task(link.inbox.receive(Tick))
    await asyncio.sleep(0)
    reader = asyncio.ensure_future(anext(link.inbox.events(Tick)))
    await asyncio.sleep(0)
    link.inbox.tell("stale")
    async with asyncio.timeout(1):
        assert await reader == "stale"
    assert not receiver.done()
    link.receive(tick(1))
    async with asyncio.timeout(1):
        assert (await receiver).n == 1


async def test_reader_of_events_that_was_woken_and_cancelled_loses_none(link: Link) -> None:
    stream = link.inbox.events(Tick)
    first = asyncio.ensure_future(anext(stream))
    second = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    link.inbox.tell("stale")
    first.cancel()
    async with asyncio.timeout(1):
        assert await second == "stale"


@given(st.lists(st.sampled_from("mre"), max_size=60))
def test_messages_and_events_come_out_as_they_went_in(steps: list[str]) -> None:
    link = Link()
    stream = link.inbox.events(Tick)
    expected: list[object] = []
    taken: list[object] = []
    for number, step in enumerate(steps):
        if step == "m":
            link.receive(tick(number))
            expected.append(number)
        elif step == "e":
            link.inbox.tell(str(number))
            expected.append(str(number))
        else:
            try:
                taken += plain([take(anext(stream))])
            except NothingWaits:
                assert taken == expected
    assert taken + plain(take_all(stream)) == expected


def test_inbox_that_its_events_lead_back_to_is_collected() -> None:
    link = Link()
    _ = link.inbox.events(Tick)

    class Event:
        inbox: object = None

    event = Event()
    event.inbox = link.inbox
    link.inbox.tell(event)
    known = weakref.ref(event)
    del link, event, _
    gc.collect()
    assert known() is None
