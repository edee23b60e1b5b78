"""A publisher's connection: what leaves on it and when, and what the edge says there."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from websocket_utils._core import Histogram
from websocket_utils._faults import Faults, is_power_of_ten
from websocket_utils._opening import Opening
from websocket_utils._session import Login
from websocket_utils.client import WebSocketClient
from websocket_utils.events import Disconnected, Reconnected
from websocket_utils.exceptions import (
    AcknowledgementTimeout,
    ConnectionClosed,
    DecodeError,
    PublisherSuperseded,
    RemoteProtocolError,
    SendQueueFull,
)

from ._endings import ending
from ._events import AcknowledgementsStalled, EdgeForgot, PublisherEvent, PublishingResumed, UpdateRejected
from ._messages import PublicationRejected, PublisherAcknowledged, PublisherWelcome
from ._unacknowledged import Unacknowledged

__all__ = ["Exchange"]

_logger = logging.getLogger("websocket_utils.edge")

_REPLIES: Final = PublisherAcknowledged | PublicationRejected
_NANOSECONDS: Final = 1_000_000_000
# Timers of the fast loop count whole milliseconds.
_TIMER_SLACK: Final = 0.001
# What came while this side's own loop was busy is read before the edge is judged.
_GRACE: Final = 0.05


class Exchange:
    """Sends what is due, and takes acknowledgements, over all connections of a publisher.

    Args:
        updates: What is published and not acknowledged.
        name: Of the publisher.
        acknowledge_timeout: Seconds without an acknowledgement after which a connection is given up.
        clock: Returns seconds since 1970.
        tell: Is told of events.
        settled: Is called when updates were acknowledged.
        ended: Is called once, when there will be no further connection, with the reason.
        faults: Takes errors without a caller.

    Attributes:
        is_up: Whether updates can leave now.
        stalls: Connections given up for want of an acknowledgement.
        rtt: From sending a batch to its acknowledgement.
        latency: The same from the first update of the batch on.
    """

    def __init__(
        self,
        updates: Unacknowledged,
        name: str,
        *,
        acknowledge_timeout: float,
        clock: Callable[[], float],
        tell: Callable[[PublisherEvent], object],
        settled: Callable[[], object],
        ended: Callable[[BaseException | None], object],
        faults: Faults,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._updates = updates
        self._name = name
        self._acknowledge_timeout = acknowledge_timeout
        self._clock = clock
        self._tell = tell
        self._settled = settled
        self._ended = ended
        self._faults = faults
        self._client: WebSocketClient | None = None
        # The first word of the connection that is being opened, and that of the last one which said it.
        self._welcome: asyncio.Future[PublisherWelcome] = self._loop.create_future()
        self._welcomed: tuple[int, PublisherWelcome] | None = None
        self._timer: asyncio.Handle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._pump: asyncio.Task[None] | None = None
        self._is_over = False
        self.is_up: bool = False
        self.stalls: int = 0
        self.rtt: Histogram = Histogram()
        self.latency: Histogram = Histogram()

    # --- its connections ---

    @property
    def client(self) -> WebSocketClient:
        """The client behind it."""
        assert self._client is not None  # noqa: S101  # asked for behind `open`
        return self._client

    def dial_begins(self) -> None:
        """What the connection before this one said first is not what this one says."""
        self._welcome = self._loop.create_future()

    async def authenticate(self, login: Login) -> None:
        """Nothing is sent before the edge has said what it has."""
        self._welcomed = (login.epoch, await self._welcome)

    async def open(self, opening: Opening[WebSocketClient]) -> None:
        """Open the client, and wait until the edge has said what it has."""
        client = self._client = opening._opened
        client.on(PublisherWelcome, self._on_welcome)
        items = client.events(_REPLIES)
        await opening
        self._pump = asyncio.create_task(self._follow(items), name=f"websocket_utils.edge {self._name}")
        self._connected(client.epoch)

    async def close(self) -> None:
        """Close the connection; nothing is sent any more."""
        self.stop()
        if self._client is not None:
            await self._client.close()
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait([self._pump])

    def stop(self) -> None:
        """Send nothing any more."""
        self.is_up, self._is_over = False, True
        for timer in (self._timer, self._stall_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._stall_timer = None

    async def _follow(self, items: AsyncIterator[Any]) -> None:
        """Take what the client brings, until it ends."""
        error: BaseException | None = None
        while True:
            try:
                async for item in items:
                    self._take(item)
            except DecodeError as unknown:
                # A message of a newer edge: what it has to say is not for us.
                self._faults.report(unknown)
                items = self.client.events(_REPLIES)
                continue
            except Exception as raised:  # noqa: BLE001  # why the client is over
                error = raised
            break
        self._finish(None if error is None else ending(error, self._name, self._updates.epoch))

    def _finish(self, error: BaseException | None) -> None:
        if not self._is_over:
            self.stop()
            self._ended(error)

    def _give_up_connection(self, error: BaseException) -> None:
        self.is_up = False
        for link in self.client._links:
            if link.session is not None:
                link.session.fail(error)

    def _on_welcome(self, welcome: PublisherWelcome) -> None:
        if not self._welcome.done():
            self._welcome.set_result(welcome)

    def _connected(self, number: int) -> None:
        """A connection is there, and what the edge has is known."""
        if self._welcomed is None or self._welcomed[0] != number or not self.client.is_connected or self._is_over:
            # Lost already: the next one is on its way.
            return
        welcome, updates = self._welcomed[1], self._updates
        if updates.is_superseded_by(welcome.epoch, welcome.sequence):
            self._finish(PublisherSuperseded(self._name, updates.epoch))
            self._faults.keep(self.client.close())
            return
        was_new = updates.is_new
        found = updates.resume(welcome.epoch, welcome.sequence, self._loop.time(), now_ms=int(self._clock() * 1000))
        if not was_new:
            self._tell(PublishingResumed(found.acknowledged, found.resent))
        if found.forgotten:
            _logger.error("%s lacks %d updates that it had acknowledged", self.client.url, found.forgotten)
            self._tell(EdgeForgot(updates.epoch, found.forgotten))
        self.is_up = True
        self._settled()
        self.send_due()

    # --- out ---

    def arm(self) -> None:
        """Plan the next batch."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._updates.due_at
        if due is None or not self.is_up:
            return
        if due == -math.inf or due <= self._loop.time():
            self._timer = self._loop.call_soon(self._on_timer)
        else:
            self._timer = self._loop.call_at(due, self._on_timer)

    @property
    def is_armed(self) -> bool:
        """Whether a batch is planned."""
        return self._timer is not None

    def _on_timer(self) -> None:
        self._timer = None
        # It is time, whatever the clock says: see `_TIMER_SLACK`.
        self._updates.hurry()
        self.send_due()

    def send_due(self) -> None:
        """Send all batches that are due, as far as the window goes."""
        if not self.is_up:
            return
        now = self._loop.time()
        while (due := self._updates.due_at) is not None and due <= now:
            batch = self._updates.take(now)
            if batch is None:
                break
            try:
                self.client.send(batch.text)
            except ConnectionClosed:
                # Sent again on the next connection.
                self.is_up = False
                return
            except SendQueueFull as error:
                self._give_up_connection(error)
                return
        self.arm()
        if self._stall_timer is None:
            self._watch_stall()

    # --- in ---

    def _take(self, item: Any) -> None:
        """One message or event of the client, in their order."""
        match item:
            case PublisherAcknowledged():
                self._acknowledged(item)
            case PublicationRejected():
                self._rejected(item)
            case Reconnected():
                self._tell(item)
                self._connected(item.epoch)
            case Disconnected():
                self.is_up = False
                self._tell(item)
            case _:
                pass

    def _acknowledged(self, message: PublisherAcknowledged) -> None:
        try:
            found = self._updates.acknowledge(message.epoch, message.sequence, self._loop.time())
        except RemoteProtocolError as error:
            self._give_up_connection(error)
            return
        if not found.count:
            return
        for seconds in found.since_sent:
            self.rtt.record(int(seconds * _NANOSECONDS))
        for seconds in found.since_put:
            self.latency.record(int(seconds * _NANOSECONDS))
        self._settled()
        # The window may have room again.
        self.send_due()

    def _rejected(self, message: PublicationRejected) -> None:
        is_new, number = self._updates.reject(message.epoch, message.sequence)
        if not is_new:
            return
        count = self._updates.rejected
        if is_power_of_ten(count):
            _logger.warning(
                "update of %r rejected: %r (code %d; %d so far)", message.channel, message.reason, message.code, count
            )
        self._tell(UpdateRejected(number, message.channel, message.code, message.reason))

    # --- silence ---

    def _watch_stall(self) -> None:
        stalls_at = self._updates.stalls_at
        if stalls_at is not None and self.is_up:
            self._stall_timer = self._loop.call_at(stalls_at, self._look_at_stall)

    def _look_at_stall(self) -> None:
        self._stall_timer = None
        if self._is_stalled():
            self._stall_timer = self._loop.call_later(_GRACE, self._judge_stall)
        else:
            self._watch_stall()

    def _judge_stall(self) -> None:
        self._stall_timer = None
        if not self._is_stalled():
            self._watch_stall()
            return
        self.stalls += 1
        count = self._updates.sent
        _logger.warning("%s acknowledges nothing: %d updates wait", self.client.url, count)
        self._tell(AcknowledgementsStalled(count, self._updates.silence(self._loop.time())))
        self._give_up_connection(AcknowledgementTimeout(count, self._acknowledge_timeout))

    def _is_stalled(self) -> bool:
        stalls_at = self._updates.stalls_at
        return self.is_up and stalls_at is not None and stalls_at <= self._loop.time() + _TIMER_SLACK
