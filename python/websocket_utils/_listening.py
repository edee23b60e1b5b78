"""Listening sockets: from accept(2) to a transport, TLS included.

The loop around accept(2) is ours, so that a connection is known and counted from its accept on, with its address, and
is forgotten when its TLS handshake fails; and so that a machine without free descriptors costs a pause and one line in
the log, not an error of the event loop in each of its turns.
"""

import asyncio
import contextlib
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ._accepting import Acceptor, ServerOpening
from ._faults import is_power_of_ten

__all__ = ["Listener", "bound_sockets", "bound_unix_socket"]

_logger = logging.getLogger("websocket_utils.server")

# Connections that wait in the kernel to be accepted: a thousand clients may come back in one moment, and who finds no
# place there tries again a whole second later.
_BACKLOG = 1024
# Connections accepted in one turn of the event loop: those that are open wait no longer for their reads.
_ACCEPTS_A_TURN = 64
# How long nothing is accepted after accept(2) failed. Clients wait in the backlog meanwhile, so it is short.
_PAUSE_SECONDS = 0.1
# Refused peers inside TLS, behind which their answer is; more are cut at once, so that refusing costs no descriptors.
_MAX_REFUSED_IN_TLS = 256

Opener = Callable[[Callable[[], asyncio.BaseProtocol], socket.socket], Awaitable[object]]


async def bound_sockets(host: str, port: int, *, reuse_port: bool = False) -> list[socket.socket]:
    """Bind and listen on every address of `host`.

    Args:
        host: Address to bind to.
        port: 0 takes a free one.
        reuse_port: Whether others may listen there too: the kernel gives each connection to one of them.

    Raises:
        OSError: If an address is in use or is not this machine's.
        ValueError: If ports can't be shared on this system.
    """
    infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    made: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(infos):
            one = socket.create_server(address, family=family, backlog=_BACKLOG, reuse_port=reuse_port)
            made.append(one)
            one.setblocking(False)
    except BaseException:
        for one in made:
            one.close()
        raise
    return made


def bound_unix_socket(path: str) -> socket.socket:
    """Bind and listen on a Unix socket that its owner alone may connect to (mode 0600).

    A socket file that nobody listens on is left by a process that was killed: it is replaced. Any other file stays.

    Raises:
        OSError: If somebody listens there, the path is another kind of file, or its folder does not allow it.
    """
    _remove_stale(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mode is right from the first moment on: nobody else can connect between a bind and a chmod.
    mask = os.umask(0o177)
    try:
        made.bind(path)
        made.listen(_BACKLOG)
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    finally:
        os.umask(mask)
    return made


def _remove_stale(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            # A full backlog, or no permission: somebody is there, and the bind says so.
            return


def _file_of(one: socket.socket) -> tuple[str, int] | None:
    """Path and inode of a Unix socket; None of any other."""
    name = one.getsockname()
    if one.family != getattr(socket, "AF_UNIX", None) or not isinstance(name, str) or not name:
        return None
    return name, os.lstat(name).st_ino


class Listener:
    """Accepts connections until it is closed.

    Args:
        sockets: Bound and listening; they belong to this object.
        acceptor: Makes the protocol of each connection.
        open_accepted: Makes a transport of an accepted socket; done when its TLS handshake is.
    """

    def __init__(self, sockets: Sequence[socket.socket], acceptor: Acceptor, open_accepted: Opener) -> None:
        self._loop = asyncio.get_running_loop()
        self._sockets = tuple(sockets)
        self._acceptor = acceptor
        self._open_accepted = open_accepted
        # Connections that are no transport yet: inside TLS, or on their way through the loop.
        self._opening: dict[asyncio.Task[None], socket.socket] = {}
        self._refused_in_tls = 0
        self._pauses: dict[socket.socket, asyncio.TimerHandle] = {}
        self._failures = 0
        self._files = [found for found in map(_file_of, self._sockets) if found is not None]
        self.address: tuple[Any, ...] = (
            (f"unix:{self._files[0][0]}", 0) if self._files else self._sockets[0].getsockname()
        )
        """Where the first of the sockets listens; of a Unix socket `unix:` and its path, and 0."""
        for one in self._sockets:
            self._resume(one)

    def _resume(self, listening: socket.socket) -> None:
        self._pauses.pop(listening, None)
        self._loop.add_reader(listening.fileno(), self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        peer: tuple[Any, ...] | str
        for _ in range(_ACCEPTS_A_TURN):
            try:
                accepted, peer = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                # The client has gone before it was accepted.
                continue
            except OSError as error:
                # No descriptor or no memory, and Linux tells network errors here too (accept(2)). The socket stays
                # readable: without a pause the loop would do nothing else.
                self._pause(listening, error)
                return
            # Transports set it for sockets that say they are TCP, which an accepted one does not. Without it a message
            # waits for the peer's acknowledgement of the one before, up to 40 ms (RFC 9293 §3.7.4).
            with contextlib.suppress(OSError):
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opening = self._acceptor(str(peer[0]) if isinstance(peer, tuple) else None)
            if self._acceptor.is_secure and opening.is_refused and self._refused_in_tls >= _MAX_REFUSED_IN_TLS:
                opening.connection_lost(None)
                accepted.close()
                continue
            # Before the task runs: the next accept of this turn looks at it.
            self._refused_in_tls += opening.is_refused
            task = self._loop.create_task(self._open(opening, accepted))
            self._opening[task] = accepted
            task.add_done_callback(self._opening.pop)

    def _pause(self, listening: socket.socket, error: OSError) -> None:
        self._loop.remove_reader(listening.fileno())
        self._pauses[listening] = self._loop.call_later(_PAUSE_SECONDS, self._resume, listening)
        self._failures += 1
        if is_power_of_ten(self._failures):
            _logger.error(
                "cannot accept connections: %s; tried again every %g s (failed %d times; logged at each power of ten); "
                "raise the limit of open files (ulimit -n), or lower max_connections",
                error,
                _PAUSE_SECONDS,
                self._failures,
            )

    async def _open(self, opening: ServerOpening, accepted: socket.socket) -> None:
        try:
            await self._open_accepted(lambda: opening, accepted)
        except Exception as error:  # noqa: BLE001  # whatever a peer makes of TLS ends its connection alone
            _logger.debug("no connection from %s: %r", opening.address, error)
            opening.connection_lost(error)
        finally:
            self._refused_in_tls -= opening.is_refused

    def stop(self) -> None:
        """Stop listening; what was accepted, or waits in the kernel to be, goes on."""
        for one in self._sockets:
            # Whoever waits would be reset: accepted, it can be answered.
            for _ in range(0, _BACKLOG, _ACCEPTS_A_TURN):
                if one.fileno() != -1 and one not in self._pauses:
                    self._accept(one)
        self._stop_listening()

    def _stop_listening(self) -> None:
        for timer in self._pauses.values():
            timer.cancel()
        self._pauses.clear()
        for one in self._sockets:
            if one.fileno() != -1:
                self._loop.remove_reader(one.fileno())
                one.close()
        for path, inode in self._files:
            # It may be another server's by now.
            with contextlib.suppress(OSError):
                if os.lstat(path).st_ino == inode:
                    os.unlink(path)
        self._files.clear()

    def close(self) -> None:
        """Stop listening, and end the connections that are no transports yet."""
        self._stop_listening()
        for task, accepted in tuple(self._opening.items()):
            # The socket is the transport's, so it is not closed here: at the end of the stream it closes itself.
            with contextlib.suppress(OSError):
                accepted.shutdown(socket.SHUT_RDWR)
            task.cancel()
