"""Channels of a server, as peers see them that are made of bytes: names, types, patterns, numbers and history."""

import re
from typing import Any

import pytest
from tests.integration.conftest import Network, RawPeer
from tests.integration.speaker import Publication, Speaker, agreed
from tests.support.waiting import until
from tests.support.wire import CLOSE, Frame

from websocket_utils import (
    AccountUpdate,
    Backpressure,
    ConfigError,
    Conflate,
    Namespace,
    Ping,
    Pong,
    PriceUpdate,
    Subscribe,
    Subscribed,
    SubscriptionRejected,
    Unsubscribe,
    WebSocketServer,
)

pytestmark = pytest.mark.usefixtures("loop_errors")

INVALID, UNKNOWN = 4400, 4404
KEPT = Namespace("kept", history=3)


def price(number: int) -> PriceUpdate:
    return PriceUpdate("SOL", "USDC", float(number), timestamp=number)


async def frame_of(peer: RawPeer) -> Frame:
    one = await peer.frame()
    assert one is not None
    return one


def published(server: WebSocketServer, channel: str, count: int) -> int:
    """Publish so many; returns their epoch."""
    (epoch,) = {server.publish(channel, str(number)).epoch for number in range(1, count + 1)}
    return epoch


async def heard(speaker: Speaker, count: int) -> list[Publication]:
    return [await speaker.publication() for _ in range(count)]


@pytest.mark.parametrize("codec", ["json", "msgpack", "protobuf"])
async def test_publications_carry_their_place_in_the_channel(plain: Network, codec: str) -> None:
    async with plain.bind() as server, agreed(plain, server, codec) as speaker:
        await speaker.say(Subscribe(channels=["prices:SOL"]))
        assert await speaker.hear() == Subscribed(channels=["prices:SOL"])
        epoch, sequence, recovered = speaker.positions["prices:SOL"]
        assert (sequence, recovered) == (0, False)
        receipts = [server.publish("prices:SOL", price(number)) for number in (1, 2)]
        assert [(one.epoch, one.sequence, one.subscribers) for one in receipts] == [(epoch, 1, 1), (epoch, 2, 1)]
        told = await heard(speaker, 2)
        assert [(one.channel, one.epoch, one.sequence, one.previous) for one in told] == [
            ("prices:SOL", epoch, 1, 0),
            ("prices:SOL", epoch, 2, 1),
        ]


async def test_plain_peer_gets_bare_messages_and_speaker_the_same_with_a_position(plain: Network) -> None:
    async with plain.bind() as server, agreed(plain, server) as speaker, plain.raw_client(server) as peer:
        await speaker.say(Subscribe(channels=["prices:SOL"]))
        await speaker.hear()
        await Speaker(peer).say(Subscribe(channels=["prices:SOL"]))
        await until(lambda: server.stats().subscriptions == 2)
        server.publish("prices:SOL", price(1))
        server.broadcast(price(2))
        bare = [await frame_of(peer), await frame_of(peer)]
        assert (await speaker.publication()).body == bare[0].payload
        assert await speaker.payload() == bare[1].payload
        assert bare[0].payload.startswith(b'{"type":"PriceUpdate"')


async def test_handle_of_a_channel_publishes_like_the_server(plain: Network) -> None:
    async with plain.bind() as server, agreed(plain, server) as speaker:
        channel = server.channel("prices:SOL", PriceUpdate)
        assert (channel.name, channel.sequence, channel.subscribers) == ("prices:SOL", 0, 0)
        assert channel.publish(price(1)).subscribers == 0
        await speaker.say(Subscribe(channels=["prices:SOL"]))
        await speaker.hear()
        assert speaker.positions["prices:SOL"] == (channel.epoch, 1, False)
        receipt = channel.publish(price(2))
        assert (receipt.epoch, receipt.sequence, receipt.subscribers) == (channel.epoch, 2, 1)
        assert server.publish("prices:SOL", price(3)).sequence == 3
        assert [one.sequence for one in await heard(speaker, 2)] == [2, 3]


async def test_pattern_brings_all_that_begin_with_it_and_each_once(plain: Network) -> None:
    async with plain.bind() as server, agreed(plain, server) as speaker:
        server.publish("prices:before", "x")
        await speaker.say(Subscribe(channels=["prices:*", "prices:SOL", "*"]))
        await speaker.hear()
        assert set(speaker.positions) == {"prices:before", "prices:SOL"}
        for channel in ("prices:SOL", "prices:BTC", "trades:SOL", "prices:before"):
            assert server.publish(channel, "x").subscribers == 1
        await speaker.say(Unsubscribe(channels=["*", "prices:SOL"]), Ping())
        told = await heard(speaker, 4)
        assert [one.channel for one in told] == ["prices:SOL", "prices:BTC", "trades:SOL", "prices:before"]
        assert await speaker.hear() == Pong()
        assert server.publish("trades:SOL", "x").subscribers == 0
        assert server.publish("prices:SOL", "x").subscribers == 1


async def test_new_subscriber_gets_the_latest_before_anything_live(plain: Network) -> None:
    async with plain.bind(namespaces=[KEPT]) as server, agreed(plain, server) as speaker:
        for number in range(5):
            server.publish("kept:a", str(number))
        await speaker.say(Subscribe(channels=["kept:a"]))
        await speaker.hear()
        server.publish("kept:a", "live")
        told = await heard(speaker, 2)
        assert [(one.sequence, one.previous, one.body) for one in told] == [(5, 4, b"4"), (6, 5, b"live")]
        assert speaker.positions["kept:a"][1:] == (4, False)


async def test_plain_peer_gets_the_latest_too_and_nothing_where_the_namespace_has_no_snapshot(plain: Network) -> None:
    quiet = Namespace("quiet", history=3, snapshot=False)
    async with plain.bind(namespaces=[KEPT, quiet]) as server, plain.raw_client(server) as peer:
        server.publish("kept:a", "latest")
        server.publish("quiet:a", "latest")
        await Speaker(peer).say(Subscribe(channels=["quiet:a", "kept:a"]), Ping())
        told = [await frame_of(peer), await frame_of(peer)]
        assert [one.payload for one in told] == [b"latest", b'{"type":"Pong"}']


async def resume(speaker: Speaker, name: str, *positions: str) -> None:
    await speaker.say(Subscribe(channels=[name], positions=list(positions)))
    assert await speaker.hear() == Subscribed(channels=[name])


async def test_who_comes_back_gets_exactly_what_is_missing(plain: Network) -> None:
    async with plain.bind(namespaces=[KEPT]) as server, agreed(plain, server) as speaker:
        epoch = published(server, "kept:a", 6)
        await resume(speaker, "kept:a", f"{epoch} 3 kept:a")
        assert speaker.positions == {"kept:a": (epoch, 3, True)}
        server.publish("kept:a", "7")
        assert [(one.sequence, one.body) for one in await heard(speaker, 4)] == [
            (4, b"4"),
            (5, b"5"),
            (6, b"6"),
            (7, b"7"),
        ]
        assert (server.stats().recovered, server.stats().unrecovered) == (1, 0)


async def test_who_missed_nothing_gets_nothing(plain: Network) -> None:
    async with plain.bind() as server, agreed(plain, server) as speaker:
        epoch = server.publish("a", "1").epoch
        await resume(speaker, "a", f"{epoch} 1 a")
        assert speaker.positions == {"a": (epoch, 1, True)}
        server.publish("a", "2")
        assert (await speaker.publication()).body == b"2"


@pytest.mark.parametrize("known", ["older than the history", "in the future", "of another epoch"])
async def test_position_that_can_not_be_served_is_told_and_gets_the_latest(plain: Network, known: str) -> None:
    async with plain.bind(namespaces=[KEPT]) as server, agreed(plain, server) as speaker:
        epoch = published(server, "kept:a", 6)
        position = {
            "older than the history": (epoch, 2),
            "in the future": (epoch, 7),
            "of another epoch": (epoch + 1, 6),
        }
        await resume(speaker, "kept:a", "{} {} kept:a".format(*position[known]))
        assert speaker.positions == {"kept:a": (epoch, 5, False)}
        server.publish("kept:a", "live")
        assert [(one.sequence, one.body) for one in await heard(speaker, 2)] == [(6, b"6"), (7, b"live")]
        assert (server.stats().recovered, server.stats().unrecovered) == (0, 1)


async def test_pattern_is_resumed_channel_by_channel_those_included_that_came_meanwhile(plain: Network) -> None:
    async with plain.bind(namespaces=[KEPT]) as server, agreed(plain, server) as speaker:
        epochs = {name: server.publish(name, "1").epoch for name in ("kept:a", "kept:b", "kept:long")}
        for _ in range(5):
            server.publish("kept:long", "x")
        server.publish("kept:a", "2")
        await resume(speaker, "kept:*", f"{epochs['kept:a']} 1 kept:a", f"{epochs['kept:b']} 1 kept:b")
        assert speaker.positions == {
            "kept:a": (epochs["kept:a"], 1, True),
            "kept:b": (epochs["kept:b"], 1, True),
            "kept:long": (epochs["kept:long"], 5, False),
        }
        assert {(one.channel, one.sequence) for one in await heard(speaker, 2)} == {("kept:a", 2), ("kept:long", 6)}


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (Subscribe(channels=["a"], positions=["1 a"]), "a position is `<epoch> <sequence> <channel>`"),
        (Subscribe(channels=["a"], positions=[f"1 {2**64} a"]), "numbers of a position fit 64 bits"),
        (Subscribe(channels=["a"], slow="rarely"), "slow is one of"),
        (Subscribe(channels=["a"], slow="drop_oldest:0"), "slow is one of"),
        (Subscribe(channels=["a*b"]), "channel names hold no `*`"),
        (Subscribe(channels=["a\n"]), "channel names hold no control characters"),
    ],
    ids=[
        "no position",
        "number too big",
        "no policy",
        "policy without room",
        "pattern in the middle",
        "control character",
    ],
)
async def test_malformed_request_is_refused_by_name_and_the_connection_stays(
    plain: Network, request_: Subscribe, reason: str
) -> None:
    async with plain.bind() as server, agreed(plain, server) as speaker:
        await speaker.say(request_, Ping())
        answer = await speaker.hear()
        assert isinstance(answer, SubscriptionRejected)
        assert (answer.channels, answer.code) == (request_.channels, INVALID)
        assert answer.reason.startswith(reason)
        assert await speaker.hear() == Pong()
        assert server.stats().subscriptions == 0


async def test_unknown_namespace_is_refused_where_only_declared_ones_are_served(plain: Network) -> None:
    async with plain.bind(namespaces=[KEPT], undeclared="refuse") as server, agreed(plain, server) as speaker:
        await speaker.say(Subscribe(channels=["kept:a", "other:a", "*", "kept:*"]))
        assert await speaker.hear() == Subscribed(channels=["kept:a", "kept:*"])
        assert await speaker.hear() == SubscriptionRejected(
            channels=["other:a", "*"], code=UNKNOWN, reason="no such namespace"
        )
        with pytest.raises(ValueError, match=r"other.*no such namespace"):
            server.publish("other:a", "x")
        with pytest.raises(ValueError, match="no such namespace"):
            server.channel("other:a")
        server.publish("kept:a", "x")
        assert (await speaker.publication()).channel == "kept:a"


async def test_plain_peer_that_asks_for_what_it_can_not_have_is_closed_with_1008(plain: Network) -> None:
    async with plain.bind(namespaces=[KEPT], undeclared="refuse") as server, plain.raw_client(server) as peer:
        await Speaker(peer).say(Subscribe(channels=["other:a"]))
        one = await frame_of(peer)
        assert (one.opcode, one.close_code, one.close_reason) == (CLOSE, 1008, "no such namespace")


async def test_message_of_another_class_is_not_published_and_takes_no_number(plain: Network) -> None:
    typed = Namespace("prices", type=PriceUpdate, history=1)
    async with plain.bind(namespaces=[typed]) as server, agreed(plain, server) as speaker:
        await speaker.say(Subscribe(channels=["prices:SOL"]))
        await speaker.hear()
        for publish in (server.channel("prices:SOL").publish, lambda message: server.publish("prices:SOL", message)):
            with pytest.raises(TypeError, match=r"prices:SOL.*PriceUpdate.*AccountUpdate"):
                publish(AccountUpdate("a", 1, 2, 3))
        assert server.publish("prices:SOL", price(1)).sequence == 1
        assert (await speaker.publication()).sequence == 1


@pytest.mark.parametrize("name", ["", "x" * 257, "a*", "*", "a\x00"])
async def test_publishing_under_what_is_no_name_raises(plain: Network, name: str) -> None:
    async with plain.bind() as server:
        with pytest.raises(ValueError, match="no channel's name"):
            server.publish(name, "x")
        with pytest.raises(ValueError, match="no channel's name"):
            server.channel(name)
        assert server.stats().channels == 0


def test_namespace_is_checked_when_it_is_made() -> None:
    for name in ("", "a:b", "a*", "x" * 257):
        with pytest.raises(ValueError, match="is no namespace"):
            Namespace(name)
    with pytest.raises(ValueError, match="history is at least 0"):
        Namespace("a", history=-1)
    with pytest.raises(TypeError, match="slow takes Conflate, DropOldest or Disconnect"):
        Namespace("a", slow=Backpressure())  # type: ignore[arg-type]  # what a client takes
    assert Namespace("a", type=PriceUpdate | AccountUpdate).classes == (PriceUpdate, AccountUpdate)


async def test_namespace_that_is_declared_twice_is_refused() -> None:
    spaces: list[Any] = [Namespace("a"), Namespace("a", slow=Conflate())]
    with pytest.raises(ConfigError, match="'a' is declared twice"):
        WebSocketServer.bind("127.0.0.1:0", namespaces=spaces)


@pytest.mark.parametrize("undeclared", ["reject", "", None])
async def test_word_that_is_neither_allow_nor_refuse_is_refused(undeclared: Any) -> None:
    with pytest.raises(ConfigError, match="undeclared: must be 'allow' or 'refuse'"):
        WebSocketServer.bind("127.0.0.1:0", undeclared=undeclared)


async def test_namespaces_that_are_none_are_refused() -> None:
    spaces: Any = "ab"
    with pytest.raises(ConfigError, match=r"takes Namespace\(\.\.\.\), not 'a'"):
        WebSocketServer.bind("127.0.0.1:0", namespaces=spaces)


@pytest.mark.parametrize("name", ["line\u2028separator", "no\u00a0break", "left\u200fto right"])
async def test_name_that_no_subscriber_may_ask_for_can_not_be_published_to(plain: Network, name: str) -> None:
    async with plain.bind() as server, agreed(plain, server) as speaker:
        await speaker.say(Subscribe(channels=[name]))
        answer = await speaker.hear()
        assert isinstance(answer, SubscriptionRejected)
        with pytest.raises(ValueError, match=re.escape(answer.reason)):
            server.publish(name, "x")


async def test_malformed_request_for_more_than_is_answered_is_closed_with_1008(plain: Network) -> None:
    async with plain.bind() as server, agreed(plain, server) as speaker:
        await speaker.say(Subscribe(channels=[str(number) for number in range(2000)], slow="rarely"))
        one = await frame_of(speaker.peer)
        assert (one.opcode, one.close_code) == (CLOSE, 1008)
        assert "slow is one of" in one.close_reason
