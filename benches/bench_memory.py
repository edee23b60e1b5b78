"""Resident memory of a server per idle connection."""

from benches._results import Bar, Bench, Side

BENCHES = (
    Bench(
        name="memory",
        title="Memory per idle server connection",
        kind="idle",
        method=(
            "After 50 connections that pay for what a process makes once, 1 000 more connect, do the handshake and "
            "stay silent. Resident memory of the server after a collection, less that before, divided by 1 000. The "
            "kernel's own memory for the sockets is not in it. Every library has its own defaults."
        ),
        metrics=("kib_per_connection",),
        clients=1000,
        sides=(
            Side(name="websocket_utils", module="websocket_utils_server", scenario="idle", needs="websocket_utils"),
            Side(name="picows", module="picows_core", scenario="idle", needs="picows"),
            Side(name="picows.websockets", module="picows_websockets", scenario="idle", needs="picows"),
            Side(name="aiohttp", module="aiohttp_ws", scenario="idle", needs="aiohttp"),
            Side(name="websockets", module="websockets_asyncio", scenario="idle", needs="websockets"),
        ),
        bars=(
            Bar(
                scenario="memory per idle server connection",
                text="<= 12 KiB resident",
                ours="websocket_utils",
                metric="kib_per_connection",
                at_most=12,
            ),
        ),
    ),
    Bench(
        name="memory_subscriber",
        title="Memory per idle subscriber",
        kind="idle",
        method=(
            "As `Memory per idle server connection`, but each client has subscribed to a channel of its own, which "
            "nobody else has, and is silent then; ours have agreed to the subprotocol `websocket-utils.json` and "
            "were told so. Channels of the peers are sets of connections by name."
        ),
        metrics=("kib_per_connection",),
        clients=1000,
        channel="prices:",
        subprotocol="websocket-utils.json",
        sides=(
            Side(
                name="websocket_utils",
                module="websocket_utils_channels",
                scenario="idle_subscribed",
                needs="websocket_utils",
            ),
            Side(name="picows", module="picows_core", scenario="idle_subscribed", needs="picows"),
            Side(name="aiohttp", module="aiohttp_ws", scenario="idle_subscribed", needs="aiohttp"),
            Side(name="websockets", module="websockets_asyncio", scenario="idle_subscribed", needs="websockets"),
        ),
        bars=(
            Bar(
                scenario="memory per idle subscriber",
                text="<= 12 KiB resident",
                ours="websocket_utils",
                metric="kib_per_connection",
                at_most=12,
            ),
        ),
    ),
    Bench(
        name="memory_after_message",
        title="Memory per server connection after a message of 1 MiB",
        kind="idle",
        method=(
            "As `Memory per idle server connection`, but each of 200 clients sends one binary message of 1 MiB, which "
            "a handler gets as bytes and lets go. Resident memory is read one second after the last of them."
        ),
        metrics=("kib_per_connection",),
        clients=200,
        message_bytes=1 << 20,
        settle=1.0,
        sides=(
            Side(
                name="websocket_utils",
                module="websocket_utils_server",
                scenario="after_message",
                needs="websocket_utils",
            ),
            Side(name="picows", module="picows_core", scenario="after_message", needs="picows"),
            Side(name="picows.websockets", module="picows_websockets", scenario="after_message", needs="picows"),
            Side(name="websockets", module="websockets_asyncio", scenario="after_message", needs="websockets"),
        ),
        bars=(
            Bar(
                scenario="memory per server connection, 1 s after a message of 1 MiB",
                text="<= 16 KiB resident",
                ours="websocket_utils",
                metric="kib_per_connection",
                at_most=16,
            ),
        ),
    ),
)
