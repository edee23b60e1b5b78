"""Holds docs/RELIABILITY.md to the results it is rendered from."""

import sys

import msgspec
import pytest
from benches._results import Machine
from hostile import codec, fuzzing, herd, render
from hostile import references as references_run
from hostile._edge_results import EdgeResult
from hostile._results import (
    BAR_KIB,
    DECODE_DRIFT_KIB,
    DIALS_FIRST_MINUTE,
    DIALS_FIRST_SECOND,
    AttackResult,
    CodecResult,
    DialRow,
    DrainResult,
    DrainRun,
    FuzzResult,
    HerdResult,
    HerdRow,
    KeptShape,
    Outcome,
    RecoveryResult,
    RecoveryRow,
    ReferenceResult,
    load,
)
from hostile.attacks import ATTACKS


def outcome(**changes: object) -> Outcome:
    found = Outcome(
        name="pings",
        title="pings",
        sent=10,
        peak_kib=BAR_KIB,
        kept_kib=0,
        how="open",
        seconds=1.0,
        cpu_ms=2.0,
        loop_errors=0,
        served=True,
    )
    return msgspec.structs.replace(found, **changes)


def result(*outcomes: Outcome) -> AttackResult:
    return AttackResult(
        max_message_size=1,
        attacks=list(outcomes),
        date="2026-01-01",
        commit="abc",
        machine=Machine(cpu="CPU", cores=2, kernel="Linux", python="CPython"),
        versions={"uvloop": "1"},
    )


def test_report_is_what_the_results_render_to() -> None:
    assert render.main(["--check"]) == 0


def test_attack_at_the_bar_meets_it() -> None:
    assert outcome().met
    assert "Every one of 1 attacks stays below 4 096 KiB" in render.report(result(outcome()), None)


def test_attack_over_the_bar_misses_it() -> None:
    over = outcome(peak_kib=BAR_KIB + 1)
    assert not over.met
    assert "1 of 1 attacks miss the bar" in render.report(result(over), None)


def test_attack_that_harms_others_misses_the_bar() -> None:
    assert not outcome(served=False).met
    text = render.report(result(outcome(loop_errors=2)), None)
    assert "missed, 2 errors in the event loop" in text


LOG = """\
#2	INITED cov: 10 ft: 11 corp: 1/1b exec/s: 0 rss: 30Mb
#1510846	DONE   cov: 1045 ft: 5199 corp: 936/255Kb lim: 6244 exec/s: 2513 rss: 564Mb
Done 1510846 runs in 601 second(s)
"""


def test_log_of_a_fuzz_run_is_read() -> None:
    found = fuzzing.target("decoder", LOG)
    assert (found.seconds, found.runs, found.coverage, found.features, found.corpus) == (601, 1510846, 1045, 5199, 936)
    assert not found.failed


@pytest.mark.parametrize(
    "log",
    [
        pytest.param(LOG.partition("\n")[0], id="did not end"),
        pytest.param("thread 'main' panicked at fuzz/src/decoder.rs:31:5:\n" + LOG, id="panicked"),
        pytest.param(LOG + "SUMMARY: libFuzzer: timeout\n", id="hung"),
    ],
)
def test_log_of_a_fuzz_run_that_failed_says_so(log: str) -> None:
    found = fuzzing.target("decoder", log)
    assert found.failed
    text = render.report(
        None,
        None,
        FuzzResult(
            targets=[found], date="2026-01-01", commit="abc", machine=result().machine, versions={"uvloop": "1"}
        ),
    )
    assert "| decoder |" in text
    assert "**found**" in text


def test_attacks_have_names_of_their_own() -> None:
    assert len({one.name for one in ATTACKS}) == len(ATTACKS)


def compared(differences: int = 0) -> CodecResult:
    return CodecResult(
        seed=7,
        formats=["json", "msgpack"],
        cases=10_000_000,
        types=5000,
        decoders=20_000,
        compiled=19_000,
        accepted=3_000_000,
        refused=7_000_000,
        differences=differences,
        seconds=400.0,
        date="2026-01-01",
        commit="abc",
        machine=result().machine,
        versions={"msgspec": "1"},
    )


@pytest.mark.parametrize(("differences", "told"), [(0, "**none**"), (2, "**2**")])
def test_comparison_of_the_codec_tells_its_differences_and_its_seed(differences: int, told: str) -> None:
    text = render.report(None, None, codec=compared(differences))
    assert told in text
    assert "| 7 | json, msgpack | 10 000 000 |" in text
    assert "SEED=7" in text
    both = render.report(None, None, codec=compared(0), protobuf=compared(differences))
    assert both.index("against msgspec") < both.index("against Google's Protocol Buffers") < both.rindex(told)


def kept(*, flat: bool = True, grown_kib: int = 0) -> ReferenceResult:
    return ReferenceResult(
        formats=["json"],
        shapes=[KeptShape(name="nested", decodes=10_000_000, refused=5, references=4, blocks=3, flat=flat)],
        grown_kib=grown_kib,
        date="2026-01-01",
        commit="abc",
        machine=result().machine,
        versions={"msgspec": "1"},
    )


@pytest.mark.parametrize(
    ("found", "met"),
    [(kept(), True), (kept(flat=False), False), (kept(grown_kib=DECODE_DRIFT_KIB), False)],
    ids=["flat", "references grew", "memory grew"],
)
def test_references_that_grew_miss_the_bar(found: ReferenceResult, met: bool) -> None:
    assert found.met is met
    assert ("KiB**: met." if met else "KiB**: missed.") in render.report(None, None, references=found)


def reconnecting(
    *, second: int = DIALS_FIRST_SECOND, minute: int = DIALS_FIRST_MINUTE, fullest: int = 600
) -> HerdResult:
    return HerdResult(
        dials=[DialRow(title="1012", runs=1002, first_second=second, first_minute=minute, how="goes on")],
        crowds=[
            HerdRow(
                clients=10_000,
                seed=1,
                interval=5.0,
                downtime=2.0,
                dials=80_000,
                bins=50,
                fullest=fullest,
                median_s=0.5,
                last_s=4.9,
            )
        ],
        date="2026-01-01",
        commit="abc",
        machine=result().machine,
        versions={"websocket_utils": "1"},
    )


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (reconnecting(), ["met", "met"]),
        (reconnecting(second=DIALS_FIRST_SECOND + 1), ["missed", "met"]),
        (reconnecting(minute=DIALS_FIRST_MINUTE + 1), ["missed", "met"]),
        (reconnecting(fullest=601), ["met", "missed"]),
    ],
    ids=["at the bars", "in a second", "in a minute", "crowd"],
)
def test_dials_and_crowds_over_their_bars_miss_them(found: HerdResult, words: list[str]) -> None:
    text = render.report(None, None, herd=found)
    rows = [line for line in text.splitlines() if line.startswith(("| 1012 |", "| 5 | 2 |"))]
    assert [row.split("|")[-2].strip() for row in rows] == words


def test_kept_run_of_the_simulation_is_of_what_the_code_does_now() -> None:
    kept_run = load(HerdResult, "herd")
    assert kept_run is not None
    assert [row.title for row in kept_run.dials] == [herd.title(code) for code in herd.CODES]
    # Two of its rows once more: they depend on nothing but the policy.
    assert herd.herd(0.5, interval=1.0, seed=kept_run.crowds[0].seed) in kept_run.crowds
    rows = {row.title: row for row in kept_run.dials}
    again = herd.dial_row(1012, 0)
    assert (rows["1012"].first_second, rows["1012"].first_minute) == (again.first_second, again.first_minute)


@pytest.mark.parametrize(
    ("seconds", "cut", "told"),
    [(10.1, 0, "**+100 ms** at worst: met."), (10.102, 0, "at worst: missed."), (9.0, 1, "at worst: missed.")],
    ids=["at the bar", "late", "readers cut"],
)
def test_drain_over_its_bar_misses_it(seconds: float, cut: int, told: str) -> None:
    runs = [DrainRun(seconds=one, latest_turn_ms=3.0, told=1, left=1, closed=1, cut=cut) for one in (9.5, seconds)]
    found = DrainResult(
        clients=2000,
        silent=20,
        deadline=10.0,
        window=5.0,
        runs=runs,
        date="2026-01-01",
        commit="abc",
        machine=result().machine,
        versions={"websocket_utils": "1"},
    )
    assert told in render.report(None, None, drain=found)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "met"),
        ({"since_served_s": 2.01}, "missed"),
        *(({name: 1}, "missed") for name in ("lost", "doubled", "unproven")),
    ],
)
def test_recovery_that_is_late_or_not_whole_misses_its_bar(changes: dict[str, float], told: str) -> None:
    row = RecoveryRow(
        killed=2,
        clients=1000,
        back=1000,
        restart_s=0.5,
        since_kill_s=2.5,
        since_served_s=2.0,
        lost=0,
        doubled=0,
        unproven=0,
    )
    found = RecoveryResult(
        rate=20,
        rows=[msgspec.structs.replace(row, **changes)],
        date="2026-01-01",
        commit="abc",
        machine=result().machine,
        versions={"websocket_utils": "1"},
    )
    assert found.met is (told == "met")
    (line,) = [line for line in render.report(None, None, recovery=found).splitlines() if line.startswith("| 2 of 2 |")]
    assert line.split("|")[-2].strip() == told


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "met"),
        ({"achieved_rate": 9799.0}, "missed"),
        *(({name: 299_999}, "missed") for name in ("acknowledged", "kept", "numbered", "received")),
        ({"was_evicted": False}, "missed"),
        *(({name: 1}, "missed") for name in ("waiting", "dropped", "rejected")),
        *(({name: 1}, "missed") for name in ("lost", "doubled", "disordered", "gaps")),
        *(({name: 1}, "missed") for name in ("reconnects", "reader_reconnects")),
    ],
)
def test_stream_to_the_edge_whose_books_differ_misses_its_bar(changes: dict[str, float], told: str) -> None:
    found = EdgeResult(
        rate=10_000,
        channels=50,
        idle_s=12.0,
        was_evicted=True,
        published=300_000,
        acknowledged=300_000,
        waiting=0,
        dropped=0,
        rejected=0,
        resent=100,
        batches=1500,
        reconnects=2,
        kept=300_000,
        numbered=300_000,
        received=300_000,
        lost=0,
        doubled=0,
        disordered=0,
        gaps=0,
        reader_reconnects=2,
        achieved_rate=9800.0,
        cpu_us=9.0,
        rtt_ms=[10.0, 50.0],
        latency_ms=[30.0, 500.0],
        reader_ms=[30.0, 500.0],
        date="2026-01-01",
        commit="abc",
        machine=result().machine,
        versions={"websocket_utils": "1"},
    )
    changed = msgspec.structs.replace(found, **changes)
    assert changed.met is (told == "met")
    lines = render.report(None, None, edge=changed).splitlines()
    (line,) = [line for line in lines if line.startswith("| 300 000 |")]
    assert line.split("|")[-2].strip() == told


@pytest.mark.usefixtures("plain_collections")
@pytest.mark.timeout(60)  # 7 s of computing where nothing else runs
def test_commands_run_a_few_cases(capsys: pytest.CaptureFixture[str]) -> None:
    assert codec.main(["--cases", "300", "--seed", "4", "--format", "msgpack"]) == 0
    assert "seed 4: " in capsys.readouterr().out
    assert codec.main(["--cases", "300", "--seed", "4", "--format", "protobuf"]) == 0
    assert "(protobuf)" in capsys.readouterr().out
    if sys.platform == "linux":
        assert references_run.main(["--decodes", "3000"]) == 0
        assert "named tuples, json: " in capsys.readouterr().out
