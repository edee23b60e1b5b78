"""A client that receives typed messages as fast as they come."""

from benches._results import Bar, Bench, Side

OURS = "websocket_utils"
PLAIN = ("receive_batches", "receive_on", "receive_messages")

BENCHES: tuple[Bench, ...] = (
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


def _watched(way: str, scenario: str) -> Side:
    return Side(
        name=f"websocket_utils {way}",
        module="websocket_utils_client",
        scenario=scenario,
        needs=OURS,
        method="events",
        guess=1_500_000,
    )


def _no_slower(way: str, plain: str) -> Bar:
    return Bar(
        scenario=f"receive, {way}",
        text=f"<= 1.05x the CPU of {plain} alone",
        ours=f"websocket_utils {way}",
        peer=f"websocket_utils {plain}",
        metric="cpu_ns",
        at_most=1.05,
    )


BENCHES += (
    Bench(
        name="receive_watched",
        title="Receive, with all that watches over it",
        kind="receive",
        method=(
            "As above. Watched is a client whose channel goes stale after 2 s without a message of its class "
            "(`stale_after`) and which pings each second; its events are told in the stream (`events`), or the time of "
            "its read comes with each message (`with_timestamps`). A reader of events asks each for its class; so "
            "does the one of messages that it is compared with."
        ),
        metrics=("cpu_ns", "rate"),
        sides=(
            *(side for side in BENCHES[0].sides if side.scenario in PLAIN),
            _watched("messages, class asked for", "receive_messages_looked_at"),
            _watched("batches, watched", "receive_batches_watched"),
            _watched("on, watched", "receive_on_watched"),
            _watched("messages, watched", "receive_messages_watched"),
            _watched("messages, watched, with timestamps", "receive_timestamps"),
            _watched("events, watched", "receive_events"),
        ),
        bars=(
            _no_slower("batches, watched", "batches"),
            _no_slower("on, watched", "on"),
            _no_slower("messages, watched", "messages"),
            _no_slower("events, watched", "messages, class asked for"),
        ),
    ),
)
