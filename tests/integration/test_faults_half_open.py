"""Peers that are gone without a word: a stopped process, a cut network. Pings find them, also while reading is held."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.quiet import frozen, quiet  # noqa: F401  # fixtures, used by every test
from tests.integration.strategy import (
    AT_ONCE,
    JSON,
    nothing_left,  # noqa: F401  # a fixture, used by every test
    price,
    watched,
)
from tests.support.waiting import until

from websocket_utils import (
    ConnectionClosedError,
    Disconnected,
    HeartbeatTimeout,
    PriceUpdate,
    Reconnected,
    WebSocketClient,
)
from websocket_utils.testing import FaultServer, HalfOpen, NoPong, Serve

pytestmark = pytest.mark.usefixtures("nothing_left")

ROOT = Path(__file__).resolve().parents[2]
INTERVAL = TIMEOUT = 0.1
NOTICED = 1.5


@contextlib.asynccontextmanager
async def feed(port: int = 0) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A server in a process of its own, and its port."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.feed_process", f"127.0.0.1:{port}", cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield process, int(await process.stdout.readline())
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def connect(url: str, **settings: Any) -> Any:
    return WebSocketClient.connect(
        url,
        **{
            "subprotocols": JSON,
            "reconnect": AT_ONCE,
            "max_reconnect_attempts": None,
            "ping_interval": INTERVAL,
            "ping_timeout": TIMEOUT,
            **settings,
        },
    )


async def test_stopped_process_is_found_by_pings_and_replaced_when_it_goes_on() -> None:
    async with (
        asyncio.timeout(15),
        feed() as (process, port),
        connect(f"ws://127.0.0.1:{port}", open_timeout=0.2) as client,
        watched(client) as seen,
    ):
        await client.subscribe("prices")
        await seen.until(lambda: len(seen.numbers) >= 3)
        process.send_signal(signal.SIGSTOP)
        loop = asyncio.get_running_loop()
        stopped = loop.time()
        await seen.until_seen(("Disconnected", 1))
        # An interval until the ping, the timeout, and more for a machine that is busy.
        assert loop.time() - stopped < NOTICED
        assert isinstance(seen.of(Disconnected)[0].error, HeartbeatTimeout)
        # The kernel of a stopped server still takes connections: these dials end by `open_timeout`.
        await until(lambda: isinstance(client._links[0].last_error, TimeoutError))
        process.send_signal(signal.SIGCONT)
        await seen.until(lambda: seen.of(Reconnected))
        before = len(seen.numbers)
        await seen.until(lambda: len(seen.numbers) > before)
        assert seen.numbers == sorted(set(seen.numbers))
        assert client.epoch == 2


async def test_killed_process_is_found_again_by_its_successor_on_the_same_port() -> None:
    async with asyncio.timeout(15), contextlib.AsyncExitStack() as stack:
        process, port = await stack.enter_async_context(feed())
        client = await stack.enter_async_context(connect(f"ws://127.0.0.1:{port}"))
        seen = await stack.enter_async_context(watched(client))
        await client.subscribe("prices")
        await seen.until(lambda: len(seen.numbers) >= 3)
        process.kill()
        await seen.until_seen(("Disconnected", 1))
        assert isinstance(seen.of(Disconnected)[0].error, ConnectionClosedError)
        last = len(seen.numbers)
        await stack.enter_async_context(feed(port))
        await seen.until_seen(("Reconnected", 2))
        await seen.until(lambda: len(seen.numbers) > last)
        # The successor counts anew: one `Gap` says so, in front of its first message.
        at = seen.words.index(("Gap", "prices"))
        assert at > seen.words.index(("Disconnected", 1))
        assert [word for word in seen.words[:at] if isinstance(word, int)] == seen.numbers[:last]


@pytest.mark.parametrize("fault", [HalfOpen(at="acknowledged"), NoPong()], ids=["half-open", "no pongs"])
async def test_silent_peer_is_replaced_though_its_socket_is_open(fault: Any) -> None:
    async with (
        asyncio.timeout(10),
        FaultServer([fault, Serve()]) as server,
        connect(server.url, ping_timeout=0.1) as client,
        watched(client) as seen,
    ):
        await client.subscribe("a")
        await seen.until_seen(("Disconnected", 1), ("Reconnected", 2))
        error = seen.of(Disconnected)[0].error
        assert isinstance(error, HeartbeatTimeout)
        assert server.subscriptions == {0: ["a"], 1: ["a"]}
        server.publish(price(7))
        await seen.until_seen(7)
        assert seen.words == [("Disconnected", 1), ("Gap", "a"), ("Reconnected", 2), 7]


async def test_peer_that_dies_behind_a_full_inbox_is_found_when_the_strategy_reads_on() -> None:
    """Nothing is read, so no pong is either: not the peer's fault, and not held against it until reading goes on."""
    async with (
        asyncio.timeout(10),
        FaultServer() as server,
        connect(server.url, max_inbox_messages=10) as client,
    ):
        await client.subscribe("a")
        stream = client.events(PriceUpdate)
        for number in range(30):
            server.publish(price(number))
        await until(lambda: client.stats().inbox_messages >= 10)
        server.go_silent()
        # Longer than a peer has that shows no sign of life.
        await asyncio.sleep(2 * (INTERVAL + TIMEOUT))
        assert client.state == "live"
        items = [await anext(stream) for _ in range(30)]
        assert [item.timestamp for item in items] == list(range(30))
        event = await anext(stream)
        assert isinstance(event, Disconnected)
        assert isinstance(event.error, HeartbeatTimeout)


async def test_reset_behind_a_full_inbox_is_found_without_reading() -> None:
    async with (
        asyncio.timeout(10),
        FaultServer() as server,
        connect(server.url, max_inbox_messages=10) as client,
    ):
        await client.subscribe("a")
        stream = client.events(PriceUpdate)
        for number in range(10):
            server.publish(price(number))
        await until(lambda: client.stats().inbox_messages >= 10)
        server.reset_all()
        # Nobody has taken a message: the socket is asked for its error, and the next connection is there already.
        await server.until_subscribed("a")
        server.publish(price(10))
        words = [await anext(stream) for _ in range(10)]
        assert [item.timestamp for item in words] == list(range(10))
        assert isinstance(await anext(stream), Disconnected)


def namespaces() -> str | None:
    """Why there can be no test in a network namespace; None where it can."""
    for tool in ("unshare", "ip"):
        if shutil.which(tool) is None:
            return f"there is no `{tool}` here"
    made = subprocess.run(
        ["unshare", "--net", *_MAPPED, "ip", "link", "add", "ours", "type", "veth", "peer", "name", "theirs"],
        capture_output=True,
        text=True,
        check=False,
    )
    return None if made.returncode == 0 else f"no network namespace can be made here: {made.stderr.strip()}"


# Who is not root is root in a namespace of users.
_MAPPED = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]


async def cut(mode: str, loop: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--net", *_MAPPED, sys.executable, "-m", "tests.integration.cut_network", mode, loop),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        found: dict[str, Any] = json.loads(out)
        return found
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


@pytest.mark.one_loop
@pytest.mark.parametrize("mode", ["idle", "held"])
async def test_cut_network_is_found_and_left_for_a_new_connection_also_while_reading_is_held(mode: str) -> None:
    reason = namespaces()
    if reason is not None:
        pytest.skip(reason)
    async with asyncio.timeout(15):
        for found in await asyncio.gather(cut(mode, "asyncio"), cut(mode, "uvloop")):
            if mode == "idle":
                assert found["errors"][0] == "HeartbeatTimeout", found
                assert found["noticed"] < NOTICED
            else:
                # The kernel's own probes, which have whole seconds.
                assert found["errors"][0] == "ConnectionClosedError", found
                assert found["noticed"] < 5
                # All that had come is delivered first.
                assert len(found["before"]) >= 50
            assert found["before"] == list(range(found["before"][0], found["before"][-1] + 1))
            assert found["numbers"] == sorted(set(found["numbers"]))
            assert found["epoch"] == 2
