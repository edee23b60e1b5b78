import os
import sys

import pytest
from tests.support.memory import Link


def masking_keys(count: int) -> list[bytes]:
    """Keys of as many frames as a client sends; a short frame has its key behind two bytes (RFC 6455 section 5.2)."""
    link = Link()
    for _ in range(count):
        link.connection.send(b"x")
        link.loop.turn()
    return [written[2:6] for written in link.transport.writes]


def test_every_frame_has_a_key_of_its_own_over_many_refills() -> None:
    # A refill serves 1 024 keys. Of 5 000 random ones, a few pairs may be alike (0.3 % for one pair), never many.
    keys = masking_keys(5000)
    assert len(set(keys)) > 4990


def test_all_bits_of_a_key_vary() -> None:
    numbers = [int.from_bytes(key) for key in masking_keys(200)]
    assert all(any(number >> bit & 1 for number in numbers) for bit in range(32))
    assert all(any(not number >> bit & 1 for number in numbers) for bit in range(32))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_forked_child_does_not_repeat_the_keys_of_its_parent() -> None:
    masking_keys(1)
    # Both processes now hold the same unused keys.
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        # The child of a test must not come back into the test runner, whatever happens.
        try:
            os.write(writing, b"".join(masking_keys(20)))
        finally:
            os._exit(0)
    os.close(writing)
    theirs = os.read(reading, 80)
    os.close(reading)
    os.waitpid(child, 0)
    assert len(theirs) == 80
    ours = b"".join(masking_keys(20))
    assert not {ours[at : at + 4] for at in range(0, 80, 4)} & {theirs[at : at + 4] for at in range(0, 80, 4)}
