"""Two servers of one stream, of which one dies: what a strategy notices of it."""

from benches._results import Bar, Bench, Side

OURS = "websocket_utils"

BENCHES = (
    Bench(
        name="standby",
        title="Promotion of a standby",
        kind="standby",
        method=(
            "Two bare servers stream the same numbered messages, one each millisecond. One of them is killed (its "
            "connection is reset) at a random moment, then the other, and so on, 60 times in each round; the client "
            '(`mode="standby"`, `key=("channel", "sequence")`) reads `events()`. Each message says its number and when '
            "it was due. The gap is how much longer two messages of the stream were apart at the strategy than they "
            "were due: the worst of the five waits around a promotion. Other guests of the machine have a part in it. "
            "`gap_ns` is what `Promoted` says, from the moment in which the client noticed the loss."
        ),
        metrics=("lost", "duplicated", "gap_p50_us", "gap_p99_us", "promotion_p99_us", "takeover_p50_us"),
        messages=60,
        sides=(Side(name="websocket_utils", module="websocket_utils_outages", scenario="standby", needs=OURS),),
        bars=(
            Bar(
                scenario="standby promotion in a stream of 1 message/ms: lost",
                text="0",
                ours="websocket_utils",
                metric="lost",
                at_most=0,
            ),
            Bar(
                scenario="standby promotion in a stream of 1 message/ms: duplicated",
                text="0",
                ours="websocket_utils",
                metric="duplicated",
                at_most=0,
            ),
            Bar(
                scenario="standby promotion in a stream of 1 message/ms: gap at the strategy, p99",
                text="<= 1 ms",
                ours="websocket_utils",
                metric="gap_p99_us",
                at_most=1000,
            ),
            Bar(
                scenario="standby promotion in a stream of 1 message/ms: from the loss to the promotion, p99",
                text="<= 1 ms",
                ours="websocket_utils",
                metric="promotion_p99_us",
                at_most=1000,
            ),
        ),
    ),
)
