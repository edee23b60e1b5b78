"""One link for each pair: two peers that dial whenever they like, over a network that delivers when it likes."""

from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings, strategies as st

from websocket_utils.peer._pairing import Standing, dials


def test_first_hello_is_accepted() -> None:
    assert Standing("b", "a").judge(1, 1, 0) == "accept"


def test_lesser_peer_that_has_greeted_stands_by_its_dial() -> None:
    assert Standing("a", "b", has_greeted=True).judge(1, 1, 0) == "duplicate"


def test_greater_peer_that_has_greeted_gives_its_dial_up() -> None:
    assert Standing("b", "a", has_greeted=True).judge(1, 1, 0) == "accept"


def test_name_of_a_link_that_stands_is_taken_for_another_instance() -> None:
    assert Standing("a", "b", instance=1).judge(2, 9, 9) == "taken"


def test_later_dial_of_the_same_peer_replaces_its_link() -> None:
    standing = Standing("a", "b", instance=1, attempt=4)
    assert standing.judge(1, 5, 0) == "replace"
    assert standing.judge(1, 4, 9) == "duplicate"


def test_peer_that_has_counted_our_dial_has_left_it_when_it_dials() -> None:
    standing = Standing("a", "b", instance=1, is_own_dial=True, links=2)
    assert standing.judge(1, 9, 2) == "replace"
    assert standing.judge(1, 9, 1) == "duplicate"


@pytest.mark.parametrize(
    ("own", "peer", "can_peer", "can_own", "expected"),
    [
        ("a", "b", True, True, True),
        ("b", "a", True, True, False),
        ("b", "a", True, False, True),
        ("a", "b", False, True, False),
        ("a", "b", False, False, False),
    ],
)
def test_lesser_name_dials_unless_only_the_other_can_be_dialled(
    own: str, peer: str, can_peer: bool, can_own: bool, expected: bool
) -> None:
    assert dials(own, peer, can_peer_be_dialled=can_peer, can_own_be_dialled=can_own) is expected


@given(st.tuples(st.text(min_size=1), st.text(min_size=1)).filter(lambda pair: pair[0] != pair[1]))
def test_of_two_that_can_be_dialled_exactly_one_dials(names: tuple[str, str]) -> None:
    first, second = names
    assert dials(first, second, can_peer_be_dialled=True, can_own_be_dialled=True) is not dials(
        second, first, can_peer_be_dialled=True, can_own_be_dialled=True
    )


@dataclass(eq=False)
class Wire:
    """A connection: what is on its way to either end, in order. `lost` delivers an end instead."""

    dialler: "Model"
    listener: "Model"
    attempt: int
    queues: "dict[str, deque[tuple[str, int]]]" = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.queues = {self.dialler.name: deque(), self.listener.name: deque()}

    def other(self, model: "Model") -> "Model":
        return self.listener if model is self.dialler else self.dialler

    def put(self, sender: "Model", what: str, number: int = 0) -> None:
        self.queues[self.other(sender).name].append((what, number))


@dataclass(eq=False)
class Model:
    """What a peer does with the judgement: the rules of `_links.py`, without sockets."""

    name: str
    instance: int
    peer: "Model | None" = None
    up: Wire | None = None
    greeting: Wire | None = None
    links: int = 0
    attempts: int = 0
    is_own_dial: bool = False
    attempt: int = 0
    accepted: list[Wire] = field(default_factory=list)

    def dial(self) -> Wire | None:
        """The `PeerChallenge` has come: greet, if there is nothing better."""
        if self.up is not None or self.greeting is not None or self.peer is None:
            return None
        self.attempts += 1
        wire = Wire(self, self.peer, self.attempts)
        self.greeting = wire
        wire.put(self, "hello", self.links)
        return wire

    def take(self, wire: Wire) -> None:
        """What is next on that wire."""
        what, number = wire.queues[self.name].popleft()
        if what == "lost":
            self.lose(wire)
        elif what == "hello":
            self.judge(wire, number)
        elif what == "welcome" and self.greeting is wire:
            self.greeting = None
            self.stand(wire)

    def judge(self, wire: Wire, links: int) -> None:
        assert self.peer is not None
        standing = Standing(
            own=self.name,
            peer=self.peer.name,
            has_greeted=self.greeting is not None,
            instance=self.peer.instance if self.up is not None else None,
            is_own_dial=self.is_own_dial,
            attempt=self.attempt,
            links=self.links,
        )
        decision = standing.judge(self.peer.instance, wire.attempt, links)
        if decision == "duplicate":
            wire.put(self, "lost")
            return
        if self.up is not None:
            self.up.put(self, "lost")
            self.up = None
        if self.greeting is not None:
            self.greeting.put(self, "lost")
            self.greeting = None
        wire.put(self, "welcome")
        self.stand(wire)

    def stand(self, wire: Wire) -> None:
        assert self.up is None
        self.up = wire
        self.links += 1
        self.is_own_dial, self.attempt = wire.dialler is self, wire.attempt

    def lose(self, wire: Wire) -> None:
        if self.up is wire:
            self.up = None
        if self.greeting is wire:
            self.greeting = None


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40)), max_size=80))
def test_two_peers_come_to_one_link_whatever_happens_in_between(steps: list[tuple[int, int]]) -> None:
    first, second = Model("a", 1), Model("b", 2)
    first.peer, second.peer = second, first
    wires: list[Wire] = []

    def deliver(choice: int) -> bool:
        ready = [(wire, model) for wire in wires for model in (first, second) if wire.queues[model.name]]
        if ready:
            wire, model = ready[choice % len(ready)]
            model.take(wire)
        return bool(ready)

    for action, choice in steps:
        if action < 2:
            wire = (first, second)[action].dial()
            if wire is not None:
                wires.append(wire)
        elif action == 2 or not wires:
            deliver(choice)
        else:
            # The network cuts it: both ends learn of that, each in its time, and what was under way is gone or comes.
            wire = wires[choice % len(wires)]
            for model in (first, second):
                wire.queues[model.name].append(("lost", 0))

    # From here on nothing is cut, and both dial for as long as they have no link.
    for _ in range(20):
        while deliver(0):
            pass
        if first.up is not None and first.up is second.up:
            break
        wires += [wire for wire in (first.dial(), second.dial()) if wire is not None]
    assert first.up is not None
    assert first.up is second.up
    assert first.greeting is None
    assert second.greeting is None
