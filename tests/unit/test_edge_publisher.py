"""`EdgePublisher` on connections in memory, to a model of the object at the edge."""

import asyncio
import json
from typing import Any

import msgspec
import pytest
from tests.support.edge import URL, EdgeServer, edge_link, kinds, noted
from tests.support.waiting import until

from websocket_utils import (
    ConfigError,
    EncodeError,
    MessageTooBig,
    PriceUpdate,
)
from websocket_utils.edge import (
    EdgePublisher,
    PublicationRejected,
    PublisherAcknowledged,
    PublisherWelcome,
    UpdateRejected,
    UpdatesDropped,
)
from websocket_utils.exceptions import (
    PublisherBufferFull,
)
from websocket_utils.schema import typescript

pytestmark = pytest.mark.virtual_clock


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


async def test_events_that_nobody_takes_are_bounded_and_counted() -> None:
    server = EdgeServer(lambda *_: (4404, "no"))
    async with edge_link(server) as (publisher, _):
        for number in range(5000):
            publisher.publish("a", str(number))
        await publisher.flush()
        assert publisher.stats().events_dropped == 5000 - 4096
        first = await anext(publisher.events())
        assert isinstance(first, UpdateRejected)
        assert first.number == 5000 - 4096 + 1


def test_wire_messages_are_printed_for_the_other_end() -> None:
    text = typescript(PublisherWelcome, PublisherAcknowledged, PublicationRejected)
    for name in ("PublisherWelcome", "PublisherAcknowledged", "PublicationRejected"):
        assert f"interface {name}" in text
