"""What a server says about subscriptions, to peers that are made of bytes and agreed to one of our subprotocols."""

import asyncio
import contextlib
from typing import Any

import pytest
from tests.integration.conftest import Network
from tests.integration.speaker import Speaker, agreed
from tests.support.waiting import until
from tests.support.wire import CLOSE, close_code, close_frame

from websocket_utils import (
    Ping,
    Pong,
    ServerConnection,
    Subscribe,
    Subscribed,
    SubscriptionRejected,
    Unsubscribe,
)

pytestmark = pytest.mark.usefixtures("loop_errors")

BAD_NAME = "channel names have 1 to 256 characters"
INVALID, MANY = 4400, 4429
TOO_MANY = "at most 1024 channels for one connection"


@pytest.mark.parametrize("codec", ["json", "msgpack", "protobuf"])
async def test_subscriptions_are_acknowledged_to_who_agreed_to_a_subprotocol_of_ours(
    plain: Network, codec: str
) -> None:
    async with plain.bind() as server, agreed(plain, server, codec) as speaker:
        await speaker.say(Subscribe(channels=["a", "b", "a"]))
        assert await speaker.hear() == Subscribed(channels=["a", "b"])
        await speaker.say(Subscribe(channels=["b", "c"]))
        assert await speaker.hear() == Subscribed(channels=["b", "c"])
        (connection,) = server.connections
        assert connection.subprotocol == f"websocket-utils.{codec}"
        assert connection.channels == {"a", "b", "c"}


async def test_peer_without_a_subprotocol_is_told_nothing(plain: Network) -> None:
    async with plain.bind() as server, plain.raw_client(server) as peer:
        speaker = Speaker(peer)
        await speaker.say(Subscribe(channels=["a"]), Ping())
        assert await speaker.hear() == Pong()
        (connection,) = server.connections
        assert connection.subprotocol is None
        assert connection.channels == {"a"}


async def test_end_of_a_subscription_is_not_acknowledged(plain: Network) -> None:
    async with plain.bind() as server, agreed(plain, server) as speaker:
        await speaker.say(Subscribe(channels=["a"]), Unsubscribe(channels=["a", "b"]), Ping())
        assert await speaker.hear() == Subscribed(channels=["a"])
        assert await speaker.hear() == Pong()
        assert server.publish("a", "x").subscribers == 0


async def test_refused_channels_are_named_and_the_connection_stays(plain: Network) -> None:
    long = "x" * 257
    async with plain.bind() as server, agreed(plain, server) as speaker:
        await speaker.say(Subscribe(channels=["fine", "", "also fine", long]))
        assert await speaker.hear() == Subscribed(channels=["fine", "also fine"])
        assert await speaker.hear() == SubscriptionRejected(channels=["", long], code=INVALID, reason=BAD_NAME)
        assert server._broadcaster.channel_sizes() == {"fine": 1, "also fine": 1}
        assert server.publish("fine", "x").subscribers == 1
        assert (await speaker.publication()).body == b"x"


async def test_channels_beyond_the_limit_are_refused_until_others_are_left(plain: Network) -> None:
    channels = [f"{number}" for number in range(1024)]
    async with plain.bind() as server, agreed(plain, server) as speaker:
        await speaker.say(Subscribe(channels=[*channels, "more", ""]))
        # As many for each message as clients of this package ask for at once.
        assert await speaker.hear() == Subscribed(channels=channels[:512])
        assert await speaker.hear() == Subscribed(channels=channels[512:])
        assert await speaker.hear() == SubscriptionRejected(channels=["more"], code=MANY, reason=TOO_MANY)
        assert await speaker.hear() == SubscriptionRejected(channels=[""], code=INVALID, reason=BAD_NAME)
        await speaker.say(Subscribe(channels=["7"]), Unsubscribe(channels=["7"]), Subscribe(channels=["more"]))
        assert await speaker.hear() == Subscribed(channels=["7"])
        assert await speaker.hear() == Subscribed(channels=["more"])


@pytest.mark.parametrize(
    "channels",
    [["x" * 257] + [f"{number}" for number in range(1024 + 1024)], ["x" * 65_537], [f"{i:01024}" for i in range(65)]],
    ids=["too many names", "one name too long", "too long together"],
)
async def test_more_refusals_than_are_answered_close_the_connection_with_1008(
    plain: Network, channels: list[str]
) -> None:
    async with plain.bind() as server, agreed(plain, server) as speaker:
        await speaker.say(Subscribe(channels=channels))
        one = await speaker.peer.frame()
        assert one is not None
        assert (one.opcode, close_code(one.payload)) == (CLOSE, 1008)
        assert b"channel" in one.payload
        await speaker.peer.write(close_frame(1008, masked=True))
        await until(lambda: not server.connections)
        assert server._broadcaster.channel_sizes() == {}


async def test_acknowledgement_leaves_before_anything_published_there(network: Network) -> None:
    async with network.bind() as server, agreed(network, server) as speaker:

        def publish_at_once(connection: ServerConnection, message: Subscribe) -> None:
            for channel in message.channels:
                assert server.publish(channel, f"first of {channel}").subscribers == 1

        server.on(Subscribe, publish_at_once)
        await speaker.say(*(Subscribe(channels=[f"{number}"]) for number in range(50)))
        said = [await speaker.peer.frame() for _ in range(100)]
        payloads = [one.payload for one in said if one is not None]
        for number in range(50):
            acknowledgement = f'{{"type":"Subscribed","channels":["{number}"]'.encode()
            publication = f"first of {number}".encode()
            (acknowledged,) = (place for place, one in enumerate(payloads) if one.startswith(acknowledgement))
            (published,) = (place for place, one in enumerate(payloads) if one.endswith(publication))
            assert acknowledged < published


async def test_connection_that_is_closing_gets_no_subscription_of_the_same_read(plain: Network) -> None:
    async with plain.bind() as server, plain.raw_client(server) as peer:
        (connection,) = server.connections
        speaker = Speaker(peer)
        await speaker.say(Subscribe(channels=["a", ""]), Subscribe(channels=["b"]))
        one = await peer.frame()
        assert one is not None
        assert one.opcode == CLOSE
        assert connection.channels == set()
        assert server._broadcaster.channel_sizes() == {}


@pytest.mark.parametrize("question", [Ping(), Subscribe(channels=["a"])], ids=["ping", "subscribe"])
async def test_peer_that_asks_while_its_queue_is_full_is_cut_and_counted(
    network: Network, question: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        network.bind(max_send_queue=64 * 1024) as server,
        agreed(network, server, receive_buffer=1024) as speaker,
    ):
        (connection,) = server.connections
        # One message always fits; more than the buffers of two sockets take.
        connection.send(bytes(16 << 20))
        await until(lambda: connection.send_queue_bytes > 64 * 1024)
        await speaker.say(question, question)
        await until(lambda: not server.connections)
        stats = server.stats()
        assert (stats.unread_disconnects, stats.handler_errors, stats.lag_disconnects) == (1, 0, 0)
        assert server._broadcaster.channel_sizes() == {}
        assert "does not read the answers" in caplog.text


async def test_peer_that_never_reads_its_acknowledgements_makes_the_server_hold_no_more_than_the_bound(
    plain: Network,
) -> None:
    bound = 256 * 1024
    held: list[int] = []
    async with (
        plain.bind(max_send_queue=bound, max_message_size=1 << 20) as server,
        agreed(plain, server, receive_buffer=1024) as speaker,
    ):
        server.on(Subscribe, lambda connection, _: held.append(connection.send_queue_bytes))
        one = speaker.said(Subscribe(channels=[f"{number:0250}" for number in range(200)]))

        async def ask_for_ever() -> None:
            while True:
                await speaker.peer.write(one)

        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(15):
                await ask_for_ever()
        await until(lambda: not server.connections)
        assert server.stats().unread_disconnects == 1
        assert 0 < max(held) <= bound
        assert server._broadcaster.channel_sizes() == {}
