"""One link: a connection to one of its endpoints at any time, dialled anew whenever it is lost.

    run():  dial -> session -> lost -> wait -> dial ...        decided by the `Lifecycle`, carried out here
    rotate(): dial a successor -> live -> takes over -> the old one retires       make before break

Each connection is a `Session` with an epoch of its own. What a session that is over still says is not heard, and nobody
waits for its socket.
"""

import asyncio
import logging
import random
import time
from collections.abc import Sequence

from . import _core
from ._connection import Connection
from ._dialer import Dialer
from ._downtimes import Downtimes
from ._going_away import GoingAway
from ._handshake import Opened
from ._lifecycle import Decision, Done, Fail, Lifecycle, Wait
from ._link_listener import LinkListener
from ._pings import Pings
from ._recovery import Recovery
from ._replies import Replies
from ._session import Session
from ._sources import Sources
from ._terms import Terms
from .exceptions import ConnectionClosedError, ConnectionClosedOK, SubscribeRejected

__all__ = ["Link"]

_logger = logging.getLogger("websocket_utils.client")

# Timers of the fast loop count whole milliseconds: a wait of up to one would take up to two.
_NO_WAIT = 0.001
_BEFORE_LOG = 0.001
# How long a failed return to the preferred endpoint, or a failed exchange of an old connection, is let be.
_BEFORE_NEXT_ROTATION = 30.0
# The same where the server has said that it goes away: half of this to one and a half times as long.
_BEFORE_NEXT_ESCAPE = 0.5
# A crowd of connections of one age does not go all at once.
_STAGGER = 0.05
# The first failure, then each of these, gets a line in the log.
_LOGGED_EACH = 10


class Link:
    """A connection that is renewed.

    Args:
        terms: What all connections of the client have in common.
        dialer: Opens connections.
        endpoints: Which of the dialer's endpoints it goes to, the preferred one first.
        inbox: Where received messages go.
        listener: Is told of each step.
        lifecycle: Decides what comes next.
        reconnects: Whether there is a next connection at all.
        deduplicates: Whether what two of its connections bring is merged elsewhere: both may deliver at once then.
    """

    def __init__(
        self,
        terms: Terms,
        dialer: Dialer,
        endpoints: Sequence[int],
        inbox: _core.Inbox,
        listener: "LinkListener[Link]",
        lifecycle: Lifecycle,
        *,
        reconnects: bool = True,
        deduplicates: bool = False,
    ) -> None:
        self._terms = terms
        self._dialer = dialer
        self._endpoints = endpoints
        self._reconnects = reconnects
        self.inbox = inbox
        self._listener = listener
        self.lifecycle = lifecycle
        self._deduplicates = deduplicates
        self._loop = terms.loop
        self.session: Session | None = None
        self._successor: Session | None = None
        self._successor_live: asyncio.Future[None] | None = None
        self._sessions: dict[_core.Connection, Session] = {}
        self._sources = Sources(len(endpoints))
        self._refresh = False
        self._loss: asyncio.Future[Decision] | None = None
        self.last_error: BaseException | None = None
        self._first: asyncio.Future[None] = self._loop.create_future()
        self._task: asyncio.Task[None] | None = None
        self._rotation: asyncio.Task[bool] | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._replies = Replies(self._loop, inbox, terms.protocol, self._sessions)
        self._acknowledges = False
        self.recovery = Recovery(lambda event: listener.link_told(self, event))
        self._gone = asyncio.Event()
        self._attempted = asyncio.Event()
        self.connects = 0
        self.totals = [0] * 6
        self.downtimes = Downtimes()
        self.is_over = False
        self._going_away = GoingAway(inbox, self._sessions, self._leave_after)
        self.pings = Pings(inbox, self._sessions, heartbeat=terms.heartbeat)

    # --- what it is ---

    @property
    def url(self) -> str:
        """The endpoint that is connected to, or dialled; safe to log."""
        return self._shown(self._sources.current if self.session is None else self.session.source)

    def _shown(self, source: int) -> str:
        return self._dialer.endpoints[self._endpoints[source]].shown

    @property
    def sessions(self) -> tuple[Session, ...]:
        """Connections that are not yet gone, those that are ending included."""
        return tuple(self._sessions.values())

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Connections whose peers must show signs of life."""
        return tuple(one.connection for one in (self.session, self._successor) if one is not None)

    def session_of(self, connection: _core.Connection) -> Session | None:
        """The session of a connection that is not yet gone."""
        return self._sessions.get(connection)

    def unacknowledged(self, channels: Sequence[str], new: Sequence[str]) -> Sequence[str]:
        """Those of the channels that a server has yet to answer for: this connection's, or the next one's."""
        if self.session is not None and self.session.is_authenticated:
            return self.session.unacknowledged(channels)
        # Nothing is known of the next connection's server but what the last one's was like.
        return new if self._acknowledges and not self.is_over else ()

    # --- its life ---

    async def open(self, *, repeats: bool) -> None:
        """Dial, and wait until the first connection is live.

        Args:
            repeats: Whether a failed first attempt is followed by others; else its error is raised.
        """
        self._task = asyncio.create_task(self._run(repeats), name=f"websocket_utils.link {self.url}")
        await asyncio.shield(self._first)

    async def attempted(self) -> None:
        """Wait for the end of the first dial."""
        await self._attempted.wait()

    async def _run(self, repeats: bool) -> None:
        decision: Decision = Wait(0.0, 0, refresh=False)
        while isinstance(decision, Wait):
            self._refresh = decision.refresh
            delay = self._sources.turn(decision)
            if delay > _NO_WAIT:
                await asyncio.sleep(delay)
            decision, error = await self._live_once()
            self._attempted.set()
            if not self._first.done() and not repeats and not (isinstance(decision, Wait) and decision.refresh):
                self.lifecycle.close()
                self._first.set_exception(error)
                # Whoever opens the link may have been cancelled, and not ask any more.
                self._first.exception()
                return
        self._finish(decision.error if isinstance(decision, Fail) else None)

    def _finish(self, error: BaseException | None) -> None:
        self._stop_timers()
        if not self._first.done():
            self._first.set_exception(error or ConnectionClosedError(initiator="local"))
            self._first.exception()
        if not self.is_over:
            self.is_over = True
            self._listener.link_ended(self, error)

    async def _live_once(self) -> tuple[Decision, BaseException]:
        """One connection from its dial to its loss; returns what comes next, and why."""
        self.lifecycle.dial(self._loop.time())
        self.downtimes.dialled(time.monotonic_ns())
        self._loss = self._loop.create_future()
        endpoint = self._endpoints[self._sources.current]
        try:
            phases = await self._dialer.dial(self._take, endpoint=endpoint, refresh=self._refresh)
        except Exception as error:  # noqa: BLE001  # which errors are final is the lifecycle's to say
            # A dial can time out in the very turn that completes its handshake.
            if self.session is not None:
                self.session.fail(error)
            else:
                self.last_error = error
                return self._judge_dial(error), error
        else:
            self.downtimes.dial_returned(phases)
        decision = await self._loss
        return decision, self.last_error or ConnectionClosedError(initiator="local")

    def _judge_dial(self, error: BaseException) -> Decision:
        attempt = self.lifecycle.attempts
        if attempt and (attempt == 1 or attempt % _LOGGED_EACH == 0):
            _logger.warning("reconnect %d to %s failed: %s", attempt, self.url, error)
        decision = self.lifecycle.dial_failed(
            error,
            now=self._loop.time(),
            wall_now=time.time(),
            unit=random.random(),  # noqa: S311  # jitter is no secret
        )
        return decision or Done()

    def _take(self, opened: Opened) -> Connection:
        """A handshake is complete: the connection's first moment, before any of its bytes are read."""
        if self.lifecycle.is_over:
            # Closed in the very turn that completes a handshake.
            late = self._made(opened, self.lifecycle.epoch + 1, self._sources.current)
            self._loop.call_soon(late.connection.abort)
            return late.connection
        epoch = self.lifecycle.opened(self._loop.time())
        session = self._made(opened, epoch, self._sources.current)
        self.session = session
        self.inbox.begin_epoch()
        session.take_place()
        self._listener.link_opened(self, session)
        session.begin(refresh=self._refresh)
        return session.connection

    def _made(self, opened: Opened, epoch: int, source: int, *, is_successor: bool = False) -> Session:
        session = Session(self, self._terms, epoch, opened, source, time.monotonic_ns(), is_successor=is_successor)
        if session.renewal is not None:
            # From here on also on connections without positions, whose servers know no such message.
            self.recovery.listen(self.inbox, lambda one: self.session is not None and one is self.session.connection)
        self._acknowledges = session.acknowledges
        self._going_away.opened(opened.subprotocol)
        self._sessions[session.connection] = session
        self._gone.clear()
        self.connects += 1
        return session

    # --- what sessions tell ---

    def session_authenticated(self, session: Session) -> None:
        """It may be used."""
        if session is self.session:
            self.lifecycle.authenticated(session.epoch, self._loop.time())

    def session_restored(self, session: Session) -> None:
        """All its subscriptions are acknowledged, or need not be."""
        if session is self._successor:
            self._take_over(session)
        elif session is self.session:
            self._become_live(session)

    def _become_live(self, session: Session) -> None:
        self.lifecycle.restored(session.epoch, self._loop.time())
        self._sources.settle(self._sources.current)
        downtime_ns = self.downtimes.live(session.epoch, session.opened_ns, time.monotonic_ns())
        if _logger.isEnabledFor(logging.INFO):
            _logger.info("connected to %s", self.url)
        self._plan_rotations()
        self._listener.link_live(self, session, downtime_ns)
        if not self._first.done():
            self._first.set_result(None)

    def session_lost(self, session: Session, error: BaseException) -> None:
        """It is over, or as good as over."""
        if session is self._successor:
            self._successor = None
            if self._successor_live is not None and not self._successor_live.done():
                self._successor_live.set_exception(error)
            return
        if session is not self.session:
            return
        self._stop_timers()
        self.downtimes.note_first_data(session.epoch, self.inbox.first_message_ns)
        messages = self.inbox.epoch_messages
        self.inbox.forget_connection()
        self.session = None
        self.recovery.lost()
        self.last_error = error
        self.downtimes.lost(time.monotonic_ns())
        decision = self.lifecycle.lost(
            session.epoch,
            error,
            now=self._loop.time(),
            wall_now=time.time(),
            unit=random.random(),  # noqa: S311  # jitter is no secret
            messages=messages,
            holds_subscriptions=bool(self._terms.subscriptions.channels),
        )
        if decision is None:
            return
        if not self._reconnects:
            # Both sides were done, or one was not: no further connection either way.
            decision = Done() if isinstance(error, ConnectionClosedOK) else Fail(error)
        elif self.lifecycle.attempts <= 1 or self.lifecycle.attempts % _LOGGED_EACH == 0:
            # The dial comes first: a handler of logs may take longer than a handshake.
            self._loop.call_later(
                _BEFORE_LOG, _logger.warning, "connection to %s lost: %s", self._shown(session.source), error
            )
        self._listener.link_lost(self, session, error)
        if self._loss is None or self._loss.done():
            return
        if isinstance(decision, Wait) and self._successor is not None:
            self._adopt(self._successor)
        else:
            self._loss.set_result(decision)

    def session_gone(self, session: Session) -> None:
        """Its transport is closed: its counters are final."""
        if self._sessions.pop(session.connection, None) is not None:
            counted = session.counted()
            self.totals = [before + now for before, now in zip(self.totals, counted, strict=True)]
        if not self._sessions:
            self._gone.set()

    def channel_rejected(self, channel: str, error: SubscribeRejected) -> None:
        """The server refused a channel."""
        self._listener.subscription_lost(channel, error)

    def note_freshness(self, *, is_fresh: bool) -> None:
        """A channel has gone stale, or none is any more."""
        if self.session is not None and self.session.is_restored:
            turn = self.lifecycle.freshened if is_fresh else self.lifecycle.went_stale
            turn(self.session.epoch, self._loop.time())

    def expect_replies(self) -> None:
        """Look for acknowledgements among what is received, until all have come."""
        self._replies.expect()

    # --- make before break ---

    def _plan_rotations(self) -> None:
        age = self._terms.config.max_connection_age
        if age is not None:
            stagger = 1 + _STAGGER * (2 * random.random() - 1)  # noqa: S311  # jitter is no secret
            self._timers.append(self._loop.call_later(age * stagger, self._begin_rotation, None))
        if self._sources.current > 0:
            self._timers.append(self._loop.call_later(self._terms.config.stable_after, self._begin_rotation, 0))

    def _stop_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _leave_after(self, session: Session, seconds: float) -> None:
        """The server of a connection goes away: another one is to be there before."""
        if session is self.session:
            self._timers.append(self._loop.call_later(seconds, self._begin_rotation, None, True))

    def _begin_rotation(self, source: int | None, escapes: bool = False) -> None:
        if self._rotation is None or self._rotation.done():
            self._rotation = asyncio.create_task(self._rotate_or_plan(source, escapes))

    async def _rotate_or_plan(self, source: int | None, escapes: bool) -> bool:
        done = await self.rotate(source)
        if not done and self.session is not None:
            pause = _BEFORE_NEXT_ROTATION
            if escapes:
                source = self._sources.behind(self._sources.current if source is None else source)
                pause = _BEFORE_NEXT_ESCAPE * (0.5 + random.random())  # noqa: S311  # jitter is no secret
            self._timers.append(self._loop.call_later(pause, self._begin_rotation, source, escapes))
        return done

    async def rotate(self, source: int | None = None) -> bool:
        """Exchange the connection for a new one, which is live before the old one is left.

        Args:
            source: The endpoint to go to; None stays with this one.

        Returns:
            Whether it was exchanged; the old connection stays where the new one could not be had.
        """
        if self.session is None or self._successor is not None or not self.session.is_restored:
            return False
        wanted = self._sources.current if source is None else source
        live: asyncio.Future[None] = self._loop.create_future()
        self._successor_live = live
        try:
            await self._dialer.dial(
                lambda opened: self._take_successor(opened, wanted), endpoint=self._endpoints[wanted]
            )
            await live
        except Exception as error:  # noqa: BLE001  # whatever it is, the old connection goes on
            _logger.info("exchange of the connection to %s failed: %s", self._shown(wanted), error)
            self._drop_successor(error)
            return False
        finally:
            self._successor_live = None
            if live.done() and not live.cancelled():
                live.exception()
        return True

    def _drop_successor(self, error: BaseException) -> None:
        successor, self._successor = self._successor, None
        if successor is not None:
            successor.fail(error)

    def _take_successor(self, opened: Opened, source: int) -> Connection:
        session = self._made(opened, self.lifecycle.epoch + 1, source, is_successor=True)
        old = self.session
        if old is None:
            # What it was to succeed is lost, and dialled already.
            self._loop.call_soon(session.fail, ConnectionClosedError(initiator="local"))
            return session.connection
        self._successor = session
        if session.renewal is not None and old.renewal is not None:
            # Both know where channels stand: what follows in order is taken from either, once.
            session.connection.mute(follows=True)
        elif not self._deduplicates:
            session.connection.mute()
        session.begin()
        return session.connection

    def _take_over(self, session: Session) -> None:
        old = self.session
        self._successor = None
        self._stop_timers()
        self.lifecycle.replaced(self._loop.time(), messages=self.inbox.epoch_messages)
        self.session = session
        self._sources.settle(session.source)
        self.inbox.begin_epoch()
        session.take_place()
        if old is not None:
            self._listener.link_replaced(self, old, session)
            self.inbox.forget_connection()
            session.connection.unmute()
            old.retire()
        self._plan_rotations()
        if self._successor_live is not None and not self._successor_live.done():
            self._successor_live.set_result(None)

    def _adopt(self, session: Session) -> None:
        """The connection is lost while its successor is half made: that is now the next one."""
        now = self._loop.time()
        self._successor = None
        self.lifecycle.dial(now)
        self.lifecycle.opened(now)
        self.session = session
        self._sources.current = session.source
        self.inbox.begin_epoch()
        session.take_place()
        self._listener.link_opened(self, session)
        session.connection.unmute()
        if self._successor_live is not None and not self._successor_live.done():
            self._successor_live.set_result(None)
        if session.is_authenticated:
            self.lifecycle.authenticated(session.epoch, now)

    # --- the end ---

    async def close(self, code: int, reason: str) -> None:
        """Stop dialling, then the closing handshake; waits for the peer for at most `close_timeout`."""
        self.lifecycle.close()
        self.is_over = True
        self._stop_timers()
        # Before anything is waited for: nothing is delivered that comes from now on.
        for session in self.sessions:
            session.connection.stop_delivering()
        tasks = [task for task in (self._task, self._rotation) if task is not None and not task.done()]
        for task in tasks:
            task.cancel()
        try:
            if tasks:
                # They may be in the middle of a dial, whose socket they close first.
                await asyncio.wait(tasks)
            for session in self.sessions:
                if session is not self.session or session.has_ended:
                    session.connection.abort()
                    continue
                session.connection.close(code, reason)
            await self.gone()
        finally:
            self.abandon()

    async def gone(self) -> None:
        """Wait until no connection is left of those that are ending; each has its deadline."""
        if self._sessions:
            await self._gone.wait()

    async def give_up(self) -> None:
        """End everything at once, and wait for a dial that is under way to have closed its socket."""
        self.abandon()
        tasks = [task for task in (self._task, self._rotation) if task is not None and not task.done()]
        if tasks:
            await asyncio.wait(tasks)

    def abandon(self) -> None:
        """End everything at once."""
        self.lifecycle.close()
        self.is_over = True
        self._stop_timers()
        for task in (self._task, self._rotation):
            if task is not None:
                task.cancel()
        for session in self.sessions:
            session.connection.abort()
        if not self._first.done():
            self._first.cancel()
