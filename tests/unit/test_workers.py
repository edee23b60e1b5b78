"""Workers of a feed: when they are started again, and the port they share."""

import socket

import pytest

from websocket_utils.cli._worker import namespaces
from websocket_utils.cli._workers import reserved, restart_delay


def test_worker_that_fails_again_and_again_is_started_ever_later_up_to_a_bound() -> None:
    delays = [restart_delay(failures) for failures in range(12)]
    assert delays[:4] == [0.0, 0.05, 0.1, 0.2]
    assert delays == sorted(delays)
    assert delays[-1] == restart_delay(2000) == 5.0


def test_reserved_port_is_free_for_workers_and_for_nobody_else() -> None:
    with reserved("127.0.0.1", 0) as place:
        address = place.getsockname()
        with socket.create_server(address, reuse_port=True), pytest.raises(OSError, match="in use"):
            socket.create_server(address)


def test_port_that_somebody_listens_on_is_not_reserved_even_if_it_is_shared() -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other, pytest.raises(OSError, match="in use"):
        reserved(*other.getsockname())


def test_port_whose_workers_have_stopped_listening_can_be_reserved_by_the_next_feed() -> None:
    with reserved("127.0.0.1", 0) as before, reserved(*before.getsockname()) as after:
        assert after.getsockname() == before.getsockname()


def test_channels_of_accounts_keep_little_each() -> None:
    assert {one.name: one.history for one in namespaces(1000)} == {"prices": 1000, "accounts": 16}
    assert {one.history for one in namespaces(0)} == {0}
