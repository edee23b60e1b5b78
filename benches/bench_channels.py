"""Many channels with few subscribers each."""

from benches._results import Bar, Bench, Side

OURS = "websocket_utils channel(name).publish"
BY_NAME = "websocket_utils publish, by name"
PEERS = ("picows loop + msgspec", "websockets broadcast + msgspec", "aiohttp loop + msgspec")
CHANNELS, CLIENTS = 10_000, 1000


def _bench(name: str, burst: int, bars: tuple[Bar, ...] = ()) -> Bench:
    return Bench(
        name=name,
        title=f"{CHANNELS} channels of 10 subscribers, {burst} publications a turn",
        kind="channels",
        method=(
            f"{CLIENTS} bare sinks connect and subscribe to 100 channels each, so that no two of {CHANNELS} channels "
            "have the same ten subscribers. The server publishes one new message on each channel, in an order that is "
            f"none, and again; {burst} in each turn of its event loop, which is about {burst // 100} for each client. "
            "It never runs further ahead of the slowest sink than 500 messages. The sinks check each delivery: its "
            "channel, that they are subscribed to it, its turn on that channel, and its text. Peers have a set of "
            "connections for each name, as their users do. The rate is in deliveries; CPU is the server's, for each."
        ),
        metrics=("rate", "cpu_ns"),
        clients=CLIENTS,
        channels=CHANNELS,
        burst=burst,
        sides=(
            Side(name=OURS, module="websocket_utils_channels", scenario="by_handle", needs="websocket_utils"),
            Side(name=BY_NAME, module="websocket_utils_channels", scenario="by_name", needs="websocket_utils"),
            Side(name=PEERS[0], module="picows_core", scenario="channels", needs="picows"),
            Side(name=PEERS[1], module="websockets_asyncio", scenario="channels", needs="websockets"),
            Side(name=PEERS[2], module="aiohttp_ws", scenario="channels", needs="aiohttp"),
        ),
        bars=bars,
    )


BENCHES = (
    _bench(
        "channels_10000",
        CHANNELS,
        (
            Bar(
                scenario=f"{CHANNELS} channels of 10 subscribers over {CLIENTS} clients, uniform publishing",
                text=">= 5x the deliveries/s of the best of picows' loop, websockets, aiohttp",
                ours=OURS,
                best_of=PEERS,
                metric="rate",
                at_least=5.0,
            ),
        ),
    ),
    # One message for each client and turn: a system call each, whoever makes it.
    _bench("channels_10000_few", 100),
)
