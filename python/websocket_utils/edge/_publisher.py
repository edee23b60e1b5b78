"""`EdgePublisher`: publishes to the edge over one socket, each update once and in order."""

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import AsyncIterator, Callable
from ssl import SSLContext
from types import TracebackType
from typing import Any, Final, Self, TypeVar, Unpack, get_args, overload

from websocket_utils._endpoints import TokenSource
from websocket_utils._event_handlers import EventHandlers
from websocket_utils._faults import Faults
from websocket_utils._opening import Opening
from websocket_utils._reconnect import ReconnectPolicy
from websocket_utils.client import WebSocketClient
from websocket_utils.config import ConfigOverrides, WebSocketConfig
from websocket_utils.exceptions import ConnectionClosedOK, UpdatesUnacknowledged

from ._endings import closes, ending
from ._events import PublisherEvent, UpdatesDropped
from ._exchange import Exchange
from ._lines import Lines
from ._settings import check, client_settings, headers_of, publisher_url
from ._statistics import EdgePublisherStats
from ._told import Told
from ._unacknowledged import HEAD, MAX_BATCH, MAX_BATCH_UPDATES, Unacknowledged, WhenFull

__all__ = ["EdgePublisher"]

E = TypeVar("E", bound=PublisherEvent)

_logger = logging.getLogger("websocket_utils.edge")

_SUBPROTOCOL: Final = "websocket-utils.publisher"
_EVENTS: Final = frozenset(get_args(PublisherEvent))


class _PublisherOpening(Opening["EdgePublisher"]):
    """Its end says what was not acknowledged, without hiding the error that ended the block."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._opened.__aexit__(kind, error, traceback)


class EdgePublisher:
    """Publishes to a Durable Object at the edge: each update once and in order, whatever happens on the way.

    Made by `EdgePublisher.connect(url, name=..., key=...)`. Updates leave in batches; what the edge has not
    acknowledged, which it does when it is on its disk, is kept within `buffer` and sent again on the next connection.
    All methods belong to the thread of the event loop it was made on.
    """

    def __init__(
        self,
        updates: Unacknowledged,
        lines: Lines,
        *,
        name: str,
        acknowledge_timeout: float,
        flush_timeout: float,
        clock: Callable[[], float],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._updates = updates
        self._lines = lines
        self._name = name
        self._flush_timeout = flush_timeout
        self._told = Told()
        self._faults = Faults(_logger)
        self._handlers = EventHandlers(self._faults)
        self._exchange = Exchange(
            updates,
            name,
            acknowledge_timeout=acknowledge_timeout,
            clock=clock,
            tell=self._tell,
            settled=self._wake_flushes,
            ended=self._end,
            faults=self._faults,
        )
        self._flushes: list[tuple[int, asyncio.Future[None]]] = []
        self._error: BaseException | None = None
        # Nothing is taken any more; nothing is sent any more.
        self._is_closed = False
        self._is_over = False
        # `close` was called.
        self._has_ended = False
        self._dropped_told = 0

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        name: str,
        key: TokenSource | None = None,
        interval: float = 0.02,
        max_batch: int = MAX_BATCH,
        max_batch_updates: int = MAX_BATCH_UPDATES,
        buffer: int = 16 * 1024 * 1024,
        window: int = 1024 * 1024,
        when_full: WhenFull = "raise",
        acknowledge_timeout: float = 5.0,
        flush_timeout: float = 5.0,
        timeout: float | None = None,
        reconnect: ReconnectPolicy | None = None,
        ssl: SSLContext | None = None,
        enc_hook: Callable[[Any], Any] | None = None,
        clock: Callable[[], float] = time.time,
        config: WebSocketConfig | None = None,
        **overrides: Unpack[ConfigOverrides],
    ) -> Opening["EdgePublisher"]:
        """Connect to the edge; to be awaited, or entered with `async with`, which flushes and closes it at the end.

        Args:
            url: Of the Worker's publisher socket, such as `wss://feed.example.workers.dev/publisher`.
            name: Of this publisher, 1 to 256 printable characters. What the edge has is counted for each name; of two
                publishers of one name the newer one wins, and the other ends with `PublisherSuperseded`.
            key: Sent as `X-API-Key`: text, or a callable, asked for each dial, which may be a coroutine function. None
                sends none.
            interval: Seconds from the first update of a batch until it leaves; 0: at the end of the event loop's turn.
                20 ms are 50 messages in a second, which is what a Durable Object likes, whatever the rate of updates.
            max_batch: Bytes at which a batch leaves earlier, 1 KiB to 256 KiB; one update has to fit.
            max_batch_updates: Updates at which it does, 1 to 1024.
            buffer: Bytes of updates that may wait for their acknowledgement; at least `max_batch`.
            window: Bytes that may be on their way without acknowledgement; beyond it updates wait here.
            when_full: What `publish` does when `buffer` is full: `raise`; `drop_oldest` drops the oldest updates that
                were never sent; `conflate` drops those of them of which their channel has a newer one. Drops are
                counted, and told as `UpdatesDropped`. What was sent once is never dropped.
            acknowledge_timeout: Seconds without an acknowledgement of what was sent, after which the connection is
                given up for another one.
            flush_timeout: Seconds that the end of `async with`, and `close`, wait for acknowledgements.
            timeout: None dials once, and raises the error. With a number of seconds the first dial is repeated until
                then.
            reconnect: When to dial again; None takes `ReconnectPolicy()`.
            ssl: For `wss`; None checks the certificate against the system's.
            enc_hook: Called with each object that has no form in JSON; returns what to write in its place.
            clock: Returns seconds since 1970, for the epoch.
            config: Settings of the connection; None takes the defaults, but dials for ever
                (`max_reconnect_attempts=None`).
            **overrides: Single settings, in place of those of `config`.

        Raises:
            InvalidURL: If `url` is no WebSocket URL.
            ConfigError: If a setting is wrong.
            AuthenticationFailed: When awaited, if the key is refused.
            HandshakeError: When awaited, if the answer is no 101 for another reason.
            TimeoutError: When awaited, if there is no connection within `open_timeout`, or `timeout`.
            OSError: When awaited, if the name does not resolve or nobody listens.
        """
        check(
            name=name,
            key=key,
            interval=interval,
            max_batch=max_batch,
            max_batch_updates=max_batch_updates,
            buffer=buffer,
            window=window,
            when_full=when_full,
            acknowledge_timeout=acknowledge_timeout,
            flush_timeout=flush_timeout,
        )
        updates = Unacknowledged(
            epoch=max(1, int(clock() * 1000)),
            interval=interval,
            buffer=buffer,
            window=window,
            max_batch=max_batch,
            max_batch_updates=max_batch_updates,
            when_full=when_full,
            acknowledge_timeout=acknowledge_timeout,
        )
        publisher = cls(
            updates,
            Lines(max_batch - HEAD, enc_hook),
            name=name,
            acknowledge_timeout=acknowledge_timeout,
            flush_timeout=flush_timeout,
            clock=clock,
        )
        exchange = publisher._exchange
        client = WebSocketClient.connect(
            publisher_url(url, name),
            config=client_settings(config, overrides, max_batch=max_batch, window=window),
            headers=headers_of(key, exchange.dial_begins),
            ssl=ssl,
            subprotocols=[_SUBPROTOCOL],
            authenticate=exchange.authenticate,
            timeout=timeout,
            reconnect=reconnect or ReconnectPolicy(),
            closes=closes(refreshes=callable(key)),
        )
        return _PublisherOpening(publisher, lambda: publisher._open(client))

    async def _open(self, client: Opening[WebSocketClient]) -> None:
        try:
            await self._exchange.open(client)
        except BaseException as error:
            self._is_closed = self._is_over = True
            self._told.close(None)
            found = ending(error, self._name, self._updates.epoch)
            if found is error:
                raise
            raise found from error

    # --- publishing ---

    def publish(self, channel: str, message: Any) -> int:
        """Publish one update; never waits. It is encoded at once: what is changed afterwards changes nothing.

        Args:
            channel: Its exact name.
            message: A message object, which is encoded; or `str`, bytes or `msgspec.Raw`, which are JSON already and
                are sent to the digit as they are, without white space.

        Returns:
            Its number, from 1: what events and errors call it.

        Raises:
            ValueError: If `channel` is no name of a channel.
            EncodeError: If the message has no form in JSON, or is none.
            MessageTooBig: If one batch can't hold it.
            PublisherBufferFull: If more than `buffer` bytes are not acknowledged, and `when_full` makes no room.
            ConnectionClosedOK: If the publisher is closed.
            PublisherSuperseded, AuthenticationFailed, BatchRefused, ReconnectGaveUp: If it is over for that reason.
        """
        if self._is_closed:
            raise self._error or ConnectionClosedOK(initiator="local")
        lines, size = self._lines.write(channel, message)
        updates, exchange = self._updates, self._exchange
        number = updates.put(channel, lines, size, self._loop.time())
        if updates.dropped != self._dropped_told:
            self._tell_dropped()
        if exchange.is_up:
            if updates.is_full_batch:
                exchange.send_due()
            elif not exchange.is_armed:
                exchange.arm()
        return number

    async def flush(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  # its end has a name of its own
        """Send all that was published, and wait until it is acknowledged, over reconnects if need be.

        Args:
            timeout: Seconds to wait; None waits as long as it takes.

        Raises:
            UpdatesUnacknowledged: If that takes longer.
            PublisherSuperseded, AuthenticationFailed, BatchRefused, ReconnectGaveUp: If the publisher ends before.
        """
        last = self._updates.published
        if self._is_settled(last):
            return
        if self._is_over:
            raise self._error or self._missing()
        self._updates.hurry()
        settled: asyncio.Future[None] = self._loop.create_future()
        waiting = (last, settled)
        self._flushes.append(waiting)
        try:
            async with asyncio.timeout(timeout):
                self._exchange.send_due()
                await settled
        except TimeoutError:
            if not self._is_settled(last):
                raise self._missing() from None
        finally:
            with contextlib.suppress(ValueError):
                self._flushes.remove(waiting)

    def unacknowledged(self) -> list[tuple[int, str, bytes]]:
        """Return what the edge is not known to have, the oldest first: number, channel and JSON of each update."""
        return [
            (number, channel, lines[len(channel) + 1 : -1].encode()) for number, channel, lines, _, _ in self._updates
        ]

    def _is_settled(self, number: int) -> bool:
        oldest = self._updates.oldest
        return oldest is None or oldest > number

    def _missing(self) -> UpdatesUnacknowledged:
        numbers = [update[0] for update in self._updates]
        return UpdatesUnacknowledged(len(numbers), numbers[0], numbers[-1])

    # --- what happens ---

    def events(self) -> AsyncIterator[PublisherEvent]:
        """Iterate over what happens to the publisher: `UpdateRejected`, `UpdatesDropped`, `Disconnected`...

        The latest 4096 are kept for who comes late; each is handed out once.

        Raises:
            PublisherSuperseded, AuthenticationFailed, BatchRefused, ReconnectGaveUp: At the end, once, if that is why
                the publisher is over.
        """
        return self._told

    @overload
    def on(self, type_: type[E], callback: Callable[[E], object]) -> Callable[[E], object]: ...
    @overload
    def on(self, type_: type[E]) -> Callable[[Callable[[E], object]], Callable[[E], object]]: ...
    def on(self, type_: type[Any], callback: Callable[[Any], object] | None = None) -> Any:
        """Call `callback` with each event of a class, when it happens. What it raises is logged.

        Args:
            type_: One of the classes of `PublisherEvent`.
            callback: May be a coroutine function. None makes this a decorator: `@publisher.on(UpdateRejected)`.

        Returns:
            `callback`, or a decorator.

        Raises:
            TypeError: If `type_` is no such class.
        """
        if type_ not in _EVENTS:
            names = ", ".join(sorted(one.__name__ for one in _EVENTS))
            raise TypeError(f"on: {type_!r} is no event of a publisher; there are {names}")
        if callback is None:
            return functools.partial(self.on, type_)
        self._handlers.add((type_,), callback)
        return callback

    def _tell(self, event: PublisherEvent) -> None:
        self._told.put(event)
        self._handlers.call(event)

    def _tell_dropped(self) -> None:
        first, last = self._updates.drops
        count = self._updates.dropped - self._dropped_told
        self._dropped_told = self._updates.dropped
        self._tell(UpdatesDropped(count, first, last))
        # Dropped is settled too.
        self._wake_flushes()

    def _wake_flushes(self) -> None:
        for last, settled in self._flushes:
            if not settled.done() and self._is_settled(last):
                settled.set_result(None)

    # --- life ---

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def epoch(self) -> int:
        """Epoch in use, as the edge knows it."""
        return self._updates.epoch

    @property
    def is_connected(self) -> bool:
        """Whether updates can leave now; those that are published meanwhile wait."""
        return self._exchange.is_up

    def stats(self) -> EdgePublisherStats:
        """Return what this publisher has done so far."""
        updates = self._updates
        return EdgePublisherStats(
            epoch=updates.epoch,
            published=updates.published,
            acknowledged=updates.acknowledged,
            rejected=updates.rejected,
            dropped=updates.dropped,
            waiting=len(updates),
            waiting_bytes=updates.size,
            in_flight_bytes=updates.in_flight,
            batches=updates.batches,
            resent=updates.resent,
            stalls=self._exchange.stalls,
            events_dropped=self._told.dropped,
            rtt=self._exchange.rtt.copy(),
            latency=self._exchange.latency.copy(),
            client=self._exchange.client.stats(),
        )

    def _end(self, error: BaseException | None) -> None:
        """There will be no further connection."""
        self._is_closed = self._is_over = True
        self._error = error
        for _, settled in self._flushes:
            if not settled.done():
                settled.set_exception(error or ConnectionClosedOK(initiator="local"))
        self._told.close(error)
        if error is not None:
            _logger.error("publisher %s is over, %d updates wait: %s", self._name, len(self._updates), error)

    async def close(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  # as above
        """Send what waits, wait for its acknowledgement, and close the connection. Calling it again does nothing.

        Args:
            timeout: Seconds to wait for acknowledgements; None takes `flush_timeout`, 0 waits for none.

        Raises:
            UpdatesUnacknowledged: If updates were not acknowledged; its cause is why the publisher was over, if it was.
                It is closed then too, and `unacknowledged()` has them.
        """
        if self._has_ended:
            return
        self._is_closed = self._has_ended = True
        try:
            await self.flush(self._flush_timeout if timeout is None else timeout)
        except Exception:  # noqa: BLE001  # whatever it is, what counts is what is missing in the end
            _logger.debug("publisher %s closes with updates that wait", self._name)
        finally:
            self._is_over = True
            await self._exchange.close()
            self._told.close(None)
            await self._faults.finish()
        if len(self._updates):
            raise self._missing() from self._error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            await self.close()
            return
        try:
            await self.close()
        except UpdatesUnacknowledged as missing:
            error.add_note(str(missing))

    def __repr__(self) -> str:
        return f"<EdgePublisher {self._name} {'up' if self._exchange.is_up else 'down'}, {len(self._updates)} wait>"
