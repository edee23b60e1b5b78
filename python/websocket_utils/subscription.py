"""What `client.subscribe` returns."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Self

__all__ = ["Subscription"]


class Subscription:
    """One subscription to some channels: ends them when it is left, unless others want them too.

        async with await client.subscribe("prices:SOL-USDC") as subscription:
            ...

    It need not be kept: what is not ended by it stays until `client.unsubscribe` or the client's end.
    """

    __slots__ = ("_channels", "_is_ended", "_is_held", "_leave")

    def __init__(
        self,
        channels: Iterable[str],
        is_held: Callable[[str], bool],
        leave: Callable[[tuple[str, ...]], Awaitable[None]],
    ) -> None:
        self._channels = tuple(dict.fromkeys(channels))
        self._is_held = is_held
        self._leave = leave
        self._is_ended = False

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels it stands for, in the order they were asked for: without those that ended in another way.

        That is by `client.unsubscribe`, or because the server refused to renew them. Empty once it is ended.
        """
        return () if self._is_ended else tuple(filter(self._is_held, self._channels))

    async def unsubscribe(self) -> None:
        """End it; channels that others subscribed to as well stay theirs. Ending it again does nothing.

        Without a connection the channels are just not renewed.

        Raises:
            SendQueueFull: If more than `max_send_queue` bytes wait to be sent. Nothing has changed.
        """
        channels = self.channels
        self._is_ended = True
        if not channels:
            return
        try:
            await self._leave(channels)
        except Exception:
            # Nothing has changed, by the contract of `leave`. Not so where the caller was cancelled meanwhile.
            self._is_ended = False
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.unsubscribe()

    def __repr__(self) -> str:
        return f"<Subscription {', '.join(self.channels) or 'ended'}>"
