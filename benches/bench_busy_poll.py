"""One message in flight, on a loop that sleeps and on one that does not."""

from benches._results import Bar, Bench, Side

OURS = "websocket_utils"

BENCHES = (
    Bench(
        name="busy_poll",
        title="Round trip with busy polling",
        kind="round_trip",
        method=(
            "As the round trip above, answered from inside the callback, with `busy_poll` off and on. The echo server "
            "looks at its socket without a pause in both cases and has a core of its own, so that what differs is "
            "whether our loop sleeps. The CPU time of a loop that never sleeps is the time that passes: one whole core "
            "while there is traffic. The bare sockets have no library and no event loop above them: what the "
            "kernel takes for two messages."
        ),
        metrics=("p50_us", "p99_us", "cpu_ns"),
        sides=(
            Side(name="websocket_utils", module="websocket_utils_client", scenario="round_trip_on", needs=OURS),
            Side(
                name="websocket_utils, busy_poll",
                module="websocket_utils_client",
                scenario="round_trip_busy",
                needs=OURS,
            ),
            Side(name="bare socket, asleep in epoll", module="bare_trips", scenario="sleeping", needs="msgspec"),
            Side(
                name="bare socket, asks epoll without a pause",
                module="bare_trips",
                scenario="spinning",
                needs="msgspec",
            ),
        ),
        bars=(
            Bar(
                scenario="a lone message with `busy_poll`: round trip p50",
                text="<= 0.50x our blocking mode",
                ours="websocket_utils, busy_poll",
                peer="websocket_utils",
                metric="p50_us",
                at_most=0.5,
            ),
        ),
    ),
)
