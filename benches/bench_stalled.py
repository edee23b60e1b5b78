"""A client that does not read, among many who do."""

from benches._many import BUDGET
from benches._results import Bar, Bench, Side

CLIENTS = 1000
MESSAGES = 500
BUDGET_KIB = MESSAGES * BUDGET // 1024
POLICIES = ("disconnect", "drop_oldest", "conflate")


def _name(policy: str, *, is_stalled: bool) -> str:
    return f"{policy}, one stalled" if is_stalled else f"{policy}, all read"


BENCHES = (
    Bench(
        name="stalled",
        title=f"A stalled client among {CLIENTS}",
        kind="stalled",
        method=(
            f"{CLIENTS} bare sinks subscribe to one channel, on which 100 messages of 2.5 KiB are due each second, for "
            "five seconds. Where one is stalled, it has been sent as much beforehand as the kernel takes for it, and "
            "reads nothing until the others have all; then it reads, and what it gets is held to what the policy "
            "of the channel promises. Latency is that of all who read, from the time a message was due, without the "
            "first tenth. Memory is the greatest resident memory of the server during the run, less that before. "
            f"A client may be {BUDGET_KIB} KiB behind before it is cut."
        ),
        metrics=("p50_us", "p99_us", "p999_us", "grown_kib"),
        clients=CLIENTS,
        rate=100,
        messages=MESSAGES,
        tries=2,
        sides=tuple(
            Side(
                name=_name(policy, is_stalled=is_stalled),
                module="websocket_utils_channels",
                scenario=f"stalled_{policy}",
                needs="websocket_utils",
                is_stalled=is_stalled,
            )
            for policy in POLICIES
            for is_stalled in (False, True)
        ),
        bars=tuple(
            bar
            for policy in POLICIES
            for bar in (
                Bar(
                    scenario=f"a stalled client among {CLIENTS} ({policy}): p99 of the others",
                    text="<= 1.05x that without it",
                    ours=_name(policy, is_stalled=True),
                    peer=_name(policy, is_stalled=False),
                    metric="p99_us",
                    at_most=1.05,
                ),
                Bar(
                    scenario=f"a stalled client among {CLIENTS} ({policy}): memory grown by it",
                    text=f"<= one send budget, {BUDGET_KIB} KiB",
                    ours=_name(policy, is_stalled=True),
                    beyond=_name(policy, is_stalled=False),
                    metric="grown_kib",
                    at_most=BUDGET_KIB,
                ),
            )
        ),
    ),
)
