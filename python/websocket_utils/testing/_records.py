"""What a connection of a fault server tells of itself."""

from typing import TYPE_CHECKING, Protocol

from .._accepting import Request

if TYPE_CHECKING:
    # It imports this.
    from ._fault_connection import FaultConnection

__all__ = ["Records"]


class Records(Protocol):
    """Who writes down what a connection sees."""

    def answered(self, connection: "FaultConnection") -> None:
        """The 101 was sent."""

    def requested(self, connection: "FaultConnection", request: Request) -> None:
        """An opening request was read."""

    def received_message(self, connection: "FaultConnection", message: str | bytes) -> None:
        """A message was read."""

    def subscribed(self, connection: "FaultConnection", channels: list[str]) -> None:
        """The connection's channels have changed; `channels` were asked for now."""

    def closed(self, connection: "FaultConnection", code: int) -> None:
        """A close frame was read."""

    def lost(self, connection: "FaultConnection") -> None:
        """The connection is gone."""
