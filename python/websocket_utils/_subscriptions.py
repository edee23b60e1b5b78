"""Subscriptions as desired state: what is wanted, how it is asked for, and what the server has yet to say about it.

Theory of operation:

- `Subscriptions` is what the strategy wants, whatever becomes of connections; a client has one. A new connection is
  asked for all of it, in the order in which each channel was first wanted.
- A `SubscriptionProtocol` makes messages out of that and reads the answers.
- `Acknowledgements` is what one connection's server has yet to say; it goes with that connection.
- `Waiters` are those who called `subscribe`; they outlive connections: what one server didn't answer before its
  connection ended, the next one answers.

Nothing here sleeps or reads a clock. Times are monotonic seconds, and arguments.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from .exceptions import SubscribeRejected
from .messages import Subscribe, Subscribed, SubscriptionRejected, Unsubscribe

__all__ = [
    "SUBPROTOCOLS",
    "Acknowledgements",
    "RecoveringProtocol",
    "StandardSubscriptions",
    "SubscriptionProtocol",
    "Subscriptions",
    "Waiters",
    "Wish",
    "parts",
]

SUBPROTOCOLS: Mapping[str, str] = {f"websocket-utils.{codec}": codec for codec in ("json", "msgpack", "protobuf")}
"""Our subprotocols, each with its codec: a server acknowledges the subscriptions of peers that agreed to one."""

# 512 names of 256 characters stay under the default of `max_message_size`, however they are written.
_CHANNELS_OF_ONE_MESSAGE = 512
# Bytes of names and positions in one message: twice as many, as JSON may need, stay under that too.
_BYTES_OF_ONE_MESSAGE = 480 * 1024


class Subscriptions:
    """The channels that are wanted, each with how often, in the order in which they were first wanted.

    A name that is repeated within one call counts once.
    """

    __slots__ = ("_additions", "_slow", "_wanted")

    def __init__(self) -> None:
        # How often each is wanted, and the number of the call that made it wanted.
        self._wanted: dict[str, tuple[int, int]] = {}
        self._additions = 0
        # What the server is asked to do with them while this side is slow.
        self._slow: dict[str, str] = {}

    @property
    def channels(self) -> tuple[str, ...]:
        """What is wanted, in the order to renew it in."""
        return tuple(self._wanted)

    def __len__(self) -> int:
        return len(self._wanted)

    def __contains__(self, channel: object) -> bool:
        return channel in self._wanted

    def add(self, channels: Iterable[str]) -> tuple[str, ...]:
        """Want channels once more; returns those that were not wanted before."""
        self._additions += 1
        new: list[str] = []
        for channel in dict.fromkeys(channels):
            count, since = self._wanted.get(channel, (0, self._additions))
            self._wanted[channel] = (count + 1, since)
            if count == 0:
                new.append(channel)
        return tuple(new)

    def remove(self, channels: Iterable[str]) -> tuple[str, ...]:
        """Want channels once less; returns those that nobody wants any more. Unknown ones are ignored."""
        gone: list[str] = []
        for channel in dict.fromkeys(channels):
            count, since = self._wanted.get(channel, (0, 0))
            if count > 1:
                self._wanted[channel] = (count - 1, since)
            elif count == 1:
                del self._wanted[channel]
                self._slow.pop(channel, None)
                gone.append(channel)
        return tuple(gone)

    def last(self, channels: Iterable[str]) -> tuple[str, ...]:
        """Return what `remove` would return, and change nothing: for who has to tell the server first."""
        return tuple(channel for channel in dict.fromkeys(channels) if self._wanted.get(channel, (0, 0))[0] == 1)

    def forget(self, channel: str) -> bool:
        """The server refuses a channel: it is wanted no more, however often it was; returns whether it was."""
        self._slow.pop(channel, None)
        return self._wanted.pop(channel, None) is not None

    def change_slow(self, channels: Iterable[str], slow: str) -> tuple[str, ...]:
        """Say what the server is to do while this side is slow; returns the channels of which it was said otherwise."""
        changed = tuple(channel for channel in dict.fromkeys(channels) if self._slow.get(channel, "") != slow)
        self._slow.update(dict.fromkeys(changed, slow))
        return changed

    def slow(self, channel: str) -> str:
        """What the server is to do while this side is slow; empty where nobody said."""
        return self._slow.get(channel, "")

    def holder(self, channels: Iterable[str]) -> Callable[[str], bool]:
        """Return what tells, later, whether one of these channels is still wanted since now.

        One that was forgotten, or removed to the last, and is wanted anew since then belongs to who wants it anew.
        """
        since = {channel: self._wanted[channel][1] for channel in channels if channel in self._wanted}

        def is_held(channel: str) -> bool:
            wanted = self._wanted.get(channel)
            return wanted is not None and wanted[1] == since.get(channel)

        return is_held


# Any, here and below: messages of whatever class the venue speaks, or `str` and `bytes`.
@runtime_checkable
class SubscriptionProtocol(Protocol):
    """How subscriptions are asked for, and how the answers are read: given to `connect(..., subscriptions=...)`.

    One object serves all connections of a client, so numbers that it gives to requests should not start anew with one.
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


class Acknowledgements:
    """What the server of one connection has yet to say about subscriptions, and until when it has to."""

    __slots__ = ("_deadlines", "_expected")

    def __init__(self) -> None:
        self._expected: dict[str, float] = {}
        # The same the other way round: there are as many deadlines as requests, of which few are under way at once.
        self._deadlines: dict[float, dict[str, None]] = {}

    def expect(self, channels: Iterable[str], now: float, timeout: float) -> None:
        """Channels have been asked for: an answer is due `timeout` seconds from now. Asked for again: from now on."""
        for channel in channels:
            self.settle(channel)
            self._expected[channel] = now + timeout
            self._deadlines.setdefault(now + timeout, {})[channel] = None

    def settle(self, channel: str) -> bool:
        """The server has answered, whatever it said, or brought the channel's data; or nobody wants it any more.

        Returns:
            Whether an answer was due.
        """
        deadline = self._expected.pop(channel, None)
        if deadline is None:
            return False
        group = self._deadlines[deadline]
        del group[channel]
        if not group:
            del self._deadlines[deadline]
        return True

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels whose answers are due, in the order in which they were asked for."""
        return tuple(self._expected)

    @property
    def is_complete(self) -> bool:
        """Whether everything is answered."""
        return not self._expected

    @property
    def deadline(self) -> float | None:
        """When the first answer is overdue; None if none is due."""
        return min(self._deadlines, default=None)

    def overdue(self, now: float) -> tuple[str, ...]:
        """Return the channels whose answers should have come by now, in the order in which they were asked for."""
        return tuple(channel for channel, deadline in self._expected.items() if deadline <= now)


class Waiters:
    """Those who wait for their channels to be acknowledged, over all connections of a client."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: dict[str, list[_Waiter]] = {}

    def __len__(self) -> int:
        """How many channels are waited for."""
        return len(self._waiters)

    def waiter(self, loop: asyncio.AbstractEventLoop, channels: Iterable[str]) -> "asyncio.Future[None]":
        """Return a future for channels that are asked for, or will be with the next connection.

        It is done when all of them are settled, and fails with the first `SubscribeRejected` at once. It may be
        cancelled.

        Args:
            loop: The client's.
            channels: Those that no server has acknowledged yet; none of them makes a future that is done.
        """
        future: asyncio.Future[None] = loop.create_future()
        waiter = _Waiter(future, set(channels))
        if not waiter.open_channels:
            future.set_result(None)
            return future
        for channel in waiter.open_channels:
            self._waiters.setdefault(channel, []).append(waiter)
        # In the next turn of the loop: what the answer at hand says about its other channels still meets the waiter.
        future.add_done_callback(lambda _: self._leave(waiter))
        return future

    def settle(self, channel: str, error: BaseException | None = None) -> bool:
        """A channel is acknowledged, or nobody wants it any more; with an error it is refused.

        Returns:
            Whether anybody waited for it, and so knows. If not, an error has to be told in another way.
        """
        is_heard = False
        for waiter in self._waiters.pop(channel, ()):
            waiter.open_channels.discard(channel)
            is_heard = is_heard or not waiter.future.cancelled()
            if waiter.future.done():
                continue
            if error is not None:
                waiter.future.set_exception(error)
            elif not waiter.open_channels:
                waiter.future.set_result(None)
        return is_heard

    def fail(self, error: BaseException) -> None:
        """The client has ended: whoever waits gets this error."""
        for channel in tuple(self._waiters):
            self.settle(channel, error)

    def _leave(self, waiter: "_Waiter") -> None:
        for channel in waiter.open_channels:
            others = [other for other in self._waiters.get(channel, ()) if other is not waiter]
            if others:
                self._waiters[channel] = others
            else:
                self._waiters.pop(channel, None)


class _Waiter:
    __slots__ = ("future", "open_channels")

    def __init__(self, future: "asyncio.Future[None]", open_channels: set[str]) -> None:
        self.future = future
        self.open_channels = open_channels
