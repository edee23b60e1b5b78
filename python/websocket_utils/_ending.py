"""The half of a server that ends: at once, or after it has let its clients go."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import nullcontext
from typing import Final

from . import _core
from ._accepting import Acceptor
from ._ages import AgeWatch
from ._connection import ServerConnection
from ._draining import drain_faults
from ._faults import Faults
from ._heartbeat import Heartbeat
from ._listening import Listener
from ._server_drain import Drain, on_signals
from .door import Door
from .exceptions import ConfigError

__all__ = ["Ending"]

_logger = logging.getLogger("websocket_utils.server")

# Seconds that clients inside their opening handshake get at the end of a drain.
_FOR_OPENINGS: Final = 0.25
# Seconds that requests to the side door may go on at the end.
_FOR_REQUESTS: Final = 1.0
# Seconds behind a drain's deadline in which handlers that are cancelled may still end.
_BEHIND_DEADLINE: Final = 0.03


class Ending:
    """Waits for a server's end, and brings it about."""

    _acceptor: Acceptor
    _ages: AgeWatch
    _broadcaster: _core.Broadcaster
    _closed: asyncio.Event
    _conditions: list[Callable[[], bool]]
    _connections: set[ServerConnection]
    _door: Door | None
    _drain: Drain | None
    _empty: asyncio.Event
    _faults: Faults
    _heartbeat: Heartbeat[ServerConnection] | None
    _inbox: _core.Inbox
    _listener: Listener | None
    _local_addr: tuple[str, int] | None
    _shutting_down: bool

    @property
    def is_ready(self) -> bool:
        """Whether it takes clients: it listens, is not about to end, and all conditions of `ready_when` hold."""
        is_serving = self._local_addr is not None and not self.is_draining and not self._shutting_down
        return is_serving and all(condition() for condition in self._conditions)

    def ready_when(self, condition: Callable[[], bool]) -> None:
        """Count as ready only while a condition holds: that a source is connected, that prices are not old."""
        self._conditions.append(condition)

    @property
    def is_draining(self) -> bool:
        """Whether it is letting its clients go, by `drain`."""
        return self._drain is not None and not self._closed.is_set()

    async def serve_forever(
        self, *, drain_on_signal: bool = False, deadline: float = 10.0, window: float = 5.0
    ) -> None:
        """Wait until the server is closed, or this is cancelled (Ctrl-C under `run`).

        Args:
            drain_on_signal: Whether SIGTERM and Ctrl-C `drain` it, and a second one of them aborts what is left. Only
                in the main thread, and not on Windows.
            deadline: As for `drain`.
            window: As for `drain`.

        Raises:
            ConfigError: If a number is wrong.
        """
        if faults := drain_faults(deadline, window, 1):
            raise ConfigError(faults)
        with on_signals(lambda: self.drain(deadline=deadline, window=window)) if drain_on_signal else nullcontext():
            await self._closed.wait()

    async def drain(self, *, deadline: float = 10.0, window: float = 5.0, batch: int = 500) -> None:
        """Let all clients go without haste, then stop: for a restart, or a server that is taken out of service.

        No client is accepted from here on (503 to those that are inside their opening handshake), what is published
        still goes to those that are there. Clients of this package are told (`GoAway`), and have another connection
        before they leave this one. All are closed with 1012 (service restart) once they have what was sent to them;
        what is left at the deadline is aborted: nothing can be done for a client that reads nothing.

        Calling it again waits for the same end; `close` ends it early. Cancelling it aborts all connections.

        Args:
            deadline: Seconds until the server is closed at the latest; it is as soon as no client is left.
            window: Seconds over which clients are asked to leave, each at another moment; at most half of `deadline`.
            batch: The most clients that are told or closed in one turn of the event loop.

        Raises:
            ConfigError: If a number is wrong. Nothing was done.
        """
        if faults := drain_faults(deadline, window, batch):
            raise ConfigError(faults)
        if self._shutting_down or self._drain is not None:
            await self._closed.wait()
            return
        _logger.info("draining %d connections within %g s", len(self._connections), deadline)
        drain = self._drain = Drain(
            lambda: self._connections, self._broadcaster.flush, deadline=deadline, window=window, batch=batch
        )
        if self._listener is not None:
            self._listener.stop()
        try:
            if self._connections:
                await drain.run()
            # Those that were inside their opening handshake read why they are refused.
            await self._acceptor.settle(min(_FOR_OPENINGS, drain.left))
        finally:
            if not self._shutting_down:
                self._shutting_down = True
                await self._finish(_BEHIND_DEADLINE + drain.left)
        # `close` has come in between.
        await self._closed.wait()

    async def close(self) -> None:
        """Stop: no new clients, 1001 (going away) to all, `close_timeout` seconds for their answers, then abort.

        Calling it again waits for the same end.
        """
        if self._shutting_down:
            await self._closed.wait()
            return
        self._shutting_down = True
        try:
            self._stop_accepting()
            if self._drain is not None:
                self._drain.stop()
            # What was published in this turn leaves before the close frames.
            self._broadcaster.flush()
            for connection in tuple(self._connections):
                connection.close(1001, "server is shutting down")
            # `connection_closing` has given each its deadline, after which it is aborted.
            await self._empty.wait()
        finally:
            await self._finish(None)

    def _stop_accepting(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self._acceptor.close()
        if self._heartbeat is not None:
            self._heartbeat.stop()
        self._ages.stop()

    async def _finish(self, within: float | None) -> None:
        """End what is left at once; requests to the door, and then handlers, get so many seconds to end."""
        self._stop_accepting()
        for connection in tuple(self._connections):
            connection.abort()
        self._inbox.close()
        try:
            # Last: until here it tells that the server is not ready any more.
            if self._door is not None:
                await self._door.close(_FOR_REQUESTS if within is None else min(within, _FOR_REQUESTS))
            await self._faults.finish(within)
        finally:
            self._closed.set()
