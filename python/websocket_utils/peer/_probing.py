"""Samples of round trip time and clock offset, over all links."""

import asyncio
import time

from websocket_utils import _core
from websocket_utils.exceptions import ConnectionClosed, SendQueueFull

from ._link import LinkConnection
from ._links import Links
from ._messages import PeerEcho, PeerProbe

__all__ = ["Probing"]

_NANOSECONDS = 1e9
# JSON has no end of numbers, floats have.
_MOST_NANOSECONDS = 1 << 64


class Probing:
    """Asks each peer for its time, and answers those that ask.

    Args:
        links: The links.
        loop: The event loop.
        inbox: Where messages come.
        interval: Seconds between two samples of a link; None only answers.
    """

    def __init__(
        self, links: Links, loop: asyncio.AbstractEventLoop, inbox: _core.Inbox, interval: float | None
    ) -> None:
        self._links = links
        self._loop = loop
        self._interval = interval
        self._timer: asyncio.TimerHandle | None = None
        inbox.on(PeerProbe, self._on_probe)
        inbox.on(PeerEcho, self._on_echo)

    def start(self) -> None:
        """Begin: the next samples are taken after one interval, besides those of links that come to stand."""
        if self._interval is not None:
            self._timer = self._loop.call_later(self._interval, self._round)

    def stop(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()
        self._interval = self._timer = None

    def _round(self) -> None:
        self.start()
        for connection in self._links.up():
            self.ask(connection)

    def ask(self, connection: LinkConnection) -> None:
        """Take a sample of a link."""
        if self._interval is not None:
            self._say(connection, PeerProbe(time.time_ns()))

    def _say(self, connection: LinkConnection, message: object) -> None:
        # Before: a write that finds the socket broken ends the link in here, and what was sent is counted then.
        connection.own += 1
        try:
            connection.send(message)
        except (ConnectionClosed, SendQueueFull):
            # Behind so much the answer would say nothing.
            connection.own -= 1

    def _on_probe(self, connection: LinkConnection, message: PeerProbe) -> None:
        connection.control += 1
        received = time.time_ns()
        if connection.link is not None:
            self._say(connection, PeerEcho(message.sent, received, time.time_ns()))

    def _on_echo(self, connection: LinkConnection, message: PeerEcho) -> None:
        connection.control += 1
        link = connection.link
        times = (message.sent, message.received, message.returned, time.time_ns())
        if link is not None and all(abs(moment) < _MOST_NANOSECONDS for moment in times):
            # Differences of integers first: floats of nanoseconds since 1970 are wrong by hundreds of them.
            link.clock.add(*((moment - message.sent) / _NANOSECONDS for moment in times))
