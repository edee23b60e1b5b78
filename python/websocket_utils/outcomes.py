"""How a message that was accepted for sending ended.

This module imports nothing of ours.
"""

from dataclasses import dataclass
from typing import Literal

__all__ = ["DropReason", "SendFate", "SendOutcome"]

SendFate = Literal["written", "dropped", "expired", "unknown"]
"""How it ended. Each accepted message ends in exactly one of these:

- `written`: the operating system took all of it. Whether the peer read it, only an answer can tell.
- `dropped`: no byte of it left; `reason` says why.
- `expired`: no byte of it left, for its `ttl` passed while there was no connection.
- `unknown`: the connection ended while it was being written. It is never sent again by itself.
"""

DropReason = Literal["overflow", "superseded", "lost", "closed"]
"""Why no byte of it left: the buffer was full; a newer one with its `key` took its place; the connection was lost, or
the client closed, before its turn came."""


@dataclass(frozen=True, slots=True)
class SendOutcome:
    """How a message that was accepted for sending ended."""

    fate: SendFate
    """Which of the four ends."""

    epoch: int | None = None
    """Number of the connection that wrote it, or may have; None where it met none."""

    reason: DropReason | None = None
    """Why it was dropped; None where it was not."""

    @property
    def is_written(self) -> bool:
        """Whether the operating system took all of it."""
        return self.fate == "written"
