"""A client that sends typed messages, one call each."""

from benches._results import Bar, Bench, Side

BENCHES = (
    Bench(
        name="send",
        title="Send, one connection, tight loop",
        kind="send",
        method=(
            "The client sends prepared typed messages, one call per message, and heeds backpressure as its library "
            "gives it. The sink checks every payload; the rate is the sink's, from its first to its last message. CPU "
            "is measured from the first call until the sink has all."
        ),
        metrics=("rate", "cpu_ns"),
        sides=(
            Side(
                name="websocket_utils send",
                module="websocket_utils_client",
                scenario="send",
                needs="websocket_utils",
                guess=1_000_000,
            ),
            Side(
                name="websocket_utils await send",
                module="websocket_utils_client",
                scenario="send_awaited",
                needs="websocket_utils",
                guess=1_000_000,
            ),
            Side(name="picows + msgspec", module="picows_core", scenario="send", needs="picows", guess=500_000),
            Side(
                name="picows.websockets + msgspec",
                module="picows_websockets",
                scenario="send",
                needs="picows",
                guess=400_000,
            ),
            Side(name="aiohttp + msgspec", module="aiohttp_ws", scenario="send", needs="aiohttp", guess=400_000),
            Side(
                name="websockets + msgspec",
                module="websockets_asyncio",
                scenario="send",
                needs="websockets",
                guess=100_000,
            ),
            Side(
                name="nautilus_trader + msgspec",
                module="nautilus",
                scenario="send",
                needs="nautilus_trader",
                guess=20_000,
            ),
        ),
        bars=(
            Bar(
                scenario="client `send(msg)` in a tight loop, each call one message",
                text=">= 4x the msgs/s of picows `send` + msgspec encode",
                ours="websocket_utils send",
                peer="picows + msgspec",
                metric="rate",
                at_least=4.0,
            ),
        ),
    ),
)
