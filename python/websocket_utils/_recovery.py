"""What of a link's channels was missed while it had no connection, and what proves that nothing was.

Theory of operation:

- `Recovery` belongs to a link and outlives its connections. It knows which names and patterns a server has
  acknowledged, and, in `positions`, where each channel stands. The core keeps that up to date with each publication,
  and says where the chain of a channel is broken.
- `Renewal` belongs to one connection. It presents positions, and judges what the server answers: a channel that goes on
  exactly where it stands here has lost nothing; every other one leaves a `Gap`, told before its next message.
- A successor runs beside the connection it is to replace, which still moves the positions on. What follows in order is
  taken from either. So what it has to say is judged when it answers, and told when it takes over.

Nothing here sleeps, reads a clock or sends.
"""

from collections.abc import Callable, Container, Iterable, Sequence

from . import _core
from ._positions import read_positions
from .events import Gap, Lagged
from .messages import LagNotice

__all__ = ["Recovery", "Renewal", "covers"]

Position = tuple[int, int]
"""Epoch and sequence."""

# What servers may say of channels before they say whose: as many as are known here.
_MOST_LISTED = 65_536


def _by_channel(texts: Iterable[str]) -> dict[str, Position]:
    return {channel: (epoch, sequence) for channel, epoch, sequence in read_positions(texts)}


def _is_behind(one: Position, other: Position) -> bool:
    return one[0] == other[0] and one[1] < other[1]


def covers(names: Iterable[str]) -> Callable[[str], bool]:
    """Return what tells whether one of these names or patterns means a channel."""
    exact = frozenset(names)
    prefixes = tuple(name[:-1] for name in exact if name.endswith("*"))
    return lambda channel: channel in exact or channel.startswith(prefixes)


class Recovery:
    """What one link knows of its channels, over all its connections.

    Args:
        tell: Takes each `Gap` and `Lagged`, in order with what is received.

    Attributes:
        positions: Where each channel stands.
    """

    __slots__ = ("_held", "_is_live", "_is_whole", "_tell", "positions")

    positions: _core.Positions

    def __init__(self, tell: Callable[[Gap | Lagged], None]) -> None:
        self._tell = tell
        self.positions = _core.Positions(self._on_gap)
        # What a server has acknowledged and is still wanted.
        self._held: dict[str, None] = {}
        self._is_live = False
        # Whether nothing was missed since the last connection that was live.
        self._is_whole = True

    def _on_gap(self, channel: str, last: int | None, next_: int | None) -> None:
        self.tell_gap(Gap(channel, last, next_))

    def tell_gap(self, gap: Gap) -> None:
        """Messages of a channel may be missing here."""
        self._is_whole = False
        self._tell(gap)

    def begin(self, *, is_successor: bool) -> "Renewal":
        """A connection is made whose publications have positions."""
        if self._is_live:
            self._is_whole = True
        return Renewal(self, tuple(self._held), is_successor=is_successor)

    def begin_blind(self) -> None:
        """A connection is in use whose publications have none: what was known is of no use any more."""
        self._is_whole = False
        self.positions.forget(["*"])

    def lost(self) -> None:
        """The connection in use is lost."""
        if self._is_live:
            self._is_live, self._is_whole = False, True

    def doubt(self) -> None:
        """Something may be missing that cannot be named yet."""
        self._is_whole = False

    def live(self) -> bool:
        """A connection is complete; return whether nothing was missed since the last one that was."""
        self._is_live = True
        return self._is_whole

    def hold(self, names: Iterable[str]) -> None:
        """A server has acknowledged subscriptions."""
        self._held.update(dict.fromkeys(names))

    def lose(self, name: str) -> None:
        """A server has refused to renew a subscription."""
        if name in self._held:
            self._is_whole = False
            del self._held[name]

    def enter(self, new: Sequence[str], wanted: Sequence[str]) -> None:
        """Channels are wanted that were not: what was known of them, from an earlier time, counts no more."""
        if new and len(self.positions):
            fresh = frozenset(new)
            self.positions.forget(list(new), [name for name in wanted if name not in fresh])

    def leave(self, gone: Iterable[str], wanted: Sequence[str]) -> None:
        """Channels are not wanted any more."""
        gone = list(gone)
        for name in gone:
            self._held.pop(name, None)
        if gone and len(self.positions):
            self.positions.forget(gone, list(wanted))

    def listen(self, inbox: _core.Inbox, is_used: Callable[[_core.Connection], bool]) -> None:
        """Hear from now on what servers leave out, on a connection that is used: one beside it may bring that."""

        def take(connection: _core.Connection, notice: LagNotice) -> None:
            if is_used(connection):
                self.positions.lag(notice.channel, notice.last)
                self._tell(Lagged(notice.channel, notice.first, notice.last, notice.count))

        inbox.control(LagNotice, take, consume=True)


class Renewal:
    """What one connection's server says to the positions of its client.

    Args:
        recovery: Of the link.
        held: What was subscribed to, and acknowledged, before.
        is_successor: Whether the connection runs beside the one that it is to replace.
    """

    __slots__ = (
        "_answered",
        "_goes_on",
        "_is_complete",
        "_is_proven",
        "_judged",
        "_listed",
        "_open",
        "_presented",
        "_recovered",
        "_recovery",
        "_renews",
        "is_successor",
    )

    is_successor: bool

    def __init__(self, recovery: Recovery, held: Sequence[str], *, is_successor: bool) -> None:
        self._recovery = recovery
        self._open = dict.fromkeys(held)
        # Without a channel there is nothing to prove anything by.
        self._renews = bool(held)
        self._answered: set[str] = set()
        self._is_complete = False
        # What was said of channels, which may be before their names are acknowledged; and those that were looked at.
        self._listed: dict[str, Position] = {}
        self._recovered: set[str] = set()
        self._judged: set[str] = set()
        # A server that has proven anything about a channel is the one that was there before.
        self._is_proven = False
        self.is_successor = is_successor
        # Of a successor: what it was told, and where channels go on that it has not proven. None: it knows no such one.
        self._presented: dict[str, Position] = {}
        self._goes_on: dict[str, Position | None] = {}

    def positions(self, name: str) -> Sequence[str]:
        """Return where the channels stand that a name or pattern means; none if it was not subscribed to before."""
        if name not in self._open:
            return ()
        found = self._recovery.positions.matching([name])
        if self.is_successor:
            self._presented.update(_by_channel(found))
        return found

    def answer(
        self, names: Sequence[str], positions: Sequence[str], recovered: Sequence[str], wanted: Container[str]
    ) -> None:
        """A server acknowledges subscriptions, and says where they go on.

        Args:
            names: Names and patterns, as they were asked for.
            positions: Where channels go on: those of the names, here or in answers before.
            recovered: Channels of which nothing is missing.
            wanted: Names and patterns that are still wanted.

        Raises:
            ValueError: If a position is none, or there are too many. Nothing has changed.
        """
        found = _by_channel(positions)
        if len(self._listed) + len(found) > _MOST_LISTED:
            raise ValueError(f"more than {_MOST_LISTED} positions of channels that are not acknowledged")
        self._listed.update(found)
        self._recovered.update(channel for channel in recovered if channel in found)
        asked = [name for name in names if name in wanted]
        renewed = [name for name in asked if name in self._open]
        # What is asked for again on the same connection goes on as it did.
        new = [name for name in asked if name not in self._open and name not in self._answered]
        self._answered.update(asked)
        self._recovery.hold(asked)
        if renewed:
            self._judge(renewed)
        for name in renewed:
            del self._open[name]
        if new:
            is_new = covers(new)
            for channel, goes_on in self._listed.items():
                if channel not in self._judged and is_new(channel):
                    self._begin(channel, goes_on)
        if names and self._is_complete:
            self._forget_answers()

    def _forget_answers(self) -> None:
        self._listed.clear()
        self._recovered.clear()
        self._judged.clear()

    def _begin(self, channel: str, goes_on: Position) -> None:
        known = self._recovery.positions.position(channel)
        # Another connection, or another of its names, may have brought it farther already.
        if known is None or known[0] != goes_on[0]:
            self._recovery.positions.set(channel, *goes_on)

    def _judge(self, renewed: Sequence[str]) -> None:
        """Look at each channel that a renewed name means, known here or there."""
        judged = self._judged
        blank: list[str] = []
        for name in renewed:
            known = _by_channel(self._recovery.positions.matching([name]))
            if not known:
                blank.append(name)
            for channel, position in known.items():
                if channel not in judged:
                    judged.add(channel)
                    self._judge_known(channel, position, self._listed.get(channel), channel in self._recovered)
        # A pattern that has brought nothing yet has lost nothing, if it is the same server that says so.
        unproven = [name for name in blank if not (name.endswith("*") and self._is_proven)]
        is_unproven = covers(unproven)
        is_renewed = covers(renewed)
        for channel, goes_on in self._listed.items():
            if channel in judged or not is_renewed(channel):
                continue
            judged.add(channel)
            self._begin(channel, goes_on)
            # It came into being meanwhile: of what it brought, the beginning or nothing is to come.
            if goes_on[1] > 0 and not is_unproven(channel):
                self._recovery.tell_gap(Gap(channel))
        for name in unproven:
            self._recovery.tell_gap(Gap(name))

    def _judge_known(self, channel: str, known: Position, goes_on: Position | None, is_recovered: bool) -> None:
        # Beside another connection, that one may have brought more by now than was presented.
        if goes_on == known or (is_recovered and goes_on is not None and _is_behind(goes_on, known)):
            self._is_proven = True
        elif self.is_successor:
            self._goes_on[channel] = goes_on
        else:
            self._jump(channel, known, goes_on)

    def _jump(self, channel: str, known: Position | None, goes_on: Position | None) -> None:
        self._recovery.tell_gap(Gap(channel, None if known is None else known[1]))
        if goes_on is None:
            self._recovery.positions.forget([channel])
        else:
            self._recovery.positions.set(channel, *goes_on)

    def leave(self, names: Iterable[str]) -> None:
        """Channels are not wanted any more: what this server said of them is of no use, nor what it has yet to say."""
        for name in names:
            self._open.pop(name, None)
            self._answered.discard(name)

    def refuse(self, name: str) -> None:
        """The server refuses to renew a subscription."""
        self._open.pop(name, None)
        self._recovery.lose(name)

    def take_over(self) -> None:
        """What it was to succeed is gone: what it could not prove is told now."""
        self.is_successor = False
        goes_on, self._goes_on = self._goes_on, {}
        for channel, there in goes_on.items():
            known = self._recovery.positions.position(channel)
            if known is None or there is None or known[0] != there[0]:
                self._jump(channel, known, there)
            elif there[1] > known[1] or there[1] < self._presented.get(channel, there)[1]:
                # The other connection did not bring what is between; or this server has lost what it had.
                self._jump(channel, known, there)
            else:
                # Its next publication says what is missing before it, if anything is.
                self._recovery.doubt()
        self._presented.clear()

    def complete(self) -> bool:
        """All that was asked for is answered; return whether nothing was missed since the connection before."""
        self.take_over()
        for name in self._open:
            # Its data came, and no answer.
            self._recovery.tell_gap(Gap(name))
        self._open.clear()
        self._is_complete = True
        self._forget_answers()
        return self._recovery.live() and self._renews
