"""The tests' Solana node over its sockets, by another library's client."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import websockets.asyncio.client as peer
from tests.integration.http_client import request as http_request
from tests.integration.raw_peer import raw_client
from tests.support.solana_ledger import pubkey
from tests.support.solana_node import MAX_REQUEST, Refusal, SolanaNode
from tests.support.waiting import until
from tests.support.wire import TEXT
from websockets.exceptions import ConnectionClosedError, InvalidStatus

pytestmark = pytest.mark.one_loop

KEY = pubkey(1)
SECONDS = 10
PROCESSED = {"encoding": "base64", "commitment": "processed"}


@asynccontextmanager
async def connected(url: str, **settings: Any) -> AsyncIterator[peer.ClientConnection]:
    async with asyncio.timeout(SECONDS), peer.connect(url, ping_interval=None, **settings) as connection:
        yield connection


async def ask(connection: peer.ClientConnection, method: str, *params: Any) -> Any:
    await connection.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    return json.loads(await connection.recv())


async def call(url: str, method: str, *params: Any) -> tuple[int, Any]:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    path = "/" + url.split("/", 3)[3]
    answer = await http_request(url, "POST", path, body, {"Content-Type": "application/json"})
    return answer.status, answer.json if answer.body else None


async def test_subscriber_is_told_over_the_socket_and_pings_are_answered() -> None:
    async with SolanaNode() as node, connected(node.url) as connection:
        assert (await ask(connection, "accountSubscribe", str(KEY), PROCESSED))["result"] == 0
        node.ledger.transfer(KEY, 1_000_000)
        node.end_slot()
        told = json.loads(await connection.recv())
        assert told["params"]["result"]["value"]["lamports"] == 1_000_000
        await (await connection.ping())
        assert node.peers[0].pings == 1


async def test_message_over_the_cap_ends_the_connection_without_a_close_frame() -> None:
    async with SolanaNode() as node:
        for size, is_taken in ((MAX_REQUEST, True), (MAX_REQUEST + 1, False)):
            async with connected(node.url) as connection:
                await connection.send("{" + " " * (size - 1))
                if is_taken:
                    assert json.loads(await connection.recv())["error"]["code"] == -32700
                else:
                    with pytest.raises(ConnectionClosedError) as caught:
                        await connection.recv()
                    assert caught.value.rcvd is None


@pytest.mark.parametrize("separate", [False, True])
async def test_accounts_are_had_over_http(separate: bool) -> None:
    async with SolanaNode(api_key="key", separate_http=separate) as node:
        assert (node.url.split("/")[2] == node.http_url.split("/")[2]) is not separate
        node.ledger.transfer(KEY, 2**60 + 1)
        node.end_slot()
        keys = [str(KEY), str(pubkey(2))]
        status, answer = await call(node.http_url, "getMultipleAccounts", keys, PROCESSED)
        assert (status, answer["result"]["context"]["slot"]) == (200, node.ledger.tip.slot)
        found, absent = answer["result"]["value"]
        assert (found["lamports"], absent) == (2**60 + 1, None)
        many = [str(KEY)] * 101
        assert (await call(node.http_url, "getMultipleAccounts", many))[1]["error"]["code"] == -32602
        later = {**PROCESSED, "minContextSlot": node.ledger.tip.slot + 1}
        assert (await call(node.http_url, "getMultipleAccounts", keys, later))[1]["error"]["code"] == -32016
        assert await call(node.http_url.replace("key=key", "key=other"), "getMultipleAccounts", keys) == (401, None)
        node.call_refusals.append(Refusal(503))
        assert (await call(node.http_url, "getMultipleAccounts", keys))[0] == 503


async def test_wrong_key_and_refusals_are_told_at_the_handshake() -> None:
    async with SolanaNode(api_key="key") as node:
        node.refusals.append(Refusal(429, (("Retry-After", "7"),)))
        for url, status, header in ((node.url, 429, "7"), (node.url + "x", 401, None)):
            with pytest.raises(InvalidStatus) as caught:
                async with connected(url):
                    pass
            response = caught.value.response
            assert (response.status_code, response.headers.get("Retry-After")) == (status, header)
        async with connected(node.url):
            assert len(node.handshakes) == 3


async def test_restart_keeps_the_port_and_the_ledger_and_begins_ids_anew() -> None:
    async with SolanaNode() as node:
        url = node.url
        async with connected(url) as connection:
            await ask(connection, "slotSubscribe")
            assert (await ask(connection, "accountSubscribe", str(KEY), PROCESSED))["result"] == 1
            node.ledger.transfer(KEY, 1_000_000)
            await node.restart()
            with pytest.raises(ConnectionClosedError):
                await connection.recv()
        async with connected(url) as connection:
            assert (await ask(connection, "accountSubscribe", str(KEY), PROCESSED))["result"] == 0
            node.end_slot()
            assert json.loads(await connection.recv())["params"]["result"]["value"]["lamports"] == 1_000_000


async def test_laggard_is_dropped_and_others_are_not() -> None:
    async with SolanaNode(queue_capacity=100) as node, connected(node.url) as good:
        await ask(good, "accountSubscribe", str(KEY), PROCESSED)
        async with raw_client(node.url.rstrip("/")) as slow:
            # It asks, and never reads.
            request = {"jsonrpc": "2.0", "id": 1, "method": "accountSubscribe", "params": [str(KEY), PROCESSED]}
            slow.send(TEXT, json.dumps(request).encode())
            await until(lambda: node.pubsub.holders == 2)
            for number in range(3000):
                if node.lagged:
                    break
                node.ledger.write(KEY, number + 1, bytes(30_000))
                node.end_slot()
                await good.recv()
            await until(lambda: len(node.peers) == 1)
            assert node.lagged == 1


async def test_anything_can_be_said_to_all() -> None:
    async with SolanaNode() as node, connected(node.url) as connection:
        node.say("not json")
        assert await connection.recv() == "not json"
        node.close(1012, "restart")
        with pytest.raises(ConnectionClosedError, match="1012"):
            await connection.recv()
        await until(lambda: not node.peers)
