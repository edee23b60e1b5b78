"""How often a client may ask a server for something, and what it is told when that is too often.

within `commands_per_second`, twice as many at once       done
over it       our subprotocol: `Subscribe` is answered with `SubscriptionRejected(code=4429)`, `Ping` not at all
              any other client that subscribes can't be told: closed with 1008
              `Unsubscribe` is done: left undone it would cost more than it does
              `Authenticate`: closed, for an answer that doesn't come would be waited for
far over it   closed: 4429, or 1008 without our subprotocol (see `CommandRate`)
"""

import asyncio
from collections.abc import Callable
from typing import Any

from ._connection import ServerConnection
from ._rates import CommandRate, CommandVerdict
from ._refusals import POLICY_VIOLATION, TOO_MANY, is_answerable
from ._subscription_protocol import SUBPROTOCOLS, parts
from .messages import Ping, Subscribe, SubscriptionRejected, Unsubscribe

__all__ = ["Commands"]

_REASON = "too many commands"

Handler = Callable[[ServerConnection, Any], object]


class Commands:
    """Lets commands of clients through to their handlers, as often as each may.

    Args:
        loop: Its time is what rates are measured with.
        per_second: Commands of one client; None sets no limit.
        answer: Sends answers to a client that asked, or cuts it if it reads none.

    Attributes:
        refused: Commands that were not done.
    """

    __slots__ = ("_answer", "_loop", "_per_second", "refused")

    def __init__(self, loop: asyncio.AbstractEventLoop, per_second: float | None, answer: Callable[..., None]) -> None:
        self._loop = loop
        self._per_second = per_second
        self._answer = answer
        self.refused = 0

    def limited(self, handle: Handler) -> Handler:
        """Return a handler that calls `handle` for those messages that come in time; itself where there is no limit."""
        if self._per_second is None:
            return handle

        def handle_limited(connection: ServerConnection, message: Any) -> None:
            if self.lets_through(connection, message):
                handle(connection, message)

        return handle_limited

    def lets_through(self, connection: ServerConnection, message: Any) -> bool:
        """Whether a command may be done; if not, the client is told."""
        verdict = self._judge(connection)
        if verdict == "allowed":
            return True
        if not connection.is_open:
            return False
        if verdict == "refused" and isinstance(message, Unsubscribe):
            return True
        self.refused += 1
        is_answered = connection.subprotocol in SUBPROTOCOLS
        if verdict == "refused" and isinstance(message, Ping):
            return False
        if verdict == "refused" and is_answered and isinstance(message, Subscribe) and is_answerable(message.channels):
            self._answer(
                connection,
                *(
                    SubscriptionRejected(channels=part, code=TOO_MANY, reason=_REASON)
                    for part in parts(message.channels)
                ),
            )
            return False
        connection.close(TOO_MANY if is_answered else POLICY_VIOLATION, _REASON)
        return False

    def _judge(self, connection: ServerConnection) -> CommandVerdict:
        if self._per_second is None:
            return "allowed"
        now = self._loop.time()
        if connection.commands is None:
            connection.commands = CommandRate(self._per_second, now)
        return connection.commands.judge(now)
