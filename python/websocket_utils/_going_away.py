"""`GoAway` among what a link receives: a server of this package is about to end the connection."""

import math
from collections.abc import Callable, Mapping
from typing import Final

from . import _core
from ._session import Session
from ._subscription_protocol import SUBPROTOCOLS
from .messages import GoAway

__all__ = ["GoingAway"]

# A reason of some words fits: nothing longer is looked at.
_LONGEST: Final = 256
# What a server may ask for; it closes the connection by itself long before.
_MOST_SECONDS: Final = 300.0


class GoingAway:
    """Hands the notices on, one for each connection.

    Args:
        inbox: Where the link's messages come in.
        sessions: The link's connections.
        leave: Has a session succeeded by another after some seconds.
    """

    __slots__ = ("_inbox", "_is_looking", "_leave", "_sessions", "_told")

    def __init__(
        self,
        inbox: _core.Inbox,
        sessions: Mapping[_core.Connection, Session],
        leave: Callable[[Session, float], None],
    ) -> None:
        self._inbox = inbox
        self._sessions = sessions
        self._leave = leave
        self._is_looking = False
        self._told: Session | None = None

    def opened(self, subprotocol: str | None) -> None:
        """A connection has been opened: servers that agree to one of our subprotocols say so before they leave."""
        if not self._is_looking and subprotocol in SUBPROTOCOLS:
            self._is_looking = True
            self._inbox.control(GoAway, self._take, consume=True, longest=_LONGEST)

    def _take(self, connection: _core.Connection, message: GoAway) -> None:
        session = self._sessions.get(connection)
        # The first one counts: a server that repeats itself costs nothing.
        if session is None or session is self._told or session.has_ended:
            return
        self._told = session
        # Not a number is no time either.
        after = message.after if math.isfinite(message.after) else 0.0
        self._leave(session, min(max(0.0, after), _MOST_SECONDS))
