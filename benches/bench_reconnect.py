"""A connection that is reset, and a server that is up: how long a strategy is blind."""

from benches._results import Bar, Bench, Side

OURS = "websocket_utils"

BENCHES = (
    Bench(
        name="reconnect",
        title="A clean drop to live again, server up",
        kind="reconnect",
        method=(
            "A bare server streams a message each millisecond, the first one right behind its handshake, and resets "
            "the TCP connection after 100 ms; 100 times in each round. Measured is the time from the reset, on the "
            "server's clock, to the first message of the next connection in the strategy's hands, on the same clock. "
            "Settings are the defaults, but for `stable_after=0.05` of ours: connections that live for less "
            "than its 5 s would count as failures, which are waited after."
        ),
        metrics=("p50_ms", "p99_ms"),
        messages=100,
        sides=(
            Side(name="websocket_utils", module="websocket_utils_outages", scenario="reconnect", needs=OURS),
            Side(
                name="picows.websockets, `async for` over `connect`",
                module="picows_websockets",
                scenario="reconnect",
                needs="picows",
            ),
            Side(
                name="websockets, `async for` over `connect`",
                module="websockets_asyncio",
                scenario="reconnect",
                needs="websockets",
            ),
            Side(name="nautilus_trader", module="nautilus", scenario="reconnect", needs="nautilus_trader"),
        ),
        bars=(
            Bar(
                scenario="clean drop to live again on loopback, p50",
                text="<= 2 ms",
                ours="websocket_utils",
                metric="p50_ms",
                at_most=2.0,
            ),
            Bar(
                scenario="clean drop to live again on loopback, p99",
                text="<= 10 ms",
                ours="websocket_utils",
                metric="p99_ms",
                at_most=10.0,
            ),
        ),
    ),
)
