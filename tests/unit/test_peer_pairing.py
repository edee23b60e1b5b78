"""One link for each pair: two peers that dial whenever they like, over a network that delivers when it likes."""

from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@given(st.lists(st.text("aZ-_.09", min_size=1, max_size=4), min_size=2, max_size=2, unique=True))
def test_of_two_that_can_be_dialled_exactly_one_dials(names: list[str]) -> None:
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
    ended: int = 0
    """Links that stood and were left, or lost."""

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
            self.ended += 1
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
            self.ended += 1
        if self.greeting is wire:
            self.greeting = None


class World:
    """Two peers, and the wires between them."""

    def __init__(self) -> None:
        self.models = Model("a", 1), Model("b", 2)
        self.models[0].peer, self.models[1].peer = self.models[1], self.models[0]
        self.wires: list[Wire] = []

    def dial(self, which: int) -> None:
        wire = self.models[which].dial()
        if wire is not None:
            self.wires.append(wire)

    def ready(self) -> list[tuple[Wire, Model]]:
        return [(wire, model) for wire in self.wires for model in self.models if wire.queues[model.name]]

    def deliver(self, choice: int) -> None:
        ready = self.ready()
        if ready:
            wire, model = ready[choice % len(ready)]
            model.take(wire)

    def cut(self, choice: int) -> None:
        """Cut a wire; what is under way on it comes or not, and one end may never learn of it."""
        if self.wires:
            wire = self.wires[choice // 4 % len(self.wires)]
            for number, model in enumerate(self.models):
                if choice % 4 != number:
                    wire.queues[model.name].clear()
                    wire.queues[model.name].append(("lost", 0))

    def settle(self) -> None:
        """Nothing is cut any more, and both dial in the same moment for as long as they have no link."""
        for _ in range(20):
            while ready := self.ready():
                # All at once: neither is the first by luck.
                for wire, model in ready:
                    model.take(wire)
            if all(model.up is not None for model in self.models) and self.models[0].up is self.models[1].up:
                return
            self.dial(0)
            self.dial(1)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40)), max_size=60))
def test_link_that_stands_is_never_left_for_another_without_a_loss(steps: list[tuple[int, int]]) -> None:
    world = World()
    for action, choice in steps:
        if action < 2:
            world.dial(action)
        else:
            world.deliver(choice)
    world.settle()
    first, second = world.models
    assert first.up is not None
    assert first.up is second.up
    assert first.ended == second.ended == 0
    assert first.greeting is second.greeting is None


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 80)), max_size=80))
def test_two_peers_come_to_one_link_whatever_was_cut(steps: list[tuple[int, int]]) -> None:
    world = World()
    for action, choice in steps:
        if action < 2:
            world.dial(action)
        elif action == 2:
            world.deliver(choice)
        else:
            world.cut(choice)
    first, second = world.models
    # A dial that nobody answers ends at its deadline.
    for model in world.models:
        if model.greeting is not None:
            model.greeting.queues[model.name].append(("lost", 0))
    world.settle()
    # A link that only one end knows of is found dead by its heartbeat.
    if first.up is not second.up:
        for model in world.models:
            if model.up is not None:
                model.lose(model.up)
        world.settle()
    assert first.up is not None
    assert first.up is second.up


def test_half_open_link_is_replaced_by_the_next_dial_of_either_side() -> None:
    for dialler in (0, 1):
        for loser in (0, 1):
            world = World()
            world.dial(dialler)
            world.settle()
            lost = world.models[loser]
            assert lost.up is not None
            lost.lose(lost.up)
            world.dial(loser)
            while world.ready():
                world.deliver(0)
            assert lost.up is not None
            assert world.models[0].up is world.models[1].up
