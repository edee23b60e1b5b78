"""`Ping` and `Pong` messages among what a link receives: the heartbeat of peers that have no ping frames."""

import contextlib
from collections.abc import Mapping
from typing import Literal

from . import _core
from ._session import Session
from .exceptions import SendQueueFull
from .messages import Ping, Pong

__all__ = ["Pings"]

# `{"type":"Ping"}` and its like in other spellings: nothing longer is looked at.
_LONGEST = 32


class Pings:
    """Answers `Ping` messages, and hands `Pong` messages to whose heartbeat they are.

    Args:
        inbox: Where the link's messages come in.
        sessions: The link's connections.
        heartbeat: With `message` both are the heartbeat's alone; with `frame` they are delivered too.
    """

    __slots__ = ("_answers", "_inbox", "_sessions")

    def __init__(
        self,
        inbox: _core.Inbox,
        sessions: Mapping[_core.Connection, Session],
        *,
        heartbeat: Literal["frame", "message"],
    ) -> None:
        self._inbox = inbox
        self._sessions = sessions
        self._answers = True
        inbox.control(Ping, self._on_ping, consume=heartbeat == "message", longest=_LONGEST)
        if heartbeat == "message":
            inbox.control(Pong, self._on_pong, consume=True, longest=_LONGEST)

    def leave(self) -> None:
        """The user has a handler for `Ping` messages, which answers them."""
        self._answers = False
        self._inbox.control(Ping, self._on_ping, consume=False, longest=_LONGEST)

    def _on_ping(self, connection: _core.Connection, message: Ping) -> None:
        del message
        session = self._sessions.get(connection)
        if self._answers and session is not None and connection.is_open:
            with contextlib.suppress(SendQueueFull):
                session.own.send(Pong())

    def _on_pong(self, connection: _core.Connection, message: Pong) -> None:
        del message
        session = self._sessions.get(connection)
        if session is not None:
            session.pong_received()
