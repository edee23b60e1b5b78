"""What all connections of a client have in common."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from . import _core
from ._subscription_protocol import SubscriptionProtocol
from ._subscriptions import Subscriptions, Waiters
from .config import WebSocketConfig

__all__ = ["Codec", "Terms"]

Codec = Literal["json", "msgpack", "protobuf"]


@dataclass(slots=True)
class Terms:
    """What all connections of a client have in common."""

    loop: asyncio.AbstractEventLoop
    config: WebSocketConfig
    codec: Codec
    make_protocol: Callable[[], SubscriptionProtocol]
    """Gives each connection what it asks for subscriptions with: the same object, or one of its own."""
    # Any: a `Login`, which stands above: it is of one connection.
    authenticate: Callable[[Any], Awaitable[object]] | None
    heartbeat: Literal["frame", "message"]
    protocol: SubscriptionProtocol = field(init=False)
    """One of them, for what holds of all: the classes of answers, and what it can say."""
    subscriptions: Subscriptions = field(default_factory=Subscriptions)
    waiters: Waiters = field(default_factory=Waiters)
    rtt: _core.Histogram = field(default_factory=_core.Histogram)

    def __post_init__(self) -> None:
        """Make the one to be asked in general."""
        self.protocol = self.make_protocol()
