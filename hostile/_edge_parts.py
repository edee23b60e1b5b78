"""The section of docs/RELIABILITY.md about publishing to the edge."""

import textwrap

from hostile._edge_results import EDGE_RATE_KEPT, EdgeResult
from hostile._tables import number, table, where, word

EDGE = """\
`EdgePublisher` publishes {rate} updates a second over {channels} channels to the Workers of `edge/cloudflare` on real
workerd, for {seconds:.0f} s. After a third of that the object is reset, which cuts all its sockets; after two thirds
workerd is killed (SIGKILL) and started again on the same disk and port{idle}. A reader in another process has all
channels, and recovers. Each update carries its own number. Bar: at least {kept:.0%} of the rate, and the books of
publisher, object and reader agree: all is acknowledged, kept, numbered and read, once and in order.
`make stream` runs it."""
_IDLE = "; at last nothing is sent for {seconds:g} s, in which the object is evicted, and then for another second"


def edge_parts(result: EdgeResult) -> list[str]:
    """Return the section."""
    idle = _IDLE.format(seconds=result.idle_s) if result.idle_s else ""
    text = EDGE.format(
        rate=number(result.rate),
        channels=result.channels,
        seconds=result.published / result.achieved_rate,
        idle=idle,
        kept=EDGE_RATE_KEPT,
    )
    books = (
        *(number(value) for value in (result.published, result.acknowledged, result.kept, result.numbered)),
        number(result.received),
        *(f"**{value}**" for value in (result.lost, result.doubled, result.disordered, result.gaps)),
        word(result.met),
    )
    work = (
        f"**{number(result.achieved_rate)}**",
        *(number(value) for value in (result.batches, result.resent, result.reconnects, result.reader_reconnects)),
        f"{result.cpu_us:.1f}",
        *(" / ".join(f"{value:.0f}" for value in pair) for pair in (result.rtt_ms, result.latency_ms)),
        " / ".join(f"{value:.0f}" for value in result.reader_ms),
    )
    return [
        "## Publishing to the edge",
        textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False),
        table(
            (
                *("published", "acknowledged", "had by the object", "numbered by it", "read"),
                *("lost", "twice", "out of order", "gaps told", ""),
            ),
            [books],
            right=range(9),
        ),
        table(
            (
                *("updates a second", "batches", "sent again", "reconnects", "of the reader"),
                *("CPU of the publisher's process an update, us", "batch to acknowledgement, ms, p50 / p99"),
                *("`publish` to acknowledgement", "`publish` to the reader"),
            ),
            [work],
            right=range(9),
        ),
        "The last two have all outages in them.",
        where(result),
    ]
