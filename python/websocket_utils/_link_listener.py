"""What a link tells, and whom: the end of the arrow that points back from links to the client."""

from typing import Protocol, TypeVar

from ._session import Session
from .events import Gap, Lagged
from .exceptions import SubscribeRejected

__all__ = ["LinkListener"]

L_contra = TypeVar("L_contra", contravariant=True)


class LinkListener(Protocol[L_contra]):
    """The client, as its links see it."""

    def link_opened(self, link: L_contra, session: Session) -> None:
        """A handshake is complete; no byte behind it is read yet."""

    def link_live(self, link: L_contra, session: Session, downtime_ns: int | None) -> None:
        """Subscriptions are restored; `downtime_ns` is None for the link's first connection."""

    def link_lost(self, link: L_contra, session: Session, error: BaseException) -> None:
        """The connection is over; another will be dialled, or the end follows."""

    def link_replaced(self, link: L_contra, old: Session, new: Session) -> None:
        """A successor is live and has taken over; the old connection is still open."""

    def link_ended(self, link: L_contra, error: BaseException | None) -> None:
        """No further connection will be dialled."""

    def link_told(self, link: L_contra, event: Gap | Lagged) -> None:
        """Publications are missing here, in order with what is received."""

    def subscription_lost(self, channel: str, error: SubscribeRejected) -> None:
        """A channel is not subscribed to any more."""
