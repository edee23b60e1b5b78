"""Peers that say what they should not, and networks that break: everything is bounded, told, and over in time."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.integration.quiet import Quiet, frozen, quiet  # noqa: F401  # fixtures, used by every test
from tests.support.peering import KEY, Fill, MayTrade, Verdict, all_events, next_event
from tests.support.waiting import until

from websocket_utils import ConnectionClosed, ConnectionClosedError, HandshakeError, WebSocketClient
from websocket_utils.exceptions import HeartbeatTimeout, PeerLost, RequestTimeout, SendQueueFull
from websocket_utils.peer import Peer, PeerGap, PeerJoined, PeerLeft
from websocket_utils.peer._proofs import Meeting
from websocket_utils.testing import ChaosProxy

SUBPROTOCOL = "websocket-utils.peer.json"
NONCE = "0" * 64


@asynccontextmanager
async def stranger(peer: Peer) -> AsyncIterator[tuple[WebSocketClient, dict[str, Any]]]:
    """A client that speaks the subprotocol of peers by hand, and the challenge it was sent."""
    async with WebSocketClient.connect(peer.url, subprotocols=[SUBPROTOCOL], reconnect=False) as client:
        challenge = json.loads(await client.receive(str) or "")
        assert challenge["type"] == "PeerChallenge"
        yield client, challenge


def hello(challenge: dict[str, Any], **changes: Any) -> str:
    """A `PeerHello` that is right but for the changes."""
    name = changes.get("name", "momentum")
    proof = Meeting(name, challenge["name"], NONCE, challenge["nonce"]).proof("dialler", KEY)
    said = {
        "type": "PeerHello",
        "name": name,
        "instance": 7,
        "nonce": NONCE,
        "proof": proof,
        "knows": 0,
        "attempt": 1,
        "links": 0,
        "sent": 0,
        "received": 0,
    }
    return json.dumps(said | changes)


async def close_code(client: WebSocketClient) -> int:
    """What the connection is closed with; what comes before is dropped."""
    async with asyncio.timeout(5):
        try:
            while await client.receive(str) is not None:
                pass
        except ConnectionClosedError as error:
            return -1 if error.received is None else error.received.code
    return 1000


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("{}", 4400),
        ("no JSON", 4400),
        ('{"type":"Fill","order":"o","quantity":1}', 4400),
        ('{"type":"PeerHello"}', 4400),
        ('{"type":"PeerWelcome","proof":"","knows":0,"sent":0,"received":0}', 4400),
        (json.dumps({"type": "PeerChallenge", "name": "x", "instance": 1, "nonce": NONCE}), 4400),
        ("\x1e?1 1000000000 MayTrade\n{}", 4400),
        ("\x1e\n{}", 4400),
        ("\x1e", 4400),
        ("x" * 5000, 1009),
    ],
)
async def test_stranger_that_says_anything_else_first_is_closed(said: str, code: int) -> None:
    filled: list[Fill] = []
    async with Peer("guard", listen="127.0.0.1:0", key=KEY) as guard:
        guard.on(Fill, lambda fill, sender: filled.append(fill))
        async with stranger(guard) as (client, _):
            client.send(said)
            assert await close_code(client) == code
        assert guard.links == {}
    assert filled == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"proof": ""}, 4401),
        ({"proof": "0" * 64}, 4401),
        ({"proof": "ü"}, 4401),
        ({"name": "guard"}, 4409),
        ({"name": "a b"}, 4400),
        ({"name": "x" * 65}, 4400),
        ({"nonce": "short"}, 4400),
        ({"instance": 0}, 4400),
        ({"instance": -1}, 4400),
        ({"sent": 2**64}, 4400),
    ],
)
async def test_hello_that_is_wrong_is_refused(changes: dict[str, Any], code: int) -> None:
    async with Peer("guard", listen="127.0.0.1:0", key=KEY) as guard:
        async with stranger(guard) as (client, challenge):
            client.send(hello(challenge, **changes))
            assert await close_code(client) == code
        assert guard.links == {}


async def test_hello_that_was_overheard_is_of_no_use_a_second_time() -> None:
    async with Peer("guard", listen="127.0.0.1:0", key=KEY) as guard:
        async with stranger(guard) as (client, challenge):
            overheard = hello(challenge)
            client.send(overheard)
            await guard.joined("momentum", 5)
        await next_event(guard, PeerLeft)
        async with stranger(guard) as (client, _):
            client.send(overheard)
            assert await close_code(client) == 4401


async def test_second_hello_on_a_link_ends_it() -> None:
    async with Peer("guard", listen="127.0.0.1:0", key=KEY) as guard, stranger(guard) as (client, challenge):
        client.send(hello(challenge))
        await guard.joined("momentum", 5)
        client.send(hello(challenge))
        assert await close_code(client) == 4400
        left = await next_event(guard, PeerLeft)
        assert left.name == "momentum"


@pytest.mark.one_loop
async def test_ten_thousand_hellos_leave_nothing_behind() -> None:
    async with Peer("guard", listen="127.0.0.1:0", key=KEY) as guard, stranger(guard) as (client, challenge):
        client.send(hello(challenge))
        await guard.joined("momentum", 5)
        text = hello(challenge, name="other")
        with contextlib.suppress(ConnectionClosed):
            for number in range(10_000):
                await client.send(text)
                if number % 100 == 99:
                    await asyncio.sleep(0)
        assert not client.is_connected
        assert list(guard.links) == ["momentum"]
        assert not guard.links["momentum"].is_up


@pytest.mark.one_loop
async def test_names_without_end_are_not_remembered() -> None:
    async with Peer("guard", listen="127.0.0.1:0", max_peers=3) as guard:
        for number in range(10):
            async with stranger(guard) as (client, challenge):
                client.send(hello(challenge, name=f"peer-{number}", proof=""))
                assert (await next_event(guard, PeerJoined)).name == f"peer-{number}"
            await next_event(guard, PeerLeft)
        assert len(guard.links) <= 3


async def test_more_peers_at_once_than_may_be_are_refused() -> None:
    async with Peer("guard", listen="127.0.0.1:0", max_peers=1) as guard, stranger(guard) as (first, challenge):
        first.send(hello(challenge, proof=""))
        await next_event(guard, PeerJoined)
        async with stranger(guard) as (client, other):
            client.send(hello(other, name="market", proof=""))
            assert await close_code(client) == 1013
        assert list(guard.links) == ["momentum"]


async def test_half_open_handshake_ends_at_its_deadline() -> None:
    async with Peer("guard", listen="127.0.0.1:0", key=KEY, open_timeout=0.05) as guard, stranger(guard) as (client, _):
        assert await close_code(client) == 4408


@pytest.mark.parametrize("numbers", [{"sent": 0, "received": 1}, {"sent": 0, "received": 2**63}])
async def test_numbers_that_cannot_be_are_refused(numbers: dict[str, int]) -> None:
    async with Peer("guard", listen="127.0.0.1:0", key=KEY) as guard:
        async with stranger(guard) as (client, challenge):
            client.send(hello(challenge))
            await next_event(guard, PeerJoined)
        await next_event(guard, PeerLeft)
        async with stranger(guard) as (client, challenge):
            client.send(hello(challenge, knows=challenge["instance"], attempt=2, links=1, **numbers))
            assert await close_code(client) == 4400
        assert not guard.links["momentum"].is_up


@pytest.mark.parametrize(
    "said",
    [
        '{"type":"Nobody","x":1}',
        "no JSON",
        '{"type":"PeerProbe","sent":"x"}',
        '{"type":"PeerProbe","sent":9223372036854775807}',
        '{"type":"PeerEcho","sent":-9223372036854775808,"received":0,"returned":9223372036854775807}',
        '{"type":"PeerEcho","sent":1' + "0" * 400 + ',"received":0,"returned":1}',
        "\x1e=1 Verdict\n{}",
        "\x1e=18446744073709551615 Verdict\nnull",
        "\x1e=18446744073709551616 Verdict\n{}",
        "\x1e=1 \n{}",
        "\x1e=1 Verdict",
        '{"type":"PeerFailure","number":1,"kind":"x","reason":"y"}',
        "\x1e?0 -1 MayTrade\n{}",
        '\x1e?0 0 MayTrade\n{"type":"MayTrade","quantity":1.0}',
        "\x1e?1 18446744073709551615 MayTrade\n[[[[1]]]]",
        "\x1e?1 1000000000 MayTrade\n" + "[" * 100_000,
        '\x1e?1 1000000000 MayTrade\n{"type":"Other","quantity":"x"}',
        "\x1e?1 1000000000 " + "k" * 9000 + "\n1",
        "\x1e?1 1000000000 Unknown\n1",
        "\x1e?" + "1" * 100_000,
        "\x1e",
        "\x1e!1 Verdict\n{}",
        '{"type":"Fill","order":5}',
    ],
)
async def test_message_of_a_peer_that_makes_no_sense_costs_nothing_but_itself(said: str) -> None:
    filled: list[Fill] = []
    async with Peer("guard", listen="127.0.0.1:0", key=KEY) as guard, stranger(guard) as (client, challenge):
        guard.on(Fill, lambda fill, sender: filled.append(fill))
        guard.answer(MayTrade)(lambda asked, sender: Verdict(True))
        client.send(hello(challenge))
        await guard.joined("momentum", 5)
        client.send(said)
        client.send('{"type":"Fill","order":"o"}')
        await until(lambda: filled)
        link = guard.links["momentum"]
        assert link.is_up
        if "PeerEcho" in said:
            assert link.clock_offset is None
        assert link.late_answers == 0


async def test_peer_that_asks_and_does_not_read_is_cut() -> None:
    async with (
        Peer("guard", listen="127.0.0.1:0", key=KEY, max_send_queue=20_000) as guard,
        ChaosProxy(guard.url) as proxy,
        Peer("momentum", peers={"guard": proxy.url}, key=KEY, close_timeout=0.01),
    ):
        await guard.joined("momentum", 5)
        proxy.bandwidth(1000, direction="down")
        left = asyncio.create_task(next_event(guard, PeerLeft))
        for _ in range(500):
            if left.done():
                break
            guard.broadcast(Fill("x" * 100_000))
            await asyncio.sleep(0)
        assert isinstance((await left).error, SendQueueFull)


async def test_web_page_may_not_dial_a_peer() -> None:
    async with Peer("guard", listen="127.0.0.1:0") as guard:
        with pytest.raises(HandshakeError) as caught:
            await WebSocketClient.connect(
                guard.url, subprotocols=[SUBPROTOCOL], headers={"Origin": "http://localhost"}, reconnect=False
            )
        assert caught.value.status == 403


async def test_client_that_is_no_peer_is_refused() -> None:
    async with Peer("guard", listen="127.0.0.1:0") as guard:
        with pytest.raises(HandshakeError) as caught:
            await WebSocketClient.connect(guard.url, reconnect=False)
        assert caught.value.status == 400


# --- networks ---


async def test_cut_in_the_middle_of_a_request_fails_it_and_the_link_comes_back() -> None:
    async with (
        Peer("guard", listen="127.0.0.1:0", key=KEY) as guard,
        ChaosProxy(guard.url) as proxy,
        Peer("momentum", peers={"guard": proxy.url}, key=KEY) as momentum,
    ):
        asked: list[MayTrade] = []

        @guard.answer(MayTrade)
        async def slow(question: MayTrade, sender: str) -> Verdict:
            asked.append(question)
            if len(asked) == 1:
                await asyncio.Event().wait()
            return Verdict(True)

        await momentum.joined("guard", 5)
        task = asyncio.create_task(momentum.request("guard", MayTrade(1.0), timeout=60))
        await until(lambda: asked)
        proxy.reset()
        with pytest.raises(PeerLost):
            await asyncio.wait_for(task, 5)
        await momentum.joined("guard", 5)
        assert await momentum.request("guard", MayTrade(1.0), timeout=5) == Verdict(True)


async def test_what_was_under_way_when_a_link_broke_is_told_with_its_range() -> None:
    got: list[str] = []
    async with (
        Peer("guard", listen="127.0.0.1:0", key=KEY, probe_interval=0.005) as guard,
        ChaosProxy(guard.url) as proxy,
        Peer("momentum", peers={"guard": proxy.url}, key=KEY, probe_interval=0.005) as momentum,
    ):
        guard.on(Fill, lambda fill, sender: got.append(fill.order))
        await momentum.joined("guard", 5)
        for number in range(1, 4):
            momentum.send("guard", Fill(str(number)))
        await until(lambda: len(got) == 3)
        proxy.blackhole()
        for number in range(4, 9):
            await momentum.send("guard", Fill(str(number)))
        proxy.clear()
        proxy.reset()
        told = await next_event(momentum, PeerGap)
        assert (told.name, told.direction, told.first, told.last) == ("guard", "sent", 4, 8)
        seen = await next_event(guard, PeerGap)
        assert (seen.name, seen.direction, seen.first, seen.last) == ("momentum", "received", 4, 8)
        await momentum.joined("guard", 5)
        momentum.send("guard", Fill("9"))
        await until(lambda: len(got) == 4)
        # An order must not come late: nothing was sent again.
        assert got == ["1", "2", "3", "9"]
        assert momentum.links["guard"].sent == guard.links["momentum"].received == 9


async def test_what_was_sent_behind_a_welcome_that_was_lost_is_told() -> None:
    """The listener thinks that a link stands; its peer never heard of it, and dials again."""
    async with Peer("guard", listen="127.0.0.1:0", key=KEY, probe_interval=None) as guard:
        async with stranger(guard) as (client, challenge):
            client.send(hello(challenge))
            assert (await next_event(guard, PeerJoined)).is_new
            for number in range(3):
                guard.send("momentum", Fill(str(number)))
        await next_event(guard, PeerLeft)
        async with stranger(guard) as (client, challenge):
            client.send(hello(challenge, attempt=2))
            welcome = json.loads(await client.receive(str) or "")
            assert (welcome["type"], welcome["knows"], welcome["sent"]) == ("PeerWelcome", 7, 3)
            gap = await next_event(guard, PeerGap)
            assert (gap.direction, gap.first, gap.last) == ("sent", 1, 3)


async def test_peer_that_is_restarted_is_new_and_numbers_begin_again() -> None:
    async with Peer("guard", listen="127.0.0.1:0", key=KEY) as guard:
        for _ in range(2):
            async with Peer("momentum", peers={"guard": guard.url}, key=KEY) as momentum:
                assert (await next_event(momentum, PeerJoined)).is_new
                momentum.send("guard", Fill("o"))
                await until(lambda: guard.links["momentum"].received == 1)
            await next_event(guard, PeerLeft)
    assert not [event for event in await all_events(guard) if isinstance(event, PeerGap)]


async def test_link_that_comes_back_to_the_same_peer_is_not_new() -> None:
    async with (
        Peer("guard", listen="127.0.0.1:0", key=KEY) as guard,
        ChaosProxy(guard.url) as proxy,
        Peer("momentum", peers={"guard": proxy.url}, key=KEY) as momentum,
    ):
        assert (await next_event(momentum, PeerJoined)).is_new
        proxy.reset()
        assert not (await next_event(momentum, PeerJoined)).is_new
        assert momentum.links["guard"].connections == 2


async def test_half_open_link_is_found_dead_by_its_heartbeat() -> None:
    async with (
        Peer("guard", listen="127.0.0.1:0", key=KEY, ping_interval=0.05, ping_timeout=0.05) as guard,
        ChaosProxy(guard.url) as proxy,
        Peer("momentum", peers={"guard": proxy.url}, key=KEY, ping_interval=None, close_timeout=0.01),
    ):
        await guard.joined("momentum", 5)
        proxy.blackhole()
        left = await next_event(guard, PeerLeft)
        assert isinstance(left.error, HeartbeatTimeout)


async def test_dialler_that_lost_a_link_replaces_the_half_open_one_at_once() -> None:
    """The listener has not noticed: it has no reason to refuse the same peer's next dial."""
    async with (
        Peer("guard", listen="127.0.0.1:0", key=KEY, probe_interval=None, ping_interval=None) as guard,
        ChaosProxy(guard.url) as proxy,
        Peer("momentum", peers={"guard": proxy.url}, key=KEY, probe_interval=None, ping_interval=None) as momentum,
    ):
        await momentum.joined("guard", 5)
        first = proxy.connections[0]
        proxy.blackhole()
        # From here on only the dialler knows that it is over.
        momentum._links.up()[0].abort()
        await next_event(momentum, PeerLeft)
        proxy.clear()
        await until(lambda: guard.links["momentum"].connections == 2)
        await momentum.joined("guard", 5)
        assert first.number == 0


async def test_three_peers_over_a_partition_and_back() -> None:
    got: dict[str, list[str]] = {"a": [], "b": [], "c": []}
    async with (
        Peer("a", listen="127.0.0.1:0", key=KEY) as a,
        Peer("b", listen="127.0.0.1:0", key=KEY) as b,
        ChaosProxy(a.url) as to_a,
        ChaosProxy(b.url) as to_b,
        Peer("c", peers={"a": to_a.url, "b": to_b.url}, key=KEY) as c,
    ):
        b.dial(a.url, "a")
        for one in (a, b, c):
            one.on(Fill, lambda fill, sender, name=one.name: got[name].append(fill.order))
        await c.joined("a", 5)
        await c.joined("b", 5)
        await b.joined("a", 5)
        # c is on an island.
        to_a.down()
        to_b.down()
        await until(lambda: not a.links["c"].is_up and not b.links["c"].is_up and not c.links["a"].is_up)
        assert a.broadcast(Fill("island")) == 1
        await until(lambda: got["b"] == ["island"])
        to_a.up()
        to_b.up()
        await c.joined("a", 10)
        await c.joined("b", 10)
        await a.joined("c", 10)
        assert a.broadcast(Fill("all")) == 2
        await until(lambda: got["c"] == ["all"] and got["b"] == ["island", "all"])


@pytest.mark.one_loop
async def test_links_that_are_killed_at_random_lose_nothing_unseen() -> None:
    """Both dial, and both send: what is sent is delivered, or told as lost, each number once."""
    got: dict[str, list[int]] = {"a": [], "b": []}
    lost: dict[str, list[int]] = {"a": [], "b": []}
    sent = {"a": 0, "b": 0}
    settings: dict[str, Any] = {"key": KEY, "probe_interval": 0.005, "stable_after": 0.001, "close_timeout": 0.1}
    async with (
        Peer("a", listen="127.0.0.1:0", reconnect_interval=0.02, **settings) as a,
        Peer("b", listen="127.0.0.1:0", reconnect_interval=0.02, **settings) as b,
        ChaosProxy(a.url, seed=7) as to_a,
        ChaosProxy(b.url, seed=8) as to_b,
    ):
        for one in (a, b):

            def on_gap(gap: PeerGap, name: str = one.name) -> None:
                if gap.direction == "received":
                    lost[name] += range(gap.first, gap.last + 1)

            one.on(Fill, lambda fill, sender, name=one.name: got[name].append(int(fill.order)))
            one.on(PeerGap, on_gap)
        a.dial(to_b.url, "b")
        b.dial(to_a.url, "a")
        await a.joined("b", 5)
        await b.joined("a", 5)
        to_a.kill_randomly(10_000)
        to_b.kill_randomly(10_000)

        def send() -> None:
            for one, other in ((a, b), (b, a)):
                sent[other.name] += one.broadcast(Fill(str(sent[other.name] + 1)))

        async with asyncio.timeout(15):
            while to_a.kills + to_b.kills < 10:
                send()
                await asyncio.sleep(0)
            to_a.clear()
            to_b.clear()
            while any(not one or one[-1] != sent[name] for name, one in got.items()):
                send()
                await asyncio.sleep(0.002)
    for name in ("a", "b"):
        assert sorted(got[name] + lost[name]) == list(range(1, sent[name] + 1))
        assert got[name] == sorted(got[name])


async def test_late_request_over_a_slow_way_times_out_and_nothing_hangs() -> None:
    async with (
        Peer("guard", listen="127.0.0.1:0", key=KEY) as guard,
        ChaosProxy(guard.url) as proxy,
        Peer("momentum", peers={"guard": proxy.url}, key=KEY) as momentum,
    ):
        guard.answer(MayTrade)(lambda asked, sender: Verdict(True))
        await momentum.joined("guard", 5)
        proxy.latency(0.05)
        with pytest.raises(RequestTimeout):
            await momentum.request("guard", MayTrade(1.0), timeout=0.01)
        await until(lambda: momentum.links["guard"].late_answers == 1)
