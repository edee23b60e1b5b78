"""Who the clients of a server are: what `WebSocketServer.bind(..., authenticate=...)` takes, and ready-made ones.

`authenticate` is called with the `Credentials` of a client and returns its `Identity`, or raises `Unauthorized`; it may
be `async`. Tokens are verified by PyJWT, the extra `jwt`; nothing of it is imported before a `TokenAuthentication` is
made.
"""

from ..exceptions import Unauthorized
from ._identity import Credentials, Grant, Identity, Operation
from ._keys import KeyAuthentication
from ._tokens import TokenAuthentication, issue_token

__all__ = [
    "Credentials",
    "Grant",
    "Identity",
    "KeyAuthentication",
    "Operation",
    "TokenAuthentication",
    "Unauthorized",
    "issue_token",
]
