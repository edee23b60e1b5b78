import asyncio

import pytest

from websocket_utils import SendQueueFull, Subscription
from websocket_utils._subscriptions import Subscriptions


class Client:
    """What a subscription knows of its client."""

    def __init__(self) -> None:
        self.wanted = Subscriptions()
        self.told: list[tuple[str, ...]] = []
        self.error: BaseException | None = None

    def subscribe(self, *channels: str) -> Subscription:
        self.wanted.add(channels)
        return Subscription(channels, self.wanted.holder(channels), self.leave)

    async def leave(self, channels: tuple[str, ...]) -> None:
        if isinstance(self.error, SendQueueFull):
            raise self.error
        self.told.append(self.wanted.remove(channels))
        if self.error is not None:
            raise self.error


async def test_unsubscribe_ends_it_once() -> None:
    client = Client()
    subscription = client.subscribe("a", "b", "a")
    assert repr(subscription) == "<Subscription a, b>"
    await subscription.unsubscribe()
    await subscription.unsubscribe()
    assert client.told == [("a", "b")]
    assert subscription.channels == ()
    assert repr(subscription) == "<Subscription ended>"


async def test_leaving_it_ends_it() -> None:
    client = Client()
    async with client.subscribe("a") as subscription:
        assert subscription.channels == ("a",)
    assert client.told == [("a",)]


async def test_channels_of_others_stay_theirs() -> None:
    client = Client()
    first, second = client.subscribe("a", "b"), client.subscribe("b")
    await first.unsubscribe()
    assert client.told == [("a",)]
    assert second.channels == ("b",)
    await second.unsubscribe()
    assert client.told == [("a",), ("b",)]


async def test_channel_that_was_lost_and_subscribed_to_anew_is_not_ended_by_the_old_one() -> None:
    client = Client()
    old = client.subscribe("a")
    client.wanted.forget("a")
    assert old.channels == ()
    new = client.subscribe("a")
    await old.unsubscribe()
    assert client.told == []
    assert new.channels == ("a",)


async def test_unsubscribe_that_could_not_be_sent_may_be_repeated() -> None:
    client = Client()
    subscription = client.subscribe("a")
    client.error = SendQueueFull(1, 1, 1)
    with pytest.raises(SendQueueFull):
        await subscription.unsubscribe()
    assert subscription.channels == ("a",)
    client.error = None
    await subscription.unsubscribe()
    assert client.told == [("a",)]


async def test_unsubscribe_that_is_cancelled_is_not_repeated() -> None:
    client = Client()
    subscription = client.subscribe("a")
    client.subscribe("a")
    client.error = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        await subscription.unsubscribe()
    client.error = None
    await subscription.unsubscribe()
    assert client.told == [()]
    assert client.wanted.channels == ("a",)
