"""What changes around a client: names, clocks, and a machine that slept."""

import asyncio
import time
from typing import Any

import pytest
from tests.integration.quiet import frozen, quiet  # noqa: F401  # fixtures, used by every test
from tests.integration.strategy import AT_ONCE, JSON, nothing_left, price, watched  # noqa: F401  # one is a fixture
from tests.support.waiting import until

import websocket_utils.client
from websocket_utils import Disconnected, HeartbeatTimeout, Reconnected, WebSocketClient, WebSocketServer
from websocket_utils.testing import FaultServer

pytestmark = pytest.mark.usefixtures("nothing_left")

HOUR = 3600.0


def connect(url: str, **settings: Any) -> Any:
    return WebSocketClient.connect(
        url, **{"subprotocols": JSON, "reconnect": AT_ONCE, "max_reconnect_attempts": None, **settings}
    )


async def test_client_follows_a_name_that_leads_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "127.0.0.1"
    loop = asyncio.get_running_loop()

    original = loop.getaddrinfo

    async def resolve(host: str, port: int, **options: Any) -> list[Any]:
        return list(await original(address if host == "feed.example" else host, port, **options))

    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    async with asyncio.timeout(10), WebSocketServer.bind("127.0.0.1:0", close_timeout=0.1) as first:
        port = first.local_addr[1]
        # The same port on another address of this machine.
        async with (
            WebSocketServer.bind(f"127.0.0.2:{port}") as second,
            connect(f"ws://feed.example:{port}") as client,
            watched(client) as seen,
        ):
            await client.subscribe("a")
            address = "127.0.0.2"
            await first.close()
            await seen.until_seen(("Reconnected", 2))
            assert second.publish("a", price(1)).subscribers == 1
            await seen.until_seen(1)
            await client.close()


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["on", "back"])
async def test_jump_of_the_wall_clock_changes_nothing(jump: float, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        asyncio.timeout(10),
        FaultServer() as server,
        connect(server.url, ping_interval=0.05, ping_timeout=0.5, when_down="queue") as client,
        watched(client) as seen,
    ):
        await client.subscribe("a", stale_after=5)
        server.publish(price(1), "a")
        await seen.until_seen(1)
        wall = time.time
        monkeypatch.setattr(time, "time", lambda: wall() + jump)
        # Several rounds of the heartbeat.
        await until(lambda: client.stats().rtt.count >= 4)
        server.publish(price(2), "a")
        await seen.until_seen(2)
        assert seen.words == [1, 2]
        # Nor does it when there is something to wait for.
        server.refuse()
        server.reset_all()
        await seen.until_seen(("Disconnected", 1))
        kept = client.send("kept", ttl=5)
        monkeypatch.setattr(time, "time", lambda: wall() - jump)
        server.listen()
        await seen.until_seen(("Reconnected", 2))
        assert (await kept).fate == "written"
        assert seen.of(Reconnected)[0].downtime_ns < 5e9


class Clocks:
    """Those that a heartbeat looks at: monotonic seconds, and the same with what the machine slept."""

    def __init__(self) -> None:
        self.slept = 0.0

    def __call__(self) -> tuple[float, float]:
        now = time.monotonic()
        return now, now + self.slept


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    made = Clocks()
    monkeypatch.setattr(websocket_utils.client, "system_clocks", made)
    monkeypatch.setattr("websocket_utils._heartbeat._WAKE_SECONDS", 0.1)
    return made


async def test_peer_that_is_gone_when_the_machine_wakes_is_found_at_once(clocks: Clocks) -> None:
    async with (
        asyncio.timeout(10),
        FaultServer() as server,
        # By these settings it would take a minute.
        connect(server.url, ping_interval=0.4, ping_timeout=60) as client,
        watched(client) as seen,
    ):
        await client.subscribe("a")
        server.go_silent()
        clocks.slept = HOUR
        await seen.until_seen(("Reconnected", 2), seconds=4)
        assert isinstance(seen.of(Disconnected)[0].error, HeartbeatTimeout)


async def test_peer_that_is_still_there_when_the_machine_wakes_is_asked_and_kept(clocks: Clocks) -> None:
    async with (
        asyncio.timeout(10),
        FaultServer() as server,
        connect(server.url, ping_interval=60, ping_timeout=60) as client,
    ):
        heartbeat = client._heartbeat
        assert heartbeat is not None
        clocks.slept = HOUR
        heartbeat._look_for_sleep()
        await until(lambda: client.stats().rtt.count == 1)
        # Longer than it had for its answer.
        await asyncio.sleep(0.2)
        assert (client.epoch, client.state) == (1, "live")
