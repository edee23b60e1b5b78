"""The client for browsers when connections are lost, exchanged or hostile: what it recovers, and what it tells."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.raw_peer import RawPeer, raw_server
from tests.support.client_page import Page
from tests.support.wire import BINARY, CLOSE, TEXT

from websocket_utils import Namespace, PriceUpdate, Relay, WebSocketServer, serve_relays
from websocket_utils.testing import ChaosProxy

pytestmark = [pytest.mark.one_loop, pytest.mark.timeout(60)]

ROOT = Path(__file__).resolve().parents[2]
KEPT = [Namespace("prices", history=1000)]
OURS = "Sec-WebSocket-Protocol: websocket-utils.json"


def price(number: int) -> PriceUpdate:
    return PriceUpdate("SOL", "USDC", float(number), timestamp=number)


def numbers(messages: list[dict[str, int]]) -> list[int]:
    return [message["timestamp"] for message in messages]


# --- a connection that is lost ---


async def test_what_was_missed_is_recovered_in_order_without_a_gap_or_a_duplicate(page: Page) -> None:
    async with (
        WebSocketServer.bind("127.0.0.1:0", namespaces=KEPT) as server,
        ChaosProxy(server.url) as network,
    ):
        await page.begin(network.url, "prices:a", "prices:*")
        await page.until_state("live")
        sent = 0
        for cut in range(1, 4):
            for _ in range(10):
                sent += 1
                server.publish("prices:a", price(sent))
            await page.until_seen(2 * sent)
            network.down()
            await page.until_state("backoff", cut)
            for _ in range(10):
                sent += 1
                server.publish("prices:a", price(sent))
            network.up()
            changes = await page.until_state("live", cut + 1)
            assert changes[-1]["recovered"] is True
        seen = numbers(await page.until_seen(2 * sent))
        assert seen == [number for number in range(1, sent + 1) for _ in range(2)]
        assert await page.of("gap") == []


async def test_gap_is_told_before_the_next_message_when_history_is_too_short(page: Page) -> None:
    async with (
        WebSocketServer.bind("127.0.0.1:0", namespaces=[Namespace("prices", history=2)]) as server,
        ChaosProxy(server.url) as network,
    ):
        await page.begin(network.url, "prices:a")
        await page.until_state("live")
        server.publish("prices:a", price(1))
        await page.until_seen(1)
        network.down()
        await page.until_state("backoff")
        for number in range(2, 6):
            server.publish("prices:a", price(number))
        network.up()
        assert (await page.until_state("live", 2))[-1]["recovered"] is False
        await page.until_seen(2)
        log = [kind for kind, *_ in await page.run("return log") if kind != "state"]
        assert log == ["update", "gap", "update"]
        assert await page.of("gap") == [{"channel": "prices:a", "last": "1n", "next": None}]
        assert numbers(await page.until_seen(2)) == [1, 5]


async def test_server_that_is_restarted_has_another_epoch_which_is_a_gap_once(page: Page) -> None:
    async with WebSocketServer.bind("127.0.0.1:0", namespaces=KEPT) as server:
        port = server.local_addr[1]
        await page.begin(server.url, "prices:a")
        await page.until_state("live")
        server.publish("prices:a", price(1))
        await page.until_seen(1)
    async with WebSocketServer.bind(f"127.0.0.1:{port}", namespaces=KEPT) as server:
        await page.until_state("live", 2)
        for number in (2, 3):
            server.publish("prices:a", price(number))
        assert numbers(await page.until_seen(3)) == [1, 2, 3]
        assert [gap["channel"] for gap in await page.of("gap")] == ["prices:a"]


@contextlib.asynccontextmanager
async def feed(*words: str) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """The command, in a process of its own; gives where it serves."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "websocket_utils", "feed", "--host", "127.0.0.1", "--port", "0", "--until-eof", *words),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().split()[-1], process
    finally:
        process.terminate()
        await process.communicate()


def children(process: asyncio.subprocess.Process) -> list[int]:
    return [
        int(stat.parent.name)
        for stat in Path("/proc").glob("[0-9]*/stat")
        # A name may hold anything: what counts stands behind its bracket.
        if int(stat.read_text(encoding="ascii").rpartition(")")[2].split()[1]) == process.pid
    ]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes where Linux has them")
async def test_killed_servers_that_are_started_again_have_lost_nothing(page: Page) -> None:
    async with feed("--workers", "2", "--markets", "SOL-USDC", "--rate", "200") as (url, process):
        await page.begin(url, "prices:*")
        await page.until_seen(20)
        workers = children(process)
        assert len(workers) == 2
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        await page.until_state("live", 2)
        before = len(await page.seen())
        await page.until_seen(before + 50)
        places = [at for _, at in await page.seen()]
        sequences = [int(at["sequence"][:-1]) for at in places]
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
        assert len({at["epoch"] for at in places}) == 1
        times = [int(message["timestamp"][:-1]) for message, _ in await page.seen()]
        assert times == sorted(set(times))
        assert await page.of("gap") == []
        assert (await page.until_state("live", 2))[-1]["recovered"] is True
        await page.end()


# --- a server that goes away ---


@contextlib.asynccontextmanager
async def worker(source: WebSocketServer, address: str = "127.0.0.1:0") -> AsyncIterator[WebSocketServer]:
    """A server with the numbers and the history of another, which shares its port with the next one."""
    relays: list[Relay] = []

    async def follow(server: WebSocketServer) -> None:
        relays.append(Relay(server, source.url))
        await relays[0].open()

    async with WebSocketServer.bind(address, namespaces=KEPT, reuse_port=True, before=follow) as server:
        try:
            yield server
        finally:
            await relays[0].close()


async def test_server_that_drains_is_left_for_the_next_one_without_a_moment_down(page: Page) -> None:
    async with WebSocketServer.bind("127.0.0.1:0", namespaces=KEPT) as source, contextlib.AsyncExitStack() as stack:
        serve_relays(source)
        source.publish("prices:a", price(1))
        first = await stack.enter_async_context(worker(source))
        await page.begin(first.url, "prices:a")
        await page.until_state("live")
        sent = 1

        async def publish() -> None:
            nonlocal sent
            while True:
                sent += 1
                source.publish("prices:a", price(sent))
                await asyncio.sleep(0.002)

        publishing = asyncio.create_task(publish())
        stack.callback(publishing.cancel)
        await page.until_seen(20)
        second = await stack.enter_async_context(worker(source, f"127.0.0.1:{first.local_addr[1]}"))
        await first.drain(deadline=5, window=0.2)
        changes = await page.until_state("live", 2)
        assert changes[-1]["recovered"] is True
        assert len(second.connections) == 1
        seen = numbers(await page.until_seen(sent + 20))
        assert seen == list(range(seen[0], seen[0] + len(seen)))
        assert [change["state"] for change in await page.of("state")] == ["connecting", "restoring", "live", "live"]
        assert await page.of("gap") == []


# --- a page that was hidden, and a network that was away ---


async def test_silent_connection_is_given_up_soon_after_the_page_shows_again(page: Page) -> None:
    async with (
        WebSocketServer.bind("127.0.0.1:0", namespaces=KEPT) as server,
        ChaosProxy(server.url) as network,
    ):
        await page.begin(network.url, "prices:a", wakeTimeout=0.2, openTimeout=0.3)
        await page.until_state("live")
        # Nothing passes any more, and neither side is told; what came less than a second ago would prove that it lives.
        network.blackhole()
        await page.until("return performance.now() - (window.since ??= performance.now())", lambda quiet: quiet > 1100)
        server.publish("prices:a", price(1))
        await page.window_shows()
        assert (await page.until_state("backoff"))[0]["reason"] == "no sign of life in time"
        network.clear()
        assert (await page.until_state("live", 2))[-1]["recovered"] is True
        assert numbers(await page.until_seen(1)) == [1]


async def test_page_that_was_frozen_has_missed_nothing_when_it_goes_on(page: Page) -> None:
    async with (
        WebSocketServer.bind("127.0.0.1:0", namespaces=KEPT) as server,
        ChaosProxy(server.url) as network,
    ):
        await page.begin(network.url, "prices:a", pingInterval=0.2, pingTimeout=0.2)
        await page.until_state("live")
        await asyncio.to_thread(page.window.develop, "Page.setWebLifecycleState", state="frozen")
        network.down()
        for number in range(1, 4):
            server.publish("prices:a", price(number))
        network.up()
        await asyncio.sleep(0.5)  # longer than the heartbeat has to be answered in
        await asyncio.to_thread(page.window.develop, "Page.setWebLifecycleState", state="active")
        assert numbers(await page.until_seen(3)) == [1, 2, 3]
        assert await page.run("return freezes") == 1
        assert await page.of("gap") == []


async def test_network_that_is_back_ends_the_wait_for_the_next_dial(page: Page) -> None:
    async with (
        WebSocketServer.bind("127.0.0.1:0", namespaces=KEPT) as server,
        ChaosProxy(server.url) as network,
    ):
        await page.begin(network.url, "prices:a", backoff={"first": 0.01, "base": 1000, "longest": 1000})
        await page.until_state("live")
        network.down()
        changes = await page.until_state("backoff", 2)
        assert changes[-1]["delay"] > 0
        network.up()
        await page.run("dispatchEvent(new Event('online'))")
        await page.until_state("live", 2)


# --- servers that are none, or hostile ---


async def test_url_that_is_none_throws_and_one_where_nobody_listens_is_dialled_ever_more_slowly(page: Page) -> None:
    for wrong in ("no url", "http://127.0.0.1/", "ws://"):
        assert await page.run("try { begin(arguments[0], {}, []) } catch (error) { return error.name }", wrong) in (
            "SyntaxError",
            "TypeError",
        )
    await page.begin("ws://127.0.0.1:1", "prices:a")
    changes = await page.until_state("backoff", 4)
    assert {change["code"] for change in changes} == {1006}
    assert await page.run("return client.state") in {"connecting", "backoff"}


MALFORMED = [
    b"\x1e1 2 prices:a\n{}",
    b"\x1e1 1 1 prices:a\n{}",
    b"\x1e99999999999999999999 1 0 prices:a\n{}",
    b"\x1e1 1 0 \n{}",
    b"\x1e" + b"9" * 5000,
    b'{"type":"LagNotice","channel":5}',
    b'{"type":"Subscribed","channels":"prices:a"}',
    b'{"type":"GoAway","after":null}',
    b'{"type":"Authenticated"}',
]


async def test_malformed_messages_are_told_and_the_connection_goes_on(page: Page) -> None:
    async def script(peer: RawPeer) -> None:
        await peer.upgrade(OURS)
        await peer.read_frame()
        peer.send(TEXT, b'{"type":"Subscribed","channels":["prices:a"],"positions":["7 0 prices:a"]}')
        for data in MALFORMED:
            peer.send(TEXT, data)
        peer.send(BINARY, b"\x1e1 \xff\xff\n{}")
        # None of these is an error: `__proto__` as a field, an unknown type, a channel that nobody wants, an escape.
        peer.send(TEXT, b'{"__proto__":{"polluted":1},"type":"Odd"}')
        peer.send(TEXT, b"\x1e7 1 0 prices:other\n{}")
        peer.send(TEXT, b'\x1e\n["escaped"]')
        peer.send(TEXT, b"\x1e7 1 0 prices:a\n{}{")
        peer.send(TEXT, b'\x1e7 2 1 prices:a\n{"timestamp":2}')
        peer.send(BINARY, b"\x1e7 3 2 prices:a\n\x01\x02")
        await peer.read_close()

    async with raw_server(script) as server:
        await page.begin(server.url, "prices:a")
        assert await page.until_seen(2) == [{"timestamp": 2}, [1, 2]]
        assert [fault["kind"] for fault in await page.of("error")] == ["malformed"] * (len(MALFORMED) + 2)
        assert await page.of("message") == [{"type": "Odd"}, ["escaped"]]
        assert await page.run("return [client.stats.connects, ({}).polluted ?? null]") == [1, None]
        assert await page.of("gap") == []
        await page.end()


async def test_message_over_its_bound_is_told_and_not_read(page: Page) -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        await page.begin(server.url, "news", maxMessageSize=1000)
        await page.until_state("live")
        server.publish("news", json.dumps("x" * 1000))
        server.publish("news", json.dumps("short"))
        assert await page.until_seen(1) == ["short"]
        (fault,) = await page.of("error")
        assert (fault["kind"], fault["channel"]) == ("too_big", "news")


async def test_lost_duplicated_and_repeated_publications_of_a_server_are_told_and_dropped(page: Page) -> None:
    async def script(peer: RawPeer) -> None:
        await peer.upgrade(OURS)
        await peer.read_frame()
        peer.send(TEXT, b'{"type":"Subscribed","channels":["prices:a"],"positions":["7 4 prices:a"]}')
        for sequence, previous in ((5, 4), (5, 4), (6, 5), (8, 7), (9, 8)):
            peer.send(TEXT, b'\x1e7 %d %d prices:a\n{"timestamp":%d}' % (sequence, previous, sequence))
        peer.send(TEXT, b'{"type":"LagNotice","channel":"prices:a","first":10,"last":19,"count":10}')
        peer.send(TEXT, b'\x1e7 20 19 prices:a\n{"timestamp":20}')
        await peer.read_close()

    async with raw_server(script) as server:
        await page.begin(server.url, "prices:a")
        assert numbers(await page.until_seen(5)) == [5, 6, 8, 9, 20]
        assert await page.of("gap") == [{"channel": "prices:a", "last": "6n", "next": "8n"}]
        assert await page.of("lagged") == [{"channel": "prices:a", "first": "10n", "last": "19n", "count": "10n"}]
        assert await page.run("return client.stats.duplicates") == 1
        await page.end()


async def test_server_that_never_answers_is_given_up_in_time_in_every_phase(page: Page) -> None:
    heard: list[str] = []

    async def script(peer: RawPeer) -> None:
        if (turn := server.accepted) == 1:
            await peer.read_until_closed()  # it never answers the opening handshake
            return
        await peer.upgrade(OURS)
        # The second connection is not told who it is, the third is not told what it has.
        while (frame := await peer.read_frame()).opcode != CLOSE:
            heard.append(json.loads(frame.payload)["type"])
            if turn > 2 and heard[-1] == "Authenticate":
                peer.send(TEXT, b'{"type":"Authenticated","name":"desk","expires_in":null}')
            if turn > 3 and heard[-1] == "Subscribe":
                peer.send(TEXT, b'{"type":"Subscribed","channels":["prices:a"]}')

    async with raw_server(script) as server:
        times: dict[str, Any] = {"openTimeout": 0.4, "authenticateTimeout": 0.4, "subscribeTimeout": 0.4}
        await page.begin(server.url, "prices:a", tokens=("secret",), **times, pingInterval=0.5, pingTimeout=0.1)
        reasons = [change["reason"] for change in await page.until_state("backoff", 4)]
        assert reasons == [
            "no answer in time: open",
            "no answer in time: authenticate",
            "no answer in time: subscribe",
            "no sign of life in time",
        ]
        assert heard[:6] == ["Authenticate", "Authenticate", "Subscribe", "Authenticate", "Subscribe", "Ping"]
        await page.end()
