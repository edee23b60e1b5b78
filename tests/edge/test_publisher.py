"""`EdgePublisher` against the Workers on real workerd, which is killed, reset and asked for what it does not take."""

import asyncio
import contextlib
import itertools
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from examples import edge_publisher
from hostile.edge import stream
from tests.integration.strategy import AT_ONCE
from tests.support.waiting import until
from tests.support.workerd import CLOUDFLARE, PUBLISH_KEY, Workerd

from websocket_utils import AuthenticationFailed, Gap, PriceUpdate, Raw, WebSocketClient
from websocket_utils.edge import EdgePublisher, PublishingResumed, UpdateRejected
from websocket_utils.exceptions import PublisherSuperseded, UpdatesUnacknowledged

pytestmark = pytest.mark.one_loop

# No end of a test waits long for the closing handshake.
_QUICK: dict[str, Any] = {"reconnect": AT_ONCE, "close_timeout": 0.2}
_NAMES = (f"test-{number}" for number in itertools.count(1))


@contextlib.asynccontextmanager
async def publisher_to(workerd: Workerd, **settings: Any) -> AsyncIterator[EdgePublisher]:
    """A publisher with a name of its own."""
    given = {
        "name": next(_NAMES),
        "key": PUBLISH_KEY,
        "interval": 0.005,
        "reconnect": AT_ONCE,
        "close_timeout": 0.2,
        **settings,
    }
    async with asyncio.timeout(15), EdgePublisher.connect(workerd.publisher_url, **given) as publisher:
        yield publisher


class Reader:
    """A client on some channels, and what it was brought: the volume of each price."""

    def __init__(self, client: WebSocketClient) -> None:
        self.numbers: list[int] = []
        self.gaps = 0
        client.on(PriceUpdate, lambda update: self.numbers.append(update.volume))
        client.on(Gap, self._on_gap)

    def _on_gap(self, gap: Gap) -> None:
        del gap
        self.gaps += 1


@contextlib.asynccontextmanager
async def reader_of(workerd: Workerd, *channels: str) -> AsyncIterator[Reader]:
    async with WebSocketClient.connect(workerd.url, recover=True, max_reconnect_attempts=None, **_QUICK) as client:
        reader = Reader(client)
        await client.subscribe(*channels)
        yield reader


def price(number: int) -> PriceUpdate:
    return PriceUpdate("SOL", "USDC", 25.35, volume=number, timestamp=number)


async def test_batches_arrive_at_clients_once_and_in_order(workerd: Workerd) -> None:
    channels = [f"prices:ORDER-{index}" for index in range(3)]
    async with (
        reader_of(workerd, *channels) as one,
        reader_of(workerd, channels[1]) as other,
        publisher_to(workerd) as publisher,
    ):
        for number in range(1, 601):
            publisher.publish(channels[number % 3], price(number))
            if number % 50 == 0:
                await asyncio.sleep(0)
        await publisher.flush()
        await until(lambda: len(one.numbers) == 600 and len(other.numbers) == 200)
        assert one.numbers == list(range(1, 601))
        assert other.numbers == list(range(1, 601, 3))
        stats = publisher.stats()
        assert (stats.acknowledged, stats.resent, stats.waiting) == (600, 0, 0)


async def test_json_that_is_encoded_already_arrives_to_the_digit(workerd: Workerd) -> None:
    payload = '{"price":1.10,"lamports":18446744073709551615,"beyond":123456789012345678901234567890,"text":"\u20ac"}'
    async with (
        WebSocketClient.connect(workerd.url, recover=True, close_timeout=0.2) as client,
        publisher_to(workerd) as publisher,
    ):
        await client.subscribe("raw:DIGITS")
        publisher.publish("raw:DIGITS", Raw(payload.encode()))
        async with asyncio.timeout(5):
            assert await client.receive(str) == payload


@pytest.mark.timeout(40)
@pytest.mark.parametrize("how", ["killed and restarted", "reset"])
async def test_nothing_is_lost_or_doubled_when_the_edge_fails_in_mid_stream(workerd: Workerd, how: str) -> None:
    channel = f"prices:FAIL-{how[0]}"
    # Few enough to be in the history of the channel, from where the reader gets what it missed.
    total = 90
    async with reader_of(workerd, channel) as reader, publisher_to(workerd) as publisher:
        failing: asyncio.Task[None] | None = None
        for number in range(1, total + 1):
            publisher.publish(channel, price(number))
            if number == total // 3:
                failing = asyncio.create_task(workerd.restart() if how != "reset" else workerd.reset())
            await asyncio.sleep(0.002)
        assert failing is not None
        await failing
        await publisher.flush()
        await until(lambda: len(reader.numbers) >= total)
        assert reader.numbers == list(range(1, total + 1))
        assert reader.gaps == 0
        assert publisher.stats().client.reconnects >= 1


async def test_wrong_key_is_a_typed_error(workerd: Workerd) -> None:
    with pytest.raises(AuthenticationFailed, match="HTTP 401") as caught:
        async with publisher_to(workerd, key="wrong-key-of-the-tests", timeout=10):
            pass
    assert "wrong-key" not in str(caught.value)


async def test_newer_publisher_of_the_name_supersedes_the_older_one(workerd: Workerd) -> None:
    name, channel = next(_NAMES), "prices:SUPERSEDED"
    async with reader_of(workerd, channel) as reader, publisher_to(workerd, name=name) as newer_later:
        newer_later.publish(channel, price(1))
        await newer_later.flush()
        async with publisher_to(workerd, name=name) as newer:
            assert newer.epoch > newer_later.epoch
            newer.publish(channel, price(2))
            await newer.flush()
            newer_later.publish(channel, price(3))
            with pytest.raises(PublisherSuperseded):
                await newer_later.flush()
            with pytest.raises(UpdatesUnacknowledged):
                await newer_later.close()
            newer.publish(channel, price(4))
            await newer.flush()
        await until(lambda: len(reader.numbers) == 3)
        assert reader.numbers == [1, 2, 4]


async def test_publisher_that_is_started_again_goes_on_behind_the_one_before(workerd: Workerd) -> None:
    name, channel = next(_NAMES), "prices:AGAIN"
    async with reader_of(workerd, channel) as reader:
        for number in range(1, 4):
            async with publisher_to(workerd, name=name) as publisher:
                publisher.publish(channel, price(number))
        await until(lambda: len(reader.numbers) == 3)
        assert reader.numbers == [1, 2, 3]


async def test_payload_that_is_too_big_is_rejected_alone(workerd: Workerd) -> None:
    rejected: list[UpdateRejected] = []
    async with reader_of(workerd, "prices:BIG") as reader, publisher_to(workerd) as publisher:
        publisher.on(UpdateRejected, rejected.append)
        publisher.publish("prices:BIG", price(1))
        number = publisher.publish("prices:BIG", {"type": "PriceUpdate", "text": "x" * 70_000})
        publisher.publish("prices:BIG", price(3))
        await publisher.flush()
        assert [(one.number, one.channel, one.code) for one in rejected] == [(number, "prices:BIG", 4413)]
        await until(lambda: len(reader.numbers) == 2)
        assert reader.numbers == [1, 3]
        assert (publisher.stats().rejected, publisher.stats().acknowledged) == (1, 3)


async def test_unknown_namespace_is_rejected_alone() -> None:
    async with Workerd(variables={"NAMESPACES": "prices"}) as workerd, publisher_to(workerd) as publisher:
        rejected: list[UpdateRejected] = []
        publisher.on(UpdateRejected, rejected.append)
        for number, channel in enumerate(["prices:A", "orders:A", "prices:A"], 1):
            publisher.publish(channel, price(number))
        await publisher.flush()
        assert [(one.number, one.channel, one.code) for one in rejected] == [(2, "orders:A", 4404)]
        async with reader_of(workerd, "prices:A") as reader:
            # Who comes later gets the last one that was published.
            await until(lambda: reader.numbers)
            assert reader.numbers == [3]


async def test_what_was_published_while_the_edge_was_away_is_there_when_it_is_back(workerd: Workerd) -> None:
    async with publisher_to(workerd) as publisher, reader_of(workerd, "prices:AWAY") as reader:
        resumed: list[PublishingResumed] = []
        publisher.on(PublishingResumed, resumed.append)
        port = workerd.port
        workerd.kill()
        for number in range(1, 51):
            publisher.publish("prices:AWAY", price(number))
        with pytest.raises(UpdatesUnacknowledged):
            await publisher.flush(timeout=0.05)
        await workerd.start(port=port)
        await publisher.flush()
        await until(lambda: len(reader.numbers) == 50)
        assert reader.numbers == list(range(1, 51))
        assert len(resumed) == 1


async def test_example_publishes_and_reads_all_of_it(workerd: Workerd) -> None:
    async with asyncio.timeout(15):
        prices = await edge_publisher.main(f"ws://127.0.0.1:{workerd.port}", PUBLISH_KEY, count=50)
    assert [one and one.timestamp for one in prices] == list(range(50))


@pytest.mark.timeout(40)
def test_example_runs_its_own_worker_as_a_user_starts_it(workerd: Workerd, tmp_path: Path) -> None:
    # The same program, but for its port.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = tmp_path / "examples" / "edge_publisher.py"
    program.parent.mkdir()
    (tmp_path / "edge").symlink_to(CLOUDFLARE.parent)
    text = Path(edge_publisher.__file__).read_text(encoding="utf-8")
    assert text.count("8787") == 2
    program.write_text(text.replace("8787", str(port)), encoding="utf-8")
    done = _run(program)
    assert done.returncode == 0, done.stderr
    assert "the dashboard's last: PriceUpdate(" in done.stdout


async def test_block_of_the_guide_publishes_and_reads_with_a_token(tmp_path: Path) -> None:
    page = (CLOUDFLARE.parents[1] / "docs" / "guides" / "cloudflare.md").read_text(encoding="utf-8")
    program = tmp_path / "block.py"
    program.write_text(page.partition("```python\n")[2].partition("```")[0], encoding="utf-8")
    token_key = "token-key-of-the-tests-32-bytes-long"
    async with Workerd(variables={"TOKEN_KEY": token_key}) as workerd:
        keys = {"FEED_URL": f"ws://127.0.0.1:{workerd.port}", "PUBLISH_KEY": PUBLISH_KEY, "TOKEN_KEY": token_key}
        done = await asyncio.to_thread(_run, program, **keys)
    assert done.returncode == 0, done.stderr
    assert "price=151.2" in done.stdout


def test_example_says_what_is_missing(tmp_path: Path) -> None:
    program = tmp_path / "examples" / "edge_publisher.py"
    program.parent.mkdir()
    program.write_text(Path(edge_publisher.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    done = _run(program)
    assert (done.returncode, done.stderr) == (1, "workerd is not there: `make edge` brings it\n")


def _run(program: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-X", "dev", "-W", "error", str(program)]
    environment = {**os.environ, **variables}
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=30, env=environment)


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_ten_thousand_updates_a_second_are_all_there_over_a_reset_and_a_kill() -> None:
    # A reader of its own, and workerd, want more than the machine of a test run may have: the rate is not judged here.
    result = await stream(2.4, 10_000, idle=None)
    assert result.published == 24_000
    assert result.is_balanced, result
