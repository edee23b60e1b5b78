"""The rates and latencies that the first issue asks for, on an open-loop schedule."""

from benches._results import Bar, Bench, Side

METHOD = (
    "Each message carries the time at which it was due, not the time at which it left: a sender that falls behind "
    "shows it. Latency is taken where the message arrives, {where}, by the clock of all processes of a machine. "
    "The first tenth of a run is not counted. The sender looks at the clock all the time, so its CPU time says nothing."
)

BENCHES = (
    Bench(
        name="target_send",
        title="Send at 100 000 messages/s",
        kind="paced_send",
        method=METHOD.format(where="at the bare sink"),
        metrics=("rate", "p50_us", "p99_us", "p999_us"),
        rate=100_000,
        sides=(
            Side(
                name="websocket_utils send",
                module="websocket_utils_client",
                scenario="paced_send",
                needs="websocket_utils",
            ),
            Side(name="picows + msgspec", module="picows_core", scenario="paced_send", needs="picows"),
        ),
        bars=(
            Bar(
                scenario="the written targets: 100 000 msg/s send, rate kept",
                text=">= 99 000 msg/s",
                ours="websocket_utils send",
                metric="rate",
                at_least=99_000,
            ),
            Bar(
                scenario="the written targets: 100 000 msg/s send, p99",
                text="< 1 000 us",
                ours="websocket_utils send",
                metric="p99_us",
                at_most=1000,
            ),
        ),
    ),
    Bench(
        name="target_broadcast",
        title="50 000 broadcasts/s to 10 clients",
        kind="paced_broadcast",
        method=METHOD.format(where="at each of ten bare sinks"),
        metrics=("rate", "p50_us", "p99_us", "p999_us"),
        clients=10,
        rate=50_000,
        sides=(
            Side(
                name="websocket_utils broadcast",
                module="websocket_utils_server",
                scenario="paced_broadcast",
                needs="websocket_utils",
            ),
            Side(name="picows loop + msgspec", module="picows_core", scenario="paced_broadcast", needs="picows"),
        ),
        bars=(
            Bar(
                scenario="the written targets: 50 000 broadcasts/s to 10 clients, rate kept",
                text=">= 495 000 deliveries/s",
                ours="websocket_utils broadcast",
                metric="rate",
                at_least=495_000,
            ),
            Bar(
                scenario="the written targets: 50 000 broadcasts/s to 10 clients, p99",
                text="< 2 000 us",
                ours="websocket_utils broadcast",
                metric="p99_us",
                at_most=2000,
            ),
        ),
    ),
)
