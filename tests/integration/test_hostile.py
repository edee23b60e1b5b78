"""Short runs of what `make hostile` and `make mutate` run in full: a server of its own, bare sockets against it."""

import sys

import pytest
from hostile.attacks import ATTACKS, Attack
from hostile.mutate import against_client, against_server, show
from hostile.run import attack

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="memory of another process is read from /proc"),
    pytest.mark.slow,
    pytest.mark.timeout(60),
]

# Those that take no seconds; `make hostile` runs all.
QUICK = ("claim_2_63", "tiny_fragments", "empty_fragments", "over_limit", "bomb", "bomb_fragments", "bomb_behind")


@pytest.mark.parametrize("one", [one for one in ATTACKS if one.name in QUICK], ids=lambda one: one.name)
def test_attack_of_one_peer_stays_within_the_bar(one: Attack) -> None:
    found = attack(one)
    assert found.met, found


def test_mutated_clients_leave_the_server_unharmed() -> None:
    side = against_server(1000, seed=7)
    assert side.met, show(side)
    assert side.opened > 300


def test_mutated_servers_leave_the_client_unharmed() -> None:
    side = against_client(200, seed=7)
    assert side.met, show(side)
    assert side.opened > 50
