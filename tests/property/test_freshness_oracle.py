"""Freshness, which is told of first reads only, against an oracle that knows when each message came."""

import itertools
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from tests.property.scale import BOUNDED, examples

from websocket_utils import Restored, Stale
from websocket_utils._freshness import Freshness

pytestmark = BOUNDED

# Multiples of 64, so that every time of the model is a whole number and floats are exact.
STALE_AFTER = st.sampled_from([64, 128, 192, 640])
# Around the bounds of `stale_after` and an eighth more, and far from them.
GAP = st.one_of(st.integers(1, 12), st.integers(56, 80), st.integers(120, 150), st.integers(1, 900))
END = 3_000


@dataclass
class Channel:
    name: str
    stale_after: int
    arrivals: list[int]
    told: list[tuple[float, Stale | Restored]] = field(default_factory=list)


@st.composite
def channels(draw: st.DrawFn) -> list[Channel]:
    found = []
    for name in "abc"[: draw(st.integers(1, 3))]:
        gaps = draw(st.lists(GAP, max_size=40))
        arrivals = [at for at in itertools.accumulate(gaps) if at < END]
        found.append(Channel(name, draw(STALE_AFTER), arrivals))
    return found


class Inbox:
    """Notes the time of the first matching read since it was last asked, and no other."""

    def __init__(self) -> None:
        self.first: dict[str, int] = {}

    def read(self, name: str, at: int) -> None:
        self.first.setdefault(name, at)

    def tell(self, freshness: Freshness) -> None:
        for name, at in self.first.items():
            freshness.seen(name, float(at))
        self.first.clear()


def silences(channel: Channel, end: float) -> list[tuple[float, float]]:
    """From each message to the next, from the subscription at 0 on."""
    return list(itertools.pairwise([0.0, *map(float, channel.arrivals), end]))


def judge(channel: Channel, end: float) -> None:
    stale_after, late = channel.stale_after, channel.stale_after / 8
    kinds = [type(event) for _, event in channel.told]
    assert kinds == [Stale, Restored] * (len(kinds) // 2) + [Stale] * (len(kinds) % 2)
    stales = [(at, event) for at, event in channel.told if isinstance(event, Stale)]
    restored = [event for _, event in channel.told if isinstance(event, Restored)]
    for begin, over in silences(channel, end):
        told = [(at, event) for at, event in stales if begin < at <= over]
        if over - begin < stale_after:
            assert told == [], f"told early: silent from {begin} to {over}"
        if over - begin > stale_after + late:
            assert len(told) == 1, f"not told in time: silent from {begin} to {over}"
        for at, event in told:
            assert stale_after <= event.age <= at - begin <= stale_after + late
        if told and over < end - late:
            assert over - begin - late <= restored.pop(0).silence <= over - begin
    assert len(restored) <= 1


@given(channels(), st.lists(st.integers(1, END), max_size=20), st.booleans())
@examples(400)
def test_stale_is_never_early_and_at_most_an_eighth_late(
    some: list[Channel], other_checks: list[int], read_first: bool
) -> None:
    freshness, inbox = Freshness(), Inbox()
    for channel in some:
        freshness.watch(channel.name, float(channel.stale_after), 0.0)
    by_name = {channel.name: channel for channel in some}
    arrivals = sorted((at, channel.name) for channel in some for at in channel.arrivals)
    extra = sorted(other_checks)
    now = 0.0
    while (due := freshness.next_check(now)) is not None and min([due, *extra[:1]]) <= END:
        if extra and extra[0] <= due:
            due = float(extra.pop(0))
        while arrivals and (arrivals[0][0] < due or (read_first and arrivals[0][0] == due)):
            at, name = arrivals.pop(0)
            inbox.read(name, at)
        now = due
        inbox.tell(freshness)
        for event in freshness.check(now):
            by_name[event.channel].told.append((now, event))
    for channel in some:
        judge(channel, END)


@given(channels(), st.lists(st.integers(0, 700), min_size=1, max_size=60))
@examples(400)
def test_loop_that_is_blocked_calls_nobody_stale_who_was_not_silent_so_long(
    some: list[Channel], delays: list[int]
) -> None:
    """Timers come late and before what waits in the socket; it is read, with the time of the read, behind them."""
    freshness, inbox = Freshness(), Inbox()
    for channel in some:
        freshness.watch(channel.name, float(channel.stale_after), 0.0)
    by_name = {channel.name: channel for channel in some}
    arrivals = sorted((at, channel.name) for channel in some for at in channel.arrivals)
    now = 0.0
    for delay in delays:
        due = freshness.next_check(now)
        assert due is not None
        # The loop was idle until the check was due, and blocked from then on.
        while arrivals and arrivals[0][0] < due:
            at, name = arrivals.pop(0)
            inbox.read(name, at)
        now = due + delay
        inbox.tell(freshness)
        for event in freshness.check(now):
            by_name[event.channel].told.append((now, event))
        while arrivals and arrivals[0][0] <= now:
            inbox.read(arrivals.pop(0)[1], int(now) + 1)
    for channel in some:
        long = [begin for begin, over in silences(channel, now) if over - begin >= channel.stale_after]
        for when in (when for when, event in channel.told if isinstance(event, Stale)):
            before = [begin for begin in long if begin + channel.stale_after <= when]
            assert before, f"told at {when}, silent for long from {long}"
            # Each silence is told of once.
            long.remove(before[-1])
