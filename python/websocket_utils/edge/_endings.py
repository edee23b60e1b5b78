"""What the end of a publisher's connection means."""

from dataclasses import dataclass
from typing import Final

from websocket_utils._reconnect import ClosePolicy, VerdictKind
from websocket_utils.exceptions import (
    AuthenticationFailed,
    BatchRefused,
    ConnectionClosed,
    HandshakeError,
    PublisherSuperseded,
)

__all__ = ["EdgeCloses", "closes", "ending"]

# Close codes of the edge.
_MALFORMED: Final = 4400
_SUPERSEDED: Final = 4409
_HOLE: Final = 4410
_KEY_CODES: Final = (4401, 4403)
_NO_ROOM: Final = 4429
_TOO_BIG: Final = 1009
_KEY_STATUSES: Final = (401, 403)


@dataclass(frozen=True, slots=True)
class EdgeCloses(ClosePolicy):
    """A key that can't be asked for anew is wrong for good."""

    refreshes: bool = False

    def judge_status(self, status: int) -> VerdictKind:
        """As everywhere, but for a refused key."""
        if status in _KEY_STATUSES and not self.refreshes:
            return "final"
        return ClosePolicy.judge_status(self, status)


def closes(*, refreshes: bool) -> EdgeCloses:
    """The codes of the edge.

    Args:
        refreshes: Whether the key is asked for at each dial, so that another one may be right.
    """
    codes: dict[int | range, VerdictKind] = {
        # It has no business to be done with us; the next instance takes over.
        1000: "retry",
        _MALFORMED: "final",
        _SUPERSEDED: "final",
        # Once is a restart in the wrong moment; over and over, the two sides disagree for good.
        _HOLE: "suspect",
        _NO_ROOM: "late",
    }
    if not refreshes:
        codes |= dict.fromkeys(_KEY_CODES, "final")
    return EdgeCloses(codes=codes, refreshes=refreshes)


def ending(error: BaseException, name: str, epoch: int) -> BaseException:
    """What a publisher ends with when its client does with `error`: that itself, or a name for it."""
    found: BaseException | None = None
    if isinstance(error, HandshakeError) and error.status in _KEY_STATUSES:
        found = AuthenticationFailed(f"the edge does not take the key of publisher {name!r} (HTTP {error.status})")
    elif isinstance(error, ConnectionClosed) and error.received is not None:
        code, reason = error.received.code, error.received.reason
        if code == _SUPERSEDED:
            found = PublisherSuperseded(name, epoch)
        elif code in {_MALFORMED, _TOO_BIG}:
            found = BatchRefused(code, reason)
        elif code in _KEY_CODES:
            found = AuthenticationFailed(reason or f"closed with {code}")
    if found is None:
        return error
    found.__cause__ = error
    return found
