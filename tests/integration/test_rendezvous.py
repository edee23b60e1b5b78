"""Peers that find each other through a server."""

import asyncio

import pytest
from tests.support.peering import KEY, Fill, all_events
from tests.support.waiting import until

from websocket_utils import ConfigError, WebSocketClient, WebSocketServer
from websocket_utils.authentication import Credentials, Grant, Identity
from websocket_utils.peer import Peer, PeerJoined, Rendezvous, serve_rendezvous
from websocket_utils.peer._messages import PeerAnnouncement, PeerPlace, PeerRoster


async def test_peers_find_each_other_and_one_of_each_pair_dials() -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        meeting = serve_rendezvous(server)
        place = Rendezvous(server.url)
        async with (
            Peer("a", listen="127.0.0.1:0", rendezvous=place, key=KEY) as a,
            Peer("b", listen="127.0.0.1:0", rendezvous=place, key=KEY) as b,
            # Nobody can dial this one.
            Peer("c", rendezvous=place, key=KEY) as c,
        ):
            for one, others in ((a, "bc"), (b, "ac"), (c, "ab")):
                for other in others:
                    await one.joined(other, 5)
            assert sorted(meeting.names) == ["a", "b", "c"]
            assert a.links["b"].is_own_dial
            assert c.links["a"].is_own_dial
            assert c.links["b"].is_own_dial
            assert c.broadcast(Fill("o")) == 2
        events = [event for one in (a, b, c) for event in await all_events(one)]
        assert sum(isinstance(event, PeerJoined) for event in events) == 6


async def test_rendezvous_that_is_gone_takes_no_link_down() -> None:
    server = await WebSocketServer.bind("127.0.0.1:0")
    serve_rendezvous(server)
    place = Rendezvous(server.url, lease=0.5)
    async with (
        Peer("a", listen="127.0.0.1:0", rendezvous=place, key=KEY) as a,
        Peer("b", listen="127.0.0.1:0", rendezvous=place, key=KEY) as b,
    ):
        await a.joined("b", 5)
        await b.joined("a", 5)
        await server.close()
        got: list[Fill] = []
        b.on(Fill, lambda fill, sender: got.append(fill))
        a.send("b", Fill("o"))
        await until(lambda: got)
        assert a.links["b"].connections == 1


async def test_rendezvous_that_comes_later_is_found() -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        host, port = server.local_addr
    place = Rendezvous(f"ws://{host}:{port}", lease=0.1)
    async with (
        Peer("a", listen="127.0.0.1:0", rendezvous=place, key=KEY) as a,
        Peer("b", listen="127.0.0.1:0", rendezvous=place, key=KEY),
    ):
        await asyncio.sleep(0)
        async with WebSocketServer.bind(f"{host}:{port}") as server:
            serve_rendezvous(server)
            await a.joined("b", 5)


async def test_peer_that_ends_is_forgotten_with_its_lease() -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        meeting = serve_rendezvous(server)
        async with WebSocketClient.connect(server.url, recover=True) as watcher:
            await watcher.subscribe("peers")
            async with Peer("a", listen="127.0.0.1:0", rendezvous=Rendezvous(server.url, lease=0.1), key=KEY):
                roster = await watcher.receive(PeerRoster)
                assert roster is not None
                assert [one.name for one in roster.places] == ["a"]
            roster = await watcher.receive(PeerRoster)
            assert roster is not None
            assert roster.places == []
        assert meeting.names == []


async def test_url_of_another_machine_is_not_dialled_without_a_key() -> None:
    async with WebSocketServer.bind("127.0.0.1:0") as server:
        serve_rendezvous(server)
        async with (
            WebSocketClient.connect(server.url, recover=True) as liar,
            Peer("a", listen="127.0.0.1:0", rendezvous=Rendezvous(server.url)) as a,
        ):
            await liar.subscribe("peers")
            liar.send(PeerAnnouncement("peers", PeerPlace("far", 1, "ws://192.0.2.1:1"), 10.0))
            liar.on(PeerRoster, lambda _: None)
            await until(lambda: "far" in a._discovery._roster)
            assert a._discovery._found == {}


async def test_announcement_of_who_may_not_publish_is_not_taken() -> None:
    reader = Identity("reader", (Grant("peers"),))
    writer = Identity("writer", (Grant("peers", {"subscribe", "publish"}),))

    def judge(credentials: Credentials) -> Identity:
        return writer if credentials.token == "writer" else reader

    async with WebSocketServer.bind("127.0.0.1:0", authenticate=judge) as server:
        meeting = serve_rendezvous(server)
        async with (
            Peer("a", listen="127.0.0.1:0", rendezvous=Rendezvous(server.url, token="writer"), key=KEY) as a,
            Peer("b", listen="127.0.0.1:0", rendezvous=Rendezvous(server.url, token="reader"), key=KEY) as b,
        ):
            # The one that may only read learns of the other, and dials nobody whose turn it is not.
            await until(lambda: "a" in b._discovery._roster)
            assert meeting.names == ["a"]
            assert a.links == b.links == {}


@pytest.mark.parametrize(
    ("place", "fault"),
    [
        (Rendezvous("ws://127.0.0.1:1", lease=0.0), "lease"),
        (Rendezvous("ws://127.0.0.1:1", lease=1e9), "lease"),
        (Rendezvous("ws://127.0.0.1:1", advertise="http://x"), "advertise"),
    ],
)
async def test_rendezvous_that_makes_no_sense_is_refused(place: Rendezvous, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        Peer("a", rendezvous=place)
