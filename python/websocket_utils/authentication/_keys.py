"""Static keys: each stands for one identity."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping

from ..exceptions import ConfigError, Unauthorized
from ._identity import Credentials, Identity

__all__ = ["KeyAuthentication"]

# A key is guessed at one connection at a time; one of 16 random characters never.
_LEAST_KEY_BYTES = 16


class KeyAuthentication:
    """Knows clients by static keys: for `WebSocketServer.bind(..., authenticate=KeyAuthentication({key: identity}))`.

    How long a look-up takes says nothing about the keys: all are compared, each as its hash, in constant time.

    Args:
        keys: The identity that each key stands for. Keys are random, of at least 16 bytes, such as
            `secrets.token_urlsafe(32)`.

    Raises:
        ConfigError: If a key is too short.
    """

    __slots__ = ("_identities", "_salt")

    def __init__(self, keys: Mapping[str, Identity]) -> None:
        if faults := [
            f"keys: the one of {identity.name!r} has {len(key.encode())} bytes; at least {_LEAST_KEY_BYTES} are safe"
            for key, identity in keys.items()
            if len(key.encode()) < _LEAST_KEY_BYTES
        ]:
            raise ConfigError(faults)
        self._salt = secrets.token_bytes(16)
        self._identities = [(self._hash(key), identity) for key, identity in keys.items()]

    def _hash(self, key: str) -> bytes:
        return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), key=self._salt).digest()

    def __call__(self, credentials: Credentials) -> Identity:
        """Return the identity that a client's key stands for.

        Raises:
            Unauthorized: If there is no key, or an unknown one.
        """
        if credentials.token is None:
            raise Unauthorized("no key")
        asked = self._hash(credentials.token)
        found: Identity | None = None
        # All of them, also behind a match.
        for known, identity in self._identities:
            if hmac.compare_digest(known, asked):
                found = identity
        if found is None:
            raise Unauthorized("unknown key")
        return found

    def __repr__(self) -> str:
        return f"<KeyAuthentication of {len(self._identities)} keys>"
