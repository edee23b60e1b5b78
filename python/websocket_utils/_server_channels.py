"""What the clients of a server are subscribed to, and what they are told about it.

A client that agreed to one of our subprotocols gets an answer to each `Subscribe`: `Subscribed` for what it has now,
in front of anything that is published there later, and `SubscriptionRejected` for the rest. Any other client gets none,
and is closed with 1008 where it asks for too much. Both may ask for a `Pong`.

An answer is a message on the connection like any other, so `max_send_queue` bounds what answers hold. A client that
asks and doesn't read is cut where that bound is reached: an answer left out would be a promise broken.
"""

import logging
from typing import Any

from ._connection import ServerConnection
from ._core import Broadcaster
from ._subscriptions import SUBPROTOCOLS, parts
from .exceptions import SendQueueFull
from .messages import Ping, Pong, Subscribe, Subscribed, SubscriptionRejected, Unsubscribe

__all__ = ["ServerChannels"]

# What one client may hold of ours: a name costs memory, in a set and in the channel table.
_MAX_CHANNELS = 1024
_MAX_CHANNEL_NAME = 256
# What one request may be refused in full: answers to more would cost more than the requests.
_MAX_REFUSED = 1024
_MAX_REFUSED_CHARACTERS = 64 * 1024

# RFC 6455 §7.4.1.
_POLICY_VIOLATION = 1008

_BAD_NAME = f"channel names have 1 to {_MAX_CHANNEL_NAME} characters"
_TOO_MANY = f"at most {_MAX_CHANNELS} channels for one connection"


class ServerChannels:
    """Handles what clients ask of a server: `Subscribe`, `Unsubscribe` and `Ping`.

    Attributes:
        cut: Connections cut because they didn't read the answers they asked for.
    """

    __slots__ = ("_broadcaster", "_logger", "cut")

    def __init__(self, broadcaster: Broadcaster, logger: logging.Logger) -> None:
        self._broadcaster = broadcaster
        self._logger = logger
        self.cut = 0

    def on_subscribe(self, connection: ServerConnection, message: Subscribe) -> None:
        """Subscribe a client to what it may have; tell it so, or close it, as to what it speaks."""
        if not connection.is_open:
            return
        accepted: list[str] = []
        refused: dict[str, list[str]] = {}
        is_answered = connection.subprotocol in SUBPROTOCOLS
        room = _MAX_REFUSED_CHARACTERS
        for channel in dict.fromkeys(message.channels):
            reason = self._refusal(connection, channel)
            if reason is None:
                if self._broadcaster.subscribe(connection, channel)[0]:
                    connection.channels.add(channel)
                accepted.append(channel)
                continue
            refused.setdefault(reason, []).append(channel)
            room -= len(channel)
            if not is_answered or room < 0 or sum(map(len, refused.values())) > _MAX_REFUSED:
                connection.close(_POLICY_VIOLATION, reason)
                return
        if is_answered:
            answers: list[Any] = [Subscribed(channels=part) for part in parts(accepted)]
            for reason, channels in refused.items():
                answers += [
                    SubscriptionRejected(channels=part, code=_POLICY_VIOLATION, reason=reason)
                    for part in parts(channels)
                ]
            self._answer(connection, *answers)

    def on_unsubscribe(self, connection: ServerConnection, message: Unsubscribe) -> None:
        """End subscriptions. Nobody is told: what was published before still comes."""
        for channel in message.channels:
            if self._broadcaster.unsubscribe(connection, channel):
                connection.channels.discard(channel)

    def on_ping(self, connection: ServerConnection, message: Ping) -> None:
        """Answer with a `Pong`."""
        del message
        self._answer(connection, Pong())

    def leave(self, connection: ServerConnection) -> None:
        """A connection ends: it has no subscriptions any more."""
        self._broadcaster.remove(connection, list(connection.channels))
        connection.channels.clear()

    @staticmethod
    def _refusal(connection: ServerConnection, channel: str) -> str | None:
        if not 0 < len(channel) <= _MAX_CHANNEL_NAME:
            return _BAD_NAME
        if channel not in connection.channels and len(connection.channels) >= _MAX_CHANNELS:
            return _TOO_MANY
        return None

    def _answer(self, connection: ServerConnection, *answers: Any) -> None:
        for answer in answers:
            if not connection.is_open:
                return
            try:
                connection.send(answer)
            except SendQueueFull as error:
                self.cut += 1
                self._logger.warning(
                    "client %s does not read the answers it asks for, %d bytes wait: disconnected",
                    connection.remote_addr,
                    error.queued,
                )
                # A close frame would wait behind all that the client does not read: the connection is cut.
                connection.abort()
