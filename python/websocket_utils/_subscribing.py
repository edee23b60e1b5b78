"""How a client's channels are subscribed to, over all its connections."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from ._link import Link
from ._sending import Sending
from ._session import Session
from ._slow import Conflate, Disconnect, DropOldest, asked
from ._subscription_protocol import RecoveringProtocol
from ._terms import Terms
from ._watching import Watching, Where
from .exceptions import ConnectionClosed
from .subscription import Subscription

__all__ = ["Subscribing"]


class Subscribing(Sending):
    """The subscribing half of a client: what is wanted, told to each connection that there is."""

    _links: Sequence[Link]
    _terms: Terms
    _watching: Watching

    async def subscribe(
        self,
        *channels: str,
        stale_after: float | None = None,
        of: Any = None,
        where: Where | None = None,
        slow: Conflate | DropOldest | Disconnect | None = None,
    ) -> Subscription:
        """Subscribe to channels; kept, and renewed in this order after every reconnect.

        A channel that is subscribed to twice has to be unsubscribed from twice. With a server that acknowledges, it
        waits for the acknowledgement, over a reconnect if need be; cancelling it then ends the subscription again.

        Args:
            *channels: Names such as `prices:SOL-USDC`, or patterns: `prices:*` is all that begin with `prices:`.
            stale_after: Seconds without a message of the channel after which it is `Stale`; None does not watch.
            of: The class of the channel's messages, by which they are known. None counts any message, which is right
                for the only channel of a client; `"heard"` counts what `heard(channel)` says, for what no class tells.
            where: Which messages of that class: a mapping of fields and their values, or a callable that is given the
                message. None counts all.
            slow: What the server is asked to do with these channels while this side is slow: `Conflate()`,
                `DropOldest(n)` or `Disconnect()`; None leaves it to the server, or as it was asked for before.

        Returns:
            The subscription, which can be ended; it need not be kept.

        Raises:
            SubscribeRejected: If the server refuses a channel. It is not subscribed to.
            SendQueueFull: If more than `max_send_queue` bytes wait to be sent. Nothing was subscribed to.
            ValueError: If `stale_after` is no positive number, or could not tell whose silence it is.
            TypeError: If `slow` is nothing that a client can ask for, or its `subscriptions` can't say it.
        """
        if self._is_over:
            raise self._closed_error()
        policy = None if slow is None else asked(slow)
        if policy is not None and not isinstance(self._terms.protocol, RecoveringProtocol):
            raise TypeError("slow: these `subscriptions` know no way to ask a server for that")
        if stale_after is not None:
            for channel in dict.fromkeys(channels):
                self._watching.watch(channel, stale_after, of, where)
        new = self._terms.subscriptions.add(channels)
        changed = () if policy is None else self._terms.subscriptions.change_slow(channels, policy)
        due_new = tuple(dict.fromkeys((*new, *changed)))
        for link in self._links:
            link.recovery.enter(new, self.channels)
        is_held = self._terms.subscriptions.holder(channels)
        try:
            self._watching.check_alone(self.channels)
            self._ask(lambda session: session.subscribe(due_new))
            due = {channel for link in self._links for channel in link.unacknowledged(channels, new)}
            if due:
                await self._terms.waiters.waiter(self._terms.loop, due)
        except BaseException:
            await self._leave(tuple(filter(is_held, channels)))
            raise
        return Subscription(channels, is_held, self._leave)

    async def unsubscribe(self, *channels: str) -> None:
        """End subscriptions; names that are not subscribed to are ignored.

        Raises:
            SendQueueFull: If more than `max_send_queue` bytes wait to be sent.
        """
        await self._leave(channels)

    def heard(self, channel: str) -> None:
        """Say that a message of a channel has come: for one that was subscribed to with `of="heard"`, others ignore it.

        For who takes messages apart himself (`client.on(str, ...)`): to be called inside the read, for each message.
        """
        self._watching.heard(channel)

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels that are subscribed to, in the order they are renewed."""
        return self._terms.subscriptions.channels

    async def _leave(self, channels: Sequence[str]) -> None:
        # The server first: where that can't be said, nothing has changed.
        last = self._terms.subscriptions.last(channels)
        self._ask(lambda session: session.unsubscribe(last))
        gone = self._terms.subscriptions.remove(channels)
        for channel in gone:
            self._watching.unwatch(channel)
            self._terms.waiters.settle(channel)
        for link in self._links:
            link.recovery.leave(gone, self.channels)

    def _ask(self, change: Callable[[Session], None]) -> None:
        for link in self._links:
            for session in link.sessions:
                if not session.has_ended:
                    # Lost meanwhile: the next connection begins with all subscriptions.
                    with contextlib.suppress(ConnectionClosed):
                        change(session)
