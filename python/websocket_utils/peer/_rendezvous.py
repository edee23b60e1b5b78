"""How peers find each other: they announce themselves on a channel of a server, and learn there of the others.

A roster is a hint, nothing more: who is dialled by it still has to prove who it is. A rendezvous that is away takes no
link down, and its server needs none of the peers' keys.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from ssl import SSLContext

from websocket_utils._connection import ServerConnection
from websocket_utils._endpoints import TokenSource
from websocket_utils._opening import Opening
from websocket_utils._reconnect import ReconnectPolicy
from websocket_utils.client import WebSocketClient
from websocket_utils.events import Reconnected
from websocket_utils.exceptions import ConnectionClosed, SendQueueFull, WebSocketError
from websocket_utils.server import WebSocketServer

from ._messages import PeerAnnouncement, PeerPlace, PeerRoster
from ._roster import Roster, is_place

__all__ = ["Rendezvous", "RendezvousClient", "RendezvousServer", "serve_rendezvous"]

_logger = logging.getLogger("websocket_utils.peer")

# A peer says three times in each lease that it is there: one that is lost costs nothing.
_RENEWALS = 3
_MOST_PLACES = 1024
_LONGEST_LEASE = 300.0
_GATHER_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Rendezvous:
    """Where a peer announces itself and learns of others; `Peer(rendezvous=...)` takes it.

    Attributes:
        url: Of a server with `serve_rendezvous`.
        channel: Those who name the same one find each other.
        advertise: The URL that others dial; None is the peer's own `url`, which reaches it from its own machine where
            it listens on all addresses. A peer that does not listen dials the others.
        lease: Seconds after which a peer that is gone is forgotten.
        token: As `WebSocketClient.connect`.
        ssl: For `wss`; None checks the server's certificate against the system's.
    """

    url: str
    channel: str = "peers"
    advertise: str | None = None
    lease: float = 15.0
    token: TokenSource | None = None
    ssl: SSLContext | None = None

    def faults(self) -> list[str]:
        """What is wrong with it."""
        found: list[str] = []
        if not 0 < self.lease <= _LONGEST_LEASE:
            found.append(f"rendezvous: lease must be above 0 and at most {_LONGEST_LEASE:g}, not {self.lease!r}")
        if self.advertise is not None and not is_place(PeerPlace("x", 1, self.advertise)):
            found.append("rendezvous: advertise is no URL that can be dialled")
        return found

    def opens(self) -> Opening[WebSocketClient]:
        """What connects to the server."""
        return WebSocketClient.connect(
            self.url, token=self.token, ssl=self.ssl, recover=True, max_reconnect_attempts=None
        )


class RendezvousClient:
    """A peer's end of a rendezvous.

    Args:
        rendezvous: Where.
        place: What the peer announces.
        policy: How long to wait where the server can't be reached.
        learned: Called with each roster.
    """

    def __init__(
        self,
        rendezvous: Rendezvous,
        place: PeerPlace,
        policy: ReconnectPolicy,
        learned: Callable[[list[PeerPlace]], None],
    ) -> None:
        self._rendezvous = rendezvous
        self._place = place
        self._policy = policy
        self._learned = learned

    async def run(self) -> None:
        """Announce and learn, until cancelled; a server that is away is tried again and again."""
        failures = 0
        while True:
            try:
                async with self._rendezvous.opens() as client:
                    failures = 0
                    await self._stay(client)
            except (WebSocketError, OSError, TimeoutError) as error:
                _logger.debug("no rendezvous at %s: %s", self._rendezvous.url.partition("?")[0], error)
            failures += 1
            # The whole bound: nobody waits for a rendezvous to be found a little earlier.
            await asyncio.sleep(self._policy.delay(failures, 1.0, flapping=False, longest=self._rendezvous.lease))

    async def _stay(self, client: WebSocketClient) -> None:
        client.on(PeerRoster, self._on_roster)
        client.on(Reconnected, lambda _: self._announce(client))
        await client.subscribe(self._rendezvous.channel)
        while client.state not in {"closed", "failed"}:
            self._announce(client)
            await asyncio.sleep(self._rendezvous.lease / _RENEWALS)

    def _announce(self, client: WebSocketClient) -> None:
        try:
            client.send(PeerAnnouncement(self._rendezvous.channel, self._place, self._rendezvous.lease))
        except (ConnectionClosed, SendQueueFull):
            # It is told again in time.
            return

    def _on_roster(self, roster: PeerRoster) -> None:
        if roster.channel == self._rendezvous.channel:
            self._learned([place for place in roster.places[:_MOST_PLACES] if is_place(place)])


class RendezvousServer:
    """The server's end: keeps announcements of one channel for as long as their leases, and publishes who there is."""

    def __init__(self, server: WebSocketServer, channel: str, most: int) -> None:
        self._server = server
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._roster = Roster(most, _LONGEST_LEASE)
        self._timer: asyncio.TimerHandle | None = None
        self._publishing: asyncio.TimerHandle | None = None

    @property
    def names(self) -> list[str]:
        """Who is announced now."""
        self._roster.expire(self._loop.time())
        return [place.name for place in self._roster.places]

    def close(self) -> None:
        """Keep nothing any more; the server goes on."""
        for timer in (self._timer, self._publishing):
            if timer is not None:
                timer.cancel()
        self._timer = self._publishing = None
        self._roster = Roster(0, _LONGEST_LEASE)

    def take(self, connection: ServerConnection, message: PeerAnnouncement) -> None:
        """Take an announcement, and answer it with all there are."""
        if message.channel != self._channel:
            return
        identity = connection.identity
        if identity is not None and not identity.may("publish", self._channel):
            return
        roster, now = self._roster, self._loop.time()
        is_known, holder = roster.is_holder(connection), roster.holder(message.place.name)
        is_free = isinstance(holder, ServerConnection) and not holder.is_open
        if roster.announce(message.place, message.lease, connection, now, is_free=is_free):
            self._publish_soon()
        self._plan()
        if not is_known and roster.is_holder(connection):
            # Once: from here on it is told of changes.
            try:
                connection.send(self._message())
            except (ConnectionClosed, SendQueueFull):
                connection.abort()

    def _message(self) -> PeerRoster:
        return PeerRoster(self._channel, self._roster.places)

    def _publish_soon(self) -> None:
        """Publish all changes of a moment together: who changes what it says all the time costs others little."""
        if self._publishing is None:
            self._publishing = self._loop.call_later(_GATHER_SECONDS, self._publish)

    def _publish(self) -> None:
        self._publishing = None
        self._server.publish(self._channel, self._message())

    def _plan(self) -> None:
        due = self._roster.next_expiry
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if due is None else self._loop.call_at(due, self._expire)

    def _expire(self) -> None:
        self._timer = None
        if self._roster.expire(self._loop.time()):
            self._publish_soon()
        self._plan()


def serve_rendezvous(
    server: WebSocketServer, channel: str = "peers", *, max_peers: int = _MOST_PLACES
) -> RendezvousServer:
    """Let peers find each other through a server.

    With `authenticate`, a client that announces needs the grant to publish on the channel, and one that learns needs
    the grant to subscribe to it.

    Args:
        server: It goes on as before.
        channel: Of the rosters.
        max_peers: Announcements that are kept; more are not taken.

    Returns:
        Who is announced.
    """
    made = RendezvousServer(server, channel, max_peers)
    server.on(PeerAnnouncement, made.take)
    return made
