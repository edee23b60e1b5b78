"""Which of a link's endpoints is dialled next."""

from ._lifecycle import Wait

__all__ = ["Sources"]


class Sources:
    """Goes through a link's endpoints.

    Args:
        count: How many there are; 0 is the preferred one.

    Attributes:
        current: The one that is connected to, or dialled.
    """

    __slots__ = ("_count", "_tried", "current")

    current: int

    def __init__(self, count: int) -> None:
        self._count = count
        self.current = 0
        self._tried = {0}

    def turn(self, decision: Wait) -> float:
        """Choose the endpoint of the next dial; returns how long to wait for it."""
        if self._count == 1 or decision.attempt == 0 or decision.refresh:
            return decision.delay
        self.current = self.behind(self.current)
        if self.current in self._tried:
            self._tried = {self.current}
            return decision.delay
        # Another server is no reason to wait for this one.
        self._tried.add(self.current)
        return 0.0

    def behind(self, source: int) -> int:
        """The one behind another, the first behind the last."""
        return (source + 1) % self._count

    def settle(self, source: int) -> None:
        """A connection to it is live: the others may be tried again."""
        self.current = source
        self._tried = {source}
