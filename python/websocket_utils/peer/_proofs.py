"""Who is at the other end: both sides show that they know a key that never travels. Pure; nonces are arguments.

    dialler                                     listener
        <- name, nonce ------------------------------ PeerChallenge
        -- name, nonce, proof("dialler") -----------> PeerHello
        <- proof("listener") ------------------------ PeerWelcome

A proof is the HMAC-SHA256 of the role, both names and both nonces. Both nonces are in it, so none can be used again;
the role is, so none can be sent back to who made it.
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["LEAST_KEY_BYTES", "Keys", "Meeting", "Role", "is_name", "is_nonce"]

Role = Literal["dialler", "listener"]

LEAST_KEY_BYTES = 16
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NONCE = re.compile(r"[0-9a-f]{64}")


def is_name(name: str) -> bool:
    """Whether that can name a peer: 1 to 64 letters, digits, dots, underscores and hyphens."""
    return _NAME.fullmatch(name) is not None


def is_nonce(nonce: str) -> bool:
    """Whether that can be a nonce: 32 bytes as 64 lower-case hexadecimal digits."""
    return _NONCE.fullmatch(nonce) is not None


@dataclass(frozen=True, slots=True)
class Meeting:
    """What both sides of one connection say before either proves anything."""

    dialler: str
    listener: str
    dialler_nonce: str
    listener_nonce: str

    def proof(self, role: Role, key: bytes) -> str:
        """What the side in that role shows to who knows the same key."""
        # Names and nonces hold no line break: no two meetings make the same text.
        text = "\n".join(
            ("websocket-utils.peer 1", role, self.dialler, self.listener, self.dialler_nonce, self.listener_nonce)
        )
        return hmac.new(key, text.encode(), "sha256").hexdigest()

    def is_proven(self, role: Role, key: bytes, shown: str) -> bool:
        """Whether `shown` is the proof; takes as long for a wrong one."""
        return hmac.compare_digest(self.proof(role, key).encode(), shown.encode("utf-8", "surrogatepass"))


class Keys:
    """The keys that peers are known by.

    Args:
        key: One for all peers, or one for each by its name; None asks for no proof, and shows none.
    """

    __slots__ = ("_all", "_each")

    def __init__(self, key: bytes | Mapping[str, bytes] | None) -> None:
        self._each: Mapping[str, bytes] | None = dict(key) if isinstance(key, Mapping) else None
        self._all = None if isinstance(key, Mapping) else key

    def __repr__(self) -> str:
        return "<Keys>"

    @property
    def are_asked_for(self) -> bool:
        """Whether peers have to prove who they are."""
        # An empty mapping knows nobody, and lets nobody in.
        return self._all is not None or self._each is not None

    def faults(self) -> list[str]:
        """What is wrong with them; no key is shown."""
        found: list[str] = []
        for name, key in [("", self._all), *(self._each or {}).items()]:
            what = f"key of {name!r}" if name else "key"
            if key is None and not name:
                continue
            if not isinstance(key, bytes | bytearray):
                found.append(f"{what}: must be bytes, not {type(key).__name__}")
            elif len(key) < LEAST_KEY_BYTES:
                found.append(f"{what}: must have at least {LEAST_KEY_BYTES} bytes, and has {len(key)}")
        return found

    def proof(self, meeting: Meeting, role: Role, peer: str) -> str | None:
        """What this side shows to that peer; empty where no proofs are asked for, None without a key for it."""
        if not self.are_asked_for:
            return ""
        key = self._key_of(peer)
        return None if key is None else meeting.proof(role, key)

    def are_proven(self, meeting: Meeting, role: Role, peer: str, shown: str) -> bool:
        """Whether that peer has shown what it should: nothing at all where no proofs are asked for."""
        if not self.are_asked_for:
            return not shown
        key = self._key_of(peer)
        return key is not None and meeting.is_proven(role, key, shown)

    def _key_of(self, peer: str) -> bytes | None:
        return self._all if self._each is None else self._each.get(peer)
