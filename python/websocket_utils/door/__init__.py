"""The HTTP side door of a server: publishing, facts, metrics and health, on a port of its own.

What it needs beside this package, Starlette, uvicorn and prometheus-client, comes with the extra `http` and is imported
when a door is made.
"""

import asyncio
import importlib
from ssl import SSLContext
from typing import TYPE_CHECKING, Any

from ._facts import Served, Server
from ._guard import Guard, checked_address, is_loopback

if TYPE_CHECKING:
    from ._serving import Serving

__all__ = ["Door", "check_libraries", "checked_address"]


def check_libraries() -> None:
    """See that what a door needs is installed.

    Raises:
        ModuleNotFoundError: If something is not; it names the extra.
    """
    for library in ("starlette", "uvicorn", "prometheus_client"):
        try:
            importlib.import_module(library)
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"the HTTP side door needs {error.name}, which is not installed: pip install 'websocket_utils[http]'",
                name=error.name,
            ) from None


class Door:
    """The door of one server: an ASGI application, which may be served here or mounted elsewhere.

    Args:
        server: Whose door it is.
        key: What requests have to present; None takes those of this machine.
        max_body: Bytes that the body of a request has at most.

    Raises:
        ModuleNotFoundError: If the extra `http` is not installed.
    """

    def __init__(self, server: Server, *, key: str | None, max_body: int) -> None:
        check_libraries()
        # Here, because they import what is optional.
        from ._app import App  # noqa: PLC0415
        from ._commands import Commands  # noqa: PLC0415
        from ._idempotency import Results  # noqa: PLC0415
        from ._pulse import Pulse  # noqa: PLC0415

        loop = asyncio.get_running_loop()
        served = Served(server)
        self._pulse = Pulse(loop, served.counted)
        self._serving: Serving | None = None
        self._is_secure = False
        self._app = App(
            served, Commands(served, Results()), Guard(key), self._pulse, clock=loop.time, max_body=max_body
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request, as ASGI has it."""
        await self._app(scope, receive, send)

    async def listen(self, host: str, port: int, ssl: SSLContext | None) -> None:
        """Serve it on an address of its own; port 0 takes a free one.

        Args:
            host: Address to bind to.
            port: Port.
            ssl: The server's. What never leaves this machine goes without.

        Raises:
            OSError: If the address is in use or is not this machine's.
        """
        from ._serving import Serving  # noqa: PLC0415

        context = None if is_loopback(host) else ssl
        self._is_secure = context is not None
        self._serving = await Serving.listen(host, port, self, context)

    @property
    def url(self) -> str | None:
        """A URL that reaches it from this machine; None if it does not listen."""
        if self._serving is None:
            return None
        bound, port = self._serving.address[:2]
        host: str = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bound) or str(bound)  # noqa: S104  # read, not bound
        scheme = "https" if self._is_secure else "http"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    async def close(self, grace: float) -> None:
        """Stop listening; requests under way get `grace` seconds, then they are cut.

        A mounted application answers on, without measuring anything.
        """
        self._pulse.stop()
        if self._serving is not None:
            await self._serving.close(grace)
