"""Who the clients of a server are: asked in the opening handshake, or on the connection before anything else.

    request -> authenticate(credentials) -> Identity                       101, the connection is one like any other
                      |- Unauthorized, and there was `Authorization`       401
                      |- Unauthorized without it -> 101, and then in band:
                      |       Authenticate(token) -> authenticate(credentials) -> Identity     Authenticated, it goes on
                      |             |- Unauthorized, any other message, `authenticate_timeout` closed with 4401
                      `- anything else it raises: logged; 500, or 1011 in band

Before a connection is authenticated it is muted: nothing that it sends reaches a handler, its messages may be 64 KiB
big, and nothing is broadcast to it. `Ping` is answered. Authentication ends when the identity does (`expires_at`): the
connection is closed with 4401, unless another `Authenticate` came before.
"""

import asyncio
import inspect
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from ._accepting import Acceptance, Refusal, Request
from ._commands import Commands
from ._connection import ServerConnection
from ._core import Inbox
from ._faults import Faults
from ._redaction import on_one_line
from ._refusals import NOT_PERMITTED, POLICY_VIOLATION
from ._server_channels import ServerChannels
from ._subscription_protocol import SUBPROTOCOLS, parts
from .authentication import Credentials, Identity
from .exceptions import SendQueueFull, Unauthorized
from .messages import Authenticate, Authenticated, Ping, SubscriptionRejected, Unsubscribe

__all__ = ["NOT_AUTHENTICATED", "Authentication", "AuthenticationHook", "Known"]

AuthenticationHook = Callable[[Credentials], Identity | Awaitable[Identity]]

NOT_AUTHENTICATED = 4401
"""The close code of who is not authenticated, or not any more."""

# RFC 6455 §7.4.1, and IANA's registry of close codes.
_INTERNAL_ERROR = 1011
_TRY_AGAIN_LATER = 1013

# Until it is known who asks: room for a token, in whatever codec.
_MAX_MESSAGE = 64 * 1024
_MAX_AUTHENTICATE = 20 * 1024
# `Ping` in each codec.
_MAX_PING = 128
# What a body of an answer or a close frame may say.
_MAX_REASON = 100
# A clock that was set, or a machine that slept, is noticed this late at most.
_LONGEST_WAIT = 3600.0

_TOO_MANY = "too many connections of this identity"


@dataclass(slots=True)
class Known:
    """What is known of a client.

    Attributes:
        credentials: What it said in its request.
        identity: Who it is; None before that is known.
        timer: Ends the connection: at first for want of an identity, then with the identity.
        judging: Judges its `Authenticate`, where that takes time.
    """

    credentials: Credentials
    identity: Identity | None = None
    timer: asyncio.TimerHandle | None = None
    judging: "asyncio.Future[Identity] | None" = None
    is_counted: bool = False


class Authentication:
    """Asks a server's `authenticate`, and holds connections to what it says.

    Args:
        hook: The user's callable.
        loop: The server's.
        inbox: Where `Authenticate` messages come.
        faults: Takes what the callable raises that it should not.
        commands: How often a client may ask.
        channels: What clients are subscribed to.
        timeout: Seconds from the 101 in which a client says who it is.
        most: Connections of one identity; None sets no limit.
        on_authenticated: Told of a connection that goes on behind its `Authenticate`.
        wall_clock: Seconds since 1970.

    Attributes:
        refused: Clients that were told 401 or 4401.
    """

    def __init__(
        self,
        hook: AuthenticationHook,
        *,
        loop: asyncio.AbstractEventLoop,
        inbox: Inbox,
        faults: Faults,
        logger: logging.Logger,
        commands: Commands,
        channels: ServerChannels,
        timeout: float,
        most: int | None,
        on_authenticated: Callable[[ServerConnection], object],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._hook = hook
        self._loop = loop
        self._faults = faults
        self._logger = logger
        self._commands = commands
        self._channels = channels
        self._timeout = timeout
        self._most = most
        self._on_authenticated = on_authenticated
        self._wall_clock = wall_clock
        self._known: dict[ServerConnection, Known] = {}
        self._by_name: Counter[str] = Counter()
        self.refused = 0
        inbox.control(Authenticate, self._on_authenticate, consume=True, longest=_MAX_AUTHENTICATE)
        inbox.control(Ping, self._on_early_ping, consume=False, longest=_MAX_PING)

    # --- in the opening handshake ---

    def judge(
        self, request: Request, subprotocol: str | None
    ) -> Acceptance | Refusal | Awaitable[Acceptance | Refusal]:
        """Judge a request that is in order otherwise."""
        lines = request.values("authorization")
        if len(lines) > 1:
            return Refusal(400, "more than one Authorization")
        token = _bearer(lines[0]) if lines else None
        credentials = Credentials(
            token, request.path, request.headers, request.address, subprotocol, request.peer_certificate
        )
        try:
            found = self._hook(credentials)
        except Exception as error:  # noqa: BLE001  # the user's callable: it ends this request, and no other
            return self._verdict_of(credentials, error)
        if inspect.isawaitable(found):
            return self._judge_later(credentials, found)
        return self._verdict(credentials, found)

    async def _judge_later(self, credentials: Credentials, found: Awaitable[Identity]) -> Acceptance | Refusal:
        try:
            identity = await found
        except Exception as error:  # noqa: BLE001  # as above
            return self._verdict_of(credentials, error)
        return self._verdict(credentials, identity)

    def _verdict(self, credentials: Credentials, found: object) -> Acceptance | Refusal:
        if not isinstance(found, Identity):
            return self._verdict_of(credentials, _no_identity(found))
        if self._seconds_left(found) <= 0:
            return self._unauthorized(credentials, "token expired")
        if not self._has_room(found):
            return Refusal(503, _TOO_MANY)
        return Acceptance(credentials.subprotocol, Known(credentials, found))

    def _verdict_of(self, credentials: Credentials, error: Exception) -> Acceptance | Refusal:
        if not isinstance(error, Unauthorized):
            # Its text is for us alone: it may hold what no client shall read.
            self._faults.report(error)
            return Refusal(500, "internal error")
        has_said = any(name == "authorization" for name, _ in credentials.headers)
        if has_said:
            return self._unauthorized(credentials, error.reason)
        # It may still say so on the connection, as browsers have to.
        return Acceptance(credentials.subprotocol, Known(credentials))

    def _unauthorized(self, credentials: Credentials, reason: str) -> Refusal:
        self.refused += 1
        self._logger.debug("client %s is not let in: %s", credentials.address, on_one_line(reason))
        return Refusal(401, _plain(reason))

    # --- on the connection ---

    def take(self, connection: ServerConnection, known: Known) -> bool:
        """A connection is open; returns whether it is authenticated already."""
        self._known[connection] = known
        identity, known.identity = known.identity, None
        if identity is None:
            connection.mute(self._on_stray, _MAX_MESSAGE)
            known.timer = self._loop.call_later(self._timeout, self._on_timeout, connection)
            return False
        if not self._has_room(identity):
            # Others of its identity were judged at the same time, and came first.
            connection.mute()
            connection.close(_TRY_AGAIN_LATER, _TOO_MANY)
            return False
        self._enter(connection, known, identity)
        return True

    def is_pending(self, connection: ServerConnection) -> bool:
        """Whether it is not known yet who that is."""
        known = self._known.get(connection)
        return known is not None and known.identity is None

    def closing(self, connection: ServerConnection) -> None:
        """The closing handshake has begun: nothing more comes of it."""
        known = self._known.get(connection)
        if known is None:
            return
        if known.timer is not None:
            known.timer.cancel()
            known.timer = None
        if known.judging is not None:
            known.judging.cancel()
            known.judging = None

    def lost(self, connection: ServerConnection) -> None:
        """The connection is over: its place is another one's."""
        self.closing(connection)
        known = self._known.pop(connection, None)
        if known is not None and known.is_counted and known.identity is not None:
            name = known.identity.name
            self._by_name[name] -= 1
            if not self._by_name[name]:
                del self._by_name[name]

    def _on_early_ping(self, connection: ServerConnection, message: Ping) -> None:
        # Afterwards it has a handler like any other message.
        if self.is_pending(connection) and connection.is_open and self._commands.lets_through(connection, message):
            self._channels.on_ping(connection, message)

    def _on_stray(self, connection: ServerConnection) -> None:
        self._end(connection, "Authenticate comes first")

    def _on_timeout(self, connection: ServerConnection) -> None:
        self._end(connection, f"not authenticated within {self._timeout:g} s")

    def _on_authenticate(self, connection: ServerConnection, message: Authenticate) -> None:
        known = self._known.get(connection)
        if known is None or not connection.is_open or not self._commands.lets_through(connection, message):
            return
        if known.judging is not None:
            self._end(connection, "one Authenticate at a time")
            return
        try:
            found = self._hook(replace(known.credentials, token=message.token))
        except Exception as error:  # noqa: BLE001  # the user's callable: it ends this connection, and no other
            self._refuse(connection, error)
            return
        if not inspect.isawaitable(found):
            self._accept(connection, known, found)
            return
        known.judging = asyncio.ensure_future(found)
        known.judging.add_done_callback(lambda judging: self._judged(connection, known, judging))

    def _judged(self, connection: ServerConnection, known: Known, judging: "asyncio.Future[Identity]") -> None:
        if judging.cancelled():
            if known.judging is judging:
                # Not by us: the callable was cancelled from inside.
                known.judging = None
                self._refuse(connection, RuntimeError("authenticate was cancelled"))
            return
        error = judging.exception()
        known.judging = None
        if not connection.is_open:
            return
        if isinstance(error, Exception):
            self._refuse(connection, error)
        elif error is None:
            self._accept(connection, known, judging.result())

    def _accept(self, connection: ServerConnection, known: Known, found: object) -> None:
        if not isinstance(found, Identity):
            self._refuse(connection, _no_identity(found))
            return
        seconds = self._seconds_left(found)
        if seconds <= 0:
            self._end(connection, "token expired")
            return
        before = known.identity
        if before is not None and before.name != found.name:
            self._end(connection, "a connection keeps its identity")
            return
        if before is None and not self._has_room(found):
            connection.close(_TRY_AGAIN_LATER, _TOO_MANY)
            return
        self._enter(connection, known, found)
        try:
            # In front of whatever is broadcast from here on.
            connection.send(Authenticated(found.name, None if found.expires_at is None else seconds))
        except SendQueueFull:
            # It asks and does not read.
            connection.abort()
            return
        if before is None:
            connection.unmute()
            self._on_authenticated(connection)
        else:
            self._withdraw(connection, found)

    def _withdraw(self, connection: ServerConnection, identity: Identity) -> None:
        """A renewed identity may do less than before: end the subscriptions that it has no grant for any more."""
        channels = [name for name in connection.channels if not identity.may("subscribe", name)]
        if not channels:
            return
        if connection.subprotocol not in SUBPROTOCOLS:
            # There is no way to tell it.
            connection.close(POLICY_VIOLATION, "not permitted any more")
            return
        self._channels.on_unsubscribe(connection, Unsubscribe(channels))
        for part in parts(channels):
            refusal = SubscriptionRejected(channels=part, code=NOT_PERMITTED, reason="not permitted any more")
            self._channels.answer(connection, refusal)

    def _enter(self, connection: ServerConnection, known: Known, identity: Identity) -> None:
        if known.timer is not None:
            known.timer.cancel()
            known.timer = None
        if not known.is_counted:
            known.is_counted = True
            self._by_name[identity.name] += 1
        known.identity = identity
        connection.identity = identity
        self._wait_for_expiry(connection, known, identity)

    def _wait_for_expiry(self, connection: ServerConnection, known: Known, identity: Identity) -> None:
        if identity.expires_at is not None:
            seconds = min(self._seconds_left(identity), _LONGEST_WAIT)
            known.timer = self._loop.call_later(seconds, self._on_expiry, connection)

    def _on_expiry(self, connection: ServerConnection) -> None:
        known = self._known.get(connection)
        if known is None or known.identity is None:
            return
        # The timer's clock and the wall's may differ.
        if self._seconds_left(known.identity) > 0:
            self._wait_for_expiry(connection, known, known.identity)
        else:
            self._end(connection, "token expired")

    def _seconds_left(self, identity: Identity) -> float:
        return _LONGEST_WAIT if identity.expires_at is None else identity.expires_at - self._wall_clock()

    def _has_room(self, identity: Identity) -> bool:
        return self._most is None or self._by_name[identity.name] < self._most

    def _refuse(self, connection: ServerConnection, error: Exception) -> None:
        if isinstance(error, Unauthorized):
            self._end(connection, _plain(error.reason))
            return
        self._faults.report(error)
        connection.close(_INTERNAL_ERROR, "internal error")

    def _end(self, connection: ServerConnection, reason: str) -> None:
        if not connection.is_open:
            return
        self.refused += 1
        self._logger.debug("client %s is closed: %s", connection.remote_addr, reason)
        connection.close(NOT_AUTHENTICATED, reason)


def _bearer(line: str) -> str | None:
    """The token of an `Authorization` header (RFC 6750 §2.1); None if it has another scheme, or none."""
    scheme, _, token = line.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _plain(reason: str) -> str:
    """A reason as a head and a close frame can have it."""
    return on_one_line(reason).encode("ascii", "backslashreplace").decode()[:_MAX_REASON]


def _no_identity(found: object) -> TypeError:
    return TypeError(f"authenticate returned a {type(found).__name__}, not an Identity")
