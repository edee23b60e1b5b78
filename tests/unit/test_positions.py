"""Positions of a request: read, and found by name and by pattern."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocket_utils._positions import Presented, position_text, read_positions

NAMES = st.text(alphabet="ab:\U0010ffff", min_size=1, max_size=6)


@given(NAMES, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_position_is_read_back_as_it_was_written(channel: str, epoch: int, sequence: int) -> None:
    assert read_positions([position_text(channel, epoch, sequence)]) == [(channel, epoch, sequence)]


@pytest.mark.parametrize("text", ["", "1 a", "1 2 ", "-1 2 a", "1 +2 a", "1  2 a", "\u0661 2 a", f"1 {2**64} a"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="position"):
        read_positions([text])


@given(st.lists(st.tuples(NAMES, st.integers(0, 9), st.integers(0, 9))), NAMES | st.just(""))
def test_pattern_finds_all_that_begin_so_and_a_name_itself_alone(
    positions: list[tuple[str, int, int]], prefix: str
) -> None:
    presented = Presented(positions)
    latest = {position[0]: position for position in positions}
    assert presented.of(f"{prefix}*") == sorted(one for name, one in latest.items() if name.startswith(prefix))
    assert presented.of(prefix) == ([latest[prefix]] if prefix in latest else [])


def test_patterns_look_at_what_they_match_alone() -> None:
    class Counted(str):
        __slots__ = ()
        looks = 0

        def startswith(self, *arguments: Any) -> bool:
            Counted.looks += 1
            return super().startswith(*arguments)

    presented = Presented((Counted(f"{number:05}"), 1, 1) for number in range(10_000))
    for number in range(100):
        assert len(presented.of(f"{number:04}*")) == 10
    assert Counted.looks <= 100 * 11
