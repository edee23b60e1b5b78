"""One small message to thousands of clients, again and again: how far apart the first and the last of them get it."""

from benches._results import Bar, Bench, Side

OURS = "websocket_utils broadcast"
CLIENTS = 5000
PEERS = ("picows loop + msgspec", "websockets broadcast + msgspec", "aiohttp loop + msgspec")

BENCHES = (
    Bench(
        name="spread_5000",
        title=f"One message each 100 ms to {CLIENTS} clients",
        kind="spread",
        method=(
            f"{CLIENTS} bare sinks connect, in one thread that asks epoll which of them have something and takes the "
            "time of each read; the server is due to send a message of 122 bytes each 100 ms, 120 times in a round. "
            "First to last is the time from the first sink that has a message to the last one; due to last begins when "
            "it was due, whenever the server came to it. The first tenth is not counted. One more message is left in "
            "the kernel until all have it, and then read: the sinks' own part. A spread can't be shorter than that."
        ),
        metrics=("spread_p50_ms", "spread_p99_ms", "late_p99_ms", "sink_ms"),
        clients=CLIENTS,
        rate=10,
        messages=120,
        # A round of all sides takes more than a minute.
        tries=2,
        sides=(
            Side(name=OURS, module="websocket_utils_server", scenario="spread", needs="websocket_utils"),
            Side(name=PEERS[0], module="picows_core", scenario="spread", needs="picows"),
            Side(name=PEERS[1], module="websockets_asyncio", scenario="spread", needs="websockets"),
            Side(name=PEERS[2], module="aiohttp_ws", scenario="spread", needs="aiohttp"),
            Side(name="bare send(2), no library", module="bare_sends", scenario="spread", needs="msgspec"),
        ),
        bars=(
            Bar(
                scenario=f"one message each 100 ms to {CLIENTS} clients: first to last, p99",
                text="<= 0.4x the best of picows' loop, websockets, aiohttp",
                ours=OURS,
                best_of=PEERS,
                metric="spread_p99_ms",
                at_most=0.4,
            ),
        ),
    ),
)
