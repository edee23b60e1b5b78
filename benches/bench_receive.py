"""A client that receives typed messages as fast as they come."""

from benches._results import Bar, Bench, Side

OURS = "websocket_utils"

BENCHES = (
    Bench(
        name="receive",
        title="Receive, one connection, saturated",
        kind="receive",
        method=(
            "The feed writes the messages in blocks of nearly 64 KiB as fast as the socket takes them. The client "
            "decodes each into a typed object and adds up one field; the sum is compared with what was sent. The side "
            "with columns makes no objects: NumPy adds up a column for each read. "
            "Measured from the frame that starts the feed to the close of the connection."
        ),
        metrics=("cpu_ns", "rate"),
        sides=(
            Side(
                name="websocket_utils batches",
                module="websocket_utils_client",
                scenario="receive_batches",
                needs=OURS,
                guess=2_000_000,
            ),
            Side(
                name="websocket_utils columns",
                module="websocket_utils_client",
                scenario="receive_columns",
                needs=OURS,
                method="columns",
                guess=3_000_000,
            ),
            Side(
                name="websocket_utils on",
                module="websocket_utils_client",
                scenario="receive_on",
                needs=OURS,
                guess=1_500_000,
            ),
            Side(
                name="websocket_utils messages",
                module="websocket_utils_client",
                scenario="receive_messages",
                needs=OURS,
                guess=1_500_000,
            ),
            Side(name="picows + msgspec", module="picows_core", scenario="receive", needs="picows", guess=1_000_000),
            Side(
                name="picows + msgspec, type of frame checked",
                module="picows_core",
                scenario="receive_checked",
                needs="picows",
                guess=1_000_000,
            ),
            Side(
                name="picows, payload not read",
                module="picows_core",
                scenario="receive_nothing",
                needs="picows",
                guess=2_000_000,
            ),
            Side(
                name="picows.websockets + msgspec",
                module="picows_websockets",
                scenario="receive",
                needs="picows",
                guess=1_000_000,
            ),
            Side(name="aiohttp + msgspec", module="aiohttp_ws", scenario="receive", needs="aiohttp", guess=500_000),
            Side(
                name="websockets + msgspec",
                module="websockets_asyncio",
                scenario="receive",
                needs="websockets",
                guess=200_000,
            ),
            Side(
                name="nautilus_trader + msgspec",
                module="nautilus",
                scenario="receive",
                needs="nautilus_trader",
                guess=100_000,
            ),
        ),
        bars=(
            Bar(
                scenario="receive, `batches(PriceUpdate)` + a loop that reads a field",
                text="<= 0.30x the CPU of picows + msgspec",
                ours="websocket_utils batches",
                peer="picows + msgspec",
                metric="cpu_ns",
                at_most=0.30,
            ),
            Bar(
                scenario="receive, `batches(PriceUpdate)` + a loop that reads a field, with the codec made whole",
                text="<= 0.25x the CPU of picows + msgspec",
                ours="websocket_utils batches",
                peer="picows + msgspec",
                metric="cpu_ns",
                at_most=0.25,
            ),
            Bar(
                scenario="receive, `columns(PriceUpdate)` + the sum of a column",
                text="<= 0.13x the CPU of picows + msgspec",
                ours="websocket_utils columns",
                peer="picows + msgspec",
                metric="cpu_ns",
                at_most=0.13,
            ),
            Bar(
                scenario="receive, `on(PriceUpdate, f)` per message",
                text="<= 0.40x the CPU of picows + msgspec",
                ours="websocket_utils on",
                peer="picows + msgspec",
                metric="cpu_ns",
                at_most=0.40,
            ),
            Bar(
                scenario="receive, `async for ... in messages(PriceUpdate)`",
                text="<= 0.55x the CPU of picows.websockets + msgspec",
                ours="websocket_utils messages",
                peer="picows.websockets + msgspec",
                metric="cpu_ns",
                at_most=0.55,
            ),
        ),
    ),
)
