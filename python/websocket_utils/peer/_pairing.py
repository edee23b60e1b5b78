"""One link for each pair, whoever dials. Pure.

Both may dial at once. Then the link stays that the peer with the lesser name dialled. A dial counts from its
`PeerHello` on: a peer that sends one stands by it, and does not accept the other's, if its name is the lesser; so the
lesser peer alone decides, and nothing has been sent on the link that goes.
"""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Decision", "Standing", "dials"]

Decision = Literal["accept", "replace", "duplicate", "taken"]
"""What becomes of a `PeerHello`:

- `accept`: there is no link yet; a dial of our own that is under way ends.
- `replace`: the peer has left the link there is: it takes its place.
- `duplicate`: there is, or will be, another link: this one is closed.
- `taken`: another one has that name.
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a listener has with a peer whose `PeerHello` comes.

    Attributes:
        own: Our name.
        peer: Its name.
        has_greeted: A dial of ours has sent its `PeerHello` and waits for the answer.
        instance: Of the peer at the other end of the link there is; None without one.
        is_own_dial: We dialled that link.
        attempt: Number of the dial that made it, where the peer dialled.
        links: How many links with this instance we have had, with that one.
    """

    own: str
    peer: str
    has_greeted: bool = False
    instance: int | None = None
    is_own_dial: bool = False
    attempt: int = 0
    links: int = 0

    def judge(self, instance: int, attempt: int, links: int) -> Decision:
        """Judge the `PeerHello` of that instance, its number and how many links it has had with us."""
        if self.instance is None:
            return "duplicate" if self.has_greeted and self.own < self.peer else "accept"
        if self.instance != instance:
            return "taken"
        if self.is_own_dial:
            # It counted the link before we did. One that it dialled before that came too late: both had dialled.
            return "replace" if links >= self.links else "duplicate"
        # Who dials again has given up the dial before.
        return "replace" if attempt > self.attempt else "duplicate"


def dials(own: str, peer: str, *, can_peer_be_dialled: bool, can_own_be_dialled: bool) -> bool:
    """Whose turn it is, of two that learn of each other: the lesser name's, unless only one can be dialled."""
    if not can_peer_be_dialled:
        return False
    return own < peer or not can_own_be_dialled
