"""What becomes of the messages that one connection has accepted: each ends in exactly one way, and knows it."""

import asyncio
import contextlib
import gc
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.memory import BOTH_ROLES, Link
from tests.support.wire import PING, close_frame, frame

from websocket_utils import _core
from websocket_utils.exceptions import ConnectionClosed, EncodeError, MessageNotWritten, SendQueueFull
from websocket_utils.outcomes import SendOutcome

WRITTEN = SendOutcome("written", 7)
DROPPED = SendOutcome("dropped", 7, "lost")
UNKNOWN = SendOutcome("unknown", 7)


def lose(link: Link) -> None:
    link.connection.connection_lost(ConnectionResetError())


def abort(link: Link) -> None:
    link.connection.abort()


def break_socket(link: Link) -> None:
    """The transport's buffer leaves, and then it finds its socket broken, which it tells at the end of the turn."""
    link.transport.is_aborted = True
    link.transport.drain(room=0)


# --- what is written ---


@BOTH_ROLES
def test_message_that_is_written_at_once_has_its_outcome_and_they_share_one_object(is_client: bool) -> None:
    link = Link(is_client=is_client, epoch=7)
    first = link.connection.send("x")
    link.loop.turn()
    second = link.connection.send("y")
    assert first.outcome == second.outcome == WRITTEN
    assert first is second
    assert link.connection.fate_counters() == (2, 2, 0, 0)


def test_messages_behind_the_first_of_a_turn_are_written_at_its_end() -> None:
    link = Link(epoch=7)
    link.connection.send("first")
    sent = [link.connection.send(f"{number}") for number in range(3)]
    assert [one.outcome for one in sent] == [None] * 3
    assert link.connection.fate_counters() == (4, 1, 0, 0)
    link.loop.turn()
    assert [one.outcome for one in sent] == [WRITTEN] * 3
    assert link.connection.fate_counters() == (4, 4, 0, 0)


def test_object_that_nobody_kept_is_given_out_again_and_one_that_is_kept_is_not() -> None:
    link = Link()
    link.connection.send("first")
    address = id(link.connection.send("second"))
    kept = link.connection.send("third")
    assert id(kept) == address
    other = link.connection.send("fourth")
    assert other is not kept
    link.transport.room = 0
    link.loop.turn()
    lose(link)
    assert kept.outcome is not None
    assert kept.outcome.fate == "unknown"


def test_what_the_transport_holds_is_not_written_until_it_holds_nothing() -> None:
    link = Link(epoch=7)
    link.transport.room = 5
    held = link.connection.send("held in part")
    behind = link.connection.send("behind")
    link.loop.turn()
    assert (held.outcome, behind.outcome) == (None, None)
    link.transport.drain(room=0)
    assert (held.outcome, behind.outcome) == (WRITTEN, None), "it was handed over when the first had left"
    assert link.connection.fate_counters() == (2, 1, 0, 0)
    link.transport.drain()
    assert behind.outcome == WRITTEN


def test_control_frames_and_broadcasts_count_as_no_message() -> None:
    probe = Link()
    broadcaster = _core.Broadcaster(
        probe.loop, lambda *_lag: None, lambda error: pytest.fail(str(error)), max_lag=1 << 20
    )
    link = Link(is_client=False, event_loop=probe.loop, broadcaster=broadcaster, epoch=7)
    broadcaster.add(link.connection)
    link.transport.room = 0
    link.connection.send("held")
    broadcaster.broadcast("one for all")
    link.connection.ping(b"?")
    link.receive(frame(PING, b"!", masked=True))
    sent = link.connection.send("own")
    broadcaster.broadcast("another one")
    link.connection.close(1000)
    link.loop.turn()
    assert link.connection.fate_counters() == (2, 0, 0, 0)
    link.transport.drain()
    assert sent.outcome == WRITTEN
    assert link.connection.fate_counters() == (2, 2, 0, 0)


def test_copies_of_broadcasts_for_who_is_behind_count_as_no_message() -> None:
    probe = Link()
    laggards: list[Any] = []
    broadcaster = _core.Broadcaster(
        probe.loop, lambda *lag: laggards.append(lag), lambda error: pytest.fail(str(error)), max_lag=600_000
    )
    link = Link(is_client=False, event_loop=probe.loop, broadcaster=broadcaster, epoch=7)
    other = Link(is_client=False, event_loop=probe.loop, broadcaster=broadcaster)
    for one, channel in ((link, "some"), (other, "all")):
        broadcaster.add(one.connection)
        broadcaster.subscribe(one.connection, channel)
    link.transport.room = 0
    link.connection.send("held")
    for _ in range(3):
        broadcaster.publish("some", "for both")
        broadcaster.publish("all", bytes(100_000))
    big = [link.connection.send(bytes(200_000)) for _ in range(2)]
    link.loop.turn()
    before = link.connection.held_bytes
    for _ in range(5):
        broadcaster.publish("all", bytes(100_000))
        link.loop.turn()
    assert link.connection.held_bytes > before, "it has a copy now"
    assert laggards == []
    # Each hand-over takes 256 KiB.
    link.transport.drain(room=0)
    assert link.connection.fate_counters() == (3, 1, 0, 0)
    link.transport.drain(room=0)
    assert [one.outcome for one in big] == [WRITTEN, None]
    link.connection.connection_lost(None)
    assert [one.outcome for one in big] == [WRITTEN, UNKNOWN]


def test_message_that_is_refused_is_not_accepted() -> None:
    link = Link(max_send_queue=100)
    link.transport.room = 0
    link.connection.send("held")
    link.connection.send("waits")
    with pytest.raises(SendQueueFull):
        link.connection.send(bytes(200))
    with pytest.raises(EncodeError):
        link.connection.send(object())
    assert link.connection.fate_counters() == (2, 0, 0, 0)
    link.connection.close(1000)
    with pytest.raises(ConnectionClosed):
        link.connection.send("too late")
    assert link.connection.fate_counters()[0] == 2


# --- the end ---


@pytest.mark.parametrize("end", [lose, abort])
@BOTH_ROLES
def test_end_decides_every_message(end: Any, is_client: bool) -> None:
    link = Link(is_client=is_client, epoch=7)
    done = link.connection.send("done")
    link.loop.turn()
    link.transport.room = 3
    held = link.connection.send("held in part")
    waiting = [link.connection.send("w" * size) for size in (0, 200, 70_000)]
    end(link)
    assert [one.outcome for one in (done, held, *waiting)] == [WRITTEN, UNKNOWN, DROPPED, DROPPED, DROPPED]
    assert link.connection.fate_counters() == (5, 1, 3, 1)
    lose(link)
    assert link.connection.fate_counters() == (5, 1, 3, 1)


def test_message_of_which_a_part_was_handed_over_is_unknown_and_those_behind_it_are_dropped() -> None:
    link = Link(epoch=7, max_send_queue=1 << 22)
    link.transport.room = 0
    first = link.connection.send("first")
    # One hand-over takes 256 KiB.
    big = [link.connection.send(bytes(100_000)) for _ in range(5)]
    link.transport.drain(room=0)
    assert [one.outcome for one in big] == [None] * 5
    lose(link)
    assert first.outcome == WRITTEN
    assert [one.outcome for one in big] == [UNKNOWN] * 3 + [DROPPED] * 2
    assert link.connection.fate_counters() == (6, 1, 2, 3)


def test_transport_that_found_its_socket_broken_is_given_nothing_and_what_waits_is_dropped() -> None:
    link = Link(epoch=7)
    link.transport.is_aborted = True
    sent = link.connection.send("x")
    assert link.transport.writes == []
    assert sent.outcome == DROPPED
    assert link.connection.fate_counters() == (1, 0, 1, 0)
    assert link.owner.calls == ["closing"]


def test_write_that_finds_the_socket_broken_leaves_its_messages_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    link = Link(epoch=7)
    write = link.transport.write

    def write_and_fail(data: bytes) -> None:
        write(data)
        link.transport.is_aborted = True

    link.connection.send("first")
    sent = [link.connection.send("x") for _ in range(2)]
    monkeypatch.setattr(link.transport, "write", write_and_fail)
    link.loop.turn()
    assert [one.outcome for one in sent] == [UNKNOWN] * 2
    assert link.connection.fate_counters() == (3, 1, 0, 2)


def test_close_ends_no_message_that_still_leaves() -> None:
    link = Link(is_client=False, epoch=7)
    link.transport.room = 0
    held = link.connection.send("held")
    queued = link.connection.send("queued")
    link.receive(close_frame(1000, masked=True))
    assert (held.outcome, queued.outcome) == (None, None)
    link.transport.drain()
    lose(link)
    assert (held.outcome, queued.outcome) == (WRITTEN, WRITTEN)


OPERATIONS = st.one_of(
    st.tuples(st.just("send"), st.sampled_from([0, 1, 5, 125, 126, 3000, 65_535, 65_536, 300_000])),
    st.tuples(st.just("drain"), st.sampled_from([0, 1, 2, 3, 7, 130, 5000, 70_000, None])),
    st.tuples(st.just("turn"), st.none()),
    st.tuples(st.just("ping"), st.none()),
    st.tuples(st.just("broadcast"), st.sampled_from([0, 10, 200, 4000])),
    st.tuples(st.just("await"), st.none()),
)


class Judge:
    """Decides fates from the bytes that the transport was given, frame by frame, when it held none and at the end."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.written = 0

    def look(self) -> None:
        if self._link.transport.held == 0:
            self.written = self.frames()[0]

    def frames(self) -> tuple[int, int]:
        """Messages (text frames here) of which all, and of which any byte was given to the transport."""
        stream = b"".join(self._link.transport.writes)
        complete = begun = at = 0
        while at < len(stream):
            is_text = stream[at] & 0xF == 1
            begun += is_text
            second = stream[at + 1] if at + 1 < len(stream) else 0
            size, head = second & 127, 2
            if size > 125:
                head = 4 if size == 126 else 10
                size = int.from_bytes(stream[at + 2 : at + head], "big")
            at += head + (4 if second & 128 else 0) + size
            complete += is_text and at <= len(stream)
        return complete, begun


@BOTH_ROLES
@given(operations=st.lists(OPERATIONS, max_size=40), ends_by_abort=st.booleans())
def test_fates_are_those_of_the_bytes_whatever_happens(
    is_client: bool, operations: list[tuple[str, Any]], ends_by_abort: bool
) -> None:
    probe = Link()
    # Bounds so low that who is behind gets copies of the log.
    broadcaster = _core.Broadcaster(probe.loop, lambda *_lag: None, lambda error: pytest.fail(str(error)), max_lag=6000)
    link = Link(
        is_client=is_client,
        event_loop=probe.loop,
        broadcaster=None if is_client else broadcaster,
        max_send_queue=1 << 22,
    )
    other = Link(is_client=False, event_loop=probe.loop, broadcaster=broadcaster)
    broadcaster.add(other.connection)
    if not is_client:
        broadcaster.add(link.connection)
        broadcaster.subscribe(link.connection, "some")
    broadcaster.subscribe(other.connection, "all")
    judge = Judge(link)
    sent: list[_core.Sent] = []
    for what, size in operations:
        if what == "send":
            sent.append(link.connection.send("x" * size))
        elif what == "drain":
            if link.transport.held:
                # As a transport that hears of room inside a turn: the judge looks at the moment in between.
                link.transport.held = 0
                judge.look()
                link.transport.drain(room=size)
            else:
                link.transport.room = size
        elif what == "turn":
            link.loop.turn()
        elif what == "ping":
            link.connection.ping(b"?")
        elif what == "broadcast":
            # What only the other is sent lets the log grow behind this one's ranges.
            broadcaster.publish("some", bytes(size))
            broadcaster.publish("all", bytes(3 * size))
        elif sent and sent[-1].outcome is None:
            with contextlib.suppress(StopIteration):
                sent[-1].send(None)
        judge.look()
        accepted, written, dropped, unknown = link.connection.fate_counters()
        assert (accepted, written, dropped, unknown) == (len(sent), judge.written, 0, 0)
    _, begun = judge.frames()
    (abort if ends_by_abort else lose)(link)
    fates = [one.outcome.fate for one in sent if one.outcome is not None]
    expected = ["written"] * judge.written + ["unknown"] * (begun - judge.written) + ["dropped"] * (len(sent) - begun)
    assert fates == expected
    assert link.connection.fate_counters() == (
        len(sent),
        *(expected.count(fate) for fate in ("written", "dropped", "unknown")),
    )


# --- awaiting ---


async def test_awaiting_returns_the_outcome_at_once_when_it_is_written() -> None:
    link = Link(event_loop=asyncio.get_running_loop(), epoch=7)
    sending: Any = link.connection.send("x")
    with pytest.raises(StopIteration) as stop:
        sending.send(None)
    assert stop.value.value == WRITTEN
    assert await link.connection.send("y") == WRITTEN


async def test_awaiting_a_message_that_waits_for_the_end_of_the_turn_writes_it() -> None:
    link = Link(event_loop=asyncio.get_running_loop(), epoch=7)
    link.connection.send("first")
    link.connection.send("second")
    sending: Any = link.connection.send("third")
    with pytest.raises(StopIteration) as stop:
        sending.send(None)
    assert stop.value.value == WRITTEN
    assert [one.payload for one in link.sent()] == [b"first", b"second", b"third"]


async def test_one_who_awaits_is_woken_when_his_message_is_written_and_others_wait_on() -> None:
    link = Link(event_loop=asyncio.get_running_loop(), epoch=7)
    link.transport.room = 0
    tasks = [asyncio.ensure_future(link.connection.send(text)) for text in ("held", "behind")]
    await asyncio.sleep(0)
    link.transport.drain(room=0)
    async with asyncio.timeout(1):
        assert await tasks[0] == WRITTEN
    assert not tasks[1].done()
    link.transport.drain()
    async with asyncio.timeout(1):
        assert await tasks[1] == WRITTEN


@pytest.mark.parametrize("end", [lose, abort, break_socket])
async def test_those_who_await_are_told_of_the_end(end: Any) -> None:
    link = Link(event_loop=asyncio.get_running_loop(), epoch=7)
    link.transport.room = 0
    held = asyncio.ensure_future(link.connection.send("held"))
    queued = [asyncio.ensure_future(link.connection.send(text)) for text in ("q", bytes(300_000), "last")]
    await asyncio.sleep(0)
    end(link)
    async with asyncio.timeout(1):
        outcomes = await asyncio.gather(held, *queued, return_exceptions=True)
    ends = [one.outcome if isinstance(one, MessageNotWritten) else one for one in outcomes]
    assert ends == [WRITTEN if end is break_socket else UNKNOWN, DROPPED, DROPPED, DROPPED]


async def test_outcome_stays_right_when_it_is_awaited_late() -> None:
    def handle(_: str) -> None: ...

    link = Link(event_loop=asyncio.get_running_loop(), epoch=7)
    link.inbox.on(str, handle)
    handler = weakref.ref(handle)
    del handle
    written = link.connection.send("written")
    await asyncio.sleep(0)
    link.transport.room = 0
    unknown, dropped = link.connection.send("unknown"), link.connection.send("dropped")
    lose(link)
    link.transport.protocol = None
    del link
    # The end of the turn was asked for before.
    await asyncio.sleep(0)
    gc.collect()
    assert handler() is None, "what send returned keeps no connection, nor what that holds"
    assert await written == WRITTEN
    for sent, outcome in ((unknown, UNKNOWN), (dropped, DROPPED), (unknown, UNKNOWN)):
        with pytest.raises(MessageNotWritten) as caught:
            await sent
        assert caught.value.outcome == outcome


async def test_cancelled_waiters_are_forgotten_and_the_others_are_woken() -> None:
    link = Link(event_loop=asyncio.get_running_loop(), epoch=7)
    link.transport.room = 0
    link.connection.send("held")
    tasks = [asyncio.ensure_future(link.connection.send("queued")) for _ in range(50)]
    await asyncio.sleep(0)
    futures = [weakref.ref(one) for one in gc.get_referents(link.connection) if isinstance(one, asyncio.Future)]
    assert len(futures) == 50
    for task in tasks[1:]:
        task.cancel()
    await asyncio.wait(tasks[1:])
    gc.collect()
    # Half of them may be kept until there are more.
    assert sum(future() is not None for future in futures) <= 25
    link.transport.drain()
    async with asyncio.timeout(1):
        assert await tasks[0] == WRITTEN
    assert link.connection.fate_counters() == (51, 51, 0, 0)


async def test_send_may_be_a_task_of_its_own() -> None:
    link = Link(event_loop=asyncio.get_running_loop(), epoch=7)
    assert await asyncio.create_task(link.connection.send("x")) == WRITTEN
