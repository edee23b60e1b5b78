"""What the clients of a server are subscribed to, and what they are told about it.

A client that agreed to one of our subprotocols gets an answer to each `Subscribe`: `Subscribed` for what it has now and
where each channel goes on, `SubscriptionRejected` for the rest, and behind these what it missed, or the latest of what
it is new to, in front of anything that is published later. Any other client gets no answers, and is closed with 1008
where it asks for what it may not have. Both may ask for a `Pong`.

An answer is a message on the connection like any other, so `max_send_queue` bounds what answers hold. A client that
asks and doesn't read is cut where that bound is reached: an answer left out would be a promise broken.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from ._connection import ServerConnection
from ._core import Broadcaster
from ._positions import Position, Presented, position_text, read_positions
from ._refusals import (
    INVALID,
    MOST_REFUSED,
    MOST_REFUSED_CHARACTERS,
    NOT_PERMITTED,
    POLICY_VIOLATION,
    TOO_MANY,
    UNKNOWN,
    is_answerable,
)
from ._slow import Rule, described, read_rule
from ._subscription_protocol import SUBPROTOCOLS, parts
from .exceptions import SendQueueFull
from .messages import Ping, Pong, Subscribe, Subscribed, SubscriptionRejected, Unsubscribe
from .namespaces import Namespace, namespace_of, pattern_fault

__all__ = ["ServerChannels"]

# Positions that one answer holds, and the characters of all answers to one request: a pattern may match any number of
# channels. Over that the client is told none for the pattern, and what it missed is a gap.
_POSITIONS_OF_ONE_MESSAGE = 2048
_MAX_POSITIONS_CHARACTERS = 256 * 1024

Refusal = tuple[int, str]
# Channel, epoch, sequence, and whether nothing is missing behind what the client has.
GoesOn = tuple[str, int, int, bool]


class ServerChannels:
    """Handles what clients ask of a server: `Subscribe`, `Unsubscribe` and `Ping`.

    Args:
        broadcaster: Has the channels.
        logger: The server's.
        namespaces: Those that are declared; they are declared to the broadcaster here.
        allows_undeclared: Whether channels of other namespaces may be subscribed to.
        max_channels: Names and patterns that one connection may be subscribed to.

    Attributes:
        is_relay: Whether another server numbers what is published here.
        cut: Connections cut because they didn't read the answers they asked for.
    """

    __slots__ = ("_allows_undeclared", "_broadcaster", "_logger", "_max_channels", "_namespaces", "cut", "is_relay")

    def __init__(
        self,
        broadcaster: Broadcaster,
        logger: logging.Logger,
        *,
        namespaces: Iterable[Namespace] = (),
        allows_undeclared: bool = True,
        max_channels: int = 1024,
    ) -> None:
        self._broadcaster = broadcaster
        self._logger = logger
        self._namespaces: Mapping[str, Namespace] = {namespace.name: namespace for namespace in namespaces}
        self._allows_undeclared = allows_undeclared
        self._max_channels = max_channels
        self.cut = 0
        self.is_relay = False
        for namespace in self._namespaces.values():
            broadcaster.declare(
                namespace.name,
                classes=namespace.classes,
                policy=described(namespace.slow),
                history=namespace.history,
                history_age=namespace.history_age,
                history_size=namespace.history_size,
                snapshot=namespace.snapshot,
            )

    def type_of(self, channel: str) -> Any:
        """Class of a channel's messages, or a union of them; None where its namespace is for any, or not declared."""
        namespace = self._namespaces.get(namespace_of(channel))
        return None if namespace is None or namespace.type is Any else namespace.type

    def fault(self, name: str) -> Refusal | None:
        """Why nobody can subscribe to a name or pattern; None if they can."""
        fault = pattern_fault(name)
        if fault is not None:
            return INVALID, fault
        if self._allows_undeclared or namespace_of(name) in self._namespaces:
            return None
        return UNKNOWN, "no such namespace"

    def on_subscribe(self, connection: ServerConnection, message: Subscribe) -> None:
        """Subscribe a client to what it may have; tell it so, or close it, as to what it speaks."""
        if not connection.is_open:
            return
        names = dict.fromkeys(message.channels)
        is_answered = connection.subprotocol in SUBPROTOCOLS
        try:
            rule = read_rule(message.slow)
            presented = Presented(read_positions(message.positions))
        except ValueError as error:
            if is_answered and is_answerable(names):
                self._refuse(connection, dict.fromkeys(names, (INVALID, str(error))))
            else:
                connection.close(POLICY_VIOLATION, str(error))
            return
        accepted: list[str] = []
        going_on: list[GoesOn] = []
        refused: dict[str, Refusal] = {}
        room = MOST_REFUSED_CHARACTERS
        for name in names:
            refusal = self.fault(name) or self._refusal(connection, name)
            if refusal is None:
                accepted.append(name)
                going_on += self._subscribe(connection, name, rule, presented.of(name))
                continue
            refused[name] = refusal
            room -= len(name)
            # Not after the last: a message holds hundreds of thousands of names.
            if not is_answered or room < 0 or len(refused) > MOST_REFUSED:
                connection.close(POLICY_VIOLATION, refusal[1])
                return
        if is_answered:
            self._accept(connection, accepted, going_on)
            self._refuse(connection, refused)
        self._broadcaster.replay(connection)

    def _subscribe(
        self, connection: ServerConnection, name: str, rule: Rule | None, known: list[Position]
    ) -> list[GoesOn]:
        ahead = self._ahead(known) if self.is_relay else {}
        _, going_on = self._broadcaster.subscribe(
            connection, name, policy=rule, positions=[*known, *ahead.values()] or None
        )
        connection.channels.add(name)
        if not ahead:
            return going_on
        # What they have is what comes here next: they drop it as something they had.
        had = {channel: (epoch, sequence) for channel, epoch, sequence in known}
        return [(one[0], *had[one[0]], one[3]) if one[0] in ahead else one for one in going_on]

    def _ahead(self, known: Iterable[Position]) -> dict[str, Position]:
        """Where the channels stand here of which a client has more, from another server with the same numbers."""
        ahead: dict[str, Position] = {}
        for channel, epoch, sequence in known:
            here = self._broadcaster.position(channel)
            if here is not None and here[0] == epoch and here[1] < sequence:
                ahead[channel] = (channel, *here)
        return ahead

    def _accept(self, connection: ServerConnection, names: list[str], going_on: list[GoesOn]) -> None:
        texts = [position_text(channel, epoch, sequence) for channel, epoch, sequence, _ in going_on]
        if sum(map(len, texts)) > _MAX_POSITIONS_CHARACTERS:
            texts = []
        answers: list[Subscribed] = []
        for start in range(0, len(texts), _POSITIONS_OF_ONE_MESSAGE):
            part = slice(start, start + _POSITIONS_OF_ONE_MESSAGE)
            recovered = [channel for channel, _, _, is_recovered in going_on[part] if is_recovered]
            answers.append(Subscribed(channels=[], positions=texts[part], recovered=recovered))
        named = parts(names)
        if answers:
            # The names come with the last positions: who reads them knows where all of them go on.
            answers[-1].channels = named.pop(0)
        self.answer(connection, *answers, *(Subscribed(channels=part) for part in named))

    def _refuse(self, connection: ServerConnection, refused: Mapping[str, Refusal]) -> None:
        by_reason: dict[Refusal, list[str]] = {}
        for name, refusal in refused.items():
            by_reason.setdefault(refusal, []).append(name)
        for (code, reason), names in by_reason.items():
            for part in parts(names):
                self.answer(connection, SubscriptionRejected(channels=part, code=code, reason=reason))

    def on_unsubscribe(self, connection: ServerConnection, message: Unsubscribe) -> None:
        """End subscriptions. Nobody is told: what was published before still comes."""
        for channel in message.channels:
            if self._broadcaster.unsubscribe(connection, channel):
                connection.channels.discard(channel)

    def on_ping(self, connection: ServerConnection, message: Ping) -> None:
        """Answer with a `Pong`."""
        del message
        self.answer(connection, Pong())

    def leave(self, connection: ServerConnection) -> None:
        """A connection ends: it has no subscriptions any more."""
        self._broadcaster.remove(connection, list(connection.channels))
        connection.channels.clear()

    def _refusal(self, connection: ServerConnection, name: str) -> Refusal | None:
        """Why this client can't subscribe to a name; None if it can."""
        identity = connection.identity
        # Asked each time: an identity that was renewed may do less than before.
        if identity is not None and not identity.may("subscribe", name):
            return NOT_PERMITTED, "not permitted"
        if name not in connection.channels and len(connection.channels) >= self._max_channels:
            return TOO_MANY, f"at most {self._max_channels} channels for one connection"
        return None

    def answer(self, connection: ServerConnection, *answers: Any) -> None:
        """Send a client what it asked for; cut it, if it has not read what it was sent before."""
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
