"""Sections of docs/RELIABILITY.md about the broadcast server."""

from hostile._results import SOAK_DRIFT_KIB, SoakResult
from hostile._tables import number, table, where, word

SOAK = """\
For {hours} hours a server publishes to channels of every policy; {readers} clients read to the end, some slowly;
others came and went ({churned}), or subscribed and never read ({stalled}); every half second one connection was cut
({kills}). At the end every number of every channel has come once to each reader or was told as left out; of channels
whose history covers the outages nothing is missing; the server has counted as many deliveries as the receipts of
publishing named subscribers, as many connections as were opened, and holds none. Memory is compared between the second
tenth and the last fifth of the time, and may drift by {drift} KiB. `make soak` runs it (seed {seed})."""


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
