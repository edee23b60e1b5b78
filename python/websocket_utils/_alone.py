"""A client over one link: what the link tells becomes what the strategy sees."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ._core import Inbox
from ._link import Link
from ._session import Session
from .events import Disconnected, Event, Gap, Lagged, Promoted, Reconnected
from .exceptions import SubscribeRejected

__all__ = ["Alone", "Strategy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """The client, as its links' listeners see it."""

    inbox: Inbox
    """Where the strategy reads from."""

    channels: Callable[[], Sequence[str]]
    """Returns the channels that are subscribed to."""

    tell: Callable[[Event], None]
    """Puts an event behind all that was received."""

    use: Callable[[Session | None], None]
    """Sends through this connection from now on, what was kept first; None: through none."""

    connected: Callable[[Session], None]
    """A connection has come where there was none."""

    subscription_lost: Callable[[str, SubscribeRejected], None]
    """A channel is not subscribed to any more."""

    fault: Callable[[BaseException], None]
    """Takes an error that has no caller."""

    finish: Callable[[BaseException | None], None]
    """Ends the stream."""


class Alone:
    """Listens to the only link of a client, which may have several endpoints.

    Args:
        strategy: The client.
        deduplicates: Whether messages that two connections bring are delivered once: exchanging one leaves no gap then.
    """

    def __init__(self, strategy: Strategy, *, deduplicates: bool = False) -> None:
        self._strategy = strategy
        self._deduplicates = deduplicates

    def link_opened(self, link: Link, session: Session) -> None:
        """Where the server says nothing about it, the gaps stand before the first messages."""
        del link
        self._strategy.connected(session)
        if session.epoch > 1 and session.renewal is None:
            self._tell_gaps()

    def _tell_gaps(self) -> None:
        for channel in self._strategy.channels():
            self._strategy.tell(Gap(channel))

    def link_live(self, link: Link, session: Session, downtime_ns: int | None) -> None:
        """The strategy sees again, and what it sent meanwhile leaves."""
        del link
        if downtime_ns is not None:
            self._strategy.tell(Reconnected(session.epoch, downtime_ns, session.is_recovered))
        self._strategy.use(session)

    def link_lost(self, link: Link, session: Session, error: BaseException) -> None:
        """The strategy is blind."""
        del link
        self._strategy.use(None)
        self._strategy.tell(Disconnected(session.epoch, error))

    def link_replaced(self, link: Link, old: Session, new: Session) -> None:
        """Another connection takes over, with no moment without one."""
        if not self._deduplicates and new.renewal is None:
            # What the old one had not brought yet and the new one had already is not seen.
            self._tell_gaps()
        if old.source != new.source:
            self._strategy.tell(Promoted(link.url, new.epoch, 0))
        self._strategy.tell(Reconnected(new.epoch, 0, new.is_recovered))
        self._strategy.use(new)

    def link_told(self, link: Link, event: Gap | Lagged) -> None:
        """Publications are missing here."""
        del link
        self._strategy.tell(event)

    def link_ended(self, link: Link, error: BaseException | None) -> None:
        """The last word."""
        del link
        self._strategy.finish(error)

    def subscription_lost(self, channel: str, error: SubscribeRejected) -> None:
        """The server refused a channel."""
        self._strategy.subscription_lost(channel, error)
