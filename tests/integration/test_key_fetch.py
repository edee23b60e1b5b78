"""Public keys that come over HTTP: what an issuer may answer, and how long it may take."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.integration.conftest import Network
from tests.integration.quiet import Quiet, frozen, quiet  # noqa: F401  # fixtures, used by every test
from tests.integration.raw_peer import RawPeer, raw_server
from tests.support.tokens import RSA, jwk, signed

from websocket_utils import HandshakeError, TokenAuthentication
from websocket_utils.authentication._key_set import FetchFailed, fetch

KEYS = json.dumps({"keys": [jwk(RSA, "one")]}).encode()

Answer = Callable[[RawPeer], object]


@asynccontextmanager
async def issuer(answer: Answer) -> AsyncIterator[tuple[str, list[bytes]]]:
    requests: list[bytes] = []

    async def script(peer: RawPeer) -> None:
        requests.append(await peer.read_head())
        answer(peer)
        # Until it has what it wants, or has had enough.
        await peer.reader.read()

    async with raw_server(script) as server:
        yield f"http://127.0.0.1:{server.port}/keys", requests


def says(status: str, body: bytes, *headers: str) -> Answer:
    return lambda peer: peer.answer(status, *headers, body=body)


async def test_server_fetches_keys_once_for_all_connections(plain: Network) -> None:
    async with issuer(says("200 OK", KEYS)) as (url, requests):
        async with plain.bind(authenticate=TokenAuthentication(jwks_url=url)) as server:
            for _ in range(3):
                async with plain.connect(server.url, token=signed(RSA, "RS256", "one")) as client:
                    assert client.is_connected
            for _ in range(3):
                with pytest.raises(HandshakeError) as caught:
                    await plain.connect(server.url, token=signed(RSA, "RS256", "unknown"))
                assert caught.value.status == 401
        assert len(requests) == 1
        assert b"accept: application/json" in requests[0].lower()


async def test_server_that_can_not_fetch_keys_refuses_for_now_and_not_for_good(
    plain: Network,
    quiet: Quiet,  # noqa: F811  # the fixture
) -> None:
    async with (
        issuer(says("503 Service Unavailable", b"")) as (url, _),
        plain.bind(authenticate=TokenAuthentication(jwks_url=url)) as server,
    ):
        with pytest.raises(HandshakeError) as caught:
            await plain.connect(server.url, token=signed(RSA, "RS256", "one"))
        assert (caught.value.status, caught.value.body) == (500, b"internal error\n")
    assert len(quiet.errors) == 1
    quiet.errors.clear()


@pytest.mark.parametrize(
    "answer",
    [
        says("200 OK", b"<html>"),
        says("200 OK", b"[" * 100_000),
        says("200 OK", b"\xff"),
        says("404 Not Found", KEYS),
        says("302 Found", b"", "Location: /elsewhere"),
        says("302 Found", b"", "Location: file:///etc/passwd"),
        says("200 OK", b'"' + b"x" * 600_000 + b'"'),
        lambda peer: peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort") or peer.reset(),
        lambda peer: peer.write(b"no HTTP\r\n\r\n") or peer.reset(),
        lambda peer: peer.reset(),
        lambda peer: None,
    ],
    ids=[
        *("no JSON", "nested", "no text", "another status", "redirect", "redirect to a file", "too big"),
        *("cut short", "no HTTP", "reset", "silence"),
    ],
)
async def test_answer_that_is_no_document_is_a_failed_fetch(answer: Any) -> None:
    async with issuer(answer) as (url, requests):
        with pytest.raises(FetchFailed):
            await asyncio.to_thread(fetch, url, 0.3, None)
        assert len(requests) == 1


async def test_answer_that_drips_is_given_up_in_time() -> None:
    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not peer.writer.is_closing():
            peer.write(b" ")
            await peer.writer.drain()
            await asyncio.sleep(0.02)

    async with raw_server(script) as server:
        began = asyncio.get_running_loop().time()
        with pytest.raises(FetchFailed):
            await asyncio.to_thread(fetch, f"http://127.0.0.1:{server.port}/", 0.3, None)
        assert asyncio.get_running_loop().time() - began < 3
