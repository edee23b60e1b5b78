"""`EdgePublisher` on connections in memory, to a model of the object at the edge."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from tests.integration.strategy import AT_ONCE
from tests.support.edge import URL, EdgeServer, edge_link
from tests.support.waiting import until

from websocket_utils import (
    AuthenticationFailed,
    ConfigError,
    ConnectionClosedOK,
    ConnectionFlapping,
    Disconnected,
    EncodeError,
    HandshakeError,
    MessageTooBig,
    PriceUpdate,
    Reconnected,
)
from websocket_utils.edge import (
    AcknowledgementsStalled,
    EdgeForgot,
    EdgePublisher,
    PublisherAcknowledged,
    PublishingResumed,
    UpdateRejected,
    UpdatesDropped,
)
from websocket_utils.exceptions import (
    AcknowledgementTimeout,
    BatchRefused,
    PublisherBufferFull,
    PublisherSuperseded,
    UpdatesUnacknowledged,
)
from websocket_utils.testing import HttpAnswer, MemoryNetwork, Serve

pytestmark = pytest.mark.virtual_clock


@contextlib.asynccontextmanager
async def noted(publisher: EdgePublisher) -> AsyncIterator[list[Any]]:
    """All that `events()` brings; its error at the end too."""
    seen: list[Any] = []

    async def follow() -> None:
        try:
            async for event in publisher.events():
                seen.append(event)  # noqa: PERF401  # seen while it grows
        except Exception as error:  # noqa: BLE001  # whatever it ends with is what the test asks for
            seen.append(error)

    task = asyncio.create_task(follow())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.wait([task])


def kinds(seen: list[Any]) -> list[str]:
    return [type(one).__name__ for one in seen]


async def test_what_is_published_is_at_the_edge_when_flush_returns() -> None:
    async with edge_link() as (publisher, server):
        assert [publisher.publish("prices:SOL", str(number)) for number in range(3)] == [1, 2, 3]
        await publisher.flush()
        assert server.published("prices:SOL") == [0, 1, 2]
        stats = publisher.stats()
        assert (stats.published, stats.acknowledged, stats.waiting, stats.batches) == (3, 3, 0, 1)
        assert stats.rtt.count == stats.latency.count == 1


async def test_request_has_name_key_and_subprotocol() -> None:
    async with edge_link(name="adapter 1&2", key="secret") as (_, server):
        (request,) = server.requests
        assert request.path == "/publisher?name=adapter%201%262"
        assert request.values("x-api-key") == ("secret",)
        assert request.subprotocols == ("websocket-utils.publisher",)


async def test_message_is_encoded_at_once_and_json_is_kept_to_the_digit() -> None:
    async with edge_link() as (publisher, server):
        changed = {"a": 1}
        publisher.publish("a", changed)
        changed["a"] = 2
        publisher.publish("a", PriceUpdate("SOL", "USDC", 25.35, timestamp=2**63 - 1))
        publisher.publish("a", b'{"x": 123456789012345678901234567890,\n "y": 1.10}')
        publisher.publish("a", msgspec.Raw(b"[ 1 ]"))
        publisher.publish("a", {"inside": msgspec.Raw(b"[1,\n2]")})
        publisher.publish("a", '"\u20ac"')
        await publisher.flush()
        first, second, *others = server.disk.channels["a"]
        assert first == '{"a":1}'
        assert json.loads(second)["timestamp"] == 2**63 - 1
        assert others == ['{"x":123456789012345678901234567890,"y":1.10}', "[1]", '{"inside":[1,2]}', '"\u20ac"']


@pytest.mark.parametrize(
    ("channel", "message", "error"),
    [
        ("", 1, ValueError),
        ("a*", 1, ValueError),
        ("a\nb", 1, ValueError),
        ("x" * 257, 1, ValueError),
        ("a", "no json", EncodeError),
        ("a", b"{} {}", EncodeError),
        ("a", b'"\xff"', EncodeError),
        ("a", "\ud800", EncodeError),
        ("a", object(), EncodeError),
        ("a", "x" * 300_000, EncodeError),
        ("a", {"x": "x" * 262_144}, MessageTooBig),
    ],
)
async def test_what_cannot_be_published_is_refused_and_takes_no_number(
    channel: str, message: Any, error: type[Exception]
) -> None:
    async with edge_link() as (publisher, _):
        with pytest.raises(error):
            publisher.publish(channel, message)
        assert publisher.publish("a", 1) == 1


async def test_biggest_update_that_a_batch_holds_arrives() -> None:
    async with edge_link() as (publisher, server):
        head = len("\x1e") + 16 + 1 + 16 + 1
        payload = "7" * (256 * 1024 - head - len("a\n\n"))
        publisher.publish("a", payload)
        await publisher.flush()
        assert server.disk.channels["a"] == [payload]
        with pytest.raises(MessageTooBig):
            publisher.publish("a", payload + "7")


async def test_batch_leaves_an_interval_after_its_first_update() -> None:
    async with edge_link(interval=0.02) as (publisher, server):
        begun = asyncio.get_running_loop().time()
        publisher.publish("a", "1")
        await asyncio.sleep(0.015)
        publisher.publish("a", "2")
        assert server.batches == []
        await until(lambda: server.batches)
        assert asyncio.get_running_loop().time() - begun == pytest.approx(0.02, abs=0.003)
        assert server.batches[0].endswith("\na\n1\na\n2\n")


async def test_batch_that_is_full_leaves_at_once() -> None:
    async with edge_link(interval=10.0, max_batch_updates=2) as (publisher, server):
        for number in range(5):
            publisher.publish("a", str(number))
        await asyncio.sleep(0.1)
        assert [batch.count("a\n") for batch in server.batches] == [2, 2]
        await publisher.flush()
        assert server.published("a") == [0, 1, 2, 3, 4]


async def test_updates_of_one_turn_are_one_batch_without_an_interval() -> None:
    async with edge_link() as (publisher, server):
        for number in range(10):
            publisher.publish("a", str(number))
        assert server.batches == []
        await publisher.flush()
        assert len(server.batches) == 1


async def test_restarts_in_mid_stream_lose_and_double_nothing() -> None:
    async with edge_link(window=2000, max_batch_updates=7) as (publisher, server), noted(publisher) as seen:
        for number in range(500):
            publisher.publish("a", str(number))
            if number % 100 == 50:
                server.restart()
            if number % 3 == 0:
                await asyncio.sleep(0.0001)
        await publisher.flush()
        assert server.published("a") == list(range(500))
        stats = publisher.stats()
        assert (stats.acknowledged, stats.waiting) == (500, 0)
        assert stats.client.reconnects >= 3
        assert {"Disconnected", "Reconnected", "PublishingResumed"} == set(kinds(seen))


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


async def test_rejected_update_is_told_and_counts_as_had() -> None:
    server = EdgeServer(lambda channel, _: (4404, "no such namespace") if channel.startswith("secret") else None)
    async with edge_link(server) as (publisher, _), noted(publisher) as seen:
        called: list[UpdateRejected] = []
        publisher.on(UpdateRejected, called.append)
        publisher.publish("a", "1")
        number = publisher.publish("secret:x", "2")
        publisher.publish("a", "3")
        await publisher.flush()
        assert called == [UpdateRejected(number, "secret:x", 4404, "no such namespace")]
        await until(lambda: seen == called)
        assert server.published("a") == [1, 3]
        stats = publisher.stats()
        assert (stats.acknowledged, stats.rejected, stats.waiting) == (3, 1, 0)


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


async def test_updates_published_while_down_wait_and_leave_in_order() -> None:
    async with edge_link() as (publisher, server):
        server.restart()
        for number in range(10):
            publisher.publish("a", str(number))
        await publisher.flush()
        assert server.published("a") == list(range(10))


async def test_full_buffer_raises_and_nothing_that_was_taken_is_lost() -> None:
    async with edge_link(buffer=1024, max_batch=1024) as (publisher, server):
        server.acknowledges = False
        taken = 1024 // len("a\n1\n")
        for _ in range(taken):
            publisher.publish("a", "7")
        with pytest.raises(PublisherBufferFull, match="limit of 1024"):
            publisher.publish("a", "7")
        server.acknowledges = True
        server.restart()
        await publisher.flush()
        assert server.published("a") == [7] * taken


async def test_drops_of_a_full_buffer_are_told_once_for_all_that_follow_each_other() -> None:
    async with edge_link(buffer=1024, max_batch=1024, when_full="drop_oldest") as (publisher, server):
        server.welcomes = False
        server.restart()
        called: list[UpdatesDropped] = []
        publisher.on(UpdatesDropped, called.append)
        await until(lambda: not publisher.is_connected)
        for number in range(1000):
            publisher.publish("a", str(number))
        dropped = publisher.stats().dropped
        async with noted(publisher) as seen:
            await until(lambda: seen)
            (told,) = [one for one in seen if isinstance(one, UpdatesDropped)]
        assert told == UpdatesDropped(dropped, 1, dropped)
        assert sum(one.count for one in called) == dropped > 0
        server.welcomes = True
        server.restart()
        await publisher.flush()
        assert server.published("a") == list(range(dropped, 1000))


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


@pytest.mark.parametrize(
    "settings",
    [
        {"name": ""},
        {"name": "a\nb"},
        {"key": "a\nb"},
        {"interval": -1},
        {"interval": float("nan")},
        {"max_batch": 256 * 1024 + 1},
        {"max_batch": 10},
        {"max_batch_updates": 1025},
        {"buffer": 1000},
        {"window": 0},
        {"when_full": "block"},
        {"acknowledge_timeout": 0},
        {"flush_timeout": float("inf")},
        {"max_connection_age": 60.0},
    ],
)
async def test_wrong_setting_is_refused_before_anything_is_opened(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        EdgePublisher.connect(URL, **{"name": "me", **settings})


async def test_events_may_only_be_asked_for_by_their_classes() -> None:
    async with edge_link() as (publisher, _):
        with pytest.raises(TypeError, match="UpdateRejected"):
            publisher.on(PriceUpdate, print)  # type: ignore[type-var]  # what is tested


async def test_handler_that_fails_stops_nothing() -> None:
    server = EdgeServer(lambda *_: (4404, "no"))
    async with edge_link(server) as (publisher, _):

        @publisher.on(UpdateRejected)
        def fail(event: UpdateRejected) -> None:
            raise ValueError(event)

        publisher.publish("a", "1")
        await publisher.flush()
        assert publisher.stats().rejected == 1


async def test_reconnect_policy_of_the_caller_is_used() -> None:
    async with edge_link(reconnect=AT_ONCE) as (publisher, server):
        begun = asyncio.get_running_loop().time()
        for number in range(3):
            server.restart()
            publisher.publish("a", str(number))
            await publisher.flush()
        assert publisher.stats().client.reconnects == 3
        assert asyncio.get_running_loop().time() - begun < 0.05
