"""How subscriptions are asked for, and how a server's answers to that are read."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

from .exceptions import SubscribeRejected
from .messages import Subscribe, Subscribed, SubscriptionRejected, Unsubscribe

__all__ = [
    "SUBPROTOCOLS",
    "ConnectionProtocol",
    "ProtocolSource",
    "RecoveringProtocol",
    "StandardSubscriptions",
    "SubscriptionProtocol",
    "Wish",
    "parts",
    "protocol_maker",
]

SUBPROTOCOLS: Mapping[str, str] = {f"websocket-utils.{codec}": codec for codec in ("json", "msgpack", "protobuf")}
"""Our subprotocols, each with its codec: a server acknowledges the subscriptions of peers that agreed to one."""

# 512 names of 256 characters stay under the default of `max_message_size`, however they are written.
_CHANNELS_OF_ONE_MESSAGE = 512
# Bytes of names and positions in one message: twice as many, as JSON may need, stay under that too.
_BYTES_OF_ONE_MESSAGE = 480 * 1024


# Any, here and below: messages of whatever class the venue speaks, or `str` and `bytes`.
@runtime_checkable
class SubscriptionProtocol(Protocol):
    """How subscriptions are asked for, and how the answers are read: given to `connect(..., subscriptions=...)`.

    One object serves all connections of a client, so numbers that it gives to requests should not start anew with one.
    Where numbers mean nothing on another connection, give a callable that makes one for each, such as the class itself.
    """

    @property
    def replies(self) -> tuple[type[Any], ...]:
        """Message classes of the server's answers; empty if it gives none, and subscribing ends with the sending."""
        ...

    def subscribe(self, channels: Sequence[str], /) -> Sequence[Any]:
        """Return the messages that subscribe to these channels, at least one, to be sent in this order."""
        ...

    def unsubscribe(self, channels: Sequence[str], /) -> Sequence[Any]:
        """Return the messages that end the subscriptions to these channels."""
        ...

    def settle(self, reply: Any, /) -> Sequence[tuple[str, SubscribeRejected | None]]:
        """Return the channels that an answer is about, each with None or why it is refused; empty if about none."""
        ...

    def speaks(self, subprotocol: str | None, /) -> bool:
        """Whether a server that agreed to this subprotocol (None: to none) answers."""
        ...


@dataclass(frozen=True, slots=True)
class Wish:
    """A channel or pattern that is asked for."""

    name: str

    slow: str
    """What the server is to do with it while this side is slow; empty for what it does anyway."""

    positions: Sequence[str]
    """Where the channels stand that it means, as texts; none where it is new."""


@runtime_checkable
class RecoveringProtocol(SubscriptionProtocol, Protocol):
    """A `SubscriptionProtocol` that can present where channels stand, and reads where they go on."""

    def present(self, request: Any, wish: Callable[[str], Wish], /) -> Sequence[Any]:
        """Return one of the messages of `subscribe` with all that is wished of its channels; or several for it."""
        ...

    def goes_on(self, reply: Any, /) -> tuple[Sequence[str], Sequence[str]]:
        """Return what an answer says: positions of channels as texts, and the channels that are recovered."""
        ...


@runtime_checkable
class ConnectionProtocol(SubscriptionProtocol, Protocol):
    """A `SubscriptionProtocol` of one connection that knows when it is that one's turn, and has more to say.

    While a connection is exchanged there are two of them: answers come to each by its own connection.
    """

    def take_place(self, epoch: int, /) -> None:
        """What is received is its connection's from here on: number `epoch` of the client, from 1."""
        ...

    def follow_up(self) -> Sequence[Any]:
        """Return what to send behind the answer that `settle` was given last; mostly nothing."""
        ...


ProtocolSource = SubscriptionProtocol | Callable[[], SubscriptionProtocol]
"""One object for all connections, or a callable that makes one for each."""


def protocol_maker(source: ProtocolSource) -> Callable[[], SubscriptionProtocol]:
    """Return what gives a connection its protocol: a new one where `source` is a class or another callable.

    Raises:
        TypeError: If it is neither that nor a `SubscriptionProtocol`.
    """
    # A class has the members too, as functions.
    if isinstance(source, SubscriptionProtocol) and not isinstance(source, type):
        return lambda: source
    if not callable(source):
        raise TypeError(
            f"subscriptions: must be a SubscriptionProtocol or a callable that makes one, not {type(source).__name__}"
        )
    # Of a class the type says that it may be an object; it is none.
    return cast("Callable[[], SubscriptionProtocol]", source)


class StandardSubscriptions:
    """`Subscribe` and `Unsubscribe`; servers of this package answer `Subscribed` and `SubscriptionRejected`."""

    __slots__ = ()

    @property
    def replies(self) -> tuple[type[Any], ...]:
        """The two answers."""
        return (Subscribed, SubscriptionRejected)

    def subscribe(self, channels: Sequence[str], /) -> Sequence[Any]:
        """Return as few messages as hold the channels, 512 each."""
        return [Subscribe(channels=part) for part in parts(channels)]

    def unsubscribe(self, channels: Sequence[str], /) -> Sequence[Any]:
        """Return as few messages as hold the channels, 512 each."""
        return [Unsubscribe(channels=part) for part in parts(channels)]

    def present(self, request: Any, wish: Callable[[str], Wish], /) -> Sequence[Any]:
        """Return as few messages as hold it, of 480 KiB each; positions of one channel beyond that are left out."""
        if not isinstance(request, Subscribe):
            return [request]
        wishes = [wish(name) for name in request.channels]
        return [
            Subscribe([wish.name for wish in part], _cut([text for wish in part for text in wish.positions]), slow)
            for slow in dict.fromkeys(wish.slow for wish in wishes)
            for part in _wish_parts([wish for wish in wishes if wish.slow == slow])
        ]

    def goes_on(self, reply: Any, /) -> tuple[Sequence[str], Sequence[str]]:
        """Return what a `Subscribed` says."""
        return (reply.positions, reply.recovered) if isinstance(reply, Subscribed) else ((), ())

    def settle(self, reply: Any, /) -> Sequence[tuple[str, SubscribeRejected | None]]:
        """Return the channels that an answer names."""
        if isinstance(reply, Subscribed):
            return [(channel, None) for channel in reply.channels]
        if isinstance(reply, SubscriptionRejected):
            code, reason = reply.code, reply.reason
            return [(channel, SubscribeRejected(channel, code, reason)) for channel in reply.channels]
        return []

    def speaks(self, subprotocol: str | None, /) -> bool:
        """Whether it is one of `websocket-utils.json`, `.msgpack` and `.protobuf`."""
        return subprotocol in SUBPROTOCOLS


def parts(channels: Sequence[str]) -> list[list[str]]:
    """Cut a list of channels into lists that one message each may carry."""
    size = _CHANNELS_OF_ONE_MESSAGE
    return [list(channels[start : start + size]) for start in range(0, len(channels), size)]


def _size(text: str) -> int:
    # With its quotes and comma.
    return len(text.encode()) + 3


def _cut(positions: list[str]) -> list[str]:
    """As many of the positions as one message may carry: those of a pattern can be too many."""
    sizes = itertools.accumulate(map(_size, positions))
    return [text for text, size in zip(positions, sizes, strict=True) if size <= _BYTES_OF_ONE_MESSAGE]


def _wish_parts(wishes: Sequence[Wish]) -> Iterator[Sequence[Wish]]:
    part: list[Wish] = []
    room = _BYTES_OF_ONE_MESSAGE
    for wish in wishes:
        size = _size(wish.name) + sum(map(_size, wish.positions))
        if part and size > room:
            yield part
            part, room = [], _BYTES_OF_ONE_MESSAGE
        part.append(wish)
        room -= size
    if part:
        yield part
