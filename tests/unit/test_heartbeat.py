from collections.abc import Callable
from typing import Any, cast

from tests.support.memory import VirtualLoop

from websocket_utils._heartbeat import Heartbeat


class Peer:
    """A connection; its other end answers while it `answers`."""

    def __init__(self, loop: VirtualLoop, *, answers: bool = True) -> None:
        self._loop = loop
        self.answers = answers
        self.is_open = True
        self.is_active = False
        self.pings: list[float] = []

    def take_activity(self) -> bool:
        active, self.is_active = self.is_active, False
        return active

    def ping(self, payload: bytes = b"", /) -> None:
        assert self.is_open
        self.pings.append(self._loop.now)
        if self.answers:
            self._loop.call_later(0.1, self.speak)

    def speak(self) -> None:
        self.is_active = True


class Watch:
    def __init__(self, *, interval: float = 10, timeout: float = 4) -> None:
        self.loop = VirtualLoop()
        self.peers: list[Peer] = []
        self.dead: list[tuple[float, Peer]] = []
        self.then: Callable[[], None] = lambda: None
        self.heartbeat: Heartbeat[Peer] = Heartbeat(
            cast("Any", self.loop),
            interval=interval,
            timeout=timeout,
            connections=lambda: list(self.peers),
            on_dead=self._on_dead,
        )
        self.heartbeat.start()

    def add(self, *, answers: bool = True) -> Peer:
        peer = Peer(self.loop, answers=answers)
        self.peers.append(peer)
        return peer

    def _on_dead(self, peer: Peer) -> None:
        self.dead.append((self.loop.now, peer))
        peer.is_open = False
        self.peers.remove(peer)
        self.then()


def test_silent_peer_is_pinged_every_interval_and_lives_while_it_answers() -> None:
    watch = Watch()
    peer = watch.add()
    watch.loop.advance(65)
    # What answers a ping is activity for the next round too: it is then pinged in every second one.
    assert peer.pings
    assert all(one % 10 == 0 for one in peer.pings)
    assert max(later - earlier for earlier, later in zip([0.0, *peer.pings], [*peer.pings, 65.0], strict=True)) <= 20
    assert watch.dead == []


def test_busy_peer_is_never_pinged() -> None:
    watch = Watch()
    peer = watch.add()
    for _ in range(100):
        peer.speak()
        watch.loop.advance(1)
    assert peer.pings == []


def test_peer_that_does_not_answer_is_dead_after_the_timeout_and_only_once() -> None:
    watch = Watch()
    mute, answering = watch.add(answers=False), watch.add()
    watch.loop.advance(13.9)
    assert watch.dead == []
    watch.loop.advance(100)
    assert watch.dead == [(14.0, mute)]
    assert mute.pings == [10.0]
    assert answering in watch.peers


def test_any_byte_counts_as_an_answer() -> None:
    watch = Watch()
    peer = watch.add(answers=False)
    watch.loop.advance(13)
    peer.speak()
    watch.loop.advance(1.5)
    assert watch.dead == []


def test_timeout_longer_than_the_interval_is_kept() -> None:
    watch = Watch(interval=10, timeout=35)
    mute = watch.add(answers=False)
    watch.loop.advance(44.9)
    assert watch.dead == []
    watch.loop.advance(0.2)
    assert watch.dead == [(45.0, mute)]


def test_peer_that_answers_late_but_within_the_timeout_lives() -> None:
    watch = Watch(interval=10, timeout=35)
    peer = watch.add(answers=False)
    for _ in range(20):
        watch.loop.advance(30)
        peer.speak()
    assert watch.dead == []


def test_peer_that_closes_meanwhile_is_not_told_dead() -> None:
    watch = Watch()
    peer = watch.add(answers=False)
    watch.loop.advance(11)
    peer.is_open = False
    watch.loop.advance(100)
    assert watch.dead == []
    assert peer.pings == [10.0]


def test_nothing_happens_after_stop() -> None:
    watch = Watch()
    peer = watch.add(answers=False)
    watch.loop.advance(11)
    watch.heartbeat.stop()
    assert watch.loop.timers == 0
    watch.loop.advance(100)
    assert watch.dead == []
    assert peer.pings == [10.0]


def test_timers_do_not_pile_up() -> None:
    watch = Watch(interval=1, timeout=5)
    watch.add()
    watch.loop.advance(1000)
    assert watch.loop.timers <= 8


def test_one_timer_serves_many_peers() -> None:
    watch = Watch()
    for _ in range(1000):
        watch.add()
    assert watch.loop.timers == 1


def test_stop_from_inside_on_dead_is_kept() -> None:
    watch = Watch()
    watch.add(answers=False)
    # What a client that gives up does.
    watch.then = watch.heartbeat.stop
    watch.loop.advance(1000)
    assert watch.loop.timers == 0


def test_stop_from_inside_a_round_is_kept() -> None:
    watch = Watch()
    peer = watch.add()
    peer.ping = lambda payload=b"", /: watch.heartbeat.stop()  # type: ignore[method-assign]  # noqa: PLW0108  # a send that fails ends the client
    watch.loop.advance(1000)
    assert watch.loop.timers == 0


def test_peer_that_ends_in_the_middle_of_a_round_does_not_end_the_others_heartbeat() -> None:
    watch = Watch()
    first, second = watch.add(), watch.add()

    def ping(payload: bytes = b"", /) -> None:
        second.is_open = False

    first.ping = ping  # type: ignore[method-assign]  # the first ping's failure takes the second along
    watch.loop.advance(10)
    assert second.pings == []
    second.is_open = True
    watch.loop.advance(10)
    assert second.pings == [20.0]
