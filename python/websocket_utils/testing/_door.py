"""A listening port on this machine that can be shut and opened again."""

import asyncio
import socket
from collections.abc import Callable

__all__ = ["Door"]

_HOST = "127.0.0.1"
_BACKLOG = 1024


class Door:
    """Accepts TCP connections while it is open. Shut, it refuses them and keeps its port.

    Args:
        on_accepted: Is given each accepted socket, which belongs to it.
        port: 0 takes a free one.
    """

    def __init__(self, on_accepted: Callable[[socket.socket], object], port: int = 0) -> None:
        self._on_accepted = on_accepted
        self._loop = asyncio.get_running_loop()
        self._socket = self._bound(port)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self.is_open = False
        self.open()

    @staticmethod
    def _bound(port: int) -> socket.socket:
        made = socket.socket()
        try:
            # For the port that it had before: connections of that time may still be on their way out.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.setblocking(False)
            made.bind((_HOST, port))
        except BaseException:
            made.close()
            raise
        return made

    def open(self) -> None:
        """Accept from now on."""
        if not self.is_open:
            self.is_open = True
            self._socket.listen(_BACKLOG)
            self._loop.add_reader(self._socket.fileno(), self._accept)

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._on_accepted(accepted)

    def shut(self) -> None:
        """Refuse from now on. A socket that is bound and does not listen is what keeps the port from others."""
        if self.is_open:
            self._leave()
            self._socket = self._bound(self.address[1])

    def _leave(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self.is_open = False

    def close(self) -> None:
        """Give the port back."""
        if self.is_open:
            self._leave()
        self._socket.close()
