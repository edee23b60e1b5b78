"""How a client's messages are sent: through the connection there is, or kept for the next one."""

import asyncio
import math
from collections.abc import Awaitable, Hashable
from typing import Any, Literal

from ._connection import Connection
from ._held import HeldMessages
from ._session import Session
from ._terms import Terms
from .exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK, WebSocketError
from .outcomes import SendOutcome

__all__ = ["Sending"]


class Sending:
    """The sending half of a client, over all its connections."""

    def __init__(self, terms: Terms, held: HeldMessages, when_down: Literal["raise", "queue"]) -> None:
        self._terms = terms
        self._held = held
        self._when_down: Literal["raise", "queue"] = when_down
        self._connection: Connection | None = None
        # Authenticated, and still renewing its subscriptions: it may be sent on, but what is kept goes first.
        self._next_session: Session | None = None
        self._is_over = False
        self._expiry: asyncio.TimerHandle | None = None
        self._expiry_due = math.inf

    # Arguments by position too: CPython looks defaults of keyword-only arguments up in a dict, which would make each
    # call 20 ns slower.
    def send(
        self,
        message: Any,
        compress: bool | None = None,
        ttl: float | None = None,
        key: Hashable = None,
        when_down: Literal["raise", "queue"] | None = None,
    ) -> Awaitable[SendOutcome]:
        """Send one message now; what it returns tells how it ended, and may be awaited to keep pace with a slow peer.

        The first message of an event loop turn goes to the socket at once, further ones together at the turn's end.

        Args:
            message: A message object (sent in the client's codec), `str` (a text message) or bytes-like (a binary one).
            compress: Where the server agreed to `compression`: None compresses from `compression_threshold` on, True
                always, False never (a secret beside text that an attacker chooses must not be compressed).
            ttl: Seconds after which a message that is still kept is not sent any more; None keeps it as long as it
                takes. Says nothing about one that leaves at once.
            key: A message that is still kept is dropped for a newer one with the same key; None is no key.
            when_down: What to do without a connection, for this message; None does as the client was told.

        Returns:
            An awaitable, which need not be awaited. It returns a `SendOutcome` when the socket has taken the message;
            `.outcome` is None until then, or until the message has ended otherwise.

        Raises:
            ConnectionClosed: If there is no connection and the message is not to be kept. Nothing was sent.
            SendQueueFull: If more than `max_send_queue` bytes wait, or, with `overflow="raise"`, `message_buffer_size`
                messages are kept.
            EncodeError: If the message has no form in the codec. Nothing was sent.
            MessageNotWritten: When awaited, if the connection ended before the socket took it all, or, of one that was
                kept, if it expired or was dropped; its `outcome` says which.
        """
        connection = self._connection
        if connection is None:
            return self._keep(message, compress, ttl, key, when_down)
        try:
            return connection.send(message) if compress is None else connection.send(message, compress=compress)
        except ConnectionClosed:
            # Closing: its end, and the next connection, are still to come.
            if (when_down or self._when_down) == "raise":
                raise
            return self._keep(message, compress, ttl, key, when_down)

    def _keep(
        self,
        message: Any,
        compress: bool | None,
        ttl: float | None,
        key: Hashable,
        when_down: Literal["raise", "queue"] | None,
    ) -> Awaitable[SendOutcome]:
        if self._is_over:
            raise self._closed_error()
        if (when_down or self._when_down) == "raise":
            session = self._next_session
            if session is None or not session.is_authenticated or session.has_ended:
                raise self._closed_error()
            # What was kept, by its own `when_down`, leaves first.
            if not len(self._held):
                return session.connection.send(message, compress=compress)
        now = self._terms.loop.time()
        delivery = self._held.put(message, compress, now=now, ttl=ttl, key=key)
        if ttl is not None and ttl < math.inf:
            self._plan_expiry(now + ttl)
        return delivery

    def _closed_error(self) -> WebSocketError:
        return ConnectionClosedOK(initiator="local") if self._is_over else ConnectionClosedError(initiator="transport")

    def _plan_expiry(self, due: float) -> None:
        """Whoever awaits a kept message learns that it expired when it does, not with the next connection."""
        if due < self._expiry_due:
            if self._expiry is not None:
                self._expiry.cancel()
            self._expiry_due = due
            self._expiry = self._terms.loop.call_at(due, self._expire)

    def _expire(self) -> None:
        self._expiry, self._expiry_due = None, math.inf
        self._held.expire(self._terms.loop.time())
        due = self._held.next_expiry
        if due is not None:
            self._plan_expiry(due)

    def _send_through(self, session: Session | None) -> None:
        """Send through this connection from now on, what is kept first; None: through none."""
        if session is None:
            self._connection = None
            return
        self._held.send_all(session.connection, self._terms.loop.time())
        self._connection = session.connection if session.connection.is_open else None

    def _stop_sending(self) -> None:
        self._is_over = True
        self._connection = self._next_session = None
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        self._held.drop_all("closed")
