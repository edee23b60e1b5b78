"""Whatever is lost, late or restarted: each update is at the edge once and in order, or it is known to be gone."""

from collections import Counter, defaultdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.edge import Disk, Edge, Refusal

from websocket_utils.edge import PublicationRejected, PublisherAcknowledged
from websocket_utils.edge._unacknowledged import OVERHEAD, Unacknowledged, WhenFull
from websocket_utils.exceptions import PublisherBufferFull

EPOCH = 1_700_000_000_000
NAME = "me"
SIZES = {"buffer": 400, "window": 3 * OVERHEAD + 90, "max_batch": 36 + 60, "max_batch_updates": 4}


class Journey:
    """A publisher's book, the edge, and the wires between them: those of old connections deliver late, or never."""

    def __init__(self, when_full: WhenFull, rejects: int) -> None:
        self.now = 0.0
        self.disk = Disk()
        self.edge = Edge(self.disk, self._reject)
        self._rejects = rejects
        self.updates = Unacknowledged(epoch=EPOCH, interval=0.02, when_full=when_full, acknowledge_timeout=5.0, **SIZES)
        # For each connection, the youngest last: batches on their way, and answers on theirs.
        self.wires: list[tuple[list[str], list[Any]]] = []
        self.is_up = False
        self.channels: dict[int, str] = {}
        self.refused = 0
        self.told_rejected: set[int] = set()
        self.rejected_at_edge: Counter[int] = Counter()

    def _reject(self, channel: str, payload: str) -> tuple[int, str] | None:
        if self._rejects and int(payload) % self._rejects == 0:
            self.rejected_at_edge[int(payload)] += 1
            return 4404, "no"
        return None

    def publish(self, channel: str) -> None:
        number = self.updates.published + 1
        lines = f"{channel}\n{number}\n"
        try:
            assert self.updates.put(channel, lines, len(lines), self.now) == number
        except PublisherBufferFull:
            self.refused += 1
        else:
            self.channels[number] = channel

    def send(self) -> None:
        if self.is_up and (batch := self.updates.take(self.now)) is not None:
            self.wires[-1][0].append(batch.text)

    def connect(self) -> None:
        """The connection before may still have batches that the edge reads later."""
        welcome = self.edge.welcome(NAME)
        assert not self.updates.is_superseded_by(welcome.epoch, welcome.sequence)
        found = self.updates.resume(welcome.epoch, welcome.sequence, self.now, now_ms=EPOCH)
        assert found.forgotten == 0
        self.wires.append(([], []))
        self.is_up = True

    def deliver(self, which: int, loses_answers: bool) -> None:
        """The edge reads the next batch of some connection."""
        if not self.wires:
            return
        batches, answers = self.wires[which % len(self.wires)]
        if not batches:
            return
        try:
            given = self.edge.take(NAME, batches.pop(0))
        except Refusal:
            # A late batch of a connection that is gone, behind ones that were lost: only that connection suffers.
            assert batches is not self.wires[-1][0], "the edge refused what the youngest connection sent"
            batches.clear()
        else:
            if not loses_answers:
                answers += given

    def hear(self, which: int) -> None:
        """The next answer of some connection comes: also that of one which is gone."""
        if not self.wires:
            return
        _, answers = self.wires[which % len(self.wires)]
        if not answers:
            return
        answer = answers.pop(0)
        if isinstance(answer, PublisherAcknowledged):
            self.updates.acknowledge(answer.epoch, answer.sequence, self.now)
        elif isinstance(answer, PublicationRejected):
            is_new, number = self.updates.reject(answer.epoch, answer.sequence)
            if is_new and number is not None:
                self.told_rejected.add(number)

    def lose(self, keeps_batches: bool) -> None:
        self.is_up = False
        if self.wires and not keeps_batches:
            self.wires[-1][0].clear()

    def restart(self) -> None:
        self.edge = Edge(self.disk, self._reject)
        for batches, answers in self.wires:
            batches.clear()
            answers.clear()
        self.is_up = False

    def check(self) -> None:
        updates = self.updates
        assert updates.published == updates.acknowledged + updates.dropped + len(updates)
        assert updates.size == sum(update[3] for update in updates) <= SIZES["buffer"]
        assert 0 <= updates.in_flight <= SIZES["window"]
        numbers = [update[0] for update in updates]
        assert numbers == sorted(set(numbers))

    def finish(self) -> None:
        """Nothing is lost any more: all that is held arrives."""
        self.connect()
        for _ in range(1000):
            self.updates.hurry()
            self.send()
            self.deliver(-1, loses_answers=False)
            self.hear(-1)
            self.check()
            if not len(self.updates) and not any(self.wires[-1]):
                return
        raise AssertionError("it does not end")


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from("abc")),
        st.tuples(st.just("publish"), st.sampled_from("abc")),
        st.tuples(st.just("send")),
        st.tuples(st.just("send")),
        st.tuples(st.just("deliver"), st.integers(0, 3), st.booleans()),
        st.tuples(st.just("deliver"), st.integers(0, 3), st.booleans()),
        st.tuples(st.just("hear"), st.integers(0, 3)),
        st.tuples(st.just("hear"), st.integers(0, 3)),
        st.tuples(st.just("connect")),
        st.tuples(st.just("lose"), st.booleans()),
        st.tuples(st.just("restart")),
    ),
    max_size=120,
)


@settings(max_examples=300, deadline=None)
@given(steps=STEPS, when_full=st.sampled_from(["raise", "drop_oldest", "conflate"]), rejects=st.sampled_from([0, 3]))
def test_every_update_is_at_the_edge_once_and_in_order_or_known_to_be_gone(
    steps: list[tuple[Any, ...]], when_full: WhenFull, rejects: int
) -> None:
    journey = Journey(when_full, rejects)
    journey.connect()
    for step, *arguments in steps:
        journey.now += 0.001
        getattr(journey, step)(*arguments)
        journey.check()
    journey.finish()
    updates = journey.updates
    at_edge = {channel: [int(payload) for payload in payloads] for channel, payloads in journey.disk.channels.items()}
    by_channel: dict[str, list[int]] = defaultdict(list)
    for channel, numbers in at_edge.items():
        assert numbers == sorted(set(numbers)), f"{channel} is out of order, or has one twice"
        by_channel[channel] = numbers
    arrived = {number for numbers in at_edge.values() for number in numbers}
    assert all(journey.channels[number] == channel for channel, numbers in at_edge.items() for number in numbers)
    gone = set(journey.channels) - arrived
    rejected = {number for number in gone if rejects and number % rejects == 0 and journey.rejected_at_edge[number]}
    assert len(gone) == updates.dropped + len(rejected)
    assert all(count == 1 for count in journey.rejected_at_edge.values())
    assert journey.told_rejected <= rejected
    if when_full == "raise":
        assert updates.dropped == 0
    else:
        # What is dropped is the older one, so that the newest of each channel arrives.
        for channel in "abc":
            newest = max((number for number, its in journey.channels.items() if its == channel), default=None)
            if when_full == "conflate" and newest is not None and newest not in rejected:
                assert newest in arrived
