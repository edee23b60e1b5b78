"""Samples of clocks: what they cost a link's numbers."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from websocket_utils import SendQueueFull
from websocket_utils.peer._clock_offset import ClockEstimate
from websocket_utils.peer._link import LinkConnection
from websocket_utils.peer._links import Links
from websocket_utils.peer._messages import PeerEcho, PeerProbe
from websocket_utils.peer._probing import Probing

pytestmark = pytest.mark.virtual_clock


class Connection:
    """Notes how much was not to be counted when each message left."""

    def __init__(self, error: Exception | None = None) -> None:
        self.own = self.control = 0
        self.link: Any = self
        self.clock = ClockEstimate()
        self.left: list[tuple[object, int]] = []
        self._error = error

    def send(self, message: object) -> None:
        self.left.append((message, self.own))
        if self._error is not None:
            raise self._error


class Handlers:
    """In the place of an inbox, and of the links."""

    def __init__(self, *connections: Connection) -> None:
        self._connections = connections
        self.by_type: dict[Any, Callable[..., object]] = {}

    def on(self, type_: Any, handler: Callable[..., object]) -> None:
        self.by_type[type_] = handler

    def up(self) -> tuple[Connection, ...]:
        return self._connections


def probing(handlers: Handlers, interval: float | None = 1.0) -> Probing:
    return Probing(cast("Links", handlers), asyncio.get_running_loop(), cast("Any", handlers), interval)


async def test_probe_is_not_counted_when_its_write_ends_the_link() -> None:
    connection = Connection()
    probing(Handlers()).ask(cast("LinkConnection", connection))
    # A broken socket ends the link inside `send`: by then it has to be known that this was no message.
    ((_, own),) = connection.left
    assert own == connection.own == 1


async def test_probe_that_did_not_leave_is_not_counted_as_one_that_did() -> None:
    connection = Connection(SendQueueFull(1, 1, 1))
    probing(Handlers()).ask(cast("LinkConnection", connection))
    assert connection.own == 0


async def test_probe_is_answered_with_both_times() -> None:
    handlers, connection = Handlers(), Connection()
    probing(handlers)
    handlers.by_type[PeerProbe](connection, PeerProbe(5))
    ((echo, _),) = connection.left
    assert isinstance(echo, PeerEcho)
    assert echo.sent == 5
    assert 0 < echo.received <= echo.returned
    assert (connection.own, connection.control) == (1, 1)


async def test_links_are_asked_once_in_an_interval_until_the_end() -> None:
    connection = Connection()
    one = probing(Handlers(connection), 1.0)
    one.start()
    await asyncio.sleep(3.5)
    assert len(connection.left) == 3
    one.stop()
    await asyncio.sleep(3.5)
    assert len(connection.left) == 3


async def test_without_an_interval_nobody_is_asked() -> None:
    connection = Connection()
    one = probing(Handlers(connection), None)
    one.start()
    one.ask(cast("LinkConnection", connection))
    assert connection.left == []


@pytest.mark.parametrize("moment", [2**64, -(2**64), 10**400])
async def test_time_that_is_none_is_left_out(moment: int) -> None:
    handlers, connection = Handlers(), Connection()
    probing(handlers)
    handlers.by_type[PeerEcho](connection, PeerEcho(moment, 0, 0))
    handlers.by_type[PeerEcho](connection, PeerEcho(0, moment, moment))
    assert connection.clock.offset is None
    assert connection.control == 2
