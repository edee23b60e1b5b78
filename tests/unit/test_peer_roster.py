"""Who has announced itself at a rendezvous, and for how long."""

import pytest

from websocket_utils.peer._messages import PeerPlace
from websocket_utils.peer._roster import Roster, is_place

A = PeerPlace("a", 1, "ws://127.0.0.1:1")
B = PeerPlace("b", 2, "")


def roster(most: int = 10) -> Roster:
    return Roster(most, longest=100.0)


def test_announcement_is_there_until_its_lease_ends() -> None:
    known = roster()
    assert known.announce(A, 10.0, "x", now=0.0)
    assert known.places == [A]
    assert known.next_expiry == 10.0
    assert not known.expire(9.9)
    assert known.expire(10.0)
    assert known.places == []
    assert known.next_expiry is None


def test_announcement_that_is_renewed_changes_nothing_and_lasts_longer() -> None:
    known = roster()
    known.announce(A, 10.0, "x", now=0.0)
    assert not known.announce(A, 10.0, "x", now=5.0)
    assert known.next_expiry == 15.0


def test_lease_is_cut_to_the_longest() -> None:
    known = roster()
    known.announce(A, 1e9, "x", now=0.0)
    assert known.next_expiry == 100.0


@pytest.mark.parametrize("lease", [0.0, -1.0, float("nan")])
def test_lease_that_is_none_is_not_taken(lease: float) -> None:
    assert not roster().announce(A, lease, "x", now=0.0)


def test_name_is_its_holders_until_the_lease_ends() -> None:
    known = roster()
    known.announce(A, 10.0, "x", now=0.0)
    other = PeerPlace("a", 9, "ws://127.0.0.1:9")
    assert not known.announce(other, 10.0, "y", now=9.0)
    assert known.announce(other, 10.0, "y", now=10.0)
    assert known.places == [other]


def test_name_whose_holder_is_gone_is_free_at_once() -> None:
    known = roster()
    known.announce(A, 10.0, "x", now=0.0)
    other = PeerPlace("a", 9, "ws://127.0.0.1:9")
    assert known.announce(other, 10.0, "y", now=1.0, is_free=True)
    assert (known.is_holder("x"), known.is_holder("y")) == (False, True)


def test_holder_has_one_name() -> None:
    known = roster()
    known.announce(A, 10.0, "x", now=0.0)
    assert not known.announce(B, 10.0, "x", now=0.0)
    known.expire(10.0)
    assert known.announce(B, 10.0, "x", now=10.0)


def test_more_than_may_be_are_not_taken() -> None:
    known = roster(most=1)
    known.announce(A, 10.0, "x", now=0.0)
    assert not known.announce(B, 10.0, "y", now=0.0)
    assert known.places == [A]


@pytest.mark.parametrize(
    "place",
    [
        PeerPlace("", 1, ""),
        PeerPlace("a b", 1, ""),
        PeerPlace("a", 0, ""),
        PeerPlace("a", 2**64, ""),
        PeerPlace("a", 1, "http://x"),
        PeerPlace("a", 1, "ws://" + "x" * 600),
    ],
)
def test_place_that_is_none_is_not_taken(place: PeerPlace) -> None:
    assert not is_place(place)
    assert not roster().announce(place, 10.0, "x", now=0.0)
