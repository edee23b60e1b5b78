"""A peer: a strategy, a risk guard or anything else that talks to others of its kind."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from ssl import SSLContext
from typing import Any, TypeVar, Unpack, cast, get_args, overload
from urllib.parse import quote

from websocket_utils import _core
from websocket_utils._accepting import Acceptance, Acceptor, Judgement, Refusal, Request
from websocket_utils._admission import Admission
from websocket_utils._faults import Faults
from websocket_utils._handshake import Compression
from websocket_utils._heartbeat import Heartbeat
from websocket_utils._listening import Listener
from websocket_utils._opening import Closing
from websocket_utils._reconnect import ReconnectPolicy
from websocket_utils._transport import context_faults
from websocket_utils._transport import listen as listen_on
from websocket_utils._url import parse_address
from websocket_utils.config import ConfigOverrides, WebSocketConfig
from websocket_utils.exceptions import (
    ConfigError,
    ConnectionClosed,
    DecodeError,
    HeartbeatTimeout,
    PeerUnavailable,
    SendQueueFull,
)
from websocket_utils.outcomes import SendOutcome

from ._asking import Answerer, Asking
from ._dialling import Dialling
from ._discovery import Discovery
from ._events import PeerEvent, PeerEvents, PeerLeft, peer_event_classes
from ._link import LinkConnection, PeerLink
from ._links import Links, PeerCodec
from ._messages import PeerPlace
from ._places import listening_faults, named_places
from ._probing import Probing
from ._proofs import Keys, is_name
from ._rendezvous import Rendezvous, RendezvousClient

__all__ = ["Peer"]

T = TypeVar("T")
A = TypeVar("A", bound=Answerer)

_logger = logging.getLogger("websocket_utils.peer")

# What peers are likelier to need than clients: a peer that is gone is known in some seconds.
_PING_SECONDS = 5.0


class Peer(Closing):
    """One of several programs that talk to each other over one link for each pair.

    async with Peer("momentum", listen="127.0.0.1:0", peers={"guard": "ws://10.0.0.2:9000"}, key=KEY) as peer:
        peer.on(Fill, handler)
        verdict = await peer.request("guard", MayTrade("SOL-USDC", 5.0), timeout=0.05, of=Verdict)

    Either side dials, or both; a link that is lost is dialled again for as long as the peer lives. All methods belong
    to the thread of the event loop it was entered on.

    Args:
        name: Its own: 1 to 64 letters, digits, dots, underscores and hyphens, another one for each peer.
        listen: `host:port` (port 0 takes a free one) or `unix:/path`; None only dials.
        peers: URLs (`ws://`, `wss://`, `unix:/path`) by the names of who is there, or URLs alone.
        key: Shared by all peers, at least 16 bytes, or one for each by its name. Both sides of a link prove that they
            know it, and it never travels. None is for links that do not leave this machine.
        codec: How messages are sent, the same for all: `json` or `msgpack`.
        listen_ssl: Serves `wss` with this context's certificate; None serves `ws`.
        dial_ssl: For `wss`; None checks certificates against the system's.
        max_requests: Requests that wait for an answer of one peer, and those of one peer that are worked on here.
        max_peers: Names that are remembered.
        probe_interval: Seconds between two samples of round trip time and clock offset; None takes none.
        reconnect: How long to wait between dials.
        rendezvous: Where to find more peers, and to be found; None knows those of `peers` alone.
        config: Settings of connections; None takes the defaults, with pings every 5 seconds.
        **overrides: Single settings, in place of those of `config`.

    Raises:
        ConfigError: If an argument is wrong; it names all that are.
    """

    def __init__(
        self,
        name: str,
        *,
        listen: str | None = None,
        peers: Mapping[str, str] | Sequence[str] = (),
        key: bytes | Mapping[str, bytes] | None = None,
        codec: PeerCodec = "json",
        listen_ssl: SSLContext | None = None,
        dial_ssl: SSLContext | None = None,
        max_requests: int = 1024,
        max_peers: int = 256,
        probe_interval: float | None = 1.0,
        reconnect: ReconnectPolicy | None = None,
        rendezvous: Rendezvous | None = None,
        config: WebSocketConfig | None = None,
        **overrides: Unpack[ConfigOverrides],
    ) -> None:
        self._name = name
        self._listen = listen
        self._config = (config or WebSocketConfig(ping_interval=_PING_SECONDS)).replace(**overrides)
        self._keys = Keys(key)
        self._places, faults = named_places(peers, name, has_key=self._keys.are_asked_for)
        faults += listening_faults(listen, has_key=self._keys.are_asked_for)
        faults += self._keys.faults() + context_faults(listen_ssl) + context_faults(dial_ssl)
        if not is_name(name):
            faults.append(f"name: {name!r} is none: 1 to 64 letters, digits, dots, underscores and hyphens")
        if codec not in get_args(PeerCodec):
            faults.append(f"codec: must be json or msgpack, not {codec!r}")
        faults += [
            f"{what}: must be at least 1, not {value!r}"
            for what, value in (("max_requests", max_requests), ("max_peers", max_peers))
            if value < 1
        ]
        if probe_interval is not None and not 0 < probe_interval < math.inf:
            faults.append(f"probe_interval: must be a finite number above 0, or None, not {probe_interval!r}")
        if rendezvous is not None:
            faults += rendezvous.faults()
        if faults:
            raise ConfigError(faults)
        self._codec: PeerCodec = codec
        self._listen_ssl = listen_ssl
        self._dial_ssl = dial_ssl
        self._policy = reconnect or ReconnectPolicy()
        self._loop = asyncio.get_running_loop()
        self._faults = Faults(_logger)
        self._events = PeerEvents(self._faults)
        self._inbox = _core.Inbox(
            self._loop, self._faults.report, self._faults.run, limit=self._config.max_inbox, pass_connection=True
        )
        self._links = Links(
            name,
            self._keys,
            loop=self._loop,
            inbox=self._inbox,
            config=self._config,
            codec=codec,
            max_peers=max_peers,
            max_requests=max_requests,
            tell=self._tell,
            logger=_logger,
        )
        self._asking = Asking(
            self._links,
            loop=self._loop,
            inbox=self._inbox,
            faults=self._faults,
            codec=codec,
            max_requests=max_requests,
        )
        self._ask = self._asking.ask
        self._probing = Probing(self._links, self._loop, self._inbox, probe_interval)
        self._links.raised = self._probing.ask
        self._by_name = self._links.all
        self._subprotocol = f"websocket-utils.peer.{codec}"
        self._listener: Listener | None = None
        self._acceptor: Acceptor | None = None
        self._heartbeat: Heartbeat[LinkConnection] | None = None
        self._discovery = Discovery(self._links, self._dialling, has_key=self._keys.are_asked_for)
        self._rendezvous = rendezvous
        self._meeting: asyncio.Task[None] | None = None
        self._is_open = self._is_closed = False

    # --- life ---

    async def __aenter__(self) -> "Peer":
        if self._is_open:
            raise RuntimeError("a peer is entered once; make another one")
        self._is_open = True
        if self._listen is not None:
            await self._begin_listening(*parse_address(self._listen))
        if self._config.ping_interval is not None:
            self._heartbeat = Heartbeat(
                self._loop,
                interval=self._config.ping_interval,
                timeout=self._config.ping_timeout,
                connections=self._links.up,
                on_dead=lambda one: self._links.cut(one, HeartbeatTimeout(self._config.ping_timeout)),
            )
            self._heartbeat.start()
        self._probing.start()
        for name, url in self._places:
            self._discovery.dial(url, name)
        if self._rendezvous is not None:
            url = self._rendezvous.advertise or (self.url if self._listener is not None else "")
            place = PeerPlace(self._name, self._links.instance, url)
            self._discovery.announces(place)
            client = RendezvousClient(self._rendezvous, place, self._policy, self._discovery.learned)
            self._meeting = self._loop.create_task(client.run())
        return self

    def _tell(self, event: PeerEvent) -> None:
        self._events.tell(event)
        if isinstance(event, PeerLeft):
            self._discovery.look()

    async def _begin_listening(self, host: str, port: int) -> None:
        self._acceptor = Acceptor(
            judge=self._judge,
            take=self._links.take_accepted,
            admission=Admission(self._config.max_connections, self._config.max_connections_per_address),
            compression=Compression.of(self._config),
            open_timeout=self._config.open_timeout,
            is_secure=self._listen_ssl is not None,
            on_refused=lambda: None,
        )
        try:
            self._listener = await listen_on(host, port, self._acceptor, ssl=self._listen_ssl)
        except OSError as error:
            error.add_note(f"while listening on {self._listen}; port 0 takes a free one")
            raise

    def _judge(self, request: Request) -> Judgement:
        # Pages may open connections to this machine from any browser on it, and all of them say where they are from.
        if request.values("origin"):
            return Refusal(403, "peers are no web pages")
        if self._subprotocol not in request.subprotocols:
            return Refusal(400, "this is a peer of another kind")
        if self._is_closed:
            return Refusal(503, "the peer is closing")
        return Acceptance(self._subprotocol)

    def dial(self, url: str, name: str | None = None) -> None:
        """Keep a link to one more peer, as those of `peers`.

        Args:
            url: `ws://`, `wss://` or `unix:/path`.
            name: Whom to expect there; None takes who answers.

        Raises:
            ConfigError: If the URL is none, leads to another machine and there is no key, or the name is none.
        """
        places, faults = named_places(
            [url] if name is None else {name: url}, self._name, has_key=self._keys.are_asked_for
        )
        if faults:
            raise ConfigError(faults)
        if self._is_closed or not self._is_open:
            raise RuntimeError("the peer is not open: use `async with Peer(...)`")
        self._discovery.dial(places[0][1], name)

    def _dialling(self, url: str, name: str | None) -> Dialling:
        return Dialling(
            self._links,
            url,
            name,
            config=self._config,
            subprotocol=self._subprotocol,
            ssl=self._dial_ssl,
            policy=self._policy,
            tell=self._tell,
        )

    async def close(self) -> None:
        """Close all links; requests that wait fail with `PeerLost`. Calling it again does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        self._probing.stop()
        if self._heartbeat is not None:
            self._heartbeat.stop()
        if self._meeting is not None:
            self._meeting.cancel()
            await asyncio.gather(self._meeting, return_exceptions=True)
        await self._discovery.close()
        if self._listener is not None:
            self._listener.close()
        if self._acceptor is not None:
            self._acceptor.close()
        await self._links.close()
        self._asking.close()
        await self._faults.finish()
        self._inbox.close()
        self._events.kept.close(None)

    @property
    def name(self) -> str:
        """Its own name."""
        return self._name

    @property
    def url(self) -> str:
        """A URL that reaches it from this machine.

        Raises:
            RuntimeError: If it does not listen.
        """
        if self._listener is None:
            raise RuntimeError("this peer does not listen: make it with `listen=`, and enter it")
        host, port = cast("tuple[str, int]", self._listener.address[:2])
        if host.startswith("unix:"):
            return f"ws+unix:{quote(host.removeprefix('unix:'))}"
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # read, not bound
        scheme = "ws" if self._listen_ssl is None else "wss"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    # --- who is there ---

    @property
    def links(self) -> Mapping[str, PeerLink]:
        """What there is with each peer now, by its name; with those that have left, too."""
        return {name: link.snapshot() for name, link in self._by_name.items() if link.is_up or link.book.instance}

    async def joined(
        self,
        name: str,
        timeout: float | None = None,  # noqa: ASYNC109  # it is in the text of the error
    ) -> PeerLink:
        """Wait until there is a link with that peer.

        Args:
            name: The peer's.
            timeout: Seconds; None waits as long as it takes.

        Returns:
            The link.

        Raises:
            TimeoutError: If there is none in time; its cause is what the last dial failed with.
        """
        link = self._links.link(name)
        try:
            async with asyncio.timeout(timeout):
                await link.wait(up=True)
        except TimeoutError as error:
            raise TimeoutError(f"no link with {name!r} within {timeout:g} s") from self._discovery.error(name) or error
        return link.snapshot()

    def events(self) -> AsyncIterator[PeerEvent]:
        """Iterate over what happens: `PeerJoined`, `PeerLeft`, `PeerGap`, `PeerDialFailed`.

        Begins with what has happened since the peer was made, the latest 4096; ends when it is closed. Each event is
        given out once: use one iterator.
        """
        return self._events.kept

    # --- messages ---

    @overload
    def on(self, type_: type[T], handler: Callable[[T, str], object]) -> Callable[[T, str], object]: ...
    @overload
    def on(self, type_: type[T]) -> Callable[[Callable[[T, str], object]], Callable[[T, str], object]]: ...
    @overload
    def on(self, type_: Any, handler: Callable[..., object] | None = None) -> Any: ...
    def on(self, type_: Any, handler: Callable[..., object] | None = None) -> Any:
        """Call `handler(message, sender)` with every message of a class, inside the read that brings it.

        What it raises is logged and counted; the link goes on. It may be a coroutine function, which runs as a task.
        Messages without a handler are dropped and counted.

        Args:
            type_: A message class or a union of them, or a class of events, or `DecodeError` for messages that no
                handler could be given: handlers of these get the event or error alone.
            handler: None makes this a decorator: `@peer.on(Fill)`.

        Returns:
            `handler`, or a decorator.

        Raises:
            TypeError: If `type_` is nothing that messages can be told apart by.
        """
        if handler is None:

            def register(function: Callable[..., object]) -> Any:
                return self.on(type_, function)

            return register
        events = peer_event_classes(type_)
        if events:
            self._events.on(events, handler)
        elif type_ is DecodeError:
            self._faults.on_decode_error(handler)
        else:

            def deliver(connection: LinkConnection, message: Any) -> object:
                return handler(message, connection.peer)

            self._inbox.on(type_, deliver)
        return handler

    # Positions and names as a client's `send` has them.
    def send(self, name: str, message: Any) -> Awaitable[SendOutcome]:
        """Send one message to one peer now.

        Args:
            name: The peer's.
            message: A message object.

        Returns:
            An awaitable, which need not be awaited: it returns when the socket has taken the message, and raises
            `MessageNotWritten` if the link is lost before.

        Raises:
            PeerUnavailable: If there is no link with it. Nothing was sent.
            SendQueueFull: If more than `max_send_queue` bytes wait. Nothing was sent.
            EncodeError: If the message has no form in the codec. Nothing was sent.
        """
        link = self._by_name.get(name)
        connection = None if link is None else link.connection
        if connection is None:
            raise PeerUnavailable(name)
        return connection.send(message)

    def broadcast(self, message: Any) -> int:
        """Send one message to all peers that are there.

        One that can't take more (`max_send_queue`) is cut off, and told with the next link what it has missed: the
        others don't wait for it, and nobody is left out unseen.

        Returns:
            How many took it.

        Raises:
            EncodeError: If the message has no form in the codec. Nothing was sent.
        """
        count = 0
        for connection in self._links.up():
            try:
                connection.send(message)
            except SendQueueFull as error:
                # It counts as sent: with the next link both sides learn that it did not come over.
                connection.own -= 1
                self._links.cut(connection, error)
            except ConnectionClosed:
                continue
            else:
                count += 1
        return count

    @overload
    def request(self, name: str, message: Any, *, timeout: float, of: type[T]) -> Coroutine[Any, Any, T]: ...
    @overload
    def request(self, name: str, message: Any, *, timeout: float, of: Any = None) -> Coroutine[Any, Any, Any]: ...
    def request(self, name: str, message: Any, *, timeout: float, of: Any = None) -> Coroutine[Any, Any, Any]:
        """Ask one peer, and wait for its answer. Cancelling it only ends the waiting.

        Args:
            name: The peer's.
            message: A message object.
            timeout: Seconds; the other side is told, and does not work longer on it.
            of: The class of the answer, or a union; None takes the message class of the name that the answer has.

        Returns:
            The answer.

        Raises:
            PeerUnavailable: If there is no link with it. Nothing was sent.
            RequestsFull: If `max_requests` wait for answers of this peer. Nothing was sent.
            SendQueueFull, EncodeError: As `send`.
            RequestTimeout: If no answer came in time. A later one is counted, and goes nowhere.
            PeerLost: If the link was lost meanwhile: at once.
            RequestFailed: If the other side has no answer; `kind` and `reason` say why.
        """
        if not 0 < timeout < math.inf:
            raise ValueError(f"timeout: must be a finite number above 0, not {timeout!r}")
        link = self._by_name.get(name)
        connection = None if link is None else link.connection
        if link is None or connection is None:
            raise PeerUnavailable(name)
        return self._ask(link, connection, message, timeout, of)

    def answer(self, type_: type) -> Callable[[A], A]:
        """Answer requests of a class with what `(message, sender)` returns: `@peer.answer(MayTrade)`.

        It may be a coroutine function, which is cancelled at the asker's deadline. What it raises is raised at the
        asker as a `RequestFailed`, with the class's name and the text of the error; a `RequestFailed` goes over as it
        is.

        Raises:
            TypeError: If it is no message class.
            ValueError: If such requests are answered already.
        """

        def register(handler: A) -> A:
            self._asking.answer(type_, handler)
            return handler

        return register

    def __repr__(self) -> str:
        return f"<Peer {self._name} {len(self._links.up())} of {len(self._by_name)} links>"
