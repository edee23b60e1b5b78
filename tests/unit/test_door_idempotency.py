"""Remembered answers: for how long, how many, and in how many bytes."""

import pytest

from websocket_utils.door._idempotency import MAX_KEY, Results
from websocket_utils.door._refusals import Refusal


def test_answers_are_forgotten_after_their_time() -> None:
    results = Results(seconds=10)
    results.keep("publish", "a", b"body", b"answer", 0.0)
    results.keep("publish", "b", b"body", b"answer", 5.0)
    assert results.find("publish", "a", b"body", 9.9) == b"answer"
    assert results.find("publish", "a", b"body", 10.0) is None
    assert len(results) == 1
    assert results.find("publish", "b", b"body", 15.0) is None
    assert (len(results), results.held_bytes) == (0, 0)


def test_oldest_answers_go_where_there_are_too_many() -> None:
    results = Results(most=3)
    for number in range(100):
        results.keep("publish", str(number), b"body", b"answer", 0.0)
    assert len(results) == 3
    assert results.find("publish", "96", b"body", 1.0) is None
    assert results.find("publish", "97", b"body", 1.0) == b"answer"


def test_answers_and_longest_keys_never_hold_more_than_their_bytes() -> None:
    results = Results(size=64 * 1024)
    for number in range(1000):
        results.keep("broadcast", str(number).rjust(MAX_KEY, "\N{GRINNING FACE}"), b"body", b"a" * 1000, 0.0)
        assert results.held_bytes <= 64 * 1024
    assert 20 < len(results) < 64


def test_latest_answer_is_kept_however_big_it_is() -> None:
    results = Results(size=1024)
    results.keep("broadcast", "small", b"body", b"a", 0.0)
    results.keep("broadcast", "big", b"body", b"a" * 4096, 0.0)
    assert results.find("broadcast", "big", b"body", 1.0) == b"a" * 4096
    assert results.find("broadcast", "small", b"body", 1.0) is None


def test_key_over_its_limit_is_refused() -> None:
    with pytest.raises(Refusal, match="256"):
        Results().find("publish", "k" * (MAX_KEY + 1), b"body", 0.0)
