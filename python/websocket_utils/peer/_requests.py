"""Requests that wait for their answer, and until when. Pure; a ticket is what the asker keeps, time is an argument."""

import heapq
from typing import Generic, TypeVar

__all__ = ["RequestTable"]

T = TypeVar("T")

# Over so many deadlines it is looked for those of requests that are over.
_LEAST_LOOKED_THROUGH = 64


class RequestTable(Generic[T]):
    """The requests in flight to one peer.

    Most deadlines are never reached, so they are put in order only when time is asked for: one timer over all
    requests costs each of them a comparison, where a timer for each would cost more than all else that it takes.

    Args:
        limit: How many there may be.

    Attributes:
        late: Answers that came for requests that nobody waits for any more.
        stray: Answers to what was never asked.
    """

    __slots__ = ("_heap", "_limit", "_next", "_ordered", "_waiting", "late", "stray")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._next = 1
        self._waiting: dict[int, tuple[T, float]] = {}
        # Deadlines and numbers of the requests up to `_ordered` that waited when time was asked for last.
        self._heap: list[tuple[float, int]] = []
        self._ordered = 0
        self.late = 0
        self.stray = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def deadlines(self) -> int:
        """Deadlines that are kept in order: at most twice the requests that wait, or a few."""
        return len(self._heap)

    def open(self, ticket: T, due: float) -> int:
        """Keep a ticket until then.

        Returns:
            The number of its request, which no other one of this peer has had; 0 if no more may be asked now.
        """
        if len(self._waiting) >= self._limit:
            return 0
        number = self._next
        self._next = number + 1
        self._waiting[number] = ticket, due
        return number

    def settle(self, number: int) -> T | None:
        """An answer has come: return the ticket, once; None where nobody waits for it, which is counted."""
        found = self._waiting.pop(number, None)
        if found is None:
            if 0 < number < self._next:
                self.late += 1
            else:
                self.stray += 1
            return None
        return found[0]

    def forget(self, number: int) -> None:
        """Nobody waits for that answer any more."""
        self._waiting.pop(number, None)

    def take_all(self) -> list[T]:
        """The link is lost, and every answer with it: return all tickets."""
        tickets = [ticket for ticket, _ in self._waiting.values()]
        self._waiting.clear()
        return tickets

    def take_due(self, now: float) -> tuple[list[T], float | None]:
        """Take those that are due now.

        Returns:
            Their tickets, and when the next one is due; None if no request waits.
        """
        waiting, heap = self._waiting, self._heap
        # Numbers grow, and a dict keeps its order: the new ones are its last.
        for number in reversed(waiting):
            if number <= self._ordered:
                break
            heapq.heappush(heap, (waiting[number][1], number))
        self._ordered = self._next - 1
        due: list[T] = []
        while heap and (heap[0][0] <= now or heap[0][1] not in waiting):
            found = waiting.pop(heapq.heappop(heap)[1], None)
            if found is not None:
                due.append(found[0])
        if len(heap) > max(_LEAST_LOOKED_THROUGH, 2 * len(waiting)):
            heap[:] = [entry for entry in heap if entry[1] in waiting]
            heapq.heapify(heap)
        return due, heap[0][0] if heap else None
