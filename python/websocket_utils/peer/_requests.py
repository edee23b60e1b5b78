"""Requests that wait for their answer. Pure; a ticket is whatever the asker keeps."""

from typing import Generic, TypeVar

__all__ = ["RequestTable"]

T = TypeVar("T")


class RequestTable(Generic[T]):
    """The requests in flight to one peer.

    Args:
        limit: How many there may be.

    Attributes:
        late: Answers that came for requests that nobody waits for any more.
        stray: Answers to what was never asked.
    """

    __slots__ = ("_limit", "_next", "_waiting", "late", "stray")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._next = 1
        self._waiting: dict[int, T] = {}
        self.late = 0
        self.stray = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether no more may be asked now."""
        return len(self._waiting) >= self._limit

    def open(self, ticket: T) -> int:
        """Keep a ticket; returns the number of its request, which no other one of this peer has had."""
        number = self._next
        self._next += 1
        self._waiting[number] = ticket
        return number

    def settle(self, number: int) -> T | None:
        """An answer has come: return the ticket, once; None where nobody waits for it, which is counted."""
        ticket = self._waiting.pop(number, None)
        if ticket is None:
            if 0 < number < self._next:
                self.late += 1
            else:
                self.stray += 1
        return ticket

    def forget(self, number: int) -> None:
        """Nobody waits for that answer any more."""
        self._waiting.pop(number, None)

    def take_all(self) -> list[T]:
        """The link is lost, and every answer with it: return all tickets."""
        tickets = list(self._waiting.values())
        self._waiting.clear()
        return tickets
