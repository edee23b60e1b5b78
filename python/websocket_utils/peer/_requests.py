"""Requests that wait for their answer, and until when. Pure; a ticket is what the asker keeps, time is an argument."""

import heapq
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Deadlines", "RequestTable"]

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


# Behind so many deadlines it is looked for those of requests that are over.
_LEAST_LOOKED_THROUGH = 64


class Deadlines(Generic[T]):
    """When requests end that nothing else ends, for one timer over all of them.

    A timer for each would cost more than all else that a request takes. Most deadlines are never reached: those of
    requests that are over stay until they are, or until they are half of all.

    Args:
        is_over: Whether a request has ended otherwise.
    """

    __slots__ = ("_bound", "_count", "_heap", "_is_over")

    def __init__(self, is_over: Callable[[T], bool]) -> None:
        self._is_over = is_over
        # The count decides between equal times: tickets have no order.
        self._heap: list[tuple[float, int, T]] = []
        self._count = 0
        self._bound = _LEAST_LOOKED_THROUGH

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, due: float, ticket: T) -> None:
        """Add one, which is due then."""
        self._count += 1
        heapq.heappush(self._heap, (due, self._count, ticket))
        if len(self._heap) > self._bound:
            self._heap = [entry for entry in self._heap if not self._is_over(entry[2])]
            heapq.heapify(self._heap)
            self._bound = max(_LEAST_LOOKED_THROUGH, 2 * len(self._heap))

    def take(self, now: float) -> list[T]:
        """Take those that are due now and not over."""
        due: list[T] = []
        while self._heap and (self._heap[0][0] <= now or self._is_over(self._heap[0][2])):
            ticket = heapq.heappop(self._heap)[2]
            if not self._is_over(ticket):
                due.append(ticket)
        return due

    @property
    def next_due(self) -> float | None:
        """When the first of them is due; None if there is none."""
        return self._heap[0][0] if self._heap else None
