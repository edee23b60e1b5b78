"""States of accounts over real HTTP: the request as a node reads it, and doors that misbehave."""

import asyncio
import json
from collections.abc import Callable

import pytest
from tests.integration.raw_peer import RawPeer, raw_server
from tests.support.golden_node import KEY

from websocket_utils._fetching import FetchFailed, fetch_bytes

Answer = Callable[[RawPeer], object]


async def posted(answer: Answer, *, most: int = 1000) -> tuple[bytes | FetchFailed, bytes]:
    """What a post brings, and what the server read of it."""
    requests: list[bytes] = []

    async def script(peer: RawPeer) -> None:
        head = await peer.read_head()
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        requests.extend((head, await peer.reader.readexactly(int(length.partition(b":")[2]))))
        answer(peer)
        await peer.reader.read()

    def post(port: int) -> bytes:
        return fetch_bytes(
            f"http://127.0.0.1:{port}/path?api-key=s3cret",
            0.5,
            None,
            headers={"X-Token": "t"},
            body=json.dumps({"keys": [KEY]}).encode(),
            most=most,
        )

    async with raw_server(script) as server:
        try:
            read: bytes | FetchFailed = await asyncio.to_thread(post, server.port)
        except FetchFailed as error:
            read = error
    return read, b"".join(requests)


async def test_post_has_its_body_and_headers_and_reads_the_answer_as_it_is() -> None:
    answer = b'{"lamports":18446744073709551615}'
    read, request = await posted(lambda peer: peer.answer("200 OK", body=answer))
    assert read == answer
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post /path?api-key=s3cret http/1.1"
    assert {"content-type: application/json", "x-token: t"} <= set(lines)
    assert json.loads(body) == {"keys": [KEY]}


@pytest.mark.parametrize(
    ("answer", "retry_after"),
    [
        (lambda peer: peer.answer("401 Unauthorized", body=b"bad key s3cret"), 0.0),
        (lambda peer: peer.answer("429 Too Many Requests", "Retry-After: 7", body=b""), 7.0),
        (lambda peer: peer.answer("429 Too Many Requests", "Retry-After: soon", body=b""), 0.0),
        (lambda peer: peer.answer("302 Found", "Location: http://127.0.0.1:1/?api-key=s3cret", body=b""), 0.0),
        (lambda peer: peer.answer("200 OK", body=b"x" * 1001), 0.0),
        (lambda peer: peer.write(b"no HTTP s3cret\r\n\r\n") or peer.reset(), 0.0),
        (lambda peer: peer.reset(), 0.0),
        (lambda peer: None, 0.0),
    ],
    ids=["401", "429", "429 in words", "redirect", "too big", "no HTTP", "reset", "silence"],
)
async def test_failed_post_says_nothing_of_the_key(answer: Answer, retry_after: float) -> None:
    failed, _ = await posted(answer)
    assert isinstance(failed, FetchFailed)
    assert failed.retry_after == retry_after
    # An HTTP error of the standard library knows the URL.
    assert failed.__context__ is None
    assert failed.__cause__ is None
    assert "s3cret" not in f"{failed}{failed!r}{vars(failed)}"


def test_url_that_can_not_be_sent_is_not_shown() -> None:
    with pytest.raises(FetchFailed) as caught:
        fetch_bytes("http://127.0.0.1:1/?api-key=s3cret\r\nX: y", 0.5, None)
    assert "s3cret" not in f"{caught.value}{caught.value.__context__!r}"
