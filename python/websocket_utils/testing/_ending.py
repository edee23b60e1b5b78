"""An end with RST, on whatever transport."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import cast

__all__ = ["abort_with_reset", "close_with_reset"]

_NO_LINGER = struct.pack("ii", 1, 0)


def close_with_reset(tcp: socket.socket) -> None:
    """Close a socket, with RST if it is still open; a transport that has it is told otherwise."""
    if tcp.fileno() != -1:
        with contextlib.suppress(OSError):
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        tcp.close()


def abort_with_reset(transport: asyncio.BaseTransport) -> None:
    """End a connection at once, with RST; what was not sent is lost."""
    reset: Callable[[], None] | None = getattr(transport, "reset", None)
    if reset is not None:
        # In memory there is no socket to tell.
        reset()
        return
    # Not every transport has one once it is closed.
    tcp: socket.socket | None = transport.get_extra_info("socket")
    if tcp is not None and tcp.fileno() != -1:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    cast("asyncio.WriteTransport", transport).abort()
