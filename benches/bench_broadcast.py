"""A server that sends the same typed messages to ten clients, and to a thousand."""

import msgspec

from benches._results import Bar, Bench, Side

METHOD = (
    "{clients} bare sinks connect; the server sends prepared typed messages to all of them, {turn} per turn of its "
    "event loop, and never runs further ahead of the slowest sink than {window} messages. The sinks check every "
    "payload; the rate is theirs, in deliveries, from the first to the last. CPU is the server's, per delivery."
)
OURS = "websocket_utils broadcast"
PICOWS = "picows loop + msgspec"
PEERS = (PICOWS, "websockets broadcast + msgspec", "aiohttp loop + msgspec")
# In other languages, and run where they are installed: no bar compares with them. A broker is fed by requests, where
# libraries are called.
BROKER = Side(
    name="Centrifugo (Go), its own process, HTTP API",
    module="centrifugo",
    scenario="broadcast",
    needs="aiohttp",
    program="centrifugo",
    guess=2000,
)
UWEBSOCKETS = Side(
    name="uWebSockets (C++), socketify publish + msgspec",
    module="uwebsockets",
    scenario="broadcast",
    needs="socketify",
    guess=50_000,
)
BEST = "the deliveries/s of the best of picows' loop, websockets, aiohttp"


def _sides(guess: int) -> tuple[Side, ...]:
    return (
        Side(
            name=OURS,
            module="websocket_utils_server",
            scenario="broadcast",
            needs="websocket_utils",
            guess=guess,
        ),
        Side(name=PICOWS, module="picows_core", scenario="broadcast", needs="picows", guess=50_000),
        Side(
            name="picows.websockets broadcast + msgspec",
            module="picows_websockets",
            scenario="broadcast",
            needs="picows",
            guess=50_000,
        ),
        Side(name="bare send(2), no library", module="bare_sends", scenario="broadcast", needs="msgspec", guess=50_000),
        Side(name=PEERS[2], module="aiohttp_ws", scenario="broadcast", needs="aiohttp", guess=30_000),
        Side(
            name=PEERS[1],
            module="websockets_asyncio",
            scenario="broadcast",
            needs="websockets",
            guess=30_000,
        ),
    )


BENCHES = (
    Bench(
        name="broadcast_16",
        title="Broadcast to 10 clients, 16 messages a turn",
        kind="broadcast",
        method=METHOD.format(clients="Ten", turn="16 messages", window="8 192"),
        metrics=("rate", "cpu_ns"),
        clients=10,
        burst=16,
        sides=(*_sides(200_000), UWEBSOCKETS, BROKER),
        bars=(
            Bar(
                scenario="broadcast to 10 clients, 16 messages a turn",
                text=">= 6x the deliveries/s of picows' loop",
                ours=OURS,
                peer=PICOWS,
                metric="rate",
                at_least=6.0,
            ),
            Bar(
                scenario="broadcast to 10 clients, 16 messages a turn, against all",
                text=f">= 8x {BEST}",
                ours=OURS,
                best_of=PEERS,
                metric="rate",
                at_least=8.0,
            ),
        ),
    ),
    Bench(
        name="broadcast_1",
        title="Broadcast to 10 clients, one message a turn",
        kind="broadcast",
        method=METHOD.format(clients="Ten", turn="one message", window="8 192"),
        metrics=("rate", "cpu_ns"),
        clients=10,
        burst=1,
        sides=(*_sides(50_000), UWEBSOCKETS, BROKER),
        bars=(
            Bar(
                scenario="broadcast to 10 clients, one message a turn",
                text=">= 1.3x the deliveries/s of picows' loop",
                ours=OURS,
                peer=PICOWS,
                metric="rate",
                at_least=1.3,
            ),
            Bar(
                scenario="broadcast to 10 clients, one message a turn, as issue 6 asks",
                text=">= 1.5x the deliveries/s of picows' loop",
                ours=OURS,
                peer=PICOWS,
                metric="rate",
                at_least=1.5,
            ),
        ),
    ),
    Bench(
        name="broadcast_1000",
        title="Broadcast to 1000 clients, 16 messages a turn",
        kind="broadcast",
        method=METHOD.format(clients="1000", turn="16 messages", window="256"),
        metrics=("rate", "cpu_ns"),
        clients=1000,
        burst=16,
        window=256,
        sides=tuple(msgspec.structs.replace(side, guess=256) for side in _sides(256)),
        bars=(
            Bar(
                scenario="broadcast to 1000 clients, 16 messages a turn",
                text=f">= 8x {BEST}",
                ours=OURS,
                best_of=PEERS,
                metric="rate",
                at_least=8.0,
            ),
        ),
    ),
)
