"""Where messages go: to handlers, or to the inbox with its bound, and from there to who pulls."""

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any, cast

import pytest
from tests.support.memory import BOTH_ROLES, Link
from tests.support.wire import BINARY, CLOSE, COMPRESSED, PING, TEXT, Deflater, close_frame, frame

from websocket_utils import Message, Pong, PriceUpdate
from websocket_utils.exceptions import ConnectionClosedError, DecodeError


class Tick(Message):
    n: int


def tick(number: int, *, masked: bool = False) -> bytes:
    return frame(TEXT, b'{"type":"Tick","n":%d}' % number, masked=masked)


# --- handlers ---


def test_handler_that_raises_is_reported_and_the_read_goes_on() -> None:
    link = Link()
    seen: list[int] = []

    def handler(message: Tick) -> None:
        seen.append(message.n)
        raise ValueError(message.n)

    link.inbox.on(Tick, handler)
    link.receive(tick(1) + tick(2))
    assert seen == [1, 2]
    assert [str(fault) for fault in link.faults] == ["1", "2"]
    assert link.inbox.counters()[3] == 2
    assert link.connection.is_open


def test_handler_that_ends_the_program_ends_it() -> None:
    link = Link()

    def handler(_message: Tick) -> None:
        raise KeyboardInterrupt

    link.inbox.on(Tick, handler)
    with pytest.raises(KeyboardInterrupt):
        link.receive(tick(1))
    assert link.faults == []


def test_message_that_a_handler_cannot_be_given_is_reported_and_the_read_goes_on() -> None:
    link = Link()
    seen: list[int] = []
    link.inbox.on(Tick, lambda message: seen.append(message.n))
    link.receive(tick(1) + frame(TEXT, b'{"type":"Tick","n":"two"}', masked=False) + tick(3))
    assert seen == [1, 3]
    (fault,) = link.faults
    assert isinstance(fault, DecodeError)
    assert fault.raw == b'{"type":"Tick","n":"two"}'
    assert link.inbox.counters()[2:4] == (1, 0)


def test_all_handlers_of_a_class_are_called_and_each_message_goes_to_its_own() -> None:
    link = Link()
    seen: list[object] = []
    link.inbox.on(Tick, lambda message: seen.append(("a", message.n)))
    link.inbox.on(Tick, lambda message: seen.append(("b", message.n)))
    link.inbox.on(Pong, lambda _: seen.append("pong"))
    link.receive(
        tick(1) + frame(TEXT, b'{"type":"Pong"}', masked=False) + frame(TEXT, b'{"type":"Other"}', masked=False)
    )
    assert seen == [("a", 1), ("b", 1), "pong"]
    assert link.inbox.counters()[4] == 1, "nobody asked for the last"


def test_message_without_a_handler_waits_for_who_has_pulled() -> None:
    link = Link()
    link.inbox.on(Tick, lambda _: None)
    # Asked for is enough: nobody has to wait.
    _ = link.inbox.receive(str)
    link.receive(tick(1) + frame(TEXT, b"other", masked=False))
    assert link.queued() == [b"other"]


def test_what_a_handler_returns_is_handed_on() -> None:
    link = Link()

    async def handler(message: Tick) -> int:
        return message.n

    link.inbox.on(Tick, handler)
    link.receive(tick(5))
    (coroutine,) = link.awaitables
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    assert stop.value.value == 5


def test_what_send_returns_need_not_be_awaited_by_a_handler() -> None:
    link = Link(is_client=False, pass_connection=True)
    link.inbox.on(Tick, lambda connection, message: connection.send(message))
    link.receive(tick(1, masked=True))
    link.loop.turn()
    assert [one.payload for one in link.sent()] == [b'{"type":"Tick","n":1}']
    assert link.awaitables == [], "no task for it"


def test_server_handler_is_told_the_connection() -> None:
    link = Link(is_client=False, pass_connection=True)
    seen: list[object] = []
    link.inbox.on(Tick, lambda connection, message: seen.append((connection, message.n)))
    link.receive(tick(1, masked=True))
    assert seen == [(link.connection, 1)]


@BOTH_ROLES
def test_handler_may_close_the_connection_and_nothing_is_delivered_after_stop(is_client: bool) -> None:
    link = Link(is_client=is_client)
    seen: list[int] = []

    def handler(message: Tick) -> None:
        seen.append(message.n)
        link.connection.stop_delivering()
        link.connection.close(1000)

    link.inbox.on(Tick, handler)
    link.receive(tick(1, masked=not is_client) + tick(2, masked=not is_client))
    assert seen == [1]
    assert [one.opcode for one in link.sent()] == [CLOSE]


def test_handler_may_lose_the_connection() -> None:
    link = Link()
    link.inbox.on(Tick, lambda _: link.connection.connection_lost(None))
    link.receive(tick(1) + frame(PING, b"", masked=False))
    assert link.owner.calls == ["lost"]
    assert link.faults == []
    assert link.sent() == []


# --- the bound of the inbox ---


def reads(link: Link) -> bool:
    """Whether the transport reads once the turn is over: inside a read it is never told to stop."""
    link.loop.turn()
    return link.transport.reads()


def test_transport_is_not_told_to_stop_from_inside_a_read() -> None:
    link = Link(max_inbox=10)
    link.receive(frame(BINARY, bytes(100), masked=False))
    link.receive(frame(BINARY, bytes(100), masked=False))
    assert link.transport.reads()
    assert not reads(link)


def test_inbox_that_is_emptied_in_the_same_turn_does_not_stop_reading() -> None:
    link = Link(max_inbox=10)
    for _ in range(2):
        link.receive(frame(BINARY, bytes(100), masked=False))
        link.queued()
    assert reads(link)
    link.receive(frame(BINARY, bytes(100), masked=False))
    assert not reads(link)
    link.queued()
    assert reads(link)


def test_reading_pauses_over_the_bound_and_resumes_under_half_of_it() -> None:
    link = Link(max_inbox=1000)
    message = frame(BINARY, bytes(100), masked=False)
    link.receive(message * 10)
    assert reads(link), "the bound itself is allowed"
    link.receive(message)
    assert not reads(link)
    link.receive(message)
    pull = link.inbox.receive(bytes)
    for taken in range(1, 8):
        with pytest.raises(StopIteration):
            pull.send(None)
        assert reads(link) is (12 - taken <= 5)


def test_batch_resumes_reading() -> None:
    link = Link(max_inbox=10)
    link.receive(frame(BINARY, bytes(100), masked=False))
    assert not reads(link)
    batch: Any = anext(link.inbox.batches(bytes))
    with pytest.raises(StopIteration) as stop:
        batch.send(None)
    assert stop.value.value == [bytes(100)]
    assert reads(link)


@pytest.mark.parametrize("size", [8191, 8192, 50_000])
def test_big_messages_wait_in_order_with_small_ones_and_count(size: int) -> None:
    link = Link(max_inbox=2 * size)
    big = bytes(number % 251 for number in range(size))
    messages = [b"first", big, b"", big[::-1], b"last"]
    for message in messages:
        link.receive(frame(BINARY, message, masked=False))
    assert link.inbox.counters()[5:7] == (5, sum(map(len, messages)))
    assert not reads(link)
    assert link.queued() == messages
    assert link.inbox.counters()[5:7] == (0, 0)
    assert reads(link)


def test_big_message_is_pulled_as_whatever_is_asked_for() -> None:
    link = Link()
    text = "ż" * 10_000
    for _ in range(4):
        link.receive(frame(TEXT, text.encode(), masked=False))
    link.receive(frame(TEXT, b'{"type":"Tick","n":7,"note":"' + b"x" * 10_000 + b'"}', masked=False))
    asked: list[Any] = [str, bytes, bytes | str, Tick, Tick]
    pulled: list[object] = []
    for kind in asked:
        try:
            link.inbox.receive(kind).send(None)
        except StopIteration as stop:
            pulled.append(stop.value)
        except DecodeError as error:
            pulled.append(error.raw)
    assert pulled == [text, text.encode(), text, text.encode(), Tick(7)]


def test_reads_are_bigger_while_big_frames_come() -> None:
    link = Link()

    def room() -> int:
        return len(cast("Any", link.connection.get_buffer(-1)))

    usual = room()
    message = frame(BINARY, bytes(usual), masked=False)
    link.receive(message[:usual])
    most = room()
    assert most > usual
    # A read that is full may have ended between two frames; a smaller one shows that they have ended.
    link.receive((message[usual:] + message * 2)[:most])
    assert room() == most
    link.receive(message[:100] + bytes(usual)[:10])
    assert room() == most, "in the middle of a big frame"
    link.receive(message[110:usual])
    link.receive(message[usual:])
    assert room() == usual
    assert [len(one) for one in link.queued()] == [usual] * 4


def test_transport_that_closes_meanwhile_is_not_told_to_read() -> None:
    link = Link(max_inbox=10)
    link.receive(frame(BINARY, bytes(100), masked=False))
    assert not reads(link)
    link.transport.close()
    assert link.queued() == [bytes(100)]
    assert not reads(link)


def test_paused_connection_counts_as_alive() -> None:
    # We do not read, so its silence says nothing: a slow reader must not be taken for a dead peer.
    link = Link(max_inbox=10)
    link.receive(frame(BINARY, bytes(100), masked=False))
    assert link.connection.take_activity()
    assert link.connection.take_activity()
    link.queued()
    link.connection.take_activity()
    assert not link.connection.take_activity()


def test_closing_reads_on_so_that_the_peers_answer_can_come() -> None:
    link = Link(max_inbox=10)
    link.receive(frame(BINARY, bytes(100), masked=False))
    assert not reads(link)
    link.connection.stop_delivering()
    link.connection.close()
    assert reads(link)
    link.receive(frame(BINARY, bytes(100), masked=False) * 3 + close_frame(1000, masked=False))
    assert reads(link)
    assert link.queued() == [bytes(100)], "what had come before is kept"


# --- pulling ---


async def test_receive_waits_for_a_message_and_takes_one(link: Link) -> None:
    task = asyncio.create_task(link.inbox.receive(Tick))
    await asyncio.sleep(0)
    link.receive(tick(1) + tick(2))
    assert (await task).n == 1
    assert (await link.inbox.receive(Tick)).n == 2


async def test_every_receiver_gets_one_message(link: Link) -> None:
    tasks = [asyncio.create_task(link.inbox.receive(Tick)) for _ in range(3)]
    await asyncio.sleep(0)
    link.receive(tick(1) + tick(2) + tick(3))
    assert sorted([(await task).n for task in tasks]) == [1, 2, 3]


async def test_cancelled_receive_loses_no_message(link: Link) -> None:
    for cancel_first in (True, False):
        task = asyncio.create_task(link.inbox.receive(Tick))
        await asyncio.sleep(0)
        steps: list[Callable[[], object]] = [task.cancel, lambda: link.receive(tick(1))]
        for step in steps if cancel_first else reversed(steps):
            step()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await link.inbox.receive(Tick)).n == 1


async def test_receiver_cancelled_after_it_was_woken_wakes_the_next(link: Link) -> None:
    first = asyncio.create_task(link.inbox.receive(Tick))
    second = asyncio.create_task(link.inbox.receive(Tick))
    await asyncio.sleep(0)
    link.receive(tick(1))
    first.cancel()
    assert (await asyncio.wait_for(second, 1)).n == 1
    assert first.cancelled()


async def test_waiting_in_vain_again_and_again_keeps_nothing(link: Link) -> None:
    waiting = asyncio.create_task(link.inbox.receive(Tick))
    await asyncio.sleep(0)

    def futures() -> int:
        return sum(type(one) is asyncio.Future for one in gc.get_referents(link.inbox))

    for _ in range(100):
        task = asyncio.create_task(link.inbox.receive(Tick))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    assert futures() <= 3
    link.receive(tick(1))
    assert (await asyncio.wait_for(waiting, 1)).n == 1


async def test_wait_for_and_timeout_work_with_receive(link: Link) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(link.inbox.receive(Tick), 0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await link.inbox.receive(Tick)
    link.receive(tick(1))
    assert (await asyncio.wait_for(link.inbox.receive(Tick), 1)).n == 1


async def test_message_that_does_not_decode_is_consumed_and_the_next_goes_on(link: Link) -> None:
    link.receive(tick(1) + frame(TEXT, b"{", masked=False) + frame(TEXT, b'{"n":"x"}', masked=False) + tick(2))
    assert (await link.inbox.receive(Tick)).n == 1
    with pytest.raises(DecodeError) as broken:
        await link.inbox.receive(Tick)
    assert broken.value.raw == b"{"
    with pytest.raises(DecodeError) as wrong:
        await link.inbox.receive(Tick)
    assert wrong.value.path == "$.n"
    assert (await link.inbox.receive(Tick)).n == 2
    assert link.inbox.counters()[2] == 2


async def test_batch_ends_before_a_message_that_does_not_decode(link: Link) -> None:
    link.receive(tick(1) + tick(2) + frame(TEXT, b"{", masked=False) + tick(3))
    batches = link.inbox.batches(Tick)
    assert [one.n for one in await anext(batches)] == [1, 2]
    with pytest.raises(DecodeError):
        await anext(batches)
    assert [one.n for one in await anext(batches)] == [3]


async def test_messages_yields_each_and_ends_when_the_inbox_is_closed(link: Link) -> None:
    link.receive(tick(1) + tick(2))
    link.inbox.close()
    assert [one.n async for one in link.inbox.messages(Tick)] == [1, 2]
    assert [batch async for batch in link.inbox.batches(Tick)] == []
    assert await link.inbox.receive(Tick) is None


async def test_error_at_the_end_is_raised_once_behind_the_messages(link: Link) -> None:
    waiting = asyncio.create_task(link.inbox.receive(Tick))
    await asyncio.sleep(0)
    link.receive(tick(1))
    link.inbox.close(ConnectionClosedError(initiator="transport"))
    assert (await waiting).n == 1
    with pytest.raises(ConnectionClosedError):
        await link.inbox.receive(Tick)
    assert await link.inbox.receive(Tick) is None


async def test_receive_as_text_or_bytes_gives_the_message_as_it_came(link: Link) -> None:
    link.receive(frame(TEXT, "ü".encode(), masked=False) * 2 + frame(BINARY, b"\x00", masked=False))
    assert await link.inbox.receive(str) == "ü"
    assert [await link.inbox.receive(str | bytes) for _ in range(2)] == ["ü", b"\x00"]


async def test_messages_is_one_object_for_the_whole_loop(link: Link) -> None:
    stream = link.inbox.messages(PriceUpdate)
    assert aiter(stream) is stream


def test_flood_of_empty_messages_pauses_reading_too() -> None:
    # They have no payload to count, but each is remembered: the bound holds for what that costs as well.
    link = Link(max_inbox=1000)
    empty = frame(BINARY, b"", masked=False)
    for _ in range(100):
        link.receive(empty)
    assert not reads(link)
    assert link.queued() == [b""] * 100
    assert reads(link)


@pytest.mark.parametrize("deflate", [None, (15, True, 15, True)], ids=["plain", "compressed"])
def test_what_is_handed_out_outlives_the_reads_behind_it(deflate: Any) -> None:
    link = Link(deflate=deflate)
    kept: list[Any] = []
    link.inbox.on(bytes, kept.append)
    link.inbox.on(PriceUpdate, kept.append)
    update = b'{"type":"PriceUpdate","input_mint":"%b","output_mint":"USDC","price":1.5,"timestamp":1}'
    compressor = Deflater()

    def say(opcode: int, payload: bytes) -> bytes:
        if deflate is None:
            return frame(opcode, payload, masked=False)
        return frame(opcode, compressor.payload(payload), masked=False, reserved_bits=COMPRESSED)

    # Whole in one read, and put together out of two.
    link.receive(say(BINARY, b"first" * 100) + say(TEXT, update % (b"A" * 50)))
    cut = say(BINARY, b"second" * 5000)
    link.receive(cut[:7])
    link.receive(cut[7:])
    # The same memory, with other words in it.
    for _ in range(20):
        link.receive(say(BINARY, b"\xee" * 40_000))
    first, price, second, *_ = kept
    assert (first, second) == (b"first" * 100, b"second" * 5000)
    assert price.input_mint == "A" * 50


def test_bytes_of_an_error_outlive_the_reads_behind_it() -> None:
    link = Link()
    link.inbox.on(Tick, lambda _: None)
    link.receive(frame(TEXT, b'{"type":"Tick","n":"no number"}', masked=False))
    for _ in range(5):
        link.receive(frame(PING, b"\xee" * 100, masked=False))
    (error,) = link.faults
    assert isinstance(error, DecodeError)
    assert error.raw == b'{"type":"Tick","n":"no number"}'


def test_error_that_nobody_took_keeps_nothing_alive() -> None:
    class Client:
        pass

    link, client, error = Link(), Client(), ValueError()
    gone = weakref.ref(client)
    client.inbox = link.inbox  # type: ignore[attr-defined]  # what a traceback leads to
    error.client = client  # type: ignore[attr-defined]
    link.inbox.close(error)
    del link, client, error
    gc.collect()
    assert gone() is None
