"""Accepting connections, with sockets whose accept(2) fails as it does on a machine that has run out of something."""

import asyncio
import errno
import logging
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.waiting import until

from websocket_utils import _listening
from websocket_utils._accepting import Acceptor, Refusal
from websocket_utils._admission import Admission
from websocket_utils._listening import Listener, bound_sockets


class FailingSocket(socket.socket):
    """Listens, and fails to accept as often as it is told to."""

    failures: int = 0
    error = errno.EMFILE
    accepts: int = 0

    def accept(self) -> tuple[socket.socket, Any]:
        self.accepts += 1
        if self.failures:
            self.failures -= 1
            raise OSError(self.error, "no luck")
        return super().accept()


@pytest.fixture
def listening() -> Iterator[FailingSocket]:
    with FailingSocket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen(100)
        one.setblocking(False)
        yield one


def acceptor(**settings: Any) -> Acceptor:
    return Acceptor(
        **{
            "judge": lambda _: Refusal(403, "not today"),
            "take": lambda _: pytest.fail("nobody is accepted here"),
            "admission": Admission(None, None),
            "compression": None,
            "open_timeout": 5.0,
            "is_secure": False,
            "on_refused": lambda: None,
            **settings,
        }
    )


async def as_transport(factory: Any, accepted: socket.socket) -> object:
    return await asyncio.get_running_loop().connect_accepted_socket(factory, accepted)


@pytest.mark.parametrize(
    "error", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENETDOWN, errno.EPROTO]
)
async def test_accept_that_fails_is_paused_and_tried_again_without_spinning(
    error: int, listening: FailingSocket, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_listening, "_PAUSE_SECONDS", 0.01)
    listening.failures, listening.error = 12, error
    opened: list[socket.socket] = []
    accepting = acceptor()

    async def keep(factory: Any, accepted: socket.socket) -> None:
        opened.append(accepted)

    listener = Listener([listening], accepting, keep)
    with socket.create_connection(listener.address):
        await until(lambda: opened)
    listener.close()
    accepting.close()
    # Twelve times in vain, once with success, and once to find that nobody else waits.
    assert listening.accepts == 14
    records = [record for record in caplog.records if record.name == "websocket_utils.server"]
    assert [record.levelno for record in records] == [logging.ERROR] * 2
    assert ["failed 1 times" in records[0].getMessage(), "failed 10 times" in records[1].getMessage()] == [True, True]
    assert all("ulimit" in record.getMessage() and record.exc_info is None for record in records)
    opened[0].close()


async def test_accepted_connection_does_not_wait_for_acknowledgements(listening: FailingSocket) -> None:
    opened: list[socket.socket] = []
    accepting = acceptor()

    async def keep(factory: Any, accepted: socket.socket) -> None:
        opened.append(accepted)

    listener = Listener([listening], accepting, keep)
    with socket.create_connection(listener.address):
        await until(lambda: opened)
    listener.close()
    accepting.close()
    assert opened[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    opened[0].close()


async def test_client_that_is_gone_before_its_accept_costs_no_pause(
    listening: FailingSocket, caplog: pytest.LogCaptureFixture
) -> None:
    listening.failures, listening.error = 3, errno.ECONNABORTED
    accepting = acceptor()
    listener = Listener([listening], accepting, as_transport)
    with socket.create_connection(listener.address):
        await until(lambda: accepting.admission.count == 1)
    await until(lambda: not accepting.admission.count)
    listener.close()
    assert [record for record in caplog.records if record.levelno > logging.WARNING] == []


async def test_close_ends_a_pause(listening: FailingSocket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_listening, "_PAUSE_SECONDS", 0.01)
    listening.failures = 1_000_000
    listener = Listener([listening], acceptor(), as_transport)
    with socket.create_connection(listener.address):
        await until(lambda: listening.accepts)
        listener.close()
        accepts = listening.accepts
        await asyncio.sleep(0.05)
        assert listening.accepts == accepts
    # Again: it has nothing left to close.
    listener.close()


async def test_flood_of_connections_is_accepted_in_parts(
    listening: FailingSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_listening, "_ACCEPTS_A_TURN", 3)
    accepting = acceptor()
    clients = [socket.create_connection(listening.getsockname()) for _ in range(7)]
    listener = Listener([listening], accepting, as_transport)
    turns: list[int] = []
    listener_accept = listener._accept

    def counted(one: socket.socket) -> None:
        before = listening.accepts
        listener_accept(one)
        turns.append(listening.accepts - before)

    asyncio.get_running_loop().add_reader(listening.fileno(), counted, listening)
    await until(lambda: accepting.admission.count == 7)
    assert max(turns) == 3
    listener.close()
    accepting.close()
    for client in clients:
        client.close()


async def test_refused_peers_inside_tls_are_bounded(listening: FailingSocket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_listening, "_MAX_REFUSED_IN_TLS", 2)
    refused = 0
    kept: list[socket.socket] = []

    def on_refused() -> None:
        nonlocal refused
        refused += 1

    async def never(factory: Any, accepted: socket.socket) -> None:
        kept.append(accepted)
        await asyncio.Event().wait()

    accepting = acceptor(admission=Admission(1, None), is_secure=True, on_refused=on_refused)
    listener = Listener([listening], accepting, never)
    clients = [socket.create_connection(listener.address) for _ in range(6)]
    # One has room, two may learn that there is none, and three are cut.
    await until(lambda: refused == 3)
    assert len(kept) == 3
    assert len(accepting._openings) == 3
    listener.close()
    accepting.close()
    for one in [*clients, *kept]:
        one.close()


async def test_failed_bind_leaves_no_socket_open(unused_tcp_port: int) -> None:
    (first,) = await bound_sockets("127.0.0.1", unused_tcp_port)
    with pytest.raises(OSError, match=r"(?i)in use"):
        await bound_sockets("127.0.0.1", unused_tcp_port)
    first.close()
    (again,) = await bound_sockets("127.0.0.1", unused_tcp_port)
    again.close()


async def test_host_of_several_addresses_is_served_on_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()

    async def two(*_: Any, **__: Any) -> list[Any]:
        info = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*info, ("127.0.0.1", 0)), (*info, ("127.0.0.2", 0)), (*info, ("127.0.0.1", 0))]

    monkeypatch.setattr(loop, "getaddrinfo", two)
    sockets = await bound_sockets("two.example", 0)
    assert [one.getsockname()[0] for one in sockets] == ["127.0.0.1", "127.0.0.2"]
    for one in sockets:
        one.close()
