"""The programs of examples/: each in process against loopback, and as a user starts it."""

import asyncio
import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from examples import (
    broadcasting_server,
    connect_and_receive_test,
    laserstream_to_strategies,
    multi_source_aggregator,
    price_feed_consumer,
)

from websocket_utils import PriceUpdate, WebSocketClient, WebSocketServer

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CHANNEL = "prices:SOL-USDC"
SECONDS = 15


async def publish(server: WebSocketServer, *prices: float) -> None:
    """Publish these prices over and over."""
    for price in itertools.cycle(prices):
        server.publish(CHANNEL, PriceUpdate("SOL", "USDC", price, 0, 0))
        await asyncio.sleep(0.001)


async def test_consumer_signals_every_move_over_its_threshold() -> None:
    async with asyncio.timeout(SECONDS), WebSocketServer.bind("127.0.0.1:0") as server:
        feed = asyncio.create_task(publish(server, 100.0, 100.05, 101.0))
        signals = await price_feed_consumer.main(server.url, signals=2)
        feed.cancel()
    assert len(signals) == 2
    assert all(signal.startswith(("buy at ", "sell at ")) for signal in signals)


async def test_server_publishes_to_its_channel_until_cancelled() -> None:
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with asyncio.timeout(SECONDS):
        task = asyncio.create_task(broadcasting_server.main("127.0.0.1:0", ready.set_result))
        async with WebSocketClient.connect(await ready, reconnect=False) as client:
            await client.subscribe(CHANNEL)
            updates = [await client.receive(PriceUpdate) for _ in range(3)]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert all(update is not None and update.price > 0 for update in updates)


async def test_aggregator_merges_all_its_servers() -> None:
    async with (
        asyncio.timeout(SECONDS),
        WebSocketServer.bind("127.0.0.1:0") as first,
        WebSocketServer.bind("127.0.0.1:0") as second,
    ):
        feeds = [asyncio.create_task(publish(server, 1.0)) for server in (first, second)]
        sources = await multi_source_aggregator.main([first.url, second.url], count=200)
        for feed in feeds:
            feed.cancel()
    assert sum(sources.values()) == 200
    assert all(sources.values())


async def test_aggregator_says_which_server_it_cannot_reach() -> None:
    with pytest.raises(OSError, match=r"ws://127\.0\.0\.1:1"):
        async with asyncio.timeout(SECONDS):
            await multi_source_aggregator.main(["ws://127.0.0.1:1"], count=1)


async def test_test_receives_what_was_published() -> None:
    assert await connect_and_receive_test.main() == connect_and_receive_test.UPDATE


async def test_laserstream_republishes_what_its_own_node_tells(capsys: pytest.CaptureFixture[str]) -> None:
    async with asyncio.timeout(SECONDS):
        await laserstream_to_strategies.main(count=2)
    first, second = capsys.readouterr().out.splitlines()
    assert "lamports=435888001, slot=435888001" in first
    assert "lamports=435888002, slot=435888002" in second


def program(name: str, *arguments: str) -> subprocess.Popen[str]:
    # -X dev and -W error: what a program leaves open is an error here.
    command = [sys.executable, "-u", "-X", "dev", "-W", "error", str(EXAMPLES / name), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.timeout(60)
def test_programs_run_as_a_user_starts_them() -> None:
    server = program("broadcasting_server.py", "127.0.0.1:0")
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        assert url.startswith("ws://127.0.0.1:")
        for name, arguments in (
            ("price_feed_consumer.py", [url]),
            ("multi_source_aggregator.py", [url, url]),
            ("connect_and_receive_test.py", []),
            ("laserstream_to_strategies.py", []),
        ):
            output, errors = program(name, *arguments).communicate(timeout=SECONDS)
            # What the debug mode says of steps that took long is about the machine.
            errors = "".join(line for line in errors.splitlines(True) if not line.startswith("Executing "))
            assert (bool(output), errors) == (True, ""), name
        server.send_signal(2)
        output, errors = server.communicate(timeout=SECONDS)
        assert (server.returncode, output, errors) == (0, "stopped\n", "")
    finally:
        server.kill()
        server.communicate()


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_strategies_trade_only_while_their_guard_is_there() -> None:
    process = program("two_strategies_and_a_guard.py")
    try:
        output, errors = process.communicate(timeout=40)
    finally:
        process.kill()
    errors = "".join(line for line in errors.splitlines(True) if not line.startswith("Executing "))
    assert (process.returncode, errors) == (0, "")
    own = [line for line in output.splitlines() if "market:" not in line]
    assert own == [
        "momentum: allowed, 95 left; told 3 peers",
        "momentum: the guard refuses: 50 SOL-USDC is over the limit of 10",
        "operator: kills the guard",
        "momentum: the guard has gone",
        "momentum: no guard, no trade of 5",
        "operator: starts the guard again",
        "momentum: the guard is back",
        "momentum: allowed, 95 left; told 3 peers",
    ]
    assert "  market: momentum has traded 5 SOL-USDC" in output.splitlines()


# Several programs in one, and their day.
LONGER = {"two_strategies_and_a_guard.py": 180, "vercel_functions.py": 80}


def test_examples_are_short() -> None:
    lines = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in EXAMPLES.glob("*.py")}
    assert {"broadcasting_server.py", *LONGER} <= set(lines)
    assert {name: count for name, count in lines.items() if count > LONGER.get(name, 40)} == {}
