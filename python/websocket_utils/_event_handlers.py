"""Callbacks for what happens to a link."""

import asyncio
from collections.abc import Callable
from typing import Any, get_args

from ._faults import Faults
from .events import Event

__all__ = ["EventHandlers", "event_classes"]

_CLASSES = frozenset(get_args(Event))


def event_classes(type_: Any) -> tuple[type, ...]:
    """The classes of events that a type names; empty if it names none.

    Raises:
        TypeError: If it names events and others: they come in different ways.
    """
    members = get_args(type_) or (type_,)
    events = tuple(member for member in members if member in _CLASSES)
    if events and len(events) < len(members):
        raise TypeError(f"{type_} names events and messages: register the callback for each kind")
    return events


class EventHandlers:
    """Callbacks for events, called when they happen.

    Args:
        faults: Takes what callbacks raise, and runs what `async def` callbacks return.
    """

    __slots__ = ("_callbacks", "_faults")

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._callbacks: dict[type, list[Callable[[Any], object]]] = {}

    def add(self, events: tuple[type, ...], callback: Callable[[Any], object]) -> None:
        """Call `callback` with each event of these classes."""
        for one in events:
            self._callbacks.setdefault(one, []).append(callback)

    # `object`: streams, peers and publishers have events of their own.
    def call(self, event: object) -> None:
        """Call those that were registered for its class, in that order."""
        for callback in tuple(self._callbacks.get(type(event), ())):
            try:
                returned = callback(event)
            except Exception as error:  # noqa: BLE001  # a callback's error must not stop a reconnect
                self._faults.report(error)
            else:
                if asyncio.iscoroutine(returned) or asyncio.isfuture(returned):
                    self._faults.keep(returned)
