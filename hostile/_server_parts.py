"""Sections of docs/RELIABILITY.md about the broadcast server."""

from hostile._results import DRAIN_LATE_MS, RECOVERY_SECONDS, SOAK_DRIFT_KIB, DrainResult, RecoveryResult, SoakResult
from hostile._tables import number, table, where, word

SOAK = """\
For {hours} hours a server publishes to channels of every policy; {readers} clients read to the end, some slowly;
others came and went ({churned}), or subscribed and never read ({stalled}); every half second one connection was cut
({kills}). At the end every number of every channel has come once to each reader or was told as left out; of channels
whose history covers the outages nothing is missing; the server has counted as many deliveries as the receipts of
publishing named subscribers, as many connections as were opened, and holds none. Memory is compared between the second
tenth and the last fifth of the time, and may drift by {drift} KiB. `make soak` runs it (seed {seed})."""

DRAIN = """\
A server with {clients} clients and traffic is drained: deadline {deadline:g} s, window {window:g} s. Of the clients
that read, a third speaks no subprotocol, a third leaves when it is told to, and a third waits for its close; {silent}
read nothing, with megabytes waiting for each. Bar: it ends at most {late:g} ms behind the deadline, and whoever reads
is not cut. The latest turn is how late a timer of the server's event loop was at worst, its traffic included.
`make drain` runs it."""
RECOVERY = """\
`websocket-utils feed --workers 2` publishes {rate} messages a second to each of {clients} clients, and workers are
killed (SIGKILL): one, whose clients go to the other, or both, and their clients wait for the first that is started
again, with dials at most a second apart (`reconnect_interval`). Bar: the last client is back within {seconds:g} s of
there being a worker to go to, told that nothing is missing, and of all messages none is lost and none comes twice.
`make recovery` runs it."""


def drain_parts(result: DrainResult) -> list[str]:
    text = DRAIN.format(
        clients=number(result.clients),
        silent=result.silent,
        deadline=result.deadline,
        window=result.window,
        late=DRAIN_LATE_MS,
    )
    rows = [
        (
            f"**{1000 * (one.seconds - result.deadline):+.0f}**",
            number(one.latest_turn_ms),
            *(number(value) for value in (one.told, one.left, one.closed, one.cut)),
        )
        for one in result.runs
    ]
    head = ("ms behind the deadline", "latest turn, ms", "told", "left by themselves", "closed", "cut though they read")
    return [
        "## A drain",
        text,
        table(head, rows, right=range(6)),
        f"**{result.worst_ms:+.0f} ms** at worst: {word(result.met)}.",
        where(result),
    ]


def recovery_parts(result: RecoveryResult) -> list[str]:
    head = (
        *("killed", "lost their connection", "a worker again after, s", "last one back, s after the kill"),
        *("s after there was one", "lost", "twice", "not proven", ""),
    )
    rows = [
        (
            f"{row.killed} of 2",
            number(row.back),
            f"{row.restart_s:.2f}",
            f"{row.since_kill_s:.2f}",
            f"**{row.since_served_s:.2f}**",
            *(f"**{value}**" for value in (row.lost, row.doubled, row.unproven)),
            word(row.met),
        )
        for row in result.rows
    ]
    clients = number(max(row.clients for row in result.rows))
    return [
        "## Workers that are killed",
        RECOVERY.format(rate=result.rate, clients=clients, seconds=RECOVERY_SECONDS),
        table(head, rows, right=range(1, 8)),
        where(result),
    ]


def soak_parts(result: SoakResult) -> list[str]:
    return [
        "## A soak of the broadcast server",
        SOAK.format(
            hours=f"{result.seconds / 3600:.1f}",
            readers=result.readers,
            churned=number(result.churned),
            stalled=number(result.stalled),
            kills=number(result.kills),
            drift=number(SOAK_DRIFT_KIB),
            seed=result.seed,
        ),
        table(
            ("published", "deliveries", "conflated", "dropped", "brought to readers", "told as left out", ""),
            [
                (
                    *(number(value) for value in (result.published, result.deliveries, result.conflated)),
                    *(number(value) for value in (result.dropped, result.received, result.left_out)),
                    word(result.met),
                )
            ],
            right=range(6),
        ),
        table(
            (
                "reconnects",
                "repeated",
                "missing untold",
                "numbers that don't add up",
                "gaps in what is kept",
                "memory, KiB",
            ),
            [
                (
                    number(result.reconnects),
                    *(
                        f"**{value}**"
                        for value in (result.repeated, result.untold, result.unbalanced, result.kept_gaps)
                    ),
                    f"**{result.late_kib - result.warm_kib:+}**",
                )
            ],
            right=range(6),
        ),
        where(result),
    ]
