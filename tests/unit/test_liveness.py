"""Signs of life of one connection: round trips of pings, errors of its socket, and messages that nobody wants now."""

import pytest
from tests.support.memory import BOTH_ROLES, Link
from tests.support.wire import BINARY, CLOSE, PONG, TEXT, close_frame, frame

from websocket_utils import Pong


class Recorder:
    """As much of `Histogram` as a connection uses."""

    def __init__(self) -> None:
        self.values: list[int] = []

    def record(self, nanoseconds: int) -> None:
        self.values.append(nanoseconds)


@BOTH_ROLES
def test_pong_to_the_last_ping_records_its_round_trip(is_client: bool) -> None:
    rtt = Recorder()
    link = Link(is_client=is_client, rtt=rtt)
    assert link.connection.last_rtt_ns == 0
    link.connection.ping(b"nonce 1")
    awaits = link.connection.awaits_pong
    link.receive(frame(PONG, b"nonce 1", masked=not is_client))
    assert (awaits, link.connection.awaits_pong) == (True, False)
    assert rtt.values == [link.connection.last_rtt_ns]
    # Two calls of this test lie between: nobody is so slow, and no clock so coarse.
    assert 0 < rtt.values[0] < 5_000_000_000


@pytest.mark.parametrize("payload", [b"", b"nonce", b"nonce 12", b"nonce 2"])
def test_pong_that_answers_another_ping_or_none_records_nothing(payload: bytes) -> None:
    rtt = Recorder()
    link = Link(rtt=rtt)
    link.receive(frame(PONG, b"nonce 1", masked=False))
    link.connection.ping(b"nonce 2" if payload != b"nonce 2" else b"nonce 1")
    link.receive(frame(PONG, payload, masked=False))
    assert link.connection.awaits_pong
    assert rtt.values == []


def test_pong_to_a_ping_before_the_last_records_nothing() -> None:
    rtt = Recorder()
    link = Link(rtt=rtt)
    link.connection.ping(b"1")
    link.connection.ping(b"2")
    link.receive(frame(PONG, b"1", masked=False))
    assert link.connection.awaits_pong
    assert rtt.values == []
    link.receive(frame(PONG, b"2", masked=False))
    assert len(rtt.values) == 1


def test_pong_that_may_be_of_either_of_two_pings_answers_and_records_nothing() -> None:
    rtt = Recorder()
    link = Link(rtt=rtt)
    link.connection.ping(b"same")
    link.connection.ping(b"same")
    link.receive(frame(PONG, b"same", masked=False))
    assert not link.connection.awaits_pong
    assert rtt.values == []
    link.connection.ping(b"same")
    link.receive(frame(PONG, b"same", masked=False) * 2)
    assert len(rtt.values) == 1


def test_round_trip_ends_with_the_read_that_brings_the_pong_however_long_its_handlers_take() -> None:
    rtt = Recorder()
    link = Link(rtt=rtt)
    seen: list[int] = []

    def work(_: bytes) -> None:
        seen.append(sum(range(2_000_000)))

    link.inbox.on(bytes, work)
    link.connection.ping(b"1")
    link.receive(frame(BINARY, b"x", masked=False) + frame(PONG, b"1", masked=False))
    behind_work = rtt.values[0]
    link.connection.ping(b"2")
    work(b"")
    link.receive(frame(PONG, b"2", masked=False))
    assert len(seen) == 2
    assert behind_work * 4 < rtt.values[1], "only the second one was kept waiting before its read"


def test_pong_is_measured_without_a_histogram_and_on_a_muted_connection() -> None:
    link = Link()
    link.connection.mute()
    link.connection.ping()
    link.receive(frame(PONG, b"", masked=False))
    assert link.connection.last_rtt_ns > 0


# --- muted ---


@BOTH_ROLES
def test_muted_connection_counts_and_drops_messages_until_it_is_unmuted(is_client: bool) -> None:
    link = Link(is_client=is_client)
    handled: list[str | bytes] = []
    link.inbox.on(str, handled.append)
    link.inbox.on(bytes, handled.append)
    masked = not is_client

    def bring(name: str) -> None:
        link.receive(frame(TEXT, name.encode(), masked=masked) + frame(BINARY, name.encode(), masked=masked))

    bring("before")
    link.connection.mute()
    bring("muted")
    assert link.connection.messages_received == 4
    assert link.inbox.counters()[0] == 2
    link.connection.unmute()
    bring("after")
    assert handled == ["before", b"before", "after", b"after"]
    assert link.connection.messages_received == 6


@pytest.mark.parametrize("consume", [False, True])
def test_muted_connection_brings_the_library_its_own_messages_and_nobody_else(consume: bool) -> None:
    link = Link()
    heard: list[object] = []
    link.inbox.control(Pong, lambda connection, message: heard.append((connection, message)), consume=consume)
    link.inbox.begin_epoch()
    link.connection.mute()
    link.receive(frame(TEXT, b'{"type":"Pong"}', masked=False) + frame(TEXT, b'{"type":"Ping"}', masked=False))
    assert heard == [(link.connection, Pong())]
    assert link.queued() == []
    assert link.connection.messages_received == 2
    # Of the inbox's own counts they are no part.
    assert (link.inbox.counters()[0], link.inbox.epoch_messages) == (0, 0)


def test_muted_connection_keeps_the_protocol() -> None:
    link = Link()
    link.connection.mute()
    link.receive(close_frame(1000, masked=False))
    assert [one.opcode for one in link.sent()] == [CLOSE]
    assert link.owner.calls == ["closing"]


def test_unmuting_delivers_nothing_after_delivery_was_stopped() -> None:
    link = Link()
    link.connection.mute()
    link.connection.stop_delivering()
    link.connection.unmute()
    link.receive(frame(TEXT, b"x", masked=False))
    assert link.queued() == []
    assert link.connection.messages_received == 0


def test_full_inbox_holds_no_muted_connection() -> None:
    link = Link(max_inbox=1)
    link.receive(frame(TEXT, b"more than its bound", masked=False))
    link.loop.turn()
    assert not link.transport.reads()
    link.connection.mute()
    assert link.transport.reads()
    link.receive(frame(TEXT, b"dropped", masked=False))
    link.loop.turn()
    assert link.transport.reads()


def test_lost_connection_has_a_socket_error() -> None:
    link = Link()
    link.connection.connection_lost(None)
    assert link.connection.has_socket_error()


def test_epoch_is_the_number_it_was_given() -> None:
    assert Link(epoch=12).connection.epoch == 12
    assert Link().connection.epoch == 0
