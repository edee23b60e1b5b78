"""A server that sends the same typed messages to ten clients."""

from benches._results import Bar, Bench, Side

METHOD = (
    "Ten bare sinks connect; the server sends prepared typed messages to all of them, {turn} per turn of its event "
    "loop, and never runs further ahead of the slowest sink than 8 192 messages. The sinks check every payload; the "
    "rate is theirs, in deliveries, from the first to the last. CPU is the server's, per delivery."
)


def _sides(guess: int) -> tuple[Side, ...]:
    return (
        Side(
            name="websocket_utils broadcast",
            module="websocket_utils_server",
            scenario="broadcast",
            needs="websocket_utils",
            guess=guess,
        ),
        Side(name="picows loop + msgspec", module="picows_core", scenario="broadcast", needs="picows", guess=50_000),
        Side(
            name="picows.websockets broadcast + msgspec",
            module="picows_websockets",
            scenario="broadcast",
            needs="picows",
            guess=50_000,
        ),
        Side(name="bare send(2), no library", module="bare_sends", scenario="broadcast", needs="msgspec", guess=50_000),
        Side(name="aiohttp loop + msgspec", module="aiohttp_ws", scenario="broadcast", needs="aiohttp", guess=30_000),
        Side(
            name="websockets broadcast + msgspec",
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
        method=METHOD.format(turn="16 messages"),
        metrics=("rate", "cpu_ns"),
        clients=10,
        burst=16,
        sides=_sides(200_000),
        bars=(
            Bar(
                scenario="broadcast to 10 clients, 16 messages a turn",
                text=">= 6x the deliveries/s of picows' loop",
                ours="websocket_utils broadcast",
                peer="picows loop + msgspec",
                metric="rate",
                at_least=6.0,
            ),
        ),
    ),
    Bench(
        name="broadcast_1",
        title="Broadcast to 10 clients, one message a turn",
        kind="broadcast",
        method=METHOD.format(turn="one message"),
        metrics=("rate", "cpu_ns"),
        clients=10,
        burst=1,
        sides=_sides(50_000),
        bars=(
            Bar(
                scenario="broadcast to 10 clients, one message a turn",
                text=">= 1.3x the deliveries/s of picows' loop",
                ours="websocket_utils broadcast",
                peer="picows loop + msgspec",
                metric="rate",
                at_least=1.3,
            ),
        ),
    ),
)
