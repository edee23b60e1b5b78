"""A client's side of authentication on the connection: `Authenticate`, and the answer to it."""

import inspect
from collections.abc import Awaitable, Callable

from ._session import Login
from .messages import Authenticate, Authenticated

__all__ = ["in_band"]

TokenSource = str | Callable[[], str | Awaitable[str]]


def in_band(token: TokenSource) -> Callable[[Login], Awaitable[object]]:
    """Return what says who a client is on the connection itself: for `connect(..., authenticate=in_band(token))`.

    For servers of this package, where the opening request can't hold a token. A token that ends closes the connection;
    `max_connection_age` below its time exchanges it before.

    Args:
        token: The token, or a callable that gives one for each connection and may be `async`.
    """

    async def authenticate(login: Login) -> None:
        given = token if isinstance(token, str) else token()
        text = await given if inspect.isawaitable(given) else given
        login.send(Authenticate(text))
        await login.receive(Authenticated)

    return authenticate
