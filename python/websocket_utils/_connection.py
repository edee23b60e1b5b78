"""Connections as Python sees them: the Rust core under asyncio's base class, and a server's client."""

import asyncio
from collections.abc import Callable
from typing import Any

from . import _core
from ._rates import CommandRate
from ._redaction import without_credentials
from .authentication import Identity

__all__ = ["Connection", "ServerConnection"]


class Connection(_core.Connection, asyncio.BufferedProtocol):
    """One open connection. The base class is what asyncio's own transports look for to read into our buffer."""

    __slots__ = ()


class ServerConnection(Connection):
    """One client of a server, as handlers get it.

    Attributes:
        remote_addr: Host and port of the client; None where the transport does not know.
        path: Path and query of the request, as the client sent them; `repr` shows `?...` for the query.
        subprotocol: The one agreed on; None if there is none.
        channels: Channels the client is subscribed to.
        identity: Who the client is; None where clients are not authenticated, or this one is not yet.
        commands: What it may still ask for; None before it asks for anything.
        leave: Gives its place among the server's connections back.
    """

    __slots__ = ("channels", "commands", "identity", "leave", "path", "remote_addr", "subprotocol")

    remote_addr: tuple[str, int] | None
    path: str
    subprotocol: str | None
    channels: set[str]
    identity: Identity | None
    commands: CommandRate | None
    leave: Callable[[], None]

    def __init__(
        self,
        *,
        path: str,
        remote_addr: tuple[str, int] | None,
        leave: Callable[[], None],
        subprotocol: str | None = None,
        **_core_arguments: Any,
    ) -> None:
        self.path = path
        self.subprotocol = subprotocol
        self.remote_addr = remote_addr
        self.leave = leave
        self.channels = set()
        self.identity = None
        self.commands = None

    def __new__(
        cls,
        *,
        path: str,
        remote_addr: tuple[str, int] | None,
        leave: Callable[[], None],
        subprotocol: str | None = None,
        **core_arguments: Any,
    ) -> "ServerConnection":
        del path, remote_addr, leave, subprotocol
        return super().__new__(cls, **core_arguments)

    def __repr__(self) -> str:
        state = "open" if self.is_open else "closing"
        path = without_credentials(self.path)
        return f"<ServerConnection {self.remote_addr} {path} {state}, {len(self.channels)} channels>"
