"""The opening handshake as `_core` offers it; what the core decides is tested in rust/core/tests/handshake."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from websocket_utils._core import HandshakeRefusal, HeadReader, deflate_accept, deflate_confirm, deflate_offer

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
REQUEST = (
    b"GET /prices?x=1 HTTP/1.1\r\nHost: localhost:80\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: " + KEY.encode() + b"\r\nSec-WebSocket-Version: 13\r\nX-Name: caf\xe9\r\nX-Name: \r\n\r\n"
)
RESPONSE = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: chat\r\n"
    b"Sec-WebSocket-Accept: " + ACCEPT.encode() + b"\r\n\r\n"
)


def complete(head: bytes) -> HeadReader:
    reader = HeadReader()
    assert reader.feed(head) == len(head)
    return reader


def refusal(call: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(HandshakeRefusal) as caught:
        call()
    status, reason = caught.value.args
    assert type(status) is int
    assert type(reason) is str
    return status, reason


def test_request_byte_by_byte_gives_target_key_and_headers() -> None:
    reader = HeadReader()
    taken = [reader.feed(REQUEST[at : at + 1]) for at in range(len(REQUEST))]
    assert taken == [None] * (len(REQUEST) - 1) + [1]
    target, key, headers = reader.request()
    assert (target, key) == ("/prices?x=1", KEY)
    assert headers == [
        ("host", "localhost:80"),
        ("upgrade", "websocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-key", KEY),
        ("sec-websocket-version", "13"),
        ("x-name", "café"),
        ("x-name", ""),
    ]


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
def test_bytes_behind_the_head_are_left_to_the_caller(make: Callable[[bytes], bytes]) -> None:
    reader = HeadReader()
    assert reader.feed(make(REQUEST[:30])) is None
    assert reader.feed(make(REQUEST[30:] + b"\x81\x00\n")) == len(REQUEST) - 30
    assert reader.feed(make(b"\x81")) == 0
    assert reader.request()[1] == KEY


def test_response_gives_status_phrase_and_headers() -> None:
    status, phrase, headers = complete(RESPONSE).response(ACCEPT, ["other", "chat"])
    assert (status, phrase) == (101, "Switching Protocols")
    assert ("sec-websocket-protocol", "chat") in headers
    head = b"HTTP/1.0 503 D\xe9sol\xe9\r\nRetry-After: 3\r\n\r\n"
    assert complete(head).response("", ()) == (503, "Désolé", [("retry-after", "3")])
    assert complete(b"HTTP/1.1 100 Continue\r\n\r\n").response(ACCEPT, []) == (100, "Continue", [])


@pytest.mark.parametrize(
    ("status", "head"),
    [
        (400, REQUEST.replace(b"Host", b"Hose")),
        (405, REQUEST.replace(b"GET", b"PUT")),
        (426, REQUEST.replace(b"Upgrade: websocket\r\n", b"")),
        (426, REQUEST.replace(b"Version: 13", b"Version: 8")),
        (431, REQUEST.replace(b"X-Name: \r\n", b"X: y\r\n" * 123)),
        (505, REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0")),
    ],
)
def test_request_that_may_not_be_accepted_raises_the_status_to_answer(status: int, head: bytes) -> None:
    found, reason = refusal(complete(head).request)
    assert found == status
    assert reason


@pytest.mark.parametrize(("status", "data"), [(400, b"\x16\x03\x01"), (400, b"GET /\n"), (431, b"G" * 16_385)])
def test_bytes_that_become_no_head_are_refused_at_once_and_ever_after(status: int, data: bytes) -> None:
    reader = HeadReader()
    first = refusal(lambda: reader.feed(data))
    assert first[0] == status
    assert refusal(lambda: reader.feed(REQUEST)) == first


@pytest.mark.parametrize(
    ("accept", "subprotocols", "named"),
    [
        ("", ["chat"], "Sec-WebSocket-Accept"),
        (KEY, ["chat"], "Sec-WebSocket-Accept"),
        (ACCEPT, [], "subprotocol"),
        (ACCEPT, ["Chat"], "subprotocol"),
    ],
)
def test_switch_that_was_not_asked_for_is_refused(accept: str, subprotocols: list[str], named: str) -> None:
    status, reason = refusal(lambda: complete(RESPONSE).response(accept, subprotocols))
    assert status == 101
    assert named in reason


def test_head_that_is_not_complete_cannot_be_read() -> None:
    reader = HeadReader()
    reader.feed(REQUEST[:-1])
    with pytest.raises(RuntimeError, match="not complete"):
        reader.request()
    with pytest.raises(RuntimeError, match="not complete"):
        reader.response(ACCEPT, [])


def test_wrong_types_are_type_errors() -> None:
    untyped: Any = HeadReader()
    for wrong in ("text", None, 5, [1]):
        with pytest.raises(TypeError):
            untyped.feed(wrong)
    with pytest.raises(BufferError):
        untyped.feed(memoryview(b"abcd")[::2])
    reader: Any = complete(RESPONSE)
    with pytest.raises(TypeError):
        reader.response(ACCEPT.encode(), [])
    # Not the offers "c", "h", "a" and "t".
    with pytest.raises(TypeError):
        reader.response(ACCEPT, "chat")
    accept: Any = deflate_accept
    with pytest.raises(TypeError):
        accept(15, True, "permessage-deflate")


def test_deflate_is_agreed_on_by_offer_accept_and_confirm() -> None:
    offer = deflate_offer(12, False)
    accepted = deflate_accept(10, True, [offer])
    assert accepted is not None
    agreement, answer = accepted
    assert agreement == (10, False, 10, False)
    assert deflate_confirm(12, False, (answer,)) == (10, False, 10, False)
    assert deflate_offer(15, True) == "permessage-deflate; client_max_window_bits"


@pytest.mark.parametrize("values", [[], ["x-other"], ["permessage-deflate; server_max_window_bits=16"]])
def test_no_offer_that_can_be_accepted_is_none(values: Sequence[str]) -> None:
    assert deflate_accept(15, True, values) is None


def test_server_without_compression_is_none() -> None:
    assert deflate_confirm(15, True, []) is None


def test_deflate_that_does_not_correspond_is_refused() -> None:
    assert refusal(lambda: deflate_accept(15, True, ["permessage-deflate;"]))[0] == 400
    assert refusal(lambda: deflate_confirm(15, True, ["permessage-deflate;"]))[0] == 101
    status, reason = refusal(lambda: deflate_confirm(15, True, ["x-other"]))
    assert (status, "not offered" in reason) == (101, True)


@pytest.mark.parametrize("window_bits", [0, 7, 8, 16, 255])
def test_window_bits_out_of_range_are_value_errors(window_bits: int) -> None:
    for call in (
        lambda: deflate_offer(window_bits, True),
        lambda: deflate_accept(window_bits, True, []),
        lambda: deflate_confirm(window_bits, True, []),
    ):
        with pytest.raises(ValueError, match="9 to 15"):
            call()


def test_refusal_is_an_exception_of_its_own() -> None:
    assert HandshakeRefusal.__mro__ == (HandshakeRefusal, Exception, BaseException, object)
    assert HandshakeRefusal.__module__ == "websocket_utils._core"
