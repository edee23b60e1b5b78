"""The server's opening handshake on a transport in memory: what the network hardly ever does."""

import asyncio
import errno
from typing import Any, cast

import pytest
from tests.integration.raw_peer import UPGRADE
from tests.support.memory import MemoryTransport

from websocket_utils._accepting import Acceptance, Acceptor, Refusal, Request, ServerOpening
from websocket_utils._admission import Admission
from websocket_utils._handshake import Opened


class Socket:
    def fileno(self) -> int:
        return -1


class Transport(MemoryTransport):
    def get_extra_info(self, name: str) -> Any:
        return {"socket": Socket(), "peername": ("192.0.2.1", 7)}[name]

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        pass


class Accepting:
    """A server's side that accepts or refuses every request."""

    def __init__(self, verdict: Acceptance | Refusal) -> None:
        self.admission = Admission(1, 1)
        self.acceptor = Acceptor(
            judge=lambda request: self._judge(request, verdict),
            take=self._take,
            admission=self.admission,
            compression=None,
            open_timeout=5,
            is_secure=False,
            on_refused=lambda: None,
        )

    def _judge(self, request: Request, verdict: Acceptance | Refusal) -> Acceptance | Refusal:
        assert request.address == "192.0.2.1"
        return verdict

    def _take(self, opened: Opened) -> Any:
        raise RuntimeError(opened.path)

    def accept(self) -> tuple[ServerOpening, Transport]:
        opening, transport = self.acceptor("192.0.2.1"), Transport()
        opening.connection_made(cast("Any", transport))
        return opening, transport


def ask(opening: ServerOpening) -> None:
    opening.get_buffer(-1)[: len(UPGRADE)] = UPGRADE
    opening.buffer_updated(len(UPGRADE))


async def test_connection_that_cannot_be_taken_gives_its_place_back() -> None:
    accepting = Accepting(Acceptance())
    for _ in range(3):
        opening, _ = accepting.accept()
        with pytest.raises(RuntimeError, match="/"):
            ask(opening)
        # What a transport does with an error of its protocol.
        opening.connection_lost(None)
        assert accepting.admission.count == 0


async def test_refused_peer_that_is_gone_before_the_half_close_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def write_eof(_: MemoryTransport) -> None:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    monkeypatch.setattr(MemoryTransport, "write_eof", write_eof)
    accepting = Accepting(Refusal(403, "no"))
    opening, transport = accepting.accept()
    ask(opening)
    assert transport.is_closed
    opening.connection_lost(None)
    assert (accepting.admission.count, accepting.acceptor.lingering) == (0, 0)
    await asyncio.sleep(0)
