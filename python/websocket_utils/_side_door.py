"""The half of a server that opens its HTTP side door."""

from ssl import SSLContext
from typing import Any, cast

from ._ending import Ending
from .config import WebSocketConfig
from .door import Door

__all__ = ["SideDoor"]


class SideDoor(Ending):
    """Opens a server's side door, and closes it as the last of all."""

    _config: WebSocketConfig
    _http_key: str | None
    _ssl: SSLContext | None

    @property
    def http_url(self) -> str | None:
        """A URL that reaches the HTTP side door from this machine; None if it does not listen."""
        return None if self._door is None else self._door.url

    @property
    def http_app(self) -> Door:
        """The side door as an ASGI application, to mount elsewhere; `http_key` is asked for there too.

        Raises:
            ModuleNotFoundError: If the extra `http` is not installed.
            RuntimeError: If the server is closed, and this was not asked for before.
        """
        return self._made_door()

    def _made_door(self) -> Door:
        if self._door is None:
            if self._shutting_down:
                raise RuntimeError("the server is closed: it has no side door any more")
            # Any: the whole server, which this is a part of.
            self._door = Door(cast("Any", self), key=self._http_key, max_body=self._config.max_message_size)
        return self._door

    async def _open_door(self, host: str, port: int) -> None:
        try:
            await self._made_door().listen(host, port, self._ssl)
        except BaseException as error:
            error.add_note(f"while opening the HTTP side door on {host}:{port}; port 0 takes a free one")
            # Whoever awaits `bind` gets no server that could be closed.
            await self.close()
            raise
