"""A client that receives messages and asks nothing of them: what frames alone cost, small ones and big ones."""

from benches._results import Bar, Bench, Side

OURS = "websocket_utils"

BENCHES = (
    Bench(
        name="receive_bare",
        title="Receive without decode, one connection, saturated",
        kind="receive",
        method=(
            "The feed writes binary messages of 122 bytes, which nobody reads. Ours: a client that handles a class of "
            "its own; each message is cut out of the stream, looked at to find nobody who handles it, and counted. "
            "picows: a callback for each frame that asks for its size. The number of messages is compared with what "
            "was sent. The bare side reads the same stream with `recv_into` on a blocking socket, and looks at nothing."
        ),
        metrics=("cpu_ns", "rate"),
        wire="small",
        sides=(
            Side(
                name="websocket_utils, nobody asks",
                module="websocket_utils_client",
                scenario="receive_bare",
                needs=OURS,
                guess=5_000_000,
            ),
            Side(
                name="picows, payload not read",
                module="picows_core",
                scenario="receive_nothing",
                needs="picows",
                guess=2_000_000,
            ),
            Side(
                name="bare recv_into, no frames", module="bare_reads", scenario="bare", needs="msgspec", guess=5_000_000
            ),
        ),
        bars=(
            Bar(
                scenario="framing of 122-byte messages, kernel included",
                text="<= 35 CPU ns/message",
                ours="websocket_utils, nobody asks",
                metric="cpu_ns",
                at_most=35,
            ),
        ),
    ),
    Bench(
        name="receive_big",
        title="Receive 64 KiB messages, one connection, saturated",
        kind="receive",
        method=(
            "The feed writes binary messages of 65 536 random bytes as fast as the socket takes them. Each side has "
            "every message as bytes and reads one of them; the sums are compared with what was sent. The bare side "
            "reads the same stream with `recv_into` on a blocking socket into one buffer of 64 KiB, looking at nothing."
        ),
        metrics=("mb_s", "cpu_ns"),
        per_write=1,
        wire="big",
        sides=(
            Side(
                name="websocket_utils batches",
                module="websocket_utils_client",
                scenario="receive_raw_batches",
                needs=OURS,
                guess=20_000,
            ),
            Side(
                name="websocket_utils on",
                module="websocket_utils_client",
                scenario="receive_raw_on",
                needs=OURS,
                guess=20_000,
            ),
            Side(name="bare recv_into, no frames", module="bare_reads", scenario="bare", needs="msgspec", guess=20_000),
            Side(name="picows", module="picows_core", scenario="receive_raw", needs="picows", guess=20_000),
            Side(
                name="picows.websockets",
                module="picows_websockets",
                scenario="receive_raw",
                needs="picows",
                guess=20_000,
            ),
            Side(name="aiohttp", module="aiohttp_ws", scenario="receive_raw", needs="aiohttp", guess=10_000),
            Side(
                name="websockets", module="websockets_asyncio", scenario="receive_raw", needs="websockets", guess=10_000
            ),
        ),
        bars=(
            Bar(
                scenario="64 KiB messages, bytes/s",
                text=">= 0.85x a bare `recv_into` loop",
                ours="websocket_utils batches",
                peer="bare recv_into, no frames",
                metric="mb_s",
                at_least=0.85,
            ),
            Bar(
                scenario="64 KiB messages, CPU",
                text="<= 1.15x a bare `recv_into` loop",
                ours="websocket_utils batches",
                peer="bare recv_into, no frames",
                metric="cpu_ns",
                at_most=1.15,
            ),
        ),
    ),
)
