"""Subscriptions as desired state: what is wanted, how it is asked for, and what the server has yet to say about it.

Theory of operation:

- `Subscriptions` is what the strategy wants, whatever becomes of connections; a client has one. A new connection is
  asked for all of it, in the order in which each channel was first wanted.
- A `SubscriptionProtocol` (_subscription_protocol.py) makes messages out of that and reads the answers.
- `Acknowledgements` is what one connection's server has yet to say; it goes with that connection.
- `Waiters` are those who called `subscribe`; they outlive connections: what one server didn't answer before its
  connection ended, the next one answers.

Nothing here sleeps or reads a clock. Times are monotonic seconds, and arguments.
"""

import asyncio
from collections.abc import Callable, Iterable

__all__ = ["Acknowledgements", "Subscriptions", "Waiters"]


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
