import time
from collections.abc import Callable
from typing import Any, cast

import pytest
from tests.support.memory import VirtualLoop

from websocket_utils import ConnectionClosedError, Ping, SendQueueFull
from websocket_utils._heartbeat import Heartbeat, MessageHeartbeat, system_clocks


class Peer:
    """A connection; its other end answers while it `answers`."""

    def __init__(self, loop: VirtualLoop, *, answers: bool = True) -> None:
        self._loop = loop
        self.answers = answers
        self.is_open = True
        self.is_active = False
        self.is_held = False
        self.is_broken = False
        self.pings: list[float] = []
        self.payloads: list[bytes] = []

    def take_activity(self) -> bool:
        active, self.is_active = self.is_active, False
        return active or self.is_held

    def has_socket_error(self) -> bool:
        return self.is_broken

    def ping(self, payload: bytes = b"", /) -> None:
        assert self.is_open
        self.pings.append(self._loop.now)
        self.payloads.append(payload)
        if self.answers:
            self._loop.call_later(0.1, self.speak)

    def speak(self) -> None:
        self.is_active = True


class LateReader(VirtualLoop):
    """Reads at the end of a turn, behind timers and what they call soon, as libuv does."""

    def __init__(self) -> None:
        super().__init__()
        self.unread: list[Callable[[], None]] = []

    def turn(self) -> int:
        ran = super().turn()
        unread, self.unread = self.unread, []
        for read in unread:
            read()
        return ran

    def block(self, seconds: float) -> None:
        self.now += seconds


class Watch:
    def __init__(self, *, interval: float = 10, timeout: float = 4) -> None:
        self.loop = LateReader()
        self.slept = 0.0
        self.peers: list[Peer] = []
        self.dead: list[tuple[float, Peer]] = []
        self.broken: list[tuple[float, Peer]] = []
        self.then: Callable[[], None] = lambda: None
        self.heartbeat: Heartbeat[Peer] = Heartbeat(
            cast("Any", self.loop),
            interval=interval,
            timeout=timeout,
            connections=lambda: list(self.peers),
            on_dead=self._on_dead,
            on_broken=self._on_broken,
            clocks=lambda: (self.loop.now, self.loop.now + self.slept),
        )
        self.heartbeat.start()

    def add(self, *, answers: bool = True) -> Peer:
        peer = Peer(self.loop, answers=answers)
        self.peers.append(peer)
        return peer

    def _on_broken(self, peer: Peer) -> None:
        self.broken.append((self.loop.now, peer))
        peer.is_open = False
        self.peers.remove(peer)

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
    assert watch.loop.timers <= 9


def test_two_timers_serve_many_peers() -> None:
    watch = Watch()
    for _ in range(1000):
        watch.add()
    # One for the rounds, one that looks whether the machine slept.
    assert watch.loop.timers == 2


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


def test_each_ping_has_a_payload_of_its_own() -> None:
    watch = Watch()
    peers = [watch.add(), watch.add()]
    watch.loop.advance(100)
    payloads = [payload for peer in peers for payload in peer.payloads]
    assert len(payloads) >= 8
    assert len(set(payloads)) == len(payloads)
    assert {len(payload) for payload in payloads} == {8}


# --- a loop that is busy ---


def test_answer_that_waits_in_the_socket_is_read_before_its_peer_is_judged() -> None:
    watch = Watch()
    peer = watch.add(answers=False)

    def block() -> None:
        watch.loop.block(0.1)
        watch.loop.unread.append(peer.speak)

    # Until 14.03: the check, due at 14, is hardly late.
    watch.loop.call_later(13.93, block)
    watch.loop.advance(19)
    assert watch.dead == []


def test_ping_that_left_late_gives_its_peer_as_much_more_time() -> None:
    watch = Watch()
    peer = watch.add(answers=False)

    def block() -> None:
        watch.loop.block(3)
        # What was written before leaves now.
        watch.loop.call_later(0.5, peer.speak)

    watch.loop.call_later(12, block)
    watch.loop.advance(19)
    assert watch.dead == []


def test_slow_handler_does_not_keep_a_dead_peer_alive() -> None:
    watch = Watch()
    peer = watch.add(answers=False)

    def block() -> None:
        watch.loop.block(0.7)
        watch.loop.call_later(0.01, block)

    block()
    watch.loop.advance(30)
    ((when, dead),) = watch.dead
    assert dead is peer
    # Ping, check and second check were late by 0.7 s at most, and the second waited as long as the first was late.
    assert when <= 14 + 4 * 0.7


def test_stop_while_a_check_waits_for_the_loop_to_read_is_kept() -> None:
    watch = Watch()
    watch.add(answers=False)
    watch.loop.call_later(14, lambda: watch.loop.call_soon(watch.heartbeat.stop))
    watch.loop.advance(100)
    assert watch.dead == []


# --- a connection whose reading is held ---


def test_held_connection_lives_while_its_socket_is_whole_and_is_broken_when_it_is_not() -> None:
    watch = Watch()
    held = watch.add(answers=False)
    held.is_held = True
    watch.loop.advance(1000)
    assert held.pings == []
    held.is_broken = True
    watch.loop.advance(10)
    assert watch.broken == [(1010.0, held)]
    assert watch.dead == []


def test_broken_connection_is_a_dead_one_where_nobody_asks_for_the_difference() -> None:
    loop = VirtualLoop()
    peer = Peer(loop)
    peer.is_held = peer.is_broken = True
    dead: list[Peer] = []
    heartbeat: Heartbeat[Peer] = Heartbeat(
        cast("Any", loop), interval=10, timeout=4, connections=lambda: [peer], on_dead=dead.append
    )
    heartbeat.start()
    # Without clocks nobody looks for sleep.
    assert loop.timers == 1
    loop.advance(10)
    assert dead == [peer]


# --- clocks ---


def test_machine_that_wakes_up_asks_all_peers_at_once_and_gives_them_two_seconds() -> None:
    watch = Watch(interval=30, timeout=20)
    gone, there = watch.add(answers=False), watch.add()
    watch.loop.advance(2.5)
    # It had just brought something.
    gone.speak()
    watch.slept = 3600.0
    watch.loop.advance(1)
    assert gone.pings == there.pings == [3.0]
    watch.loop.advance(10)
    assert watch.dead == [(5.0, gone)]
    # Once.
    watch.loop.advance(10)
    assert there.pings == [3.0]


def test_timeout_below_two_seconds_is_kept_by_a_machine_that_wakes_up() -> None:
    watch = Watch(interval=0.5, timeout=0.25)
    gone = watch.add()
    watch.loop.advance(0.2)
    gone.answers = False
    watch.slept = 60.0
    watch.loop.advance(1)
    assert watch.dead == [(0.75, gone)]


def test_clocks_that_drift_are_no_sleep() -> None:
    watch = Watch(interval=30)
    peer = watch.add()
    for _ in range(25):
        watch.slept += 0.9
        watch.loop.advance(1)
    assert peer.pings == []


def test_wall_clock_that_jumps_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault "wall clock jumps"."""

    def life(jumps: bool) -> tuple[list[float], list[float]]:
        watch = Watch()
        answering, silent = watch.add(), watch.add(answers=False)
        if jumps:
            wall = time.time()
            offsets = iter([86_400.0, -86_400.0, 3600.0] * 1000)
            monkeypatch.setattr(time, "time", lambda: wall + next(offsets))
            monkeypatch.setattr(time, "time_ns", lambda: int((wall + next(offsets)) * 1e9))
        watch.loop.advance(100)
        assert silent not in watch.peers
        return answering.pings, [when for when, _ in watch.dead]

    assert life(jumps=True) == life(jumps=False)


def test_clocks_of_the_system_tell_that_it_has_not_slept_meanwhile() -> None:
    awake, all_time = system_clocks()
    awake_then, all_time_then = system_clocks()
    assert awake <= awake_then
    assert (all_time_then - awake_then) - (all_time - awake) < 1


# --- pings that are messages ---


class MessagePeer(Peer):
    def __init__(self, loop: VirtualLoop, *, answers: bool = True) -> None:
        super().__init__(loop, answers=answers)
        self.error: Exception | None = None

    def send(self, message: Ping, /) -> None:
        assert message == Ping()
        if self.error is not None:
            raise self.error
        self.ping()


class Recorder:
    def __init__(self) -> None:
        self.values: list[int] = []

    def record(self, value_ns: int, /) -> None:
        self.values.append(value_ns)


class MessageWatch:
    def __init__(self, *, answers: bool = True, interval: float = 10, timeout: float = 4) -> None:
        self.loop = VirtualLoop()
        self.peer = MessagePeer(self.loop, answers=answers)
        self.rtt = Recorder()
        self.dead: list[float] = []
        self.broken: list[float] = []
        self.heartbeat = MessageHeartbeat(
            cast("Any", self.loop),
            self.peer,
            interval=interval,
            timeout=timeout,
            on_dead=lambda peer: self.dead.append(self.loop.now),
            on_broken=lambda peer: self.broken.append(self.loop.now),
            rtt=self.rtt,
            clock_ns=lambda: round(self.loop.now * 1e9),
        )
        self.heartbeat.start()


def test_message_is_sent_to_a_silent_peer_and_its_answer_gives_the_round_trip() -> None:
    watch = MessageWatch()
    watch.loop.advance(10.1)
    watch.heartbeat.pong_received()
    assert watch.peer.pings == [10.0]
    assert watch.rtt.values == [100_000_000]
    watch.loop.advance(100)
    assert watch.dead == []


def test_peer_that_answers_no_message_is_dead_after_the_timeout() -> None:
    watch = MessageWatch(answers=False)
    watch.loop.advance(13.9)
    assert watch.dead == []
    watch.loop.advance(0.2)
    assert watch.dead == [14.0]
    assert watch.rtt.values == []


def test_answers_are_those_of_the_oldest_message_and_one_to_nothing_is_none() -> None:
    watch = MessageWatch(interval=1, timeout=10)
    watch.heartbeat.pong_received()
    watch.loop.advance(1.5)
    # Alive by other data, so that it is asked again before it has answered.
    watch.peer.speak()
    watch.loop.advance(2)
    assert watch.peer.pings == [1.0, 3.0]
    for _ in range(3):
        watch.heartbeat.pong_received()
    assert watch.rtt.values == [2_500_000_000, 500_000_000]


def test_peer_that_sends_data_and_never_answers_costs_no_memory() -> None:
    watch = MessageWatch(interval=1, timeout=10)
    watch.loop.advance(500)
    assert len(watch.peer.pings) > 100
    for _ in range(100):
        watch.heartbeat.pong_received()
    assert len(watch.rtt.values) == 16


@pytest.mark.parametrize("error", [SendQueueFull(1, 1, 1), ConnectionClosedError(initiator="transport")])
def test_message_that_can_not_be_sent_is_not_answered(error: Exception) -> None:
    watch = MessageWatch()
    watch.peer.error = error
    watch.loop.advance(14)
    assert watch.dead == [14.0]
    watch.heartbeat.pong_received()
    assert watch.rtt.values == []


def test_held_connection_with_messages_is_asked_for_errors_too() -> None:
    watch = MessageWatch()
    watch.peer.is_held = watch.peer.is_broken = True
    watch.loop.advance(10)
    assert watch.broken == [10.0]


def test_nothing_is_sent_after_the_end_of_a_message_heartbeat() -> None:
    watch = MessageWatch()
    watch.peer.is_open = False
    watch.loop.advance(20)
    watch.heartbeat.stop()
    assert watch.loop.timers == 0
    assert watch.peer.pings == []
