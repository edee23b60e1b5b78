"""A client over several links that carry the same: what they bring goes through one door, the merger.

    leg 0: Link -> its Inbox -> take --.
    leg 1: Link -> its Inbox -> take --+-> Race | Standby -> feed -> the client's Inbox -> strategy

One leg is the one that is sent through, and in mode `standby` the one that is listened to: the active one. As long as
any leg is live the strategy is not blind, and is told of no loss but by `Promoted`.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Literal

from . import _core
from ._alone import Strategy
from ._link import Link
from ._merging import Key, Keys, Payload, Race, Received, Standby
from ._session import Session
from ._terms import Terms
from .events import Disconnected, Gap, Lagged, Promoted, Reconnected
from .exceptions import SubscribeRejected
from .metrics import LegStats

__all__ = ["Legs", "open_any"]


async def open_any(links: Sequence[Link], *, repeats: bool) -> None:
    """Dial all; wait until one is live.

    Args:
        links: Legs of one client.
        repeats: Whether to go on when each has failed once; else the error of the first is raised.
    """
    opening = [asyncio.ensure_future(link.open(repeats=True)) for link in links]
    attempts = [asyncio.ensure_future(link.attempted()) for link in links]
    try:
        waiting: set[asyncio.Future[None]] = {*opening, *attempts}
        while not any(one.done() and not one.cancelled() and one.exception() is None for one in opening):
            failed = [link.last_error for link in links]
            if (not repeats and all(failed)) or all(one.done() for one in opening):
                raise failed[0] or ConnectionError("no source could be connected to")
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in (*opening, *attempts):
            # The links themselves go on.
            one.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            one.cancel()


class Legs:
    """Listens to the links of a client that are merged.

    Args:
        strategy: The client.
        terms: What all its connections have in common.
        sources: Names of the legs, the preferred one first.
        is_standby: Whether one leg is listened to, and the others are spares; else all race.
        key: What tells equal messages apart; None only for spares, whose promotion leaves a gap then.
        of: The class of messages that have the key.
    """

    def __init__(
        self, strategy: Strategy, terms: Terms, sources: Sequence[str], *, is_standby: bool, key: Key | None, of: Any
    ) -> None:
        self._strategy = strategy
        self._sources = sources
        self._binary: Literal["msgpack", "protobuf"] = "protobuf" if terms.codec == "protobuf" else "msgpack"
        keys = None if key is None else Keys(key, of, binary=self._binary, on_fault=strategy.fault)
        self._has_keys = keys is not None
        self._merger: Race | Standby
        if is_standby or keys is None:
            self._merger = Standby(keys, sources, _core.Histogram)
        else:
            self._merger = Race(keys, sources, _core.Histogram)
        self._inboxes = [self._inbox(terms, number) for number in range(len(sources))]
        self.links: tuple[Link, ...] = ()
        self._active: Link | None = None
        self._lost_ns: int | None = None
        self._was_live = False

    def _inbox(self, terms: Terms, number: int) -> _core.Inbox:
        inbox = _core.Inbox(
            terms.loop, self._strategy.fault, _ignore, limit=terms.config.max_inbox, pass_connection=True
        )

        def take(connection: _core.Connection, payload: Payload) -> None:
            del connection
            self._take(number, payload)

        inbox.on(str, take)
        inbox.on(bytes, take)
        return inbox

    def inbox_of(self, number: int) -> _core.Inbox:
        """Where a leg's connections put what they receive."""
        return self._inboxes[number]

    def stats(self) -> tuple[LegStats, ...]:
        """What each leg has done so far."""
        return self._merger.leg_stats()

    def _take(self, number: int, payload: Payload) -> None:
        inbox = self._strategy.inbox
        if self._merger.take(number, payload, time.monotonic_ns()):
            inbox.feed(payload, self._inboxes[number].last_received_ns, format=self._binary)
            inbox.end_feed()
        elif self._merger.ready:
            ready, self._merger.ready = self._merger.ready, []
            self._deliver(ready)

    def _deliver(self, ready: Sequence[Received | Gap]) -> None:
        inbox = self._strategy.inbox
        # Kept ones were stamped by the monotonic clock.
        offset_ns = time.time_ns() - time.monotonic_ns()
        for item in ready:
            if isinstance(item, Gap):
                self._strategy.tell(item)
            else:
                inbox.feed(item.payload, item.received_ns + offset_ns, format=self._binary)
        inbox.end_feed()

    # --- what links tell ---

    def link_opened(self, link: Link, session: Session) -> None:
        """Where there is no other, it is listened to from its first byte on."""
        if self._active is None:
            self._strategy.connected(session)
            if self._was_live and not self._has_keys:
                for channel in self._strategy.channels():
                    self._strategy.tell(Gap(channel))
            self._activate(link)

    def link_live(self, link: Link, session: Session, downtime_ns: int | None) -> None:
        """It takes part; the first one after an outage ends it."""
        del downtime_ns
        self._merger.begin(self.links.index(link))
        if link is not self._active:
            if self._active is not None and self._active.session is not None and self._active.session.is_restored:
                return
            # What was to be the active one is not ready yet.
            self._activate(link)
        if self._lost_ns is not None:
            self._strategy.tell(Reconnected(session.epoch, time.monotonic_ns() - self._lost_ns, recovered=False))
            self._lost_ns = None
        self._was_live = True
        self._strategy.use(session)

    def _activate(self, link: Link) -> None:
        self._active = link
        if isinstance(self._merger, Standby):
            self._deliver(self._merger.promote(self.links.index(link), time.monotonic_ns()))

    def link_lost(self, link: Link, session: Session, error: BaseException) -> None:
        """Another leg takes its place, in this moment; where there is none, the strategy is blind."""
        lost_ns = time.monotonic_ns()
        self._merger.lost(self.links.index(link))
        if link is not self._active:
            return
        others = [one for one in self.links if one.session is not None and one is not link]
        others.sort(key=lambda one: one.session is None or not one.session.is_restored)
        self._active = None
        heir = others[0] if others else None
        if heir is None or heir.session is None or not heir.session.is_restored:
            if self._lost_ns is None:
                self._lost_ns = lost_ns
            self._strategy.use(None)
            self._strategy.tell(Disconnected(session.epoch, error))
            if heir is not None:
                self._activate(heir)
            return
        if isinstance(self._merger, Standby) and not self._has_keys:
            for channel in self._strategy.channels():
                self._strategy.tell(Gap(channel))
        self._activate(heir)
        if isinstance(self._merger, Standby):
            self._strategy.tell(Promoted(heir.url, heir.session.epoch, time.monotonic_ns() - lost_ns))
        self._strategy.use(heir.session)

    def link_replaced(self, link: Link, old: Session, new: Session) -> None:
        """A leg's connection is exchanged: both have delivered meanwhile, each message once."""
        del old
        if link is self._active:
            self._strategy.use(new)

    def link_told(self, link: Link, event: Gap | Lagged) -> None:
        """A leg misses something: others may have it, and whether they do is the merger's to tell."""
        if isinstance(event, Lagged) and link is self._active:
            self._strategy.tell(event)

    def link_ended(self, link: Link, error: BaseException | None) -> None:
        """A leg will not come back; the last one to go ends the stream."""
        del link
        if all(one.is_over for one in self.links):
            self._strategy.finish(error)

    def subscription_lost(self, channel: str, error: SubscribeRejected) -> None:
        """A server refused a channel."""
        self._strategy.subscription_lost(channel, error)


def _ignore(value: Any, connection: _core.Connection, nbytes: int) -> None:
    """What `take` returns: nothing."""
