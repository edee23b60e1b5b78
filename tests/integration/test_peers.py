"""Peers over real sockets: links, messages, requests."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.integration.conftest import Certificates
from tests.support.peering import KEY, Fill, MayTrade, Verdict, all_events, next_event
from tests.support.waiting import until

from websocket_utils.exceptions import (
    ConfigError,
    ConnectionClosed,
    EncodeError,
    PeerLost,
    PeerNameTaken,
    PeerNotProven,
    PeerUnavailable,
    RequestFailed,
    RequestsFull,
    RequestTimeout,
)
from websocket_utils.peer import Peer, PeerDialFailed, PeerJoined, PeerLeft
from websocket_utils.peer._links import PeerCodec


@dataclass
class Way:
    """How a pair is linked."""

    listen: str = "127.0.0.1:0"
    listen_ssl: ssl.SSLContext | None = None
    dial_ssl: ssl.SSLContext | None = None
    codec: PeerCodec = "json"
    key: bytes | None = KEY


@pytest.fixture(params=["tcp", "tls", "unix", "msgpack", "no key"])
def way(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[Way]:
    if request.param == "tls":
        yield Way(listen_ssl=certificates.server, dial_ssl=certificates.client)
    elif request.param == "unix":
        with TemporaryDirectory(prefix="ws") as folder:
            yield Way(listen=f"unix:{Path(folder) / 'guard.sock'}", key=None)
    elif request.param == "msgpack":
        yield Way(codec="msgpack")
    else:
        yield Way(key=KEY if request.param == "tcp" else None)


async def test_peers_exchange_messages_and_requests(way: Way) -> None:
    filled: list[tuple[Fill, str]] = []
    async with (
        Peer("guard", listen=way.listen, listen_ssl=way.listen_ssl, codec=way.codec, key=way.key) as guard,
        Peer("momentum", peers={"guard": guard.url}, dial_ssl=way.dial_ssl, codec=way.codec, key=way.key) as momentum,
    ):
        guard.on(Fill, lambda fill, sender: filled.append((fill, sender)))

        @guard.answer(MayTrade)
        def may_trade(asked: MayTrade, sender: str) -> Verdict:
            return Verdict(sender == "momentum" and asked.quantity < 10)

        @momentum.answer(MayTrade)
        async def never(asked: MayTrade, sender: str) -> Verdict:
            await asyncio.sleep(0)
            return Verdict(False)

        await momentum.joined("guard", 5)
        await guard.joined("momentum", 5)
        await momentum.send("guard", Fill("o-1", 2.5))
        assert momentum.broadcast(Fill("o-2")) == 1
        assert await momentum.request("guard", MayTrade(5.0), timeout=5, of=Verdict) == Verdict(True)
        assert await momentum.request("guard", MayTrade(50.0), timeout=5) == Verdict(False)
        assert await guard.request("momentum", MayTrade(1.0), timeout=5, of=Verdict) == Verdict(False)
        assert filled == [(Fill("o-1", 2.5), "momentum"), (Fill("o-2"), "momentum")]
        # Two messages, two requests and one answer; one request and two answers.
        ours, theirs = momentum.links["guard"], guard.links["momentum"]
        assert (ours.sent, ours.received) == (theirs.received, theirs.sent) == (5, 3)
        assert ours.is_own_dial
        assert not theirs.is_own_dial


async def test_messages_have_numbers_that_probes_do_not_take() -> None:
    async with (
        Peer("guard", listen="127.0.0.1:0", key=KEY, probe_interval=0.001) as guard,
        Peer("momentum", peers=[guard.url], key=KEY, probe_interval=0.001) as momentum,
    ):
        link = await momentum.joined("guard", 5)
        assert (link.sent, link.received) == (0, 0)
        await until(lambda: momentum.links["guard"].clock_offset is not None)
        link = momentum.links["guard"]
        assert link.round_trip_time is not None
        assert link.clock_offset is not None
        # One clock: what it is ahead of itself is the error alone.
        assert abs(link.clock_offset) <= link.round_trip_time / 2 + 1e-9
        await momentum.send("guard", Fill("o-1"))
        await until(lambda: guard.links["momentum"].received == 1)
        link = momentum.links["guard"]
        assert (link.sent, link.received) == (1, 0)


async def test_all_of_three_peers_get_a_broadcast() -> None:
    got: list[tuple[str, str]] = []
    async with (
        Peer("a", listen="127.0.0.1:0", key=KEY) as a,
        Peer("b", listen="127.0.0.1:0", peers=[a.url], key=KEY) as b,
        Peer("c", peers=[a.url, b.url], key=KEY) as c,
    ):
        for one in (a, b, c):
            one.on(Fill, lambda fill, sender, name=one.name: got.append((name, sender)))
        for one, others in ((a, "bc"), (b, "ac"), (c, "ab")):
            for other in others:
                await one.joined(other, 5)
        assert a.broadcast(Fill("o")) == b.broadcast(Fill("o")) == c.broadcast(Fill("o")) == 2
        await until(lambda: len(got) == 6)
        assert sorted(got) == [("a", "b"), ("a", "c"), ("b", "a"), ("b", "c"), ("c", "a"), ("c", "b")]


@pytest.mark.parametrize("named", [True, False])
async def test_both_dial_at_once_and_one_link_stands(unused_urls: list[str], named: bool) -> None:
    first, second = unused_urls
    async with (
        Peer("b", listen=first, peers={"a": f"ws://{second}"} if named else [f"ws://{second}"], key=KEY) as b,
        Peer("a", listen=second, peers={"b": f"ws://{first}"} if named else [f"ws://{first}"], key=KEY) as a,
    ):
        await a.joined("b", 5)
        await b.joined("a", 5)
        for number in range(5):
            a.send("b", Fill(str(number)))
            b.send("a", Fill(str(number)))
        await until(lambda: a.links["b"].received == b.links["a"].received == 5)
        assert a.links["b"].connections == b.links["a"].connections == 1
        assert a.links["b"].is_own_dial is not b.links["a"].is_own_dial
        # Each knows whom its URL leads to, and does not dial again while there is a link.
        await until(lambda: a._discovery._named[0][0].name == "b")
        await until(lambda: b._discovery._named[0][0].name == "a")
    events = await all_events(a) + await all_events(b)
    assert sum(isinstance(event, PeerJoined) for event in events) == 2


@pytest.fixture
def unused_urls() -> list[str]:
    """Two addresses that nobody listens on yet: each side has to know the other's before it is there."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        return [f"127.0.0.1:{listening.getsockname()[1]}" for listening in (one, two)]


# --- who is let in ---


async def test_peer_with_another_key_is_refused_on_both_sides() -> None:
    async with (
        Peer("guard", listen="127.0.0.1:0", key=KEY) as guard,
        Peer("momentum", peers={"guard": guard.url}, key=KEY[::-1]) as momentum,
    ):
        failed = await next_event(momentum, PeerDialFailed)
        assert isinstance(failed.error, PeerNotProven)
        with pytest.raises(TimeoutError) as caught:
            await momentum.joined("guard", 0.01)
        assert isinstance(caught.value.__cause__, PeerNotProven)
        assert guard.links == {}


async def test_listener_that_does_not_know_the_key_is_refused() -> None:
    """A stranger at the address of a peer: it takes any proof, and has none."""
    async with (
        Peer("guard", listen="127.0.0.1:0") as stranger,
        Peer("momentum", peers={"guard": stranger.url}, key=KEY) as momentum,
    ):
        failed = await next_event(momentum, PeerDialFailed)
        assert isinstance(failed.error, PeerNotProven)
        assert momentum.links == stranger.links == {}


async def test_key_of_each_peer_lets_only_that_one_in() -> None:
    keys = {"momentum": b"momentum's own key", "market": b"the market's own key"}
    async with (
        Peer("guard", listen="127.0.0.1:0", key=keys) as guard,
        Peer("momentum", peers={"guard": guard.url}, key=keys["momentum"]) as momentum,
        Peer("market", peers={"guard": guard.url}, key=keys["momentum"]) as market,
    ):
        await momentum.joined("guard", 5)
        failed = await next_event(market, PeerDialFailed)
        assert isinstance(failed.error, PeerNotProven)
        assert list(guard.links) == ["momentum"]


async def test_name_that_another_peer_has_is_refused() -> None:
    async with (
        Peer("guard", listen="127.0.0.1:0", key=KEY) as guard,
        Peer("momentum", peers={"guard": guard.url}, key=KEY) as first,
    ):
        await first.joined("guard", 5)
        async with Peer("momentum", peers={"guard": guard.url}, key=KEY) as second:
            failed = await next_event(second, PeerDialFailed)
            assert isinstance(failed.error, PeerNameTaken)
        assert guard.links["momentum"].is_up
        assert first.links["guard"].is_up


async def test_peer_of_another_name_than_was_expected_is_not_talked_to() -> None:
    async with (
        Peer("guard", listen="127.0.0.1:0", key=KEY) as guard,
        Peer("momentum", peers={"market": guard.url}, key=KEY) as momentum,
    ):
        failed = await next_event(momentum, PeerDialFailed)
        assert isinstance(failed.error, PeerNameTaken)
        assert "'market' was expected here, not 'guard'" in str(failed.error)
        assert guard.links == {}


async def test_peer_that_dials_itself_is_refused() -> None:
    async with Peer("guard", listen="127.0.0.1:0", key=KEY) as guard:
        guard.dial(guard.url)
        failed = await next_event(guard, PeerDialFailed)
        assert isinstance(failed.error, PeerNameTaken)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"listen": "0.0.0.0:0"}, "needs a key"),
        ({"peers": ["ws://10.0.0.2:1"]}, "needs a key"),
        ({"key": b"short"}, "at least 16 bytes"),
        ({"codec": "protobuf"}, "codec"),
        ({"max_requests": 0}, "max_requests"),
        ({"probe_interval": 0.0}, "probe_interval"),
        ({"listen": "nowhere"}, "listen"),
    ],
)
async def test_wrong_argument_is_told_before_anything_is_opened(arguments: dict[str, object], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        Peer("momentum", **arguments)  # type: ignore[arg-type]  # wrong on purpose


async def test_name_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="name"):
        Peer("a b")


# --- requests ---


async def test_error_of_a_handler_is_raised_at_the_asker(caplog: pytest.LogCaptureFixture) -> None:
    async with (
        Peer("guard", listen="127.0.0.1:0", key=KEY) as guard,
        Peer("momentum", peers={"guard": guard.url}, key=KEY) as momentum,
    ):
        await momentum.joined("guard", 5)
        with pytest.raises(RequestFailed) as caught:
            await momentum.request("guard", MayTrade(1.0), timeout=5)
        assert caught.value.kind == "unknown"

        @guard.answer(MayTrade)
        async def refuse(asked: MayTrade, sender: str) -> Verdict:
            if asked.quantity > 10:
                raise RequestFailed("guard", "limit", f"{asked.quantity:g} is over 10")
            raise ValueError("x" * 10_000)

        with pytest.raises(RequestFailed, match="ValueError") as caught:
            await momentum.request("guard", MayTrade(1.0), timeout=5)
        assert len(caught.value.reason) == 500
        caplog.clear()
        with pytest.raises(RequestFailed, match="limit: 50 is over 10") as caught:
            await momentum.request("guard", MayTrade(50.0), timeout=5)
        assert caught.value.kind == "limit"
        # A refusal in the handler's own words is no fault of the handler.
        assert not [
            record for record in caplog.records if record.levelno >= logging.WARNING and "over 10" in str(record)
        ]


async def test_answer_of_another_class_is_a_typed_error() -> None:
    async with (
        Peer("guard", listen="127.0.0.1:0", key=KEY) as guard,
        Peer("momentum", peers={"guard": guard.url}, key=KEY) as momentum,
    ):
        guard.answer(MayTrade)(lambda asked, sender: Fill("o"))
        await momentum.joined("guard", 5)
        with pytest.raises(RequestFailed) as caught:
            await momentum.request("guard", MayTrade(1.0), timeout=5, of=Verdict)
        assert caught.value.kind == "type"


async def test_request_without_an_answer_in_time_ends_and_the_late_answer_is_counted() -> None:
    release = asyncio.Event()
    async with (
        Peer("guard", listen="127.0.0.1:0", key=KEY) as guard,
        Peer("momentum", peers={"guard": guard.url}, key=KEY) as momentum,
    ):

        @guard.answer(MayTrade)
        async def slow(asked: MayTrade, sender: str) -> Verdict:
            # It is told to stop at the deadline, and answers all the same.
            try:
                await release.wait()
            except asyncio.CancelledError:
                return Verdict(True)
            return Verdict(False)

        await momentum.joined("guard", 5)
        with pytest.raises(RequestTimeout) as caught:
            await momentum.request("guard", MayTrade(1.0), timeout=0.02)
        assert isinstance(caught.value, TimeoutError)
        await until(lambda: momentum.links["guard"].late_answers == 1)
        assert momentum.links["guard"].requests_waiting == 0


async def test_deadline_travels_and_ends_the_handler() -> None:
    ended: list[str] = []
    async with (
        Peer("guard", listen="127.0.0.1:0", key=KEY) as guard,
        Peer("momentum", peers={"guard": guard.url}, key=KEY) as momentum,
    ):

        @guard.answer(MayTrade)
        async def slow(asked: MayTrade, sender: str) -> Verdict:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(sender)
            return Verdict(True)

        await momentum.joined("guard", 5)
        with pytest.raises((RequestTimeout, RequestFailed)):
            await momentum.request("guard", MayTrade(1.0), timeout=0.02)
        await until(lambda: ended == ["momentum"])


async def test_request_that_is_cancelled_waits_no_more() -> None:
    async with (
        Peer("guard", listen="127.0.0.1:0", key=KEY) as guard,
        Peer("momentum", peers={"guard": guard.url}, key=KEY) as momentum,
    ):
        asked: list[str] = []

        @guard.answer(MayTrade)
        async def slow(question: MayTrade, sender: str) -> Verdict:
            asked.append(sender)
            await asyncio.sleep(0.01)
            return Verdict(True)

        await momentum.joined("guard", 5)
        task = asyncio.create_task(momentum.request("guard", MayTrade(1.0), timeout=5))
        await until(lambda: asked)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert momentum.links["guard"].requests_waiting == 0
        await until(lambda: momentum.links["guard"].late_answers == 1)


async def test_requests_over_the_bound_are_refused_on_both_sides() -> None:
    release = asyncio.Event()
    async with (
        Peer("guard", listen="127.0.0.1:0", key=KEY, max_requests=2) as guard,
        Peer("momentum", peers={"guard": guard.url}, key=KEY, max_requests=3) as momentum,
    ):

        @guard.answer(MayTrade)
        async def slow(asked: MayTrade, sender: str) -> Verdict:
            await release.wait()
            return Verdict(True)

        await momentum.joined("guard", 5)
        tasks = [asyncio.create_task(momentum.request("guard", MayTrade(1.0), timeout=5)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(RequestsFull):
            await momentum.request("guard", MayTrade(1.0), timeout=5)
        with pytest.raises(RequestFailed) as caught:
            await tasks[2]
        assert caught.value.kind == "busy"
        release.set()
        assert await asyncio.gather(*tasks[:2]) == [Verdict(True)] * 2


async def test_requests_fail_at_once_when_the_link_is_lost() -> None:
    async with Peer("momentum", listen="127.0.0.1:0", key=KEY) as momentum:
        async with Peer("guard", peers={"momentum": momentum.url}, key=KEY) as guard:

            @guard.answer(MayTrade)
            async def never(asked: MayTrade, sender: str) -> Verdict:
                await asyncio.Event().wait()
                return Verdict(True)

            await momentum.joined("guard", 5)
            await guard.joined("momentum", 5)
            tasks = [asyncio.create_task(momentum.request("guard", MayTrade(1.0), timeout=60)) for _ in range(3)]
            await until(lambda: guard.links["momentum"].received == 3)
        for ended in await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5):
            assert isinstance(ended, PeerLost)
            assert isinstance(ended.__cause__, ConnectionClosed)
        left = await next_event(momentum, PeerLeft)
        assert left.name == "guard"
        with pytest.raises(PeerUnavailable):
            await momentum.request("guard", MayTrade(1.0), timeout=5)
        with pytest.raises(PeerUnavailable):
            momentum.send("guard", Fill("o"))
        assert momentum.broadcast(Fill("o")) == 0


async def test_own_end_fails_requests_too() -> None:
    async with Peer("guard", listen="127.0.0.1:0", key=KEY) as guard:
        guard.answer(MayTrade)(lambda asked, sender: asyncio.sleep(60))
        async with Peer("momentum", peers={"guard": guard.url}, key=KEY) as momentum:
            await momentum.joined("guard", 5)
            task = asyncio.create_task(momentum.request("guard", MayTrade(1.0), timeout=60))
            await until(lambda: guard.links["momentum"].received == 1)
        with pytest.raises(PeerLost):
            await task


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
async def test_request_without_a_deadline_is_none(seconds: float) -> None:
    async with Peer("momentum") as momentum:
        with pytest.raises(ValueError, match="timeout"):
            await momentum.request("guard", MayTrade(1.0), timeout=seconds)


async def test_message_without_a_form_is_refused_and_leaves_no_request_behind() -> None:
    async with (
        Peer("guard", listen="127.0.0.1:0", key=KEY) as guard,
        Peer("momentum", peers={"guard": guard.url}, key=KEY) as momentum,
    ):
        await momentum.joined("guard", 5)
        with pytest.raises(EncodeError):
            await momentum.request("guard", MayTrade(object()), timeout=5)  # type: ignore[arg-type]  # wrong on purpose
        with pytest.raises(TypeError):
            await momentum.request("guard", "text", timeout=5)
        assert momentum.links["guard"].requests_waiting == 0
        assert momentum.links["guard"].sent == 0


def test_two_answerers_of_one_class_are_refused() -> None:
    async def main() -> None:
        guard = Peer("guard")
        guard.answer(MayTrade)(lambda asked, sender: Verdict(True))
        with pytest.raises(ValueError, match="answered already"):
            guard.answer(MayTrade)(lambda asked, sender: Verdict(True))

    asyncio.run(main())
