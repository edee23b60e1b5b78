"""Acknowledgements of subscriptions among what a link receives."""

import asyncio
from collections.abc import Mapping
from typing import Any

from . import _core
from ._session import Session
from ._subscription_protocol import SubscriptionProtocol

__all__ = ["Replies"]


class Replies:
    """Looks for a server's answers while some are due: else nobody looks, and other messages pay nothing.

    Args:
        loop: The client's.
        inbox: Where the link's messages come in.
        protocol: Reads the answers.
        sessions: The link's connections.
    """

    __slots__ = ("_inbox", "_is_looking", "_loop", "_protocol", "_sessions")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        inbox: _core.Inbox,
        protocol: SubscriptionProtocol,
        sessions: Mapping[_core.Connection, Session],
    ) -> None:
        self._loop = loop
        self._inbox = inbox
        self._protocol = protocol
        self._sessions = sessions
        self._is_looking = False

    def expect(self) -> None:
        """Look from now on, until all that are due have come."""
        if not self._is_looking:
            self._is_looking = True
            for reply in self._protocol.replies:
                self._inbox.control(reply, self._take, consume=True)

    # Any: a message of whatever class the venue speaks.
    def _take(self, connection: _core.Connection, reply: Any) -> None:
        session = self._sessions.get(connection)
        if session is not None and not session.has_ended:
            session.take_reply(reply)
        # Not from inside the callback that would be taken away.
        self._loop.call_soon(self._stop)

    def _stop(self) -> None:
        if self._is_looking and not any(session.awaits_replies for session in self._sessions.values()):
            self._is_looking = False
            for reply in self._protocol.replies:
                self._inbox.uncontrol(reply)
