"""One subscription of a stream: who listens to it, and where its slots stand."""

from collections.abc import Callable
from typing import Any

from ...messages import AccountUpdate, SlotUpdate
from ._events import Fork
from ._requests import Request
from ._updates import Updates

__all__ = ["AccountTopic", "ProgramTopic", "SlotTopic", "Topic", "WrongKind"]


class WrongKind(Exception):
    """A notification has the number of a subscription of another kind.

    Attributes:
        what: What it is.
        detail: Whose number it has.
    """

    what: str
    detail: str

    def __init__(self, request: Request, message: object) -> None:
        self.what = "notification of another kind"
        self.detail = f"a {type(message).__name__} of {request.channel}"
        super().__init__(self.what, self.detail)


class Topic:
    """What a request brings, handed to all who asked for it.

    Args:
        request: How it is asked for.
    """

    __slots__ = ("_takers", "listeners", "request")

    request: Request
    listeners: tuple[Updates[Any], ...]

    def __init__(self, request: Request) -> None:
        self.request = request
        self.listeners = ()
        # Their methods: looked up once, and not for each message.
        self._takers: tuple[Callable[[Any, int], None], ...] = ()

    def join(self, updates: Updates[Any]) -> None:
        """It listens from now on."""
        self._listen((*self.listeners, updates))

    def leave(self, updates: Updates[Any]) -> None:
        """It listens no more; does nothing if it did not."""
        self._listen(tuple(one for one in self.listeners if one is not updates))

    def _listen(self, listeners: tuple[Updates[Any], ...]) -> None:
        self.listeners = listeners
        self._takers = tuple(updates.take for updates in listeners)

    def take(self, message: Any, size: int) -> None:
        """Deliver a message; `size` is that of its frame in bytes."""
        for take in self._takers:
            take(message, size)


class AccountTopic(Topic):
    """One account. Its slot may go back, which is told; nothing is dropped because of it.

    Attributes:
        slot: That of the latest notification.
        seeded: That of the latest state that was fetched.
    """

    __slots__ = ("_tell", "seeded", "slot")

    slot: int
    seeded: int

    def __init__(self, request: Request, tell: Callable[[Fork], None]) -> None:
        super().__init__(request)
        self._tell = tell
        self.slot = 0
        self.seeded = 0

    def take(self, message: AccountUpdate, size: int) -> None:
        """Deliver a notification."""
        slot = message.slot
        if slot < self.slot:
            self._tell(Fork(self.request.channel, slot, self.slot))
        self.slot = slot
        for take in self._takers:
            take(message, size)

    @property
    def newest(self) -> int:
        """The slot that a state must have to be applied; 0 before any has come."""
        return max(self.slot, self.seeded)

    def seed(self, message: AccountUpdate) -> bool:
        """Deliver a state that was fetched, unless a notification was newer; returns whether it was."""
        if message.slot < self.newest:
            return False
        self.seeded = message.slot
        super().take(message, 0)
        return True


class ProgramTopic(Topic):
    """The accounts of a program."""

    __slots__ = ()

    def take(self, message: object, size: int) -> None:
        """Deliver the state of an account."""
        if not isinstance(message, AccountUpdate):
            raise WrongKind(self.request, message)
        for take in self._takers:
            take(message, size)


class SlotTopic(Topic):
    """The node's slots, which also are its signs of life.

    Args:
        request: How it is asked for.
        tell: Is told of forks.
        heard: Is called with the channel for each slot.
    """

    __slots__ = ("_heard", "_slot", "_tell")

    def __init__(self, request: Request, tell: Callable[[Fork], None], heard: Callable[[str], None]) -> None:
        super().__init__(request)
        self._tell = tell
        self._heard = heard
        self._slot = 0

    def take(self, message: object, size: int) -> None:
        """Deliver a slot."""
        if not isinstance(message, SlotUpdate):
            raise WrongKind(self.request, message)
        self._heard(self.request.channel)
        # One that builds on the last, or on one that was missed, goes on; one that builds on an older does not.
        if message.parent < self._slot:
            self._tell(Fork(self.request.channel, message.slot, self._slot))
        self._slot = message.slot
        for take in self._takers:
            take(message, size)
