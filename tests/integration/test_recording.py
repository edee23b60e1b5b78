"""A server's channels recorded to a file and served again: subscribers get what there was, by the same call."""

import asyncio
from pathlib import Path

import pytest

from websocket_utils import (
    Message,
    Namespace,
    PriceUpdate,
    RecordingError,
    WebSocketClient,
    WebSocketServer,
    read_recording,
)

COUNT = 2000


class Fill(Message):
    price: float


def price(number: int) -> PriceUpdate:
    return PriceUpdate("SOL", "USDC", float(number), number, number)


async def recorded(path: Path, channels: str = "*") -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server, server.record(channels, path) as recording:
        handle = server.channel("prices:b")
        for number in range(COUNT):
            server.publish("prices:a", price(number))
            handle.publish(price(-number))
            server.publish("fills:a", Fill(float(number)))
        server.broadcast("of no channel")
    assert recording.dropped == 0
    assert recording.count == (3 if channels == "*" else 2) * COUNT


async def test_what_was_recorded_is_received_again_by_the_same_subscription(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    await recorded(path)
    space = Namespace("fills", type=Fill)
    async with (
        asyncio.timeout(15),
        WebSocketServer.bind("127.0.0.1:0", namespaces=[space]) as server,
        WebSocketClient.connect(server.url) as client,
    ):
        await client.subscribe("prices:*", "fills:a")
        replaying = server.replay(path, speed=None)
        found = [await client.receive(PriceUpdate | Fill) for _ in range(3 * COUNT)]
        assert await replaying == 3 * COUNT
    assert found == [
        message for number in range(COUNT) for message in (price(number), price(-number), Fill(float(number)))
    ]


async def test_file_tells_epoch_and_sequence_of_each_channel(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    await recorded(path, "prices:*")
    of: dict[str, list[int]] = {}
    epochs: dict[str, set[int]] = {}
    for entry in read_recording(path):
        assert entry.channel is not None
        of.setdefault(entry.channel, []).append(entry.sequence)
        epochs.setdefault(entry.channel, set()).add(entry.epoch)
    assert of == {"prices:a": list(range(1, COUNT + 1)), "prices:b": list(range(1, COUNT + 1))}
    assert all(len(found) == 1 for found in epochs.values())


async def test_recording_that_is_closed_gets_nothing_more(tmp_path: Path) -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        async with server.record("a:*", tmp_path / "r") as recording:
            server.publish("a:1", "kept")
            server.publish("b:1", "of another channel")
        server.publish("a:1", "late")
    assert [entry.message for entry in read_recording(tmp_path / "r")] == ["kept"]
    assert recording.count == 1


async def test_replay_with_a_prefix_leaves_the_live_channels_alone(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    async with asyncio.timeout(15), WebSocketServer.bind("127.0.0.1:0") as server:
        async with server.record("prices:*", path):
            server.publish("prices:a", price(1))
        async with WebSocketClient.connect(server.url) as client:
            await client.subscribe("replay:prices:a", "prices:a")
            assert await server.replay(path, channels="prices:*", prefix="replay:") == 1
            server.publish("prices:a", price(2))
            assert [await client.receive(PriceUpdate) for _ in range(2)] == [price(1), price(2)]


async def test_line_that_is_not_of_its_namespace_ends_the_replay_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    await recorded(path)
    async with (
        asyncio.timeout(15),
        WebSocketServer.bind("127.0.0.1:0", namespaces=[Namespace("prices", type=Fill)]) as server,
    ):
        with pytest.raises(RecordingError, match="line 1: "):
            await server.replay(path, speed=None)
        # Of a class that was never named: not the standard messages'.
        with pytest.raises(RecordingError, match="declare its namespace"):
            await server.replay(path, speed=None, channels="fills:*")


async def test_text_is_refused_by_a_namespace_of_a_type(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"at":1,"channel":"prices:a","text":"no price"}\n')
    space = Namespace("prices", type=PriceUpdate)
    async with asyncio.timeout(15), WebSocketServer.bind("127.0.0.1:0", namespaces=[space]) as server:
        with pytest.raises(RecordingError, match="line 1: cannot be published") as caught:
            await server.replay(path)
    assert isinstance(caught.value.__cause__, TypeError)
