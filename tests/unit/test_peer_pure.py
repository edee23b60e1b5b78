"""Clock offsets, numbers of messages, the table of requests, and addresses: no link among them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocket_utils.peer._clock_offset import ClockEstimate
from websocket_utils.peer._places import is_local, listening_faults, named_places
from websocket_utils.peer._requests import RequestTable
from websocket_utils.peer._sequences import Missed, SequenceBook, SequenceFault

# --- clock offset ---


def test_offset_of_a_way_that_is_as_long_back_is_exact() -> None:
    clock = ClockEstimate()
    # Sent at 10, 2 s each way, the peer 100 s ahead and 1 s at work.
    assert clock.add(10.0, 112.0, 113.0, 15.0)
    assert clock.round_trip_time == pytest.approx(4.0)
    assert clock.offset == pytest.approx(100.0)


@given(
    # Whole numbers: their sums and halves are exact.
    offset=st.integers(-(10**6), 10**6),
    ways=st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10), st.integers(0, 10)), min_size=1, max_size=40),
)
def test_offset_is_wrong_by_half_a_round_trip_at_most(offset: int, ways: list[tuple[int, int, int]]) -> None:
    clock = ClockEstimate(window=len(ways))
    for number, (there, work, back) in enumerate(ways):
        sent = 100.0 * number
        received = sent + there + offset
        clock.add(sent, received, received + work, sent + there + work + back)
    assert clock.offset is not None
    assert clock.round_trip_time is not None
    assert abs(clock.offset - offset) <= clock.round_trip_time / 2
    assert clock.round_trip_time == min(there + back for there, _, back in ways)


def test_longer_route_is_seen_when_the_shorter_sample_is_out_of_the_window() -> None:
    clock = ClockEstimate(window=3)
    clock.add(0.0, 1.0, 1.0, 2.0)
    for number in range(1, 3):
        clock.add(10.0 * number, 10.0 * number + 4, 10.0 * number + 4, 10.0 * number + 8)
        assert clock.round_trip_time == 2.0
    clock.add(30.0, 34.0, 34.0, 38.0)
    assert clock.round_trip_time == 8.0


@pytest.mark.parametrize(
    "times",
    [
        (0.0, 5.0, 4.0, 1.0),
        (0.0, 0.0, 9.0, 1.0),
        (1.0, 1.0, 1.0, 0.0),
        (0.0, math.inf, math.inf, 1.0),
        (0.0, math.nan, 0.0, 1.0),
        (0.0, 1e300, 1e300, 1.0),
    ],
)
def test_sample_that_cannot_be_is_left_out(times: tuple[float, float, float, float]) -> None:
    clock = ClockEstimate()
    assert not clock.add(*times)
    assert clock.offset is None
    assert clock.round_trip_time is None


def test_nothing_is_known_of_a_clock_that_was_cleared() -> None:
    clock = ClockEstimate()
    clock.add(0.0, 1.0, 1.0, 2.0)
    clock.clear()
    assert clock.offset is None


# --- numbers of messages ---


def test_messages_that_did_not_come_over_are_told_with_their_range() -> None:
    book = SequenceBook()
    book.begin(7)
    book.end(10, 20)
    assert book.check(their_sent=25, their_received=8) == (Missed(9, 10), Missed(21, 25))


def test_nothing_is_missed_where_all_came() -> None:
    book = SequenceBook()
    book.begin(7)
    book.end(10, 20)
    assert book.check(20, 10) == (None, None)


@pytest.mark.parametrize(("their_sent", "their_received"), [(19, 10), (20, 11), (0, 0)])
def test_numbers_that_cannot_be_are_refused(their_sent: int, their_received: int) -> None:
    book = SequenceBook()
    book.begin(7)
    book.end(10, 20)
    with pytest.raises(SequenceFault):
        book.check(their_sent, their_received)


def test_instance_without_a_number_is_never_known() -> None:
    assert not SequenceBook().knows(0)


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50)),
        max_size=20,
    )
)
def test_both_sides_tell_the_same_losses(connections: list[tuple[int, int, int, int]]) -> None:
    """Over any connections, of which each loses some of its last messages in either direction."""
    ours, theirs = SequenceBook(), SequenceBook()
    ours.begin(1)
    theirs.begin(2)
    for sent, lost, their_sent, their_lost in connections:
        ours.end(sent, max(0, their_sent - their_lost))
        theirs.end(their_sent, max(0, sent - lost))
        our_view = ours.check(theirs.sent, theirs.received)
        their_view = theirs.check(ours.sent, ours.received)
        assert our_view == tuple(reversed(their_view))
        for missed, count in zip(our_view, (min(sent, lost), min(their_sent, their_lost)), strict=True):
            assert (0 if missed is None else missed.last - missed.first + 1) == count
        ours.go_on(theirs.sent)
        theirs.go_on(ours.sent)


# --- requests ---


def test_answer_settles_its_request_once() -> None:
    table = RequestTable[str](limit=2)
    number = table.open("a", 1.0)
    assert table.settle(number) == "a"
    assert table.settle(number) is None
    assert (table.late, table.stray) == (1, 0)


def test_answer_to_what_was_forgotten_is_late() -> None:
    table = RequestTable[str](limit=2)
    number = table.open("a", 1.0)
    table.forget(number)
    assert table.settle(number) is None
    assert (table.late, table.stray) == (1, 0)


@pytest.mark.parametrize("number", [0, 2, 2**64 - 1])
def test_answer_to_what_was_never_asked_is_a_stray(number: int) -> None:
    table = RequestTable[str](limit=2)
    table.open("a", 1.0)
    assert table.settle(number) is None
    assert (table.late, table.stray) == (0, 1)
    assert len(table) == 1


def test_table_is_full_at_its_limit_and_has_room_again_behind_an_answer() -> None:
    table = RequestTable[str](limit=2)
    number = table.open("a", 1.0)
    table.open("b", 1.0)
    assert table.open("c", 1.0) == 0
    assert len(table) == 2
    table.settle(number)
    assert table.open("c", 1.0) == 3


def test_lost_link_takes_all_requests_and_no_number_comes_again() -> None:
    table = RequestTable[str](limit=9)
    numbers = [table.open(name, 1.0) for name in "abc"]
    assert table.take_all() == ["a", "b", "c"]
    assert len(table) == 0
    assert table.open("d", 1.0) not in numbers
    assert table.take_due(0.0) == ([], 1.0)


def test_requests_that_are_due_are_taken_in_order_and_once() -> None:
    table = RequestTable[str](limit=9)
    for due, ticket in ((3.0, "c"), (1.0, "a"), (2.0, "b"), (1.0, "a2")):
        table.open(ticket, due)
    assert table.take_due(0.5) == ([], 1.0)
    assert table.take_due(2.0) == (["a", "a2", "b"], 3.0)
    assert table.take_due(2.0) == ([], 3.0)
    assert len(table) == 1


def test_request_that_was_opened_behind_a_look_is_taken_by_the_next_one() -> None:
    table = RequestTable[str](limit=9)
    table.open("a", 3.0)
    assert table.take_due(0.0) == ([], 3.0)
    table.open("b", 1.0)
    assert table.take_due(1.0) == (["b"], 3.0)


def test_answer_to_a_request_that_was_due_is_late() -> None:
    table = RequestTable[str](limit=9)
    number = table.open("a", 1.0)
    assert table.take_due(1.0) == (["a"], None)
    assert table.settle(number) is None
    assert (table.late, table.stray) == (1, 0)


def test_deadline_of_a_request_that_is_over_is_not_taken() -> None:
    table = RequestTable[str](limit=9)
    number = table.open("a", 1.0)
    table.open("b", 2.0)
    assert table.take_due(0.0) == ([], 1.0)
    table.settle(number)
    # What is over is no reason to wake up for, either.
    assert table.take_due(1.0) == ([], 2.0)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=500))
def test_deadlines_of_requests_that_are_over_do_not_gather(steps: list[tuple[bool, bool]]) -> None:
    table = RequestTable[int](limit=1000)
    waiting: list[int] = []
    for number, (is_answered, is_looked_at) in enumerate(steps, 1):
        assert table.open(number, 1000.0 + number) == number
        if is_looked_at:
            table.take_due(0.0)
        if is_answered:
            table.settle(number)
        else:
            waiting.append(number)
        if is_looked_at:
            table.take_due(0.0)
            assert table.deadlines <= max(64, 2 * len(waiting))
    assert table.take_due(1e9) == (waiting, None)
    assert table.deadlines == 0


# --- addresses ---


@pytest.mark.parametrize(
    "url", ["ws://127.0.0.1:1", "ws://127.9.9.9:1", "ws://[::1]:1", "ws://localhost:1", "ws+unix:/a"]
)
def test_url_of_this_machine_is_local(url: str) -> None:
    assert is_local(url)


@pytest.mark.parametrize(
    "url", ["ws://10.0.0.2:1", "ws://127.0.0.1.example:1", "wss://[2001:db8::1]:1", "ws://0.0.0.0:1"]
)
def test_url_of_another_machine_is_not_local(url: str) -> None:
    assert not is_local(url)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0", "localhost:0", "unix:/run/peer.sock", None])
def test_listening_for_this_machine_needs_no_key(listen: str | None) -> None:
    assert listening_faults(listen, has_key=False) == []


@pytest.mark.parametrize("listen", ["0.0.0.0:0", ":0", "10.0.0.2:0", "host:0", "[::]:0"])
def test_listening_for_other_machines_needs_a_key(listen: str) -> None:
    assert "needs a key" in listening_faults(listen, has_key=False)[0]
    assert listening_faults(listen, has_key=True) == []


def test_places_are_urls_and_unix_paths_by_name() -> None:
    places, faults = named_places({"guard": "ws://10.0.0.2:9", "x": "unix:/run/x.sock"}, "me", has_key=True)
    assert places == [("guard", "ws://10.0.0.2:9"), ("x", "ws+unix:/run/x.sock")]
    assert faults == []


def test_all_faults_of_places_are_told() -> None:
    places = {
        "me": "ws://127.0.0.1:1",
        "a b": "ws://127.0.0.1:1",
        "far": "ws://user:secret@far:1?key=x",
        "bad": "http://x",
    }
    _, faults = named_places(places, "me", has_key=False)
    assert len(faults) == 4
    assert "secret" not in str(faults)
    assert "key=x" not in str(faults)
