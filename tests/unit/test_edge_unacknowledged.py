"""The bookkeeping of a publisher: bounds, batches, acknowledgements, what follows on a new connection."""

import math
from typing import Any

import pytest
from tests.support.edge import Disk, Edge

from websocket_utils.edge._unacknowledged import HEAD, OVERHEAD, Acknowledged, Resumption, Unacknowledged
from websocket_utils.exceptions import PublisherBufferFull, RemoteProtocolError

EPOCH = 1_700_000_000_000


def made(**settings: Any) -> Unacknowledged:
    given = {"interval": 0.02, "buffer": 10_000, "window": 5_000, **settings}
    return Unacknowledged(epoch=EPOCH, **given)


def put(updates: Unacknowledged, *channels: str, now: float = 0.0) -> list[int]:
    return [updates.put(channel, f"{channel}\n{{}}\n", len(channel) + 4, now) for channel in channels]


def connected(updates: Unacknowledged) -> Unacknowledged:
    updates.resume(0, 0, 0.0, now_ms=EPOCH)
    return updates


def due(updates: Unacknowledged) -> float | None:
    return updates.due_at


def stalls_at(updates: Unacknowledged) -> float | None:
    return updates.stalls_at


def texts(updates: Unacknowledged, now: float = 1.0) -> list[str]:
    taken: list[str] = []
    while (batch := updates.take(now)) is not None:
        taken.append(batch.text)
    return taken


def test_batch_has_its_epoch_first_sequence_and_two_lines_for_each_update() -> None:
    updates = connected(made())
    assert put(updates, "a", "b") == [1, 2]
    assert texts(updates) == [f"\x1e{EPOCH} 1\na\n{{}}\nb\n{{}}\n"]
    put(updates, "c")
    assert texts(updates) == [f"\x1e{EPOCH} 3\nc\n{{}}\n"]


def test_batch_is_due_an_interval_after_its_first_update() -> None:
    updates = connected(made())
    assert due(updates) is None
    put(updates, "a", now=5.0)
    put(updates, "b", now=5.01)
    assert due(updates) == 5.02


def test_batch_is_due_at_once_when_it_is_full_or_hurried() -> None:
    updates = connected(made(max_batch_updates=2))
    put(updates, "a")
    put(updates, "b")
    assert updates.is_full_batch
    assert due(updates) == -math.inf
    texts(updates)
    put(updates, "c", now=7.0)
    assert due(updates) == 7.02
    updates.hurry()
    assert due(updates) == -math.inf


def test_batches_keep_to_their_bytes_and_updates() -> None:
    updates = connected(made(max_batch=HEAD + 12, max_batch_updates=2, window=10_000))
    put(updates, *"abcde")
    # Five bytes each: two fit by either rule.
    taken = texts(updates)
    assert [text.count("{}") for text in taken] == [2, 2, 1]
    assert all(len(text) <= HEAD + 12 for text in taken)


def test_window_holds_back_what_is_not_acknowledged_and_lets_one_update_pass_whatever_its_size() -> None:
    updates = connected(made(window=2 * OVERHEAD + 10, max_batch_updates=1))
    put(updates, "a", "b", "c")
    assert len(texts(updates)) == 2
    assert updates.in_flight <= 2 * OVERHEAD + 10
    assert due(updates) is None
    updates.acknowledge(EPOCH, 1, 2.0)
    assert due(updates) is not None
    assert len(texts(updates)) == 1
    updates.acknowledge(EPOCH, 3, 2.0)
    assert updates.in_flight == 0
    updates.put("big", "x" * 500, 500, 3.0)
    assert len(texts(updates)) == 1


def test_acknowledgement_settles_all_up_to_it_and_times_whole_batches() -> None:
    updates = connected(made(max_batch_updates=2))
    put(updates, *"abc", now=1.0)
    texts(updates, now=1.5)
    assert updates.acknowledge(EPOCH, 2, 2.0) == Acknowledged(2, (0.5,), (1.0,))
    assert updates.acknowledge(EPOCH, 3, 3.0) == Acknowledged(1, (1.5,), (2.0,))
    assert (updates.oldest, updates.size, len(updates), updates.acknowledged) == (None, 0, 0, 3)


def test_acknowledgement_that_is_late_or_of_another_epoch_changes_nothing() -> None:
    updates = connected(made())
    put(updates, *"ab")
    texts(updates)
    updates.acknowledge(EPOCH, 1, 2.0)
    assert updates.acknowledge(EPOCH, 1, 2.0).count == 0
    assert updates.acknowledge(EPOCH - 1, 2, 2.0).count == 0
    assert len(updates) == 1


def test_acknowledgement_of_what_was_never_sent_is_a_violation() -> None:
    updates = connected(made())
    put(updates, *"ab")
    with pytest.raises(RemoteProtocolError, match="acknowledges update 1, and 0 is the last one sent"):
        updates.acknowledge(EPOCH, 1, 2.0)
    assert len(updates) == 2


def test_full_buffer_refuses_and_keeps_all_it_has() -> None:
    updates = connected(made(buffer=14))
    put(updates, "a", "b")
    with pytest.raises(PublisherBufferFull) as caught:
        put(updates, "c")
    assert (caught.value.waiting, caught.value.size, caught.value.limit) == (10, 5, 14)
    assert (updates.published, len(updates), updates.dropped) == (2, 2, 0)


def test_full_buffer_drops_the_oldest_that_was_never_sent_and_nothing_that_was() -> None:
    updates = connected(made(buffer=15, when_full="drop_oldest"))
    put(updates, "a")
    texts(updates)
    put(updates, "b", "c", "d")
    assert (updates.dropped, updates.drops) == (1, (2, 2))
    assert [update[0] for update in updates] == [1, 3, 4]
    # No hole on the wire: what was dropped had no sequence.
    assert texts(updates) == [f"\x1e{EPOCH} 2\nc\n{{}}\nd\n{{}}\n"]
    with pytest.raises(PublisherBufferFull):
        put(updates, "e")


def test_full_buffer_conflates_what_has_a_newer_one_and_refuses_where_nothing_has() -> None:
    updates = connected(made(buffer=20, when_full="conflate"))
    put(updates, "a", "b", "a", "c")
    put(updates, "d")
    assert [update[0] for update in updates] == [2, 3, 4, 5]
    put(updates, "b")
    assert [update[0] for update in updates] == [3, 4, 5, 6]
    with pytest.raises(PublisherBufferFull):
        put(updates, "e")
    assert (updates.published, updates.dropped, updates.drops, len(updates)) == (6, 2, (2, 2), 4)


def test_conflation_remembers_nothing_of_what_has_left() -> None:
    updates = connected(made(buffer=10_000, window=10_000, when_full="conflate"))
    for number in range(1000):
        put(updates, "a", "b", "a")
        texts(updates)
        updates.acknowledge(EPOCH, 3 * number + 3, 1.0)
    assert len(updates._superseded) < 10
    assert updates._latest == {}


def test_new_connection_sends_again_what_the_edge_lacks_with_its_old_sequences() -> None:
    updates = connected(made(max_batch_updates=2))
    put(updates, *"abcd")
    texts(updates)
    put(updates, "e")
    assert updates.resume(EPOCH, 1, 2.0, now_ms=EPOCH) == Resumption(1, 3, 0)
    assert due(updates) == -math.inf
    assert [text.partition("\n")[0] for text in texts(updates)] == [f"\x1e{EPOCH} 2", f"\x1e{EPOCH} 4"]
    assert (updates.resent, updates.acknowledged, len(updates)) == (3, 1, 4)


def test_acknowledgement_may_come_for_what_waits_to_be_sent_again() -> None:
    updates = connected(made())
    put(updates, *"abc")
    texts(updates)
    updates.resume(EPOCH, 0, 2.0, now_ms=EPOCH)
    # The edge has read on the old connection meanwhile.
    assert updates.acknowledge(EPOCH, 2, 2.0).count == 2
    assert texts(updates) == [f"\x1e{EPOCH} 3\nc\n{{}}\n"]


def test_first_connection_takes_an_epoch_above_the_one_the_edge_knows() -> None:
    updates = made()
    assert not updates.is_superseded_by(EPOCH + 5, 9)
    updates.resume(EPOCH + 5, 9, 0.0, now_ms=EPOCH)
    assert updates.epoch == EPOCH + 6
    assert not updates.is_new


def test_name_whose_last_epoch_is_the_greatest_there_is_belongs_to_somebody_else() -> None:
    updates = made()
    assert updates.is_superseded_by(2**53 - 1, 7)
    assert not updates.is_superseded_by(2**53 - 2, 7)
    updates.resume(2**53 - 2, 7, 0.0, now_ms=EPOCH)
    assert updates.epoch == 2**53 - 1


@pytest.mark.parametrize(("epoch", "sequence"), [(EPOCH + 1, 0), (EPOCH, 3)])
def test_later_connection_that_knows_of_more_than_was_sent_is_another_publishers(epoch: int, sequence: int) -> None:
    updates = connected(made())
    put(updates, *"ab")
    texts(updates)
    assert updates.is_superseded_by(epoch, sequence)
    assert not updates.is_superseded_by(EPOCH, 2)
    assert not updates.is_superseded_by(EPOCH - 1, 7)


@pytest.mark.parametrize(("epoch", "sequence", "forgotten"), [(0, 0, 2), (EPOCH, 1, 1), (EPOCH - 9, 5, 2)])
def test_edge_that_forgot_what_it_acknowledged_is_told_the_rest_in_a_new_epoch(
    epoch: int, sequence: int, forgotten: int
) -> None:
    updates = connected(made())
    put(updates, *"abc")
    texts(updates)
    updates.acknowledge(EPOCH, 2, 1.0)
    assert updates.resume(epoch, sequence, 2.0, now_ms=EPOCH + 50) == Resumption(0, 1, forgotten)
    assert updates.epoch == EPOCH + 50
    assert texts(updates) == [f"\x1e{EPOCH + 50} 1\nc\n{{}}\n"]
    assert updates.acknowledge(EPOCH + 50, 1, 3.0).count == 1


def test_edge_that_never_acknowledged_forgot_nothing() -> None:
    updates = connected(made())
    put(updates, *"ab")
    texts(updates)
    assert updates.resume(EPOCH - 9, 5, 2.0, now_ms=EPOCH + 50) == Resumption(0, 2, 0)
    assert updates.epoch == EPOCH


def test_rejection_names_the_update_and_is_told_once() -> None:
    updates = connected(made(when_full="drop_oldest", buffer=15))
    put(updates, "a")
    texts(updates)
    put(updates, "b", "c", "d")
    texts(updates)
    # Update 2 was dropped: sequence 2 is update 3.
    assert updates.reject(EPOCH, 2) == (True, 3)
    assert updates.reject(EPOCH, 2) == (False, None)
    assert updates.acknowledge(EPOCH, 3, 1.0).count == 3
    assert updates.reject(EPOCH, 1) == (True, None)
    assert (updates.rejected, updates.acknowledged) == (2, 3)
    assert updates._refused == set()


def test_rejection_of_what_waits_to_be_sent_again_is_known() -> None:
    updates = connected(made())
    put(updates, "a", "b")
    texts(updates)
    updates.resume(EPOCH, 0, 1.0, now_ms=EPOCH)
    assert updates.reject(EPOCH, 2) == (True, 2)
    assert updates.reject(EPOCH, 9) == (False, None)


def test_silence_counts_from_the_first_in_flight_or_the_last_acknowledgement() -> None:
    updates = connected(made(acknowledge_timeout=5.0, max_batch_updates=1))
    assert stalls_at(updates) is None
    put(updates, "a", "b")
    texts(updates, now=10.0)
    assert stalls_at(updates) == 15.0
    updates.acknowledge(EPOCH, 1, 12.0)
    assert (stalls_at(updates), updates.silence(13.0)) == (17.0, 1.0)
    updates.acknowledge(EPOCH, 2, 14.0)
    assert stalls_at(updates) is None
    put(updates, "c")
    texts(updates, now=100.0)
    assert stalls_at(updates) == 105.0


def test_model_of_the_edge_takes_what_is_made_here() -> None:
    updates, disk = connected(made(max_batch_updates=2)), Disk()
    put(updates, *"abc")
    for text in texts(updates):
        for answer in Edge(disk).take("me", text):
            updates.acknowledge(answer.epoch, answer.sequence, 1.0)
    assert len(updates) == 0
    assert disk.channels == {"a": ["{}"], "b": ["{}"], "c": ["{}"]}
