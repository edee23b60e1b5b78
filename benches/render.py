"""Render docs/BENCHMARKS.md and the facts of README.md from `benches/results/*.json`.

`python benches/render.py` writes both; with `--check` it tells whether they are as they would be written.
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

# Run as a script, the folder of this file is on the path in place of the one above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benches._harness import DISTURBED
from benches._results import (
    BENCHES,
    GAINS,
    MOST_SLOWER,
    ROOT,
    BenchResult,
    ComparedCase,
    Comparison,
    MicroResult,
    Ratio,
    SideResult,
    Verdict,
    Version,
    file_name,
    judge,
    load,
    load_comparison,
    load_micro,
)
from benches.profile_receive import PROFILES, WAYS

REPORT = ROOT / "docs" / "BENCHMARKS.md"
README = ROOT / "README.md"
# The cases of the micro-benches that others are compared with.
OURS = "websocket_utils"
# Why a bar is missed: `benches/notes/<bench>.md`, shown below the table of that bench.
NOTES = BENCHES / "notes"
FACTS = re.compile(r"(<!-- facts:begin -->\n).*?(<!-- facts:end -->)", re.DOTALL)
ORDER = (
    "receive",
    "receive_watched",
    "receive_bare",
    "receive_big",
    "receive_deflate",
    "send",
    "round_trip",
    "peer_round_trip",
    "busy_poll",
    "reconnect",
    "standby",
    "flapping",
    "flapping_drop",
    "broadcast_16",
    "broadcast_1000",
    "broadcast_1",
    "spread_5000",
    "channels_10000",
    "channels_10000_few",
    "broadcast_deflate_16",
    "broadcast_deflate_1",
    "target_send",
    "target_broadcast",
    "stalled",
    "memory",
    "memory_subscriber",
    "memory_after_message",
    "laserstream",
    "laserstream_slice",
)
# Heading, unit in running text, digits behind the point.
METRICS = {
    "cpu_ns": ("CPU ns/message", "CPU ns/message", 0),
    "rate": ("messages/s", "messages/s", 0),
    "mb_s": ("MB/s", "MB/s", 0),
    "p50_us": ("p50 us", "us p50", 1),
    "p99_us": ("p99 us", "us p99", 1),
    "p999_us": ("p99.9 us", "us p99.9", 1),
    "p50_ms": ("p50 ms", "ms p50", 2),
    "p99_ms": ("p99 ms", "ms p99", 2),
    "spread_p50_ms": ("first to last p50 ms", "ms p50", 2),
    "spread_p99_ms": ("first to last p99 ms", "ms p99", 2),
    "late_p99_ms": ("due to last p99 ms", "ms p99", 2),
    "sink_ms": ("sinks' own ms", "ms", 2),
    "grown_kib": ("memory grown, KiB", "KiB", 0),
    "lost": ("lost", "lost", 0),
    "duplicated": ("duplicated", "duplicated", 0),
    "gap_p50_us": ("gap p50 us", "us gap p50", 0),
    "gap_p99_us": ("gap p99 us", "us gap p99", 0),
    "promotion_p99_us": ("`gap_ns` p99 us", "us `gap_ns` p99", 0),
    "takeover_p50_us": ("death to `Promoted` p50 us", "us from death to `Promoted` p50", 0),
    "dials": ("dials in the first second", "dials in the first second", 0),
    "kib_per_connection": ("KiB/connection", "KiB/connection", 1),
}
METHOD = f"""\
- Every side runs in its own process, pinned to one core, in turn with the others, round after round; each round begins
  with another side. The first round finds the rate of each side and is not counted.
- The other end is a bare load generator and sink in Rust (`benches/load`), pinned to another core. It is no WebSocket
  library, and it checks what arrives: every payload, or the sum of a field. A run with a wrong result is an error.
- Messages are a cycle of 64 different `PriceUpdate`s of 122 bytes JSON.
- Centrifugo, a broker in Go, and uWebSockets, in C++ and called by way of socketify, have a row where they were
  installed. The broker is a process of its own, on the same core as the one that publishes by its HTTP API, and its CPU
  time is counted in. No bar compares with either.
- CPU time is user and system time of the process under test, the kernel's work for its sockets included, divided by the
  number of messages.
- A run counts when a fixed calculation right before and right after it took at most {DISTURBED} times the best time
  that any run saw: neighbours on a shared host can make a core slower by more than half. Other runs were repeated.
- Garbage collection is on, settings are the defaults of each library, the event loop is uvloop.
- Shown are medians, and the least and the greatest value behind them. Trust ratios more than absolute values.
"""
MICRO_METHOD = f"""\
- Calls from Python under pytest-benchmark, without sockets: never to be compared with the figures above. The result of
  a call is checked before it is timed, and its disposal is timed with it.
- Each round is a process of its own, pinned to one core, and runs every case once; the sides of a row follow each
  other, each round in another order. A case's figure in a round is the median of some hundreds of samples.
- What runs is one thread that never waits: nanoseconds of the clock are nanoseconds of CPU.
- A case's round counts when the fixed calculation right before and right after it was not disturbed, as above
  ({DISTURBED} times the best); rounds were repeated until enough counted.
- Shown are the median of the rounds, the least and the greatest of them, the least of all samples, and the time of
  this library's case as a multiple of each: below 1 it is the faster one. "No class" makes dicts and lists.
"""
# How much slower a version may be, in words.
GRANTED = f"{(MOST_SLOWER - 1) * 100:.0f} %"
COMPARISON_METHOD = f"""\
- Each version has its own release build in its own venv, with the same dependencies. The code of the benches and the
  load generator are the present ones for both.
- A round runs the version before, this one, and the version before once more (the control), in an order that changes
  from round to round. It counts when none of its three runs was disturbed.
- Ratios are taken within each round; shown are their median and quartiles. Above 1 is slower, whatever the metric.
- The control's ratio is what the machine alone makes of two equal versions. Where its quartiles are further apart than
  the {GRANTED} that a version may be slower, or its median is further from 1, the verdict says that noise is above it.
- Neighbours on a machine only ever add: "best / best" compares each version's best round, in brackets the control's.
"""


def metric_text(metric: str, value: float) -> str:
    """Return a value with its unit."""
    _, unit, digits = METRICS[metric]
    return f"{_number(value, digits)} {unit}"


def bar_rows(verdicts: Iterable[Verdict]) -> list[tuple[str, str, str, str]]:
    """Return scenario, bar, measured value and verdict of each bar."""
    rows = []
    for verdict in verdicts:
        bar = verdict.bar
        if verdict.measured is None:
            measured = "not measured"
        elif bar.peer is not None or bar.best_of:
            measured = f"{verdict.measured:.2f}x"
        else:
            measured = metric_text(bar.metric, verdict.measured)
        word = {True: "met", False: "missed", None: "open"}[verdict.met]
        rows.append((bar.scenario, bar.text, measured, word))
    return rows


def best_ratio(case: ComparedCase, version: Version, metric: str) -> float:
    """Return the best round of a version by that of the one before: above 1 is slower, whatever the metric."""
    values = [numbers[version][metric] for numbers in case.rounds]
    before = [numbers["before"][metric] for numbers in case.rounds]
    return max(before) / max(values) if metric in GAINS else min(values) / min(before)


def comparison_rows(case: ComparedCase) -> list[tuple[str, str, str, str, str, str, str]]:
    """Return what is shown of each metric of a case: values, ratios, best ratio, and verdict."""
    rows = []
    for metric in case.metrics:
        heading, _, digits = METRICS[metric]
        verdict = f"within {GRANTED}" if case.within(metric) else f"more than {GRANTED} slower"
        rows.append(
            (
                heading,
                _number(case.median("before", metric), digits),
                _number(case.median("after", metric), digits),
                _ratio_text(case.ratio("after", metric)),
                _ratio_text(case.ratio("control", metric)),
                f"{best_ratio(case, 'after', metric):.3f}x ({best_ratio(case, 'control', metric):.3f}x)",
                f"{verdict}; noise above it" if case.noisy(metric) else verdict,
            )
        )
    return rows


def report(
    results: dict[str, BenchResult], micro: MicroResult | None = None, comparison: Comparison | None = None
) -> str:
    """Return docs/BENCHMARKS.md."""
    benches = [results[name] for name in ORDER if name in results]
    judged: list[BenchResult | MicroResult] = [*benches, *([] if micro is None else [micro])]
    parts = [
        "# Benchmarks",
        "Rendered by `python benches/render.py` from `benches/results/*.json`, which `python benches/run.py` writes. "
        "Nothing here is typed by hand.",
        "## What was asked for",
        _table(
            ("scenario", "bar", "measured", ""),
            [row for result in judged for row in bar_rows(judge(result))],
            right=(2,),
        ),
        "## How it was measured",
        METHOD.rstrip(),
    ]
    for result in benches:
        parts += _bench_parts(result)
    if comparison is not None:
        parts += _comparison_parts(comparison)
    if micro is not None:
        parts += _micro_parts(micro)
    return "\n\n".join(parts) + "\n"


def facts(results: dict[str, BenchResult]) -> str:
    """Return the three facts of the README: latency, speed, memory. A fact that was not measured is left out."""
    lines = []
    if pair := _pair(results, "round_trip", "websocket_utils callback", "picows callback"):
        ours, peer = (side.median("p50_us") for side in pair)
        lines.append(
            f"- **Latency**: a lone message and its echo take {ours:.1f} us at the median; picows takes {peer:.1f} us."
        )
    if pair := _pair(results, "receive", "websocket_utils batches", "picows + msgspec"):
        ours, peer = (side.median("cpu_ns") for side in pair)
        lines.append(
            f"- **Speed**: a typed price update costs {ours:.0f} ns of CPU from the socket to a field read in Python, "
            f"{peer / ours:.1f} times less than picows with msgspec ({peer:.0f} ns)."
        )
    if pair := _pair(results, "memory", "websocket_utils", "picows"):
        ours, peer = (side.median("kib_per_connection") for side in pair)
        lines.append(
            f"- **Memory**: an idle server connection holds {ours:.1f} KiB; one of picows holds {peer:.1f} KiB."
        )
    return "".join(f"{line}\n" for line in lines)


def _pair(results: dict[str, BenchResult], name: str, *sides: str) -> list[SideResult]:
    found = [results[name].side(side) for side in sides] if name in results else []
    return [side for side in found if side is not None] if None not in found else []


def _bench_parts(result: BenchResult) -> list[str]:
    rows = []
    for side in result.sides:
        cells = [side.name]
        for metric in result.metrics:
            digits = METRICS[metric][2]
            least, greatest = side.spread(metric)
            cells.append(
                f"**{_number(side.median(metric), digits)}** ({_number(least, digits)} to {_number(greatest, digits)})"
            )
        rows.append(tuple(cells))
    left_out = f" Not installed, so left out: {', '.join(result.left_out)}." if result.left_out else ""
    parts = [
        f"## {result.title}",
        result.method,
        _table(
            ("side", *(METRICS[metric][0] for metric in result.metrics)), rows, right=range(1, len(result.metrics) + 1)
        ),
        f"{result.rounds} rounds of {result.seconds:g} s. {_where(result)}{left_out}",
    ]
    for way, name in WAYS.items() if result.name == "receive" else ():
        profile = PROFILES / f"{name}.json"
        if profile.exists():
            parts.append(_profile_table(way, msgspec.json.decode(profile.read_bytes(), type=dict[str, float])))
    note = NOTES / f"{result.name}.md"
    if note.exists():
        parts.append(note.read_text(encoding="utf-8").strip())
    return parts


def _profile_table(way: str, instructions: dict[str, float]) -> str:
    rows = [*instructions.items(), ("in all", sum(instructions.values()))]
    return _table(
        (f"where the instructions of one message go (ours, `{way}`, callgrind)", "instructions"),
        [(name, _number(each, 0)) for name, each in rows],
        right=(1,),
    )


def _comparison_parts(result: Comparison) -> list[str]:
    rows = [(case.bench, case.side, *row) for case in result.cases for row in comparison_rows(case)]
    return [
        "## Against the version before",
        f"The same work with two versions of this library: commit `{result.before}` before, and `{result.commit}` "
        "after. Kept by `make compare`.",
        COMPARISON_METHOD.rstrip(),
        _table(
            (
                "bench",
                "side",
                "metric",
                "before",
                "after",
                "after / before",
                "before / before",
                "best / best",
                "verdict",
            ),
            rows,
            right=(3, 4, 5, 6, 7),
        ),
        f"{result.rounds} rounds of {result.seconds:g} s. {_where(result)}",
    ]


def _ratio_text(ratio: Ratio) -> str:
    return f"{ratio.middle:.3f}x ({ratio.low:.3f} to {ratio.high:.3f})"


def _micro_parts(result: MicroResult) -> list[str]:
    rows = []
    for case in result.cases:
        ours = result.side(f"{case.group}/{OURS}")
        least, greatest = case.spread("ns")
        rows.append(
            (
                case.group,
                case.name,
                f"**{_number(case.median('ns'), 1)}** ({_number(least, 1)} to {_number(greatest, 1)})",
                _number(case.spread("least_ns")[0], 1),
                f"{ours.median('ns') / case.median('ns'):.2f}x" if ours is not None and ours is not case else "",
            )
        )
    left_out = f" Not installed, so left out: {', '.join(result.left_out)}." if result.left_out else ""
    parts = [
        "## Micro-benches",
        MICRO_METHOD.rstrip(),
        _table(("bench", "case", "median ns/message", "least", "ours / it"), rows, right=(2, 3, 4)),
        f"{result.rounds} rounds of {result.seconds:g} s. {_where(result)}{left_out}",
    ]
    for row in dict.fromkeys(case.group for case in result.cases):
        more = _row_parts(row)
        parts += [f"### {row}", *more] if more else []
    return parts


def _row_parts(row: str) -> list[str]:
    """Return the profile of a row of the micro-benches and the note about it, as far as there are any."""
    name = file_name(row)
    profile, note = PROFILES / f"{name}.json", NOTES / f"{name}.md"
    parts = []
    if profile.exists():
        sides = msgspec.json.decode(profile.read_bytes(), type=dict[str, dict[str, float]])
        groups = list(dict.fromkeys(group for costs in sides.values() for group in costs))
        rows = [(group, *(_number(costs.get(group, 0), 0) for costs in sides.values())) for group in groups]
        rows.append(("in all", *(_number(sum(costs.values()), 0) for costs in sides.values())))
        head = ("where the instructions of one message go (callgrind)", *sides)
        parts.append(_table(head, rows, right=range(1, len(head))))
    if note.exists():
        parts.append(note.read_text(encoding="utf-8").strip())
    return parts


def _where(result: BenchResult | MicroResult | Comparison) -> str:
    machine = result.machine
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    return (
        f"{result.date}, commit `{result.commit}`, {machine.cpu}, {machine.cores} cores, {machine.kernel}, "
        f"{machine.python}; {versions}."
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]], right: Iterable[int]) -> str:
    right = set(right)
    rule = ["---:" if column in right else "---" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}".replace(",", " ")


def main(arguments: list[str]) -> int:
    """Write both files, or with `--check` tell whether they are as they would be written."""
    results = load()
    readme = README.read_text(encoding="utf-8")
    rendered = {
        REPORT: report(results, load_micro(), load_comparison()),
        README: FACTS.sub(lambda match: match[1] + facts(results) + match[2], readme),
    }
    if arguments == ["--check"]:
        stale = [
            path for path, text in rendered.items() if not path.exists() or path.read_text(encoding="utf-8") != text
        ]
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not what benches/render.py renders: run it", file=sys.stderr)
        return 1 if stale else 0
    if arguments:
        print("usage: python benches/render.py [--check]", file=sys.stderr)
        return 2
    for path, text in rendered.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
