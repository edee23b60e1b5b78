"""This library: two peers, and for comparison a client and a server, both ends of each in the process under test."""

from benches._payload import PriceUpdate, cycle
from benches._subject import RoundTripCallback, Run
from websocket_utils import Message, WebSocketClient, WebSocketServer
from websocket_utils.peer import Peer

KEY = b"sixteen bytes, or more of them"


class MayTrade(Message):
    """What a strategy asks before each order."""

    symbol: str
    quantity: float


class Verdict(Message):
    """What it is answered."""

    is_allowed: bool


QUESTION = MayTrade("SOL-USDC", 12.5)
ANSWER = Verdict(True)


async def pair(run: Run) -> None:
    """A client and a server, one typed message in flight, answered from inside the callbacks."""
    message = cycle(PriceUpdate)[0]
    trips: RoundTripCallback

    def received(update: PriceUpdate) -> None:
        if update == message:
            trips.received()

    async with (
        WebSocketServer.bind("127.0.0.1:0") as server,
        WebSocketClient.connect(server.url, reconnect=False) as client,
    ):
        server.on(PriceUpdate, lambda connection, update: connection.send(update))
        client.on(PriceUpdate, received)
        trips = RoundTripCallback(run, lambda: client.send(message))
        trips.begin()
        await trips.finished


async def peers(run: Run) -> None:
    """The same between two peers."""
    message = cycle(PriceUpdate)[0]
    trips: RoundTripCallback

    def received(update: PriceUpdate, _: str) -> None:
        if update == message:
            trips.received()

    async with (
        Peer("guard", listen="127.0.0.1:0", key=KEY) as guard,
        Peer("momentum", peers={"guard": guard.url}, key=KEY) as momentum,
    ):
        guard.on(PriceUpdate, lambda update, sender: guard.send(sender, update))
        momentum.on(PriceUpdate, received)
        await momentum.joined("guard")
        trips = RoundTripCallback(run, lambda: momentum.send("guard", message))
        trips.begin()
        await trips.finished


async def pair_await(run: Run) -> None:
    """A question and its answer between a client and a server, awaited; nothing tells them from others."""
    async with (
        WebSocketServer.bind("127.0.0.1:0") as server,
        WebSocketClient.connect(server.url, reconnect=False) as client,
    ):
        server.on(MayTrade, lambda connection, _: connection.send(ANSWER))

        async def trip() -> None:
            client.send(QUESTION)
            if await client.receive(Verdict) != ANSWER:
                raise RuntimeError("the answer differs")

        await run.round_trips(trip)


async def peers_request(run: Run) -> None:
    """A request between two peers: with a number, a deadline and a timer."""
    async with (
        Peer("guard", listen="127.0.0.1:0", key=KEY) as guard,
        Peer("momentum", peers={"guard": guard.url}, key=KEY) as momentum,
    ):
        guard.answer(MayTrade)(lambda _, __: ANSWER)
        await momentum.joined("guard")

        async def trip() -> None:
            if await momentum.request("guard", QUESTION, timeout=1.0, of=Verdict) != ANSWER:
                raise RuntimeError("the answer differs")

        await run.round_trips(trip)
