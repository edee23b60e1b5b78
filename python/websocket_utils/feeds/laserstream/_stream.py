"""LaserStream: accounts, slots, logs and transactions of a node, over a link that is renewed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ssl import SSLContext
from typing import Any, Self, TypeVar, Unpack

from ..._core import PubSubDecoder
from ..._endpoints import Endpoint, HeadersSource, TokenSource, UrlSource
from ..._event_queue import EventQueue
from ..._opening import Closing, Opening
from ..._reconnect import ClosePolicy, ReconnectPolicy
from ..._redaction import on_one_line
from ..._slow import Backpressure, SlowPolicy
from ...client import WebSocketClient
from ...config import ConfigOverrides, WebSocketConfig
from ...events import Event, Reconnected, SubscriptionLost
from ...exceptions import DecodeError
from ...metrics import ClientState
from ...subscription import Subscription
from ._asking import Asking
from ._decoding import decode_frame, decode_notification, decode_reply
from ._events import Fork, StreamEvent
from ._happenings import Happenings
from ._pubsub import PubSub
from ._requests import MAX_REQUEST_SIZE, Commitment, Request, Requests, check_commitment
from ._seeding import Seeding, seed_endpoint
from ._stats import StreamStats
from ._topics import AccountTopic, ProgramTopic, SlotTopic, Topic, WrongKind
from ._updates import Updates

__all__ = ["LaserStream"]

T = TypeVar("T")

_logger = logging.getLogger("websocket_utils.laserstream")

_MIB = 1 << 20
# As the node's own clients do: a ping each 10 s, and three without a sign of life are the end.
_DEFAULTS = WebSocketConfig().replace(ping_interval=10.0, ping_timeout=30.0, max_message_size=16 * _MIB)
_GUARD = "slots"


class StreamSettings(ConfigOverrides, total=False):
    """What `LaserStream` takes beside the URL."""

    commitment: Commitment
    stale_after: float | None
    slow: SlowPolicy | None
    seed: bool
    seed_url: str | None
    seed_timeout: float
    max_request_size: int
    headers: HeadersSource | None
    token: TokenSource | None
    ssl: SSLContext | None
    timeout: float | None
    reconnect: bool | ReconnectPolicy
    closes: ClosePolicy | None
    config: WebSocketConfig | None


class LaserStream(Asking, Closing):
    """A link to a Solana node's JSON-RPC PubSub: Helius LaserStream in its WebSocket form, or any other.

        async with LaserStream("wss://mainnet.helius-rpc.com/?api-key=KEY") as stream:
            async for update in stream.accounts(["CM78...", ...]):
                ...

    It is a `WebSocketClient` underneath: it dials again when the connection is lost, asks for all subscriptions anew,
    and tells what happened by `events()`. `Gap(channel)` says where updates may be missing: nodes number nothing. All
    methods belong to the thread of the event loop it was made on.

    Args:
        url: `ws://` or `wss://`, or a callable that gives it, asked for each dial; several of them, the preferred
            first. An API key in its query is sent and never shown.
        commitment: How sure the node is to be of what it tells, where a call does not say.
        stale_after: Seconds without a slot after which the connection is replaced (`Stale("slots")`), whatever it says
            of itself: nodes notify one each 0.4 s. It costs the subscription to the slots; None does without.
        slow: What happens when messages come faster than they are taken, where a call does not say. None is
            `Backpressure()`, which holds all of the stream; nodes drop clients that stay behind.
        seed: Whether states of accounts are fetched over HTTP when they are subscribed to, and after each reconnect: a
            subscription tells changes alone. They come as updates, unless a newer one has come (`Seeded`,
            `SeedFailed`).
        seed_url: Where from, `https://` or `http://`; None asks the node itself, by its URL with that scheme.
        seed_timeout: Seconds for one request of a hundred accounts.
        max_request_size: Bytes of a request that the node takes.
        headers: Additional headers of the opening request, or a callable that gives them.
        token: Sent as `Authorization: Bearer`; text, or a callable.
        ssl: For `wss`; None checks the server's certificate against the system's.
        timeout: None dials once, and raises the error; with seconds the first dial is repeated until then.
        reconnect: Dial again when the connection is lost; a `ReconnectPolicy` says when.
        closes: Which ends of a connection are worth another dial; None takes `ClosePolicy()`.
        config: Settings; None pings each 10 s (`ping_interval`), takes a node for dead that shows no life for 30 s
            (`ping_timeout`), and takes messages of up to 16 MiB.
        **overrides: Single settings, in place of those of `config`.

    Raises:
        InvalidURL: If `url` is no WebSocket URL.
        ConfigError: If a setting is wrong.
    """

    def __init__(
        self,
        url: UrlSource | Sequence[UrlSource],
        *,
        commitment: Commitment = "processed",
        stale_after: float | None = 5.0,
        slow: SlowPolicy | None = None,
        seed: bool = False,
        seed_url: str | None = None,
        seed_timeout: float = 5.0,
        max_request_size: int = MAX_REQUEST_SIZE,
        headers: HeadersSource | None = None,
        token: TokenSource | None = None,
        ssl: SSLContext | None = None,
        timeout: float | None = None,
        reconnect: bool | ReconnectPolicy = True,
        closes: ClosePolicy | None = None,
        config: WebSocketConfig | None = None,
        **overrides: Unpack[ConfigOverrides],
    ) -> None:
        settings = (config or _DEFAULTS).replace(**overrides)
        self._requests = Requests(check_commitment(commitment), max_request_size)
        self._stale_after = stale_after
        self._slow: SlowPolicy = slow or Backpressure()
        self._max_messages = settings.max_inbox_messages
        self._max_bytes = settings.max_inbox
        self._topics: dict[str, Topic] = {}
        self._held: dict[Updates[Any], Subscription] = {}
        self._full: set[Updates[Any]] = set()
        # What is held because of them.
        self._stopped: Any = None
        self._malformed = self._dropped = self._conflated = 0
        self._ender: asyncio.Task[None] | None = None
        self._opening: Opening[WebSocketClient] = WebSocketClient.connect(
            url,
            config=settings,
            headers=headers,
            token=token,
            ssl=ssl,
            subscriptions=self._new_connection,
            timeout=timeout,
            reconnect=reconnect,
            closes=closes,
        )
        self._client = self._opening._opened
        self._inbox = self._client._inbox
        self._happenings = Happenings(self._client._faults)
        self._seeding: Seeding | None = None
        if seed or seed_url is not None:
            given = None if seed_url is None else seed_endpoint(seed_url)
            self._seeding = Seeding(
                lambda: given or self._endpoint, ssl, seed_timeout, self._happenings.tell, self._client._faults.keep
            )
        self._client.on(Event, self._on_event)
        self._client.on(str, self._on_frame)
        self._client.on(bytes, self._on_frame)
        # Of the connection that messages come from.
        self._current: PubSub | None = None
        self._decode: Callable[[str | bytes, int], tuple[Any, object] | None] = lambda frame, timestamp: None

    @classmethod
    def connect(
        cls, url: UrlSource | Sequence[UrlSource], **settings: Unpack[StreamSettings]
    ) -> "Opening[LaserStream]":
        """Connect to a node; to be awaited, or entered with `async with`. Arguments as the class's.

        Returns:
            An awaitable for the stream, which is also its asynchronous context manager.

        Raises:
            InvalidURL: If `url` is no WebSocket URL.
            ConfigError: If a setting is wrong.
            HandshakeError: When awaited, if the node's answer is no 101: 401 and 403 for a bad key, 429 for too many.
            RequestRejected: When awaited, if the node has no slots to notify; `stale_after=None` does without.
            TimeoutError: When awaited, if there is no connection within `open_timeout`, or `timeout`.
            OSError: When awaited, if the name does not resolve or nobody listens.
        """
        stream = cls(url, **settings)
        return Opening(stream, stream._open)

    async def __aenter__(self) -> Self:
        if self._ender is None:
            await self._open()
        return self

    async def _open(self) -> None:
        await self._opening
        self._ender = asyncio.create_task(self._await_end(), name=f"websocket_utils.laserstream {self.url}")
        if self._stale_after is None:
            return
        request = self._requests.slots()
        self._topics[request.channel] = self._topic(request)
        try:
            await self._client.subscribe(request.channel, stale_after=self._stale_after, of="heard")
        except BaseException:
            await self.close()
            raise

    async def _await_end(self) -> None:
        error: BaseException | None = None
        try:
            # Every frame has a handler: this returns with the client's end alone.
            await self._client.receive(str)
        except Exception as ended:  # noqa: BLE001  # whatever it ended with is told to who iterates
            error = ended
        self._end(error)

    # --- what its `Updates` ask for ---

    def _updates(self, requests: Sequence[Request], slow: SlowPolicy | None) -> Updates[Any]:
        return Updates(self, requests, slow or self._slow, max_messages=self._max_messages, max_bytes=self._max_bytes)

    def _topic(self, request: Request) -> Topic:
        if request.kind == "account":
            return AccountTopic(request, self._tell_fork)
        if request.kind == "slot":
            return SlotTopic(request, self._tell_fork, self._client.heard)
        return ProgramTopic(request) if request.kind == "program" else Topic(request)

    async def begin(self, updates: Updates[Any]) -> None:
        """Subscribe to what it stands for; `Updates` calls it."""
        for request in updates.requests:
            self._topics.setdefault(request.channel, self._topic(request)).join(updates)
        try:
            self._held[updates] = await self._client.subscribe(*updates.channels)
        except BaseException as error:
            self._leave(updates, error)
            raise
        self._seed(updates.channels)

    def _seed(self, channels: Iterable[str]) -> None:
        if self._seeding is not None:
            topics = map(self._topics.get, channels)
            self._seeding.want(topic for topic in topics if isinstance(topic, AccountTopic))

    @property
    def _endpoint(self) -> Endpoint:
        """Where the node is that is connected to, or was last."""
        link = self._client._links[0]
        source = link._sources.current if link.session is None else link.session.source
        return link._dialer.endpoints[link._endpoints[source]]

    async def end(self, updates: Updates[Any]) -> None:
        """End what `begin` did; `Updates` calls it."""
        subscription = self._held.get(updates)
        if subscription is not None:
            await subscription.unsubscribe()
        self._leave(updates)

    def _leave(self, updates: Updates[Any], error: BaseException | None = None) -> None:
        if self._held.pop(updates, None) is not None:
            self._dropped += updates.dropped
            self._conflated += updates.conflated
        self.release(updates)
        wanted = set(self._client.channels)
        for channel in updates.channels:
            topic = self._topics.get(channel)
            if topic is not None:
                topic.leave(updates)
                if channel not in wanted:
                    self._forget(channel, error)

    def _forget(self, channel: str, error: BaseException | None) -> None:
        """A channel is not subscribed to any more; who has no other one left is told why."""
        topic = self._topics.pop(channel, None)
        for updates in () if topic is None else topic.listeners:
            subscription = self._held.get(updates)
            if subscription is not None and not subscription.channels:
                updates.close(error)

    def hold(self, updates: Updates[Any]) -> None:
        """Read no more until `release`; `Updates` calls it."""
        self._full.add(updates)
        self._settle_reading()

    def release(self, updates: Updates[Any]) -> None:
        """End `hold`; `Updates` calls it."""
        self._full.discard(updates)
        self._settle_reading()

    def _settle_reading(self) -> None:
        link = self._client._links[0]
        connection = link.session.connection if link.session is not None and self._full else None
        if connection is self._stopped:
            return
        # More than handlers may work on: reading stops with the end of this turn.
        if self._stopped is not None:
            self._stopped.end_handling(self._max_bytes + 1)
        if connection is not None:
            connection.begin_handling(self._max_bytes + 1)
        self._stopped = connection

    def run(self, awaitable: Awaitable[Any], size: int) -> None:
        """Run what an `async def` callback returned; `Updates` calls it."""
        session = self._client._links[0].session
        if session is None:
            self._client._faults.keep(awaitable)
        else:
            self._client._faults.run(awaitable, session.connection, size)

    def report(self, error: BaseException) -> None:
        """Take what a callback raised; `Updates` calls it."""
        self._client._faults.report(error)

    # --- what comes ---

    def _new_connection(self) -> PubSub:
        return PubSub(
            self._topics,
            PubSubDecoder(),
            placed=self._on_placed,
            unexpected=self._on_unexpected,
            arrived=self._on_frame,
        )

    def _on_placed(self, connection: PubSub) -> None:
        self._current = connection
        self._decode = connection.decoder.decode
        self._settle_reading()

    def _on_frame(self, frame: str | bytes) -> None:
        found = self._decode(frame, self._inbox.last_received_ns // 1_000_000)
        if found is None:
            self._read(frame)
        else:
            take, message = found
            try:
                take(message, len(frame))
            except WrongKind as error:
                self._on_unexpected(error.what, error.detail)

    def _read(self, frame: str | bytes) -> None:
        """What the decoder has no plan for."""
        current = self._current
        if current is None:
            return
        try:
            self._read_frame(current, frame)
        except DecodeError:
            self._malformed += 1
            raise

    def _read_frame(self, current: PubSub, frame: str | bytes) -> None:
        read = decode_frame(frame)
        if read.method is None:
            self._read_reply(frame)
            return
        if read.params is None:
            self._on_unexpected(read.method, "without parameters")
            return
        subscription = read.params.subscription
        topic = current.topic_of(subscription)
        if topic is None:
            if not current.is_ending(subscription) and not current.park(subscription, frame):
                self._on_unexpected(read.method, f"of subscription {subscription}, which there is not")
        elif read.method != f"{topic.request.kind}Notification":
            self._on_unexpected(read.method, f"of subscription {subscription}, which is {topic.request.channel}")
        else:
            timestamp = self._inbox.last_received_ns // 1_000_000
            topic.take(decode_notification(topic.request, read.params.result, timestamp, frame), len(frame))

    def _read_reply(self, frame: str | bytes) -> None:
        """An answer that the connection did not look for: mostly of the ending of a subscription."""
        session = self._client._links[0].session
        if session is not None:
            session.take_reply(decode_reply(frame))

    def _on_unexpected(self, what: str, detail: str) -> None:
        event = self._happenings.count_unexpected(what, detail)
        if event is not None:
            _logger.warning("%s sent %s (%s): dropped", self.url, on_one_line(event.what), on_one_line(event.detail))
            self._happenings.tell(event)

    # --- what happens ---

    def events(self) -> EventQueue[StreamEvent]:
        """Iterate over what happens to the stream: `Disconnected`, `Gap`, `Reconnected`, `Stale`, `Fork`, `Seeded`...

        From the call on, the latest 4096; it ends with the stream. Each call has its own.
        """
        return self._happenings.stream()

    def on(self, type_: Any, callback: Callable[[Any], object]) -> Callable[[Any], object]:
        """Call `callback` with each event of a class, such as `Fork` or `Disconnected`, when it happens.

        Also with each `DecodeError`: a frame that can't be read. It is skipped, and logged where nobody asks for it.

        Raises:
            TypeError: If `type_` is no class of events, or a union of them.
        """
        if type_ is DecodeError:
            self._client.on(DecodeError, callback)
        else:
            self._happenings.on(type_, callback)
        return callback

    def _on_event(self, event: Event) -> None:
        self._happenings.tell(event)
        if isinstance(event, SubscriptionLost):
            self._forget(event.channel, event.error)
        elif isinstance(event, Reconnected):
            self._seed(self._topics)

    def _tell_fork(self, event: Fork) -> None:
        self._happenings.forks += 1
        self._happenings.tell(event)

    # --- its life ---

    @property
    def url(self) -> str:
        """The node's URL without user and password, and with `?...` for its query: safe to log."""
        return self._client.url

    @property
    def state(self) -> ClientState:
        """Where it is in its life, as a client's."""
        return self._client.state

    @property
    def channels(self) -> tuple[str, ...]:
        """What is subscribed to, in the order in which it is renewed."""
        return self._client.channels

    async def reconnect(self) -> bool:
        """Exchange the connection for a new one, which is live before the old one is left; as a client's."""
        return await self._client.reconnect()

    def _end(self, error: BaseException | None) -> None:
        for topic in self._topics.values():
            for updates in topic.listeners:
                updates.close(error)
        self._happenings.close(error)

    async def close(self) -> None:
        """Close the link; who iterates gets what waits, then the end. Calling it again does nothing."""
        try:
            await self._client.close()
        finally:
            self._full.clear()
            if self._ender is not None:
                await self._ender
            self._end(None)

    def stats(self) -> StreamStats:
        """Return what this stream has done so far, over all its connections."""
        held = tuple(self._held)
        seeding = self._seeding
        return StreamStats(
            link=self._client.stats(),
            subscriptions=len(self._client.channels),
            waiting=sum(updates.waiting for updates in held),
            dropped=self._dropped + sum(updates.dropped for updates in held),
            conflated=self._conflated + sum(updates.conflated for updates in held),
            forks=self._happenings.forks,
            unexpected=self._happenings.unexpected,
            malformed=self._malformed,
            seeded=0 if seeding is None else seeding.applied,
            seed_failures=0 if seeding is None else seeding.failures,
        )

    def __repr__(self) -> str:
        return f"<LaserStream {self.url} {self.state}>"
