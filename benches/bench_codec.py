"""Decode and encode of messages, without any connection: every row of `_codec_cases.py`, ours beside our peers.

Measured: calls from Python, the disposal of their results included. Not measured: frames, sockets, the core's own calls
of the codec (which save the Python call, about 40 ns).
"""

from typing import Any

import pytest

from benches._codec_cases import ROWS, installed

# Calls from a loop of ours that does nothing else: the fixture's own loop costs more than half a call.
CALLS = 100


@pytest.mark.parametrize(("row", "side"), [(row, side) for row in ROWS for side in installed(row)])
def test_codec(benchmark: Any, row: str, side: str) -> None:
    work = installed(row)[side].prepare()
    result = work.call(*work.arguments)
    assert work.right(result), result

    # What reads many messages in one call needs no loop.
    calls = CALLS if work.messages == 1 else 1
    benchmark.group = f"codec/{row}"
    benchmark.extra_info |= {"case": side, "messages": calls * work.messages}
    benchmark(work.repeat, calls)
