"""A server that accepts and closes at once is not dialled without end, and what ends a client for it is told."""

import asyncio
from dataclasses import replace

import pytest
from tests.integration.quiet import Quiet, frozen, quiet  # noqa: F401  # fixtures, used by every test
from tests.integration.strategy import JSON, nothing_left, watched  # noqa: F401  # one is a fixture

from websocket_utils import ConnectionClosed, ConnectionFlapping, Reconnected, WebSocketClient
from websocket_utils.testing import CloseAfter, Drop, FaultServer, Reset, Stage, Strike

pytestmark = [pytest.mark.usefixtures("nothing_left"), pytest.mark.one_loop]

DIALS_FIRST_SECOND = 5
ENDS: dict[str, Strike] = {
    "drop": Drop(),
    "reset": Reset(),
    **{str(code): CloseAfter(code) for code in (1000, 1001, 1011, 1012)},
}
SUSPECT = (1008, 4000)


@pytest.mark.parametrize("stage", ["open", "acknowledged"])
async def test_server_that_accepts_and_ends_is_dialled_five_times_in_the_first_second(stage: Stage) -> None:
    """All ends at once, each with a client and a server of its own: they all take that second."""

    async def dials(end: Strike) -> int:
        # The first one lives until it is subscribed to: 1000 is the end of a client that wants nothing.
        async with FaultServer([replace(end, at="acknowledged"), replace(end, at=stage)]) as server:
            async with WebSocketClient.connect(
                server.url, subprotocols=JSON, timeout=5, max_reconnect_attempts=None, close_timeout=0.2
            ) as client:
                subscribing = asyncio.ensure_future(client.subscribe("a"))
                await server.accepted_at_least(1)
                await asyncio.sleep(1 - (asyncio.get_running_loop().time() - server.dials[0]))
                subscribing.cancel()
                await asyncio.gather(subscribing, return_exceptions=True)
                assert client.state not in {"failed", "closed"}
            return sum(moment - server.dials[0] < 1 for moment in server.dials)

    async with asyncio.timeout(10):
        found = dict(zip(ENDS, await asyncio.gather(*map(dials, ENDS.values())), strict=True))
    assert max(found.values()) <= DIALS_FIRST_SECOND, found
    # At once, and then again and again: it doesn't give up on any of them.
    assert min(found.values()) >= 3, found


@pytest.mark.parametrize("code", SUSPECT)
async def test_suspect_code_ends_the_client_after_three_strikes(code: int, quiet: Quiet) -> None:  # noqa: F811
    async with FaultServer([CloseAfter(code, "not like this")]) as server, asyncio.timeout(10):
        client = await WebSocketClient.connect(server.url, timeout=5)
        async with watched(client) as seen:
            await seen.until(lambda: seen.has_ended)
            assert isinstance(seen.error, ConnectionFlapping)
            assert (seen.error.code, seen.error.times) == (code, 3)
            assert isinstance(seen.error.__cause__, ConnectionClosed)
            assert server.accepted == 3
            assert client.state == "failed"
            assert len(quiet.gave_up) == 1
            with pytest.raises(ConnectionClosed):
                client.send("to nobody")
        await client.close()


async def test_overloaded_server_is_left_alone_for_a_second() -> None:
    async with (
        asyncio.timeout(10),
        FaultServer([CloseAfter(1013, at="acknowledged")]) as server,
        WebSocketClient.connect(server.url) as client,
    ):
        await client.subscribe("a")
        await server.accepted_at_least(2)
        assert server.dials[1] - server.dials[0] >= 1


async def test_first_retry_is_at_once_where_a_good_connection_was_lost() -> None:
    async with (
        asyncio.timeout(10),
        FaultServer() as server,
        WebSocketClient.connect(server.url) as client,
        watched(client) as seen,
    ):
        server.reset_all()
        await seen.until(lambda: seen.of(Reconnected))
        (downtime,) = client.stats().downtimes
        # Its wait is at most a millisecond; the rest is a machine's that does other things.
        assert downtime.wait_ns < 50_000_000
        assert downtime.total_ns == seen.of(Reconnected)[0].downtime_ns
