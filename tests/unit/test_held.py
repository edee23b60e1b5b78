"""Messages kept while there is no connection: their bounds hold whatever becomes of the next connection."""

from typing import Any, cast

import pytest

from websocket_utils import SendQueueFull
from websocket_utils._held import HeldMessages


class ConnectionThatBreaks:
    """Takes so many messages, and is closing then."""

    def __init__(self, takes: int) -> None:
        self.taken: list[str] = []
        self._takes = takes

    @property
    def is_open(self) -> bool:
        return len(self.taken) < self._takes

    def send(self, message: str, *, compress: bool | None) -> None:
        assert compress is None
        self.taken.append(message)


def test_what_a_connection_did_not_take_counts_until_one_does() -> None:
    held = HeldMessages("json", max_messages=1000, max_bytes=1000)
    for number in range(3):
        held.put(str(number) * 300, None, now=0.0)
    for _ in range(5):
        with pytest.raises(SendQueueFull):
            held.put("x" * 300, None, now=0.0)
        held.send_all(cast("Any", ConnectionThatBreaks(0)), 0.0)
    held.send_all(cast("Any", ConnectionThatBreaks(1)), 0.0)
    held.put("x" * 300, None, now=0.0)
    with pytest.raises(SendQueueFull):
        held.put("x" * 300, None, now=0.0)
    last = ConnectionThatBreaks(10)
    held.send_all(cast("Any", last), 0.0)
    assert last.taken == ["1" * 300, "2" * 300, "x" * 300]
    for _ in range(3):
        held.put("y" * 300, None, now=0.0)
