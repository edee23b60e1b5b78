"""One message in flight: what a lone order waits."""

from benches._results import Bar, Bench, Side

OURS = "websocket_utils"

BENCHES = (
    Bench(
        name="round_trip",
        title="Round trip, one message in flight",
        kind="round_trip",
        method=(
            "A bare echo server sends each message back. The next message goes out when the last is here: from inside "
            "the callback where the library has callbacks, else from a coroutine that awaits send and receive in turn. "
            "Payload in and out is the same raw 122 bytes for every side but the typed ones."
        ),
        metrics=("p50_us", "p99_us", "cpu_ns"),
        sides=(
            Side(
                name="websocket_utils callback", module="websocket_utils_client", scenario="round_trip_on", needs=OURS
            ),
            Side(
                name="websocket_utils await", module="websocket_utils_client", scenario="round_trip_await", needs=OURS
            ),
            Side(
                name="websocket_utils callback, typed",
                module="websocket_utils_client",
                scenario="round_trip_on_typed",
                needs=OURS,
            ),
            Side(name="picows callback", module="picows_core", scenario="round_trip", needs="picows"),
            Side(
                name="picows callback, typed with msgspec",
                module="picows_core",
                scenario="round_trip_typed",
                needs="picows",
            ),
            Side(name="picows.websockets await", module="picows_websockets", scenario="round_trip", needs="picows"),
            Side(name="aiohttp await", module="aiohttp_ws", scenario="round_trip", needs="aiohttp"),
            Side(name="websockets await", module="websockets_asyncio", scenario="round_trip", needs="websockets"),
            Side(name="nautilus_trader await", module="nautilus", scenario="round_trip", needs="nautilus_trader"),
        ),
        bars=(
            Bar(
                scenario="a lone `send` (one per turn): round trip p50",
                text="<= 1.0x picows",
                ours="websocket_utils callback",
                peer="picows callback",
                metric="p50_us",
                at_most=1.0,
            ),
        ),
    ),
)
