"""Which address of a name gets the connection, with a loop whose time and whose network are the test's."""

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any, cast

import pytest
from tests.support.memory import VirtualLoop

from websocket_utils._racing import AddressInfo, Race, interleaved

SIX, FOUR = socket.AF_INET6, socket.AF_INET


def info(host: str) -> AddressInfo:
    return (SIX if ":" in host else FOUR, socket.SOCK_STREAM, 6, "", (host, 443))


class Socket:
    def __init__(self) -> None:
        self.is_closed = False

    def setblocking(self, flag: bool) -> None:
        assert not flag

    def close(self) -> None:
        assert not self.is_closed
        self.is_closed = True


class Network(VirtualLoop):
    """A loop whose addresses do nothing until they are told to."""

    def __init__(self) -> None:
        super().__init__()
        self.tried: list[tuple[float, str]] = []
        self.sockets: dict[str, Socket] = {}
        self._answers: dict[str, asyncio.Future[None]] = {}
        self._made: list[Socket] = []

    def create_future(self) -> Any:
        return asyncio.get_running_loop().create_future()

    def create_task(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(coroutine)

    def make_socket(self, family: int, kind: int, protocol: int) -> Socket:
        assert (kind, protocol) == (socket.SOCK_STREAM, 6)
        self._made.append(Socket())
        return self._made[-1]

    async def sock_connect(self, made: Socket, address: tuple[str, int]) -> None:
        host = address[0]
        self.tried.append((self.now, host))
        self.sockets[host] = made
        self._answers[host] = self.create_future()
        await self._answers[host]

    def accept(self, host: str) -> None:
        self._answers[host].set_result(None)

    def refuse(self, host: str, error: Exception | None = None) -> None:
        self._answers[host].set_exception(error or ConnectionRefusedError(f"{host} refuses"))

    @property
    def open(self) -> list[Socket]:
        return [one for one in self._made if not one.is_closed]

    def race(self, *hosts: str) -> "asyncio.Task[Socket]":
        one = Race(cast("Any", self), [info(host) for host in hosts], cast("Any", self.make_socket))
        return cast("asyncio.Task[Socket]", asyncio.get_running_loop().create_task(one.run()))


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_families_take_turns_beginning_with_the_first_address_and_each_keeps_its_order() -> None:
    hosts = ["::1", "::2", "::3", "10.0.0.1", "10.0.0.2"]
    assert [one[4][0] for one in interleaved([info(host) for host in hosts])] == [
        "::1",
        "10.0.0.1",
        "::2",
        "10.0.0.2",
        "::3",
    ]
    assert interleaved([]) == []


async def test_next_address_is_tried_beside_the_first_after_250_ms_and_the_first_that_connects_wins() -> None:
    network = Network()
    race = network.race("::1", "::2", "10.0.0.1")
    await turns()
    assert network.tried == [(0.0, "::1")]
    network.advance(0.249)
    await turns()
    assert len(network.tried) == 1
    network.advance(0.001)
    await turns()
    assert network.tried == [(0.0, "::1"), (0.25, "10.0.0.1")]
    network.advance(0.1)
    network.accept("10.0.0.1")
    winner = await race
    await turns()
    assert winner is network.sockets["10.0.0.1"]
    assert network.open == [winner]
    # And nothing more is tried.
    assert network.timers == 0
    network.advance(10)
    await turns()
    assert len(network.tried) == 2


async def test_first_address_that_answers_late_still_wins_over_one_that_does_not() -> None:
    network = Network()
    race = network.race("10.0.0.1", "10.0.0.2")
    await turns()
    network.advance(0.3)
    await turns()
    network.accept("10.0.0.1")
    assert await race is network.sockets["10.0.0.1"]
    await turns()
    assert network.open == [network.sockets["10.0.0.1"]]


async def test_address_that_fails_lets_the_next_be_tried_at_once_and_starts_its_time_anew() -> None:
    network = Network()
    race = network.race("10.0.0.1", "10.0.0.2", "10.0.0.3")
    await turns()
    network.advance(0.2)
    network.refuse("10.0.0.1")
    await turns()
    assert network.tried[1:] == [(0.2, "10.0.0.2")]
    network.advance(0.2)
    await turns()
    assert len(network.tried) == 2
    network.advance(0.06)
    await turns()
    assert network.tried[2][1] == "10.0.0.3"
    network.accept("10.0.0.3")
    await race
    await turns()
    assert network.open == [network.sockets["10.0.0.3"]]


async def test_error_of_the_first_that_failed_is_raised_when_all_have_with_a_note_for_each_other() -> None:
    network = Network()
    race = network.race("10.0.0.1", "10.0.0.2")
    await turns()
    network.advance(0.25)
    await turns()
    network.refuse("10.0.0.2")
    await turns()
    # The last that was tried has failed; the first has not.
    assert not race.done()
    network.refuse("10.0.0.1")
    with pytest.raises(ConnectionRefusedError, match=r"^10\.0\.0\.2 refuses") as caught:
        await race
    assert caught.value.__notes__ == ["and at 10.0.0.1: 10.0.0.1 refuses"]
    assert network.open == []
    assert network.timers == 0


async def test_two_that_connect_in_one_turn_leave_one_socket_open() -> None:
    network = Network()
    race = network.race("10.0.0.1", "10.0.0.2")
    await turns()
    network.advance(0.25)
    await turns()
    network.accept("10.0.0.2")
    network.accept("10.0.0.1")
    winner = await race
    await turns()
    assert network.open == [winner]


@pytest.mark.parametrize("moment", range(8))
@pytest.mark.parametrize("answer", ["both", "first", "refused", "none"])
async def test_race_that_is_cancelled_in_whatever_turn_leaves_no_socket_open(moment: int, answer: str) -> None:
    network = Network()
    race = network.race("10.0.0.1", "10.0.0.2")
    if moment:
        await turns()
        network.advance(0.25)
        await turns()
        if answer in {"both", "first"}:
            network.accept("10.0.0.1")
        if answer == "both":
            network.accept("10.0.0.2")
        if answer == "refused":
            network.refuse("10.0.0.1")
            network.refuse("10.0.0.2")
        for _ in range(moment - 1):
            await asyncio.sleep(0)
    was_over = race.done()
    race.cancel()
    if was_over and answer == "refused":
        assert isinstance(race.exception(), ConnectionRefusedError)
    elif was_over:
        # The socket is the caller's.
        race.result().close()
    else:
        with pytest.raises(asyncio.CancelledError):
            await race
    await turns()
    assert network.open == []
    assert network.timers == 0


async def test_address_that_is_none_is_an_error_of_the_dial_and_nothing_waits_for_it() -> None:
    network = Network()
    race = network.race("10.0.0.1", "10.0.0.2")
    await turns()
    network.refuse("10.0.0.1", OverflowError("port must be 0-65535"))
    with pytest.raises(OverflowError):
        await race
    assert network.open == []


async def test_address_alone_is_tried_without_a_task_or_a_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network()
    race = network.race("10.0.0.1")
    monkeypatch.delattr(Network, "create_task")
    await turns()
    assert network.timers == 0
    network.accept("10.0.0.1")
    assert cast("Any", await race) is network.sockets["10.0.0.1"]


async def test_socket_that_can_not_be_made_is_the_failure_of_its_address() -> None:
    network = Network()

    def make_socket(family: int, kind: int, protocol: int) -> Socket:
        if family == SIX:
            raise OSError(97, "Address family not supported by protocol")
        return network.make_socket(family, kind, protocol)

    one = Race(cast("Any", network), [info("::1"), info("10.0.0.1")], cast("Any", make_socket))
    race = asyncio.get_running_loop().create_task(one.run())
    await turns()
    network.accept("10.0.0.1")
    assert cast("Any", await race) is network.sockets["10.0.0.1"]
