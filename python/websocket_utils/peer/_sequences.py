"""Which messages of a link have come over, across its connections. Pure.

On a connection messages keep their order and none is lost, so they need no number on the wire: the n-th that one side
sends is the n-th that the other one gets. Only what was under way when a connection ended is in doubt. With the next
one each side says how many it has sent and how many it has got: what lies between is lost, and both know its range.
"""

from typing import NamedTuple

__all__ = ["Missed", "SequenceBook", "SequenceFault"]


class SequenceFault(Exception):
    """A peer's numbers can't be: it has more than was sent to it, or has sent less than came."""


class Missed(NamedTuple):
    """Messages that did not come over: their first and last number."""

    first: int
    last: int


class SequenceBook:
    """Numbers of messages to and from one instance of a peer, over the connections that have ended.

    Attributes:
        instance: Of the peer; 0 before the first.
        sent: Messages to it.
        received: Messages of it.
    """

    __slots__ = ("instance", "received", "sent")

    def __init__(self) -> None:
        self.instance = 0
        self.sent = 0
        self.received = 0

    def knows(self, instance: int) -> bool:
        """Whether the numbers are about that instance."""
        return self.instance == instance and instance != 0

    def begin(self, instance: int) -> None:
        """Begin anew: an instance without a past in common."""
        self.instance, self.sent, self.received = instance, 0, 0

    def end(self, sent: int, received: int) -> None:
        """A connection has ended that brought so many over and so many here."""
        self.sent += sent
        self.received += received

    def check(self, their_sent: int, their_received: int) -> tuple[Missed | None, Missed | None]:
        """What is missing of ours there, and of theirs here.

        Raises:
            SequenceFault: If their numbers can't be.
        """
        if their_received > self.sent or their_sent < self.received:
            raise SequenceFault(
                f"the peer says that it has {their_received} of {self.sent} messages and has sent {their_sent}, of "
                f"which {self.received} have come"
            )
        return (
            Missed(their_received + 1, self.sent) if their_received < self.sent else None,
            Missed(self.received + 1, their_sent) if their_sent > self.received else None,
        )

    def go_on(self, their_sent: int) -> None:
        """What was missed is told: numbering goes on behind it."""
        self.received = their_sent
