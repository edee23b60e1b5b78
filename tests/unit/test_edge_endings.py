"""What ends a connection of an `EdgePublisher`, or the publisher: on connections in memory, to a model of the edge."""

import asyncio

import pytest
from tests.integration.strategy import AT_ONCE
from tests.support.edge import URL, EdgeServer, edge_link, kinds, noted
from tests.support.waiting import until

from websocket_utils import (
    AuthenticationFailed,
    ConnectionClosedOK,
    ConnectionFlapping,
    Disconnected,
    HandshakeError,
    Reconnected,
)
from websocket_utils.edge import (
    AcknowledgementsStalled,
    EdgeForgot,
    EdgePublisher,
    PublisherAcknowledged,
    PublishingResumed,
)
from websocket_utils.exceptions import (
    AcknowledgementTimeout,
    BatchRefused,
    PublisherSuperseded,
    UpdatesUnacknowledged,
)
from websocket_utils.testing import HttpAnswer, MemoryNetwork, Serve

pytestmark = pytest.mark.virtual_clock


async def test_acknowledgements_that_are_lost_with_the_connection_come_with_the_next_welcome() -> None:
    async with edge_link() as (publisher, server), noted(publisher) as seen:
        server.acknowledges = False
        publisher.publish("a", "1")
        publisher.publish("a", "2")
        await until(lambda: server.published("a"))
        server.acknowledges = True
        server.restart()
        await publisher.flush()
        assert server.published("a") == [1, 2]
        assert publisher.stats().resent == 0
        assert [type(one) for one in seen] == [Disconnected, Reconnected, PublishingResumed]
        assert seen[-1] == PublishingResumed(acknowledged=2, resent=0)


async def test_edge_without_its_disk_gets_what_is_not_acknowledged_and_the_loss_is_told() -> None:
    async with edge_link() as (publisher, server), noted(publisher) as seen:
        publisher.publish("a", "1")
        await publisher.flush()
        epoch = publisher.epoch
        server.restart(forgets=True)
        publisher.publish("a", "2")
        await publisher.flush()
        assert server.published("a") == [2]
        assert publisher.epoch > epoch
        assert [one for one in seen if isinstance(one, EdgeForgot)] == [EdgeForgot(publisher.epoch, 1)]


async def test_newer_publisher_of_the_name_ends_this_one_which_does_not_dial_again() -> None:
    server = EdgeServer()
    async with MemoryNetwork() as network:
        network.listen(URL, server)
        async with EdgePublisher.connect(URL, name="me", interval=0.0, clock=lambda: 1_700_000_000.0) as first:
            first.publish("a", "1")
            await first.flush()
            # Its clock is behind: it is the newer one all the same.
            async with EdgePublisher.connect(URL, name="me", interval=0.0, clock=lambda: 1_600_000_000.0) as second:
                assert second.epoch == first.epoch + 1
                second.publish("a", "2")
                await second.flush()
                first.publish("a", "3")
                with pytest.raises(PublisherSuperseded) as caught:
                    await first.flush()
                assert (caught.value.name, caught.value.epoch) == ("me", first.epoch)
                with pytest.raises(PublisherSuperseded):
                    first.publish("a", "4")
                with pytest.raises(PublisherSuperseded):
                    async for _ in first.events():
                        pass
                assert len(server.requests) == 2
                with pytest.raises(UpdatesUnacknowledged, match=r"1 updates .* PublisherSuperseded"):
                    await first.close()
                assert first.unacknowledged() == [(2, "a", b"3")]
        assert server.published("a") == [1, 2]


async def test_name_that_has_no_greater_epoch_is_refused_and_nothing_is_sent() -> None:
    server = EdgeServer()
    # A clock that was broken once.
    server.disk.publishers["me"] = (2**53 - 1, 1000)
    async with edge_link(server) as (publisher, _):
        with pytest.raises(PublisherSuperseded):
            publisher.publish("a", "1")
    assert server.batches == []


async def test_publisher_that_comes_back_behind_a_newer_one_is_superseded() -> None:
    async with edge_link() as (publisher, server):
        publisher.publish("a", "1")
        await publisher.flush()
        server.disk.publishers["me"] = (publisher.epoch + 1, 1)
        server.restart()
        with pytest.raises(PublisherSuperseded):
            async for _ in publisher.events():
                pass
        await until(lambda: publisher.stats().client.state == "closed")


async def test_malformed_batch_ends_the_publisher_with_the_words_of_the_edge() -> None:
    async with edge_link() as (publisher, server):
        server.peers[0].close(4400, "line 3 has no payload")
        with pytest.raises(BatchRefused, match="line 3 has no payload") as caught:
            async for _ in publisher.events():
                pass
        assert caught.value.code == 4400


async def test_hole_is_filled_from_what_the_edge_has() -> None:
    async with edge_link() as (publisher, server):
        publisher.publish("a", "1")
        await publisher.flush()
        publisher.publish("a", "2")
        # It finds a hole where there is none: something between the two went wrong.
        server.peers[0].close(4410, "a hole")
        await publisher.flush()
        assert server.published("a") == [1, 2]


async def test_edge_that_finds_holes_without_end_ends_the_publisher() -> None:
    async with edge_link() as (publisher, server):
        server.disk.publishers["me"] = (publisher.epoch, 0)
        for count in range(1, 4):
            await until(lambda count=count: len(server.peers) == count and publisher.is_connected)  # type: ignore[misc]  # mypy knows no lambda with a default
            server.peers[-1].close(4410, "a hole")
        with pytest.raises(ConnectionFlapping):
            async for _ in publisher.events():
                pass


async def test_edge_that_closes_normally_is_dialled_again() -> None:
    async with edge_link() as (publisher, server):
        server.peers[0].close(1000)
        await until(lambda: len(server.peers) == 2)
        publisher.publish("a", "1")
        await publisher.flush()
        assert server.published("a") == [1]


async def test_edge_that_acknowledges_nothing_is_left_for_another_connection_and_it_is_told() -> None:
    async with edge_link(acknowledge_timeout=5.0) as (publisher, server), noted(publisher) as seen:
        server.acknowledges = False
        begun = asyncio.get_running_loop().time()
        publisher.publish("a", "1")
        await asyncio.sleep(4.99)
        assert len(server.peers) == 1
        await until(lambda: len(server.peers) == 2)
        assert asyncio.get_running_loop().time() - begun == pytest.approx(5.05, abs=0.1)
        server.acknowledges = True
        await publisher.flush()
        assert server.published("a") == [1]
        assert kinds(seen) == ["AcknowledgementsStalled", "Disconnected", "Reconnected", "PublishingResumed"]
        assert isinstance(seen[0], AcknowledgementsStalled)
        assert seen[0].count == 1
        assert isinstance(seen[1].error, AcknowledgementTimeout)
        assert publisher.stats().stalls == 1


async def test_loop_that_was_busy_does_not_blame_the_edge() -> None:
    async with edge_link(acknowledge_timeout=5.0) as (publisher, server):
        server.acknowledges = False
        publisher.publish("a", "1")
        await until(lambda: server.batches)
        server.acknowledges = True
        loop = asyncio.get_running_loop()
        # The answer comes in the very turn in which the deadline passes.
        loop.call_at(loop.time() + 5.0, server.peers[0].send, PublisherAcknowledged(publisher.epoch, 1))
        await asyncio.sleep(6)
        assert publisher.stats().stalls == 0
        assert len(server.peers) == 1


async def test_window_bounds_what_is_in_flight_while_nothing_is_acknowledged() -> None:
    async with edge_link(window=500, max_batch_updates=1, flush_timeout=0.1) as (publisher, server):
        server.acknowledges = False
        for number in range(100):
            publisher.publish("a", str(number))
        await asyncio.sleep(1)
        assert 0 < publisher.stats().in_flight_bytes <= 500
        assert len(server.batches) < 100
        server.acknowledges = True
        server.restart()
        await publisher.flush()
        assert server.published("a") == list(range(100))


async def test_acknowledgement_of_what_was_never_sent_costs_the_connection() -> None:
    async with edge_link() as (publisher, server), noted(publisher) as seen:
        server.peers[0].send(PublisherAcknowledged(publisher.epoch, 1))
        await until(lambda: len(server.peers) == 2)
        assert "acknowledges update 1" in str(seen[0].error)


async def test_unknown_message_of_the_edge_is_passed_over() -> None:
    async with edge_link() as (publisher, server):
        server.peers[0].send('{"type":"NewThing"}')
        server.peers[0].send("no json")
        publisher.publish("a", "1")
        await publisher.flush()
        assert server.published("a") == [1]


async def test_end_of_the_block_flushes() -> None:
    async with edge_link(interval=10.0) as (publisher, server):
        publisher.publish("a", "1")
    assert server.published("a") == [1]
    with pytest.raises(ConnectionClosedOK):
        publisher.publish("a", "2")
    await publisher.close()


async def test_end_of_the_block_says_what_was_not_acknowledged() -> None:
    with pytest.raises(UpdatesUnacknowledged) as caught:  # noqa: PT012  # it is raised at the end of the block
        async with edge_link(flush_timeout=1.0) as (publisher, server):
            publisher.publish("a", "1")
            await publisher.flush()
            server.acknowledges = False
            publisher.publish("a", "2")
            publisher.publish("b", "3")
    assert (caught.value.count, caught.value.first, caught.value.last) == (2, 2, 3)
    assert publisher.unacknowledged() == [(2, "a", b"2"), (3, "b", b"3")]


async def test_error_of_the_block_is_not_hidden_by_what_was_not_acknowledged() -> None:
    with pytest.raises(KeyError) as caught:  # noqa: PT012  # what passes through the end of the block
        async with edge_link(flush_timeout=1.0) as (publisher, server):
            server.acknowledges = False
            publisher.publish("a", "1")
            raise KeyError("the strategy's own")
    assert any("1 updates (1 to 1) were not acknowledged" in note for note in caught.value.__notes__)


async def test_flush_that_takes_too_long_says_so_and_the_publisher_goes_on() -> None:
    async with edge_link() as (publisher, server):
        server.acknowledges = False
        publisher.publish("a", "1")
        with pytest.raises(UpdatesUnacknowledged, match="in time"):
            await publisher.flush(timeout=0.5)
        server.peers[0].send(PublisherAcknowledged(publisher.epoch, 1))
        await publisher.flush()


async def test_cancelled_flush_leaves_nothing_behind() -> None:
    async with edge_link(flush_timeout=0.0) as (publisher, server):
        server.acknowledges = False
        publisher.publish("a", "1")
        flush = asyncio.create_task(publisher.flush())
        await asyncio.sleep(0.1)
        flush.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flush
        assert publisher._flushes == []
        server.peers[0].send(PublisherAcknowledged(publisher.epoch, 1))
        await publisher.flush()


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_key_is_a_typed_error_and_is_asked_once(status: int) -> None:
    async with MemoryNetwork() as network:
        server = network.serve(URL, [HttpAnswer(status)] * 5)
        with pytest.raises(AuthenticationFailed, match=f"HTTP {status}") as caught:
            await EdgePublisher.connect(URL, name="me", key="wrong", timeout=30)
        assert isinstance(caught.value.__cause__, HandshakeError)
        assert "wrong" not in str(caught.value)
        assert len(server.dials) == 1


async def test_key_that_is_refused_later_ends_the_publisher() -> None:
    keys = ["first", "second", "third", "fourth"]
    asked: list[bool] = []

    async def key(refresh: bool = False) -> str:
        asked.append(refresh)
        return keys.pop(0)

    async with edge_link(key=key) as (publisher, server):
        server.peers[0].close(4401, "expired")
        await until(lambda: len(server.peers) == 2)
        assert [request.values("x-api-key") for request in server.requests] == [("first",), ("second",)]
        assert asked == [False, True]
        await until(lambda: publisher.is_connected)


@pytest.mark.parametrize("status", [429, 503])
async def test_busy_edge_is_dialled_again_after_a_while(status: int) -> None:
    async with MemoryNetwork() as network:
        server = network.serve(URL, [HttpAnswer(status, {"Retry-After": "3"}), Serve()])
        begun = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            await EdgePublisher.connect(URL, name="me", timeout=4.5)
        assert len(server.dials) == 2
        assert asyncio.get_running_loop().time() - begun == pytest.approx(4.5, abs=0.1)


async def test_edge_that_does_not_say_what_it_has_is_not_sent_anything() -> None:
    server = EdgeServer()
    server.welcomes = False
    async with MemoryNetwork() as network:
        network.listen(URL, server)
        with pytest.raises(TimeoutError):
            await EdgePublisher.connect(URL, name="me", authenticate_timeout=1.0)
    assert server.batches == []


async def test_welcome_in_the_segment_of_the_handshake_is_heard() -> None:
    # The memory peer's script runs before the client's `authenticate` has begun to wait.
    async with edge_link() as (publisher, _):
        assert publisher.is_connected


async def test_reconnect_policy_of_the_caller_is_used() -> None:
    async with edge_link(reconnect=AT_ONCE) as (publisher, server):
        begun = asyncio.get_running_loop().time()
        for number in range(3):
            server.restart()
            publisher.publish("a", str(number))
            await publisher.flush()
        assert publisher.stats().client.reconnects == 3
        assert asyncio.get_running_loop().time() - begun < 0.05
