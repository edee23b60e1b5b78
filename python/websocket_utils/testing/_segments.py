"""How bytes leave: at once, or one by one."""

import asyncio
from collections.abc import Callable

__all__ = ["Segments"]


class Segments:
    """Writes to a transport; with `one_by_one`, each byte in a turn of the event loop, and so a segment, of its own."""

    def __init__(self, transport: asyncio.Transport, *, one_by_one: bool) -> None:
        self._transport = transport
        self._one_by_one = one_by_one
        self._waiting = bytearray()
        self._behind: Callable[[], None] | None = None

    def write(self, data: bytes) -> None:
        """Send `data` behind all that was written before."""
        if not self._one_by_one:
            self._transport.write(data)
        elif data:
            if not self._waiting:
                asyncio.get_running_loop().call_soon(self._write_one)
            self._waiting += data

    def _write_one(self) -> None:
        if not self._waiting:
            return
        self._transport.write(bytes(self._waiting[:1]))
        del self._waiting[:1]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._write_one)
        elif self._behind is not None:
            self._behind()

    def then(self, callback: Callable[[], None]) -> None:
        """Call back when all that was written so far is with the transport."""
        if self._waiting:
            self._behind = callback
        else:
            callback()

    def drop(self) -> None:
        """Forget what is not with the transport yet."""
        self._waiting.clear()
