"""The opening handshake without a network: what a server answers, what a client writes, and how much each looks at."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocket_utils import ConfigError, WebSocketConfig
from websocket_utils._accepting import Acceptance, Acceptor, Refusal, Request, ServerOpening
from websocket_utils._admission import Admission
from websocket_utils._dialer import Dialer
from websocket_utils._endpoints import Endpoint
from websocket_utils._requesting import opening_request
from websocket_utils.exceptions import InvalidURL

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


class Transport:
    """Records what it is told."""

    def __init__(self) -> None:
        self.written = b""
        self.has_eof = False
        self.is_aborted = False

    def set_write_buffer_limits(self, *, high: int, low: int) -> None: ...
    def write(self, data: bytes) -> None:
        assert not self.has_eof
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.has_eof = True

    def close(self) -> None:
        self.is_aborted = True

    def abort(self) -> None:
        self.is_aborted = True


def opened(judge: Callable[[Request], Any]) -> tuple[ServerOpening, Transport]:
    acceptor = Acceptor(
        judge=judge,
        take=lambda _: pytest.fail("nothing is taken over here"),
        admission=Admission(None, None),
        compression=None,
        open_timeout=5,
        is_secure=False,
        on_refused=lambda: None,
    )
    opening, transport = acceptor("127.0.0.1"), Transport()
    opening.connection_made(cast("Any", transport))
    return opening, transport


def receive(opening: ServerOpening, data: bytes) -> None:
    opening.get_buffer(-1)[: len(data)] = data
    opening.buffer_updated(len(data))


def head(*lines: str) -> bytes:
    return "\r\n".join(
        [
            "GET /feed HTTP/1.1",
            "Host: 127.0.0.1",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {KEY}",
            "Sec-WebSocket-Version: 13",
            *lines,
            "",
            "",
        ]
    ).encode()


# --- a server ---


async def test_judgement_that_raises_is_a_500_that_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def judge(_: Request) -> Acceptance:
        raise RuntimeError("password of the database: s3cret")

    opening, transport = opened(judge)
    receive(opening, head())
    assert transport.written.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert transport.written.endswith(b"\r\n\r\ninternal error\n")
    assert b"s3cret" not in transport.written
    # Whoever runs the server is told.
    assert "s3cret" in caplog.text
    opening.connection_lost(None)


@pytest.mark.parametrize("status", [400, 403, 405, 426, 431, 500, 503, 505])
async def test_refusal_is_a_whole_answer_that_ends_the_connection(status: int) -> None:
    opening, transport = opened(lambda _: Refusal(status, "fixed words"))
    receive(opening, head())
    lines, _, body = transport.written.partition(b"\r\n\r\n")
    assert lines.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nConnection: close" in lines
    assert b"\r\nContent-Length: %d" % len(body) in lines
    assert body == b"fixed words\n"
    assert (b"\r\nRetry-After: 1" in lines) == (status == 503)
    assert (b"\r\nSec-WebSocket-Version: 13" in lines) == (status == 426)
    assert (b"\r\nAllow: GET" in lines) == (status == 405)
    assert transport.has_eof
    opening.connection_lost(None)


async def test_nothing_behind_a_refusal_is_parsed() -> None:
    judged: list[Request] = []

    def judge(request: Request) -> Refusal:
        judged.append(request)
        return Refusal(403, "no")

    opening, transport = opened(judge)
    receive(opening, head() + head())
    first = transport.written
    for _ in range(3):
        receive(opening, head())
    assert (len(judged), transport.written) == (1, first)
    opening.connection_lost(None)


async def test_head_of_15_kib_in_segments_of_one_byte_is_looked_at_once() -> None:
    opening, transport = opened(lambda _: Refusal(403, "read to its end"))
    fed = 0
    reader = opening._head

    class Counting:
        def feed(self, data: memoryview) -> int | None:
            nonlocal fed
            fed += len(data)
            return reader.feed(data)

        def request(self) -> Any:
            return reader.request()

    opening._head = cast("Any", Counting())
    data = head(*(f"X-{number}: {'y' * 1000}" for number in range(15)))
    assert len(data) > 15_000
    for at in range(len(data)):
        receive(opening, data[at : at + 1])
    assert fed == len(data)
    assert transport.written.startswith(b"HTTP/1.1 403 ")
    opening.connection_lost(None)


async def test_request_shows_neither_its_query_nor_its_headers() -> None:
    seen: list[Request] = []

    def judge(request: Request) -> Refusal:
        seen.append(request)
        return Refusal(403, "no")

    opening, _ = opened(judge)
    receive(opening, head("Cookie: s3cret").replace(b"/feed", b"/feed?token=s3cret"))
    assert seen[0].values("cookie") == ("s3cret",)
    assert seen[0].path == "/feed?token=s3cret"
    assert "s3cret" not in repr(seen[0])
    opening.connection_lost(None)


# --- a client ---


def dialer(url: str, headers: dict[str, str], subprotocols: tuple[str, ...]) -> Dialer:
    return Dialer((Endpoint(url, headers=headers),), WebSocketConfig(), subprotocols, None)


TEXT = st.text(st.sampled_from('aB1-_ \t:;,"\r\n\0\x0b\x7f\x85é€'), max_size=12)


@given(path=TEXT, name=TEXT, value=TEXT, subprotocol=TEXT)
def test_request_has_exactly_the_lines_it_should_have_whatever_goes_into_it(
    path: str, name: str, value: str, subprotocol: str
) -> None:
    try:
        made = dialer(f"ws://h/{path}", {name: value}, (subprotocol,))
    except (ConfigError, InvalidURL):
        # Nothing was opened.
        return
    target = asyncio.run(made.endpoints[0].resolve())
    headers = asyncio.run(made.endpoints[0].own_headers())
    request = opening_request(target.resource, target.authority, KEY, headers, made.subprotocols, None)
    first, *lines = request.removesuffix(b"\r\n\r\n").split(b"\r\n")
    assert request.count(b"\r") == request.count(b"\n") == request.count(b"\r\n")
    assert first.count(b" ") == 2
    assert (first[:5], first[-9:]) == (b"GET /", b" HTTP/1.1")
    names = [line.partition(b":")[0].lower() for line in lines]
    expected = ["upgrade", "connection", "sec-websocket-key", "sec-websocket-version", "sec-websocket-protocol"]
    assert sorted(names) == sorted(one.encode() for one in {"host", *expected, name.lower()})


async def test_deadline_ends_an_opening_and_its_timer_goes_with_it() -> None:
    opening, transport = opened(lambda _: Acceptance())
    receive(opening, b"GET /")
    opening._on_deadline()
    assert transport.is_aborted
    assert opening._deadline.cancelled()
    opening.connection_lost(asyncio.CancelledError())  # type: ignore[arg-type]  # whatever ends it
