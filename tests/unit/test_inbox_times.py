"""When messages came: one pair of times a read, of both clocks."""

import asyncio
import time
from typing import Any

import pytest
from tests.support.memory import Link
from tests.support.pulling import take, take_all
from tests.support.wire import PING, TEXT, frame

from websocket_utils import Message, Pong


class Tick(Message):
    n: int


def tick(number: int) -> bytes:
    return frame(TEXT, b'{"type":"Tick","n":%d}' % number, masked=False)


PONG = frame(TEXT, b'{"type":"Pong"}', masked=False)


def timed(link: Link, data: bytes) -> tuple[int, int]:
    """Receive, between two looks at the clock."""
    before = time.time_ns()
    link.receive(data)
    return before, time.time_ns()


def test_messages_of_one_read_share_the_time_of_it() -> None:
    link = Link()
    reads = [timed(link, tick(1) + tick(2)), timed(link, tick(3))]
    items = take_all(link.inbox.messages(Tick, with_timestamps=True))
    assert [message.n for _, message in items] == [1, 2, 3]
    stamps = [received for received, _ in items]
    assert stamps[0] == stamps[1]
    assert reads[0][0] <= stamps[1] <= reads[0][1] <= reads[1][0] <= stamps[2] <= reads[1][1]


def test_batches_have_each_message_with_its_time() -> None:
    link = Link()
    reads = [timed(link, tick(1) + tick(2)), timed(link, frame(PING, b"", masked=False)), timed(link, tick(3))]
    (batch,) = take_all(link.inbox.batches(Tick, with_timestamps=True))
    assert [message.n for _, message in batch] == [1, 2, 3]
    assert batch[0][0] is batch[1][0], "one number for one read"
    assert reads[0][0] <= batch[0][0] <= reads[0][1]
    assert reads[2][0] <= batch[2][0] <= reads[2][1]


@pytest.mark.parametrize("big", [False, True])
def test_last_received_is_that_of_the_message_handed_out_last(big: bool) -> None:
    link = Link()
    assert link.inbox.last_received_ns == 0
    text = "x" * (20_000 if big else 2)
    reads = [timed(link, frame(TEXT, text.encode(), masked=False)) for _ in range(3)]
    for first, last in reads:
        assert take(link.inbox.receive(str)) == text
        assert first <= link.inbox.last_received_ns <= last


def test_last_received_inside_a_handler_is_that_of_its_message() -> None:
    link = Link()
    seen: list[int] = []
    link.inbox.on(Tick, lambda _: seen.append(link.inbox.last_received_ns))
    reads = [timed(link, tick(number)) for number in range(2)]
    assert all(first <= stamp <= last for stamp, (first, last) in zip(seen, reads, strict=True))
    assert len(set(seen)) == 2


def test_events_have_the_time_at_which_they_were_told() -> None:
    link = Link()
    stream = link.inbox.events(Tick, with_timestamps=True)
    before, after = timed(link, tick(1))
    link.inbox.tell("gap")
    told = time.time_ns()
    (received, message), (when, event) = take_all(stream)
    assert (message.n, event) == (1, "gap")
    assert before <= received <= after <= when <= told


def test_last_read_is_any_read() -> None:
    link = Link()
    assert link.inbox.last_read_ns == 0
    for data in (tick(1), frame(PING, b"", masked=False), tick(2)[:3]):
        before = time.monotonic_ns()
        link.receive(data)
        assert before <= link.inbox.last_read_ns <= time.monotonic_ns()


def test_epoch_counts_its_messages_and_knows_its_first() -> None:
    link = Link()
    link.inbox.control(Pong, lambda _connection, _message: None, consume=True)
    link.receive(tick(1) * 3)
    link.inbox.begin_epoch()
    assert (link.inbox.epoch_messages, link.inbox.first_message_ns) == (0, 0)
    link.receive(frame(PING, b"", masked=False) + PONG)
    assert (link.inbox.epoch_messages, link.inbox.first_message_ns) == (0, 0), "no data yet"
    before = time.monotonic_ns()
    link.receive(tick(1) + PONG)
    after = time.monotonic_ns()
    link.receive(tick(2))
    assert link.inbox.epoch_messages == 2
    assert before <= link.inbox.first_message_ns <= after


def test_first_message_is_known_inside_its_read() -> None:
    link = Link()
    link.inbox.begin_epoch()
    seen: list[int] = []
    link.inbox.on(Tick, lambda _: seen.append(link.inbox.first_message_ns))
    link.receive(tick(1))
    assert seen == [link.inbox.first_message_ns]
    assert seen[0] == link.inbox.last_read_ns


def pull_one_by_one(link: Link) -> None:
    take_all(link.inbox.messages(Tick))


def pull_batch(link: Link) -> None:
    take(anext(link.inbox.batches(Tick)))


def pull_columns(link: Link) -> None:
    take(anext(link.inbox.columns(Tick)))


@pytest.mark.parametrize("pull", [pull_one_by_one, pull_batch, pull_columns])
def test_age_is_measured_once_a_read(pull: Any) -> None:
    link = Link()
    before = time.monotonic_ns()
    for _ in range(3):
        link.receive(tick(1) + tick(2))
    read = time.monotonic_ns()
    pull(link)
    taken = time.monotonic_ns()
    assert link.inbox.ages.count == 3
    assert link.inbox.ages.max <= taken - before
    link.receive(frame(PING, b"", masked=False))
    assert link.inbox.ages.count == 3
    assert read <= taken


def test_age_grows_while_a_message_waits() -> None:
    link = Link()
    link.receive(tick(1))
    read = time.monotonic_ns()
    while time.monotonic_ns() - read < 1_000_000:
        pass
    take(link.inbox.receive(Tick))
    assert link.inbox.ages.min >= 1_000_000


def test_age_of_what_handlers_take_is_measured_once_a_read() -> None:
    link = Link()
    link.inbox.on(Tick, lambda _: None)
    link.receive(tick(1) + tick(2))
    link.receive(tick(3))
    assert link.inbox.ages.count == 2


# --- what is fed ---


def test_fed_message_is_as_one_that_was_read() -> None:
    link = Link()
    long_ago = time.time_ns() - 5_000_000
    link.inbox.feed('{"type":"Tick","n":1}', long_ago)
    link.inbox.feed(b"\x82\xa4type\xa4Tick\xa1n\x02")
    assert not link.inbox.end_feed()
    (first, one), (second, two) = take_all(link.inbox.messages(Tick, with_timestamps=True))
    assert (one.n, two.n) == (1, 2)
    assert first == long_ago < second <= time.time_ns()
    assert link.inbox.counters()[0] == 2
    assert link.inbox.ages.max >= 5_000_000, "it waited elsewhere too"


def test_fed_message_goes_to_handlers_routes_and_watches() -> None:
    link = Link()
    seen: list[object] = []
    link.inbox.control(Pong, lambda connection, message: seen.append((connection, message)), consume=True)
    link.inbox.on(Tick, lambda message: seen.append(message.n))
    link.inbox.watch(7, Tick, (("n", 2),))
    link.inbox.feed('{"type":"Pong"}')
    link.inbox.feed('{"type":"Tick","n":2}')
    link.inbox.feed('{"type":"Tick","n":"two"}')
    assert seen == [(None, Pong()), 2]
    assert [token for token, _ in link.inbox.take_seen()] == [7]
    assert len(link.faults) == 1


async def test_end_of_a_feed_wakes_readers(link: Link) -> None:
    task = link.loop.create_task(link.inbox.receive(Tick))
    await asyncio.sleep(0)
    link.inbox.feed('{"type":"Tick","n":1}')
    link.inbox.end_feed()
    assert (await task).n == 1


def test_end_of_a_feed_tells_when_more_waits_than_may() -> None:
    link = Link(max_inbox_messages=2)
    for count in range(1, 5):
        link.inbox.feed("x")
        assert link.inbox.end_feed() is (count > 2)


def test_feed_takes_text_and_bytes_alone() -> None:
    link = Link()
    with pytest.raises(TypeError, match="expected bytes or str"):
        link.inbox.feed(bytearray(b"x"))  # type: ignore[arg-type]  # what is tested
