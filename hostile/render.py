"""Render docs/RELIABILITY.md from `hostile/results/*.json`: `python hostile/render.py [--check]`.

With `--check` it tells whether the file is as it would be written.
"""

import sys
from pathlib import Path

# Run as a script, the folder of this file is on the path in place of the one above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benches._results import ROOT

from hostile._edge_parts import edge_parts
from hostile._edge_results import EdgeResult
from hostile._results import (
    BAR_KIB,
    DECODE_DRIFT_KIB,
    DIALS_FIRST_MINUTE,
    DIALS_FIRST_SECOND,
    DRIFT_KIB,
    HERD_RATIO,
    STORM_DRIFT_KIB,
    AttackResult,
    CodecResult,
    DialRow,
    DrainResult,
    FuzzResult,
    HerdResult,
    HerdRow,
    LedgerResult,
    MutationResult,
    Outcome,
    RecoveryResult,
    ReferenceResult,
    Side,
    SoakResult,
    StormResult,
    load,
)
from hostile._server_parts import drain_parts, recovery_parts, soak_parts
from hostile._tables import number, table, where, word

REPORT = ROOT / "docs" / "RELIABILITY.md"
HEAD = """\
# Reliability

What a peer that means harm costs this library, measured: `make hostile`, `make mutate`, `make fuzz`,
`make differential-codec`, `make references` and `make herd` run it all
again on any Linux. Rendered by `python hostile/render.py` from `hostile/results/*.json`; nothing here is typed by hand.
What each threat is, and which test holds our answer to it, stands in [THREAT_MODEL.md](../THREAT_MODEL.md)."""
ATTACKS = """\
- Each attack meets a fresh server in a process of its own, with default settings but for those that its row names, and
  a handler that sends back whatever comes.
- The peer is a plain socket in another process. It floods for at most four seconds or 500 MB, whichever is first.
- Growth is that of the server's resident memory over what it held before the attack, its connections included. The peak
  is the kernel's own mark (`VmHWM`, begun anew before each attack), so that none is missed; the kernel counts in steps
  of up to 256 KiB. The kernel's own buffers of the sockets are not in it.
- "Kept" is the growth that is left once the peer is gone, mostly one spare block of at most 2 MiB that a process has.
- After each attack a peer that keeps to the protocol is served, and the event loop's exception handler was never
  called; a row where that is not so says it."""
MUTATIONS = """\
Valid opening handshakes and streams of frames, to which something happened: bits flipped, bytes cut out, doubled or put
in, lines shuffled, frames with any opcode, any flags and any length, noise marked as compressed; sent in pieces, ended
by a reset at any moment or waited for. The random numbers are seeded: a run can be repeated. Bars: no call of the event
loop's exception handler, less than {drift} MiB more memory at the end than after a tenth of the connections, no
connection left open whose peer is gone, and a peer that keeps to the protocol is served at the end."""


FUZZ = """\
libFuzzer looks for inputs for which one of these is not true, under the address sanitizer and with every overflow
checked (`fuzz/src`): however a stream is cut, the same events come of it; memory stays in its bounds; no message is
over its limit; what was received can be sent on, and what our compressor made comes out as it was; no head is read
differently for being cut. Inputs that once failed, and one for each kind of frame and head, are seeds that every test
run repeats (`fuzz/seeds`)."""
DIFFERENTIAL = """\
`make differential` holds the same code to others that share nothing with it, on many times as much input as a test
run: frames to wsproto and to a model of RFC 6455 section 5.4, UTF-8 to CPython, permessage-deflate to zlib, masks to a
plain loop, and every reading of a stream to other ways of cutting it."""

CODEC = """\
Random types of every shape that messages may have, random values of them in many spellings, and random mutations of
those, decoded by ours and by the judge, strict and not: the same value, to the sign of a zero and to what the garbage
collector follows, or an error in both; and what is decoded is encoded to the same bytes. About a quarter of the cases
are accepted. `make differential-codec SEED={seed}` repeats the run; `make test` has a bounded one, with another seed
each time."""
PROTOBUF = """\
Random classes whose messages Protocol Buffers can hold, random messages of them in Google's classes, and mutations of
their bytes (fields twice, in parts, in another order, unknown, packed or not, numbers in more bytes than they need,
bytes changed without sense): the same value or an error in both, where a class asks for more than the format does too;
and what ours writes of a value, Google's library reads as that value.
`make differential-codec SEED={seed} ARGS="--format protobuf"` repeats the run; `make test` has a bounded one."""
REFERENCES = """\
Payloads of types of every shape, valid and invalid ones in turn: what is counted before and after are the references to
objects that values share (classes, members of enums, defaults, names of fields, small numbers) and the interpreter's
blocks of memory. Bars: fewer than 60 of either, which come and go with its own work, and less than {drift} KiB of
resident memory over all."""
DIALS = """\
The server accepts each connection, sends a message and ends it at once, for a minute of virtual time; dials and
handshakes take none of it. Each close code has {runs} runs, one of them with the least waits that chance can give and
one with the longest; the most dials of any count. Bars: {second} in the first second, {minute} in the first minute."""
HERD = """\
Clients that all lose a good connection at once, to a server that is away for a while, in virtual time: what is counted
is how many are back in each 100 ms, from the first to the last. Bar: the fullest of them holds at most {ratio:g} times
the mean. Back at once (0 s) means within the 10 ms of the first retry, all of them: that is what gets one client back
soon, and a server with crowds wants `first_jitter` longer. From half a second on the waits are spread, but they grow
from 50 ms: who comes back while most of them are still short meets a crowd whose stragglers wait up to
`reconnect_interval`, and the mean is taken over those too."""

LEDGER = """\
Numbered messages go both ways through a proxy that ends connections at random moments and carries fewer bytes than are
sent ({messages} each way, {losses} connections lost, seed {seed}). A fifth of the client's may expire, some have keys,
and what is sent while down is bounded. At the end every accepted message has ended in one way, which the counters and
what `send` returned agree on, awaited; what reached the server was written or unknown; the order was kept, also from
one connection to the next; nothing came twice, nothing is missing without a `Gap`, and nothing was delivered that was
sent after `close()` was called. `make ledger` runs it."""
STORM = """\
One connection after the other is lost right behind its first message, {cycles} times. Memory is compared with what it
was after a tenth of them, and may drift by {drift} KiB; descriptors and tasks may not grow. `make storm` runs it."""


def report(
    attacks: AttackResult | None,
    mutations: MutationResult | None,
    fuzz: FuzzResult | None = None,
    codec: CodecResult | None = None,
    references: ReferenceResult | None = None,
    protobuf: CodecResult | None = None,
    herd: HerdResult | None = None,
    ledger: LedgerResult | None = None,
    storm: StormResult | None = None,
    soak: SoakResult | None = None,
    drain: DrainResult | None = None,
    recovery: RecoveryResult | None = None,
    edge: EdgeResult | None = None,
) -> str:
    """Return docs/RELIABILITY.md."""
    parts = [HEAD]
    if attacks is not None:
        parts += _attack_parts(attacks)
    if mutations is not None:
        parts += _mutation_parts(mutations)
    if herd is not None:
        parts += _herd_parts(herd)
    if ledger is not None:
        parts += _ledger_parts(ledger)
    if storm is not None:
        parts += _storm_parts(storm)
    if soak is not None:
        parts += soak_parts(soak)
    if drain is not None:
        parts += drain_parts(drain)
    if recovery is not None:
        parts += recovery_parts(recovery)
    if edge is not None:
        parts += edge_parts(edge)
    if fuzz is not None:
        parts += _fuzz_parts(fuzz)
    if codec is not None:
        parts += _codec_parts(codec, "msgspec", CODEC)
    if protobuf is not None:
        parts += _codec_parts(protobuf, "Google's Protocol Buffers", PROTOBUF)
    if references is not None:
        parts += _reference_parts(references)
    return "\n\n".join(parts) + "\n"


def _attack_parts(result: AttackResult) -> list[str]:
    over = [outcome for outcome in result.attacks if not outcome.met]
    verdict = (
        f"Every one of {len(result.attacks)} attacks stays below {number(BAR_KIB)} KiB of growth."
        if not over
        else f"{len(over)} of {len(result.attacks)} attacks miss the bar of {number(BAR_KIB)} KiB."
    )
    limit = f"Messages may have {number(result.max_message_size)} bytes here (`max_message_size`)."
    parts = [
        "## One hostile peer",
        f"{verdict} {limit}",
        ATTACKS,
        table(
            ("what the peer does", "bytes sent", "peak growth, KiB", "kept, KiB", "CPU ms", "how it ends", "s", ""),
            [_attack_row(outcome) for outcome in result.attacks],
            right=(1, 2, 3, 4, 6),
        ),
    ]
    if result.left_out:
        parts.append(f"Not measured: {'; '.join(result.left_out)}.")
    return [*parts, where(result)]


def _attack_row(outcome: Outcome) -> tuple[str, ...]:
    settings = ", ".join(f"`{name}={value}`" for name, value in outcome.settings.items())
    verdict = word(outcome.met)
    if outcome.loop_errors:
        verdict += f", {outcome.loop_errors} errors in the event loop"
    if not outcome.served:
        verdict += ", nobody served afterwards"
    return (
        outcome.title + (f" ({settings})" if settings else ""),
        number(outcome.sent),
        f"**{number(outcome.peak_kib)}**",
        number(outcome.kept_kib),
        number(outcome.cpu_ms),
        outcome.how,
        f"{outcome.seconds:.1f}",
        verdict,
    )


def _mutation_parts(result: MutationResult) -> list[str]:
    return [
        "## Mutated connections",
        MUTATIONS.format(drift=DRIFT_KIB // 1024),
        table(
            (
                "under attack",
                "connections",
                "opened",
                "MB",
                "loop errors",
                "memory drift, KiB",
                "left open",
                "honest peer served",
                "",
            ),
            [_mutation_row(side) for side in result.sides],
            right=(1, 2, 3, 4, 5, 6),
        ),
        *(
            f"How the {side.role}'s connections ended: "
            + ", ".join(
                f"{how} {number(count)}" for how, count in sorted(side.endings.items(), key=lambda item: -item[1])
            )
            + f" (seed {side.seed}, {number(side.seconds)} s)."
            for side in result.sides
        ),
        where(result),
    ]


def _mutation_row(side: Side) -> tuple[str, ...]:
    return (
        side.role,
        number(side.connections),
        number(side.opened),
        number(side.sent / 1e6),
        f"**{side.loop_errors}**",
        f"**{number(side.drift_kib)}**",
        f"**{side.left}**",
        "yes" if side.served else "no",
        word(side.met),
    )


def _herd_parts(result: HerdResult) -> list[str]:
    runs = min(row.runs for row in result.dials)
    return [
        "## Reconnecting",
        DIALS.format(runs=number(runs), second=DIALS_FIRST_SECOND, minute=DIALS_FIRST_MINUTE),
        table(
            ("close code", "dials in the first second", "in the first minute", "the client", ""),
            [_dial_row(row) for row in result.dials],
            right=(1, 2),
        ),
        HERD.format(ratio=HERD_RATIO),
        table(
            (
                *("`reconnect_interval`", "away, s", "clients", "dials", "100 ms bins", "fullest", "times the mean"),
                *("median back after, s", "last, s", ""),
            ),
            [_herd_row(row) for row in result.crowds],
            right=range(9),
        ),
        where(result),
    ]


def _ledger_parts(result: LedgerResult) -> list[str]:
    told = result.told
    ends = ("written", "dropped", "expired", "unknown")
    return [
        "## The ledger",
        LEDGER.format(messages=number(result.messages), losses=number(result.losses), seed=result.seed),
        table(
            ("", "accepted", *ends, ""),
            [
                (
                    "counted",
                    number(result.accepted),
                    *(number(getattr(result, end)) for end in ends),
                    word(result.met),
                ),
                ("told by `send`", "", *(number(told.get(end, 0)) for end in ends), ""),
            ],
            right=range(1, 6),
        ),
        table(
            (
                "reached the server",
                "neither written nor unknown",
                "reached the client",
                "reordered",
                "repeated",
                "late",
            ),
            [
                tuple(
                    number(value)
                    for value in (
                        *(result.arrived, result.arrived_untold, result.received),
                        *(result.reordered, result.repeated, result.late),
                    )
                )
            ],
            right=range(6),
        ),
        where(result),
    ]


def _storm_parts(result: StormResult) -> list[str]:
    return [
        "## A storm of reconnects",
        STORM.format(cycles=number(result.cycles), drift=number(STORM_DRIFT_KIB)),
        table(
            ("reconnects", "seconds", "median us", "memory, KiB", "descriptors", "tasks", ""),
            [
                (
                    *(number(result.reconnects), number(result.seconds), number(result.median_us)),
                    *(
                        f"**{value:+}**"
                        for value in (result.end_kib - result.warm_kib, result.descriptors, result.tasks)
                    ),
                    word(result.met),
                )
            ],
            right=range(6),
        ),
        where(result),
    ]


def _dial_row(row: DialRow) -> tuple[str, ...]:
    return (row.title, *(f"**{value}**" for value in (row.first_second, row.first_minute)), row.how, word(row.met))


def _herd_row(row: HerdRow) -> tuple[str, ...]:
    return (
        *(f"{value:g}" for value in (row.interval, row.downtime)),
        *(number(value) for value in (row.clients, row.dials, row.bins, row.fullest)),
        f"**{row.ratio:.1f}**",
        *(f"{value:.2f}" for value in (row.median_s, row.last_s)),
        word(row.met),
    )


def _fuzz_parts(result: FuzzResult) -> list[str]:
    return [
        "## Fuzzing and comparison",
        FUZZ,
        table(
            ("target", "s", "inputs run", "edges reached", "features", "corpus", "crashes or hangs"),
            [
                (
                    one.name,
                    *(number(value) for value in (one.seconds, one.runs, one.coverage, one.features, one.corpus)),
                    "**found**" if one.failed else "**none**",
                )
                for one in result.targets
            ],
            right=(1, 2, 3, 4, 5),
        ),
        DIFFERENTIAL,
        where(result),
    ]


def _codec_parts(result: CodecResult, judge: str, text: str) -> list[str]:
    cells = (
        str(result.seed),
        ", ".join(result.formats),
        *(number(value) for value in (result.cases, result.types, result.accepted, result.refused)),
        f"{number(result.compiled)} of {number(result.decoders)}",
        number(result.seconds),
        f"**{result.differences or 'none'}**",
    )
    head = ("seed", "formats", "cases", "types", "accepted", "refused", "decoders with a plan", "s", "differences")
    return [
        f"## The codec against {judge}",
        text.format(seed=result.seed),
        table(head, [cells], right=(0, 2, 3, 4, 5, 6, 7)),
        where(result),
    ]


def _reference_parts(result: ReferenceResult) -> list[str]:
    total = sum(shape.decodes for shape in result.shapes)
    return [
        "## What decodes leave behind",
        REFERENCES.format(drift=number(DECODE_DRIFT_KIB)),
        table(
            ("decoded", "decodes", "of those refused", "references kept", "blocks kept", ""),
            [
                (
                    shape.name,
                    *(number(value) for value in (shape.decodes, shape.refused)),
                    *(f"**{value}**" for value in (shape.references, shape.blocks)),
                    word(shape.flat),
                )
                for shape in result.shapes
            ],
            right=(1, 2, 3, 4),
        ),
        f"{number(total)} decodes in {', '.join(result.formats)}; "
        f"memory grew by **{number(result.grown_kib)} KiB**: {word(result.met)}.",
        where(result),
    ]


def main(arguments: list[str]) -> int:
    """Write the file, or with `--check` tell whether it is as it would be written."""
    text = report(
        load(AttackResult, "attacks"),
        load(MutationResult, "mutations"),
        load(FuzzResult, "fuzz"),
        load(CodecResult, "codec"),
        load(ReferenceResult, "references"),
        load(CodecResult, "codec_protobuf"),
        load(HerdResult, "herd"),
        load(LedgerResult, "ledger"),
        load(StormResult, "storm"),
        load(SoakResult, "soak"),
        load(DrainResult, "drain"),
        load(RecoveryResult, "recovery"),
        load(EdgeResult, "edge"),
    )
    if arguments == ["--check"]:
        if REPORT.exists() and REPORT.read_text(encoding="utf-8") == text:
            return 0
        print(f"{REPORT.relative_to(ROOT)} is not what hostile/render.py renders: run it", file=sys.stderr)
        return 1
    if arguments:
        print("usage: python hostile/render.py [--check]", file=sys.stderr)
        return 2
    REPORT.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
