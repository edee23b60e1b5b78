"""Holds the report of the benches to their results, and their messages to what the issue says they are."""

import itertools
import resource
import sys
from pathlib import Path
from typing import cast

import msgspec
import pytest
from benches import _harness, _many, _outages, _payload, _wires, compare, render
from benches._child import BenchError, Child
from benches._harness import _Run
from benches._results import (
    Bar,
    Bench,
    BenchResult,
    ComparedCase,
    Comparison,
    Machine,
    Ratio,
    Side,
    SideResult,
    Version,
    is_there,
    judge,
    load,
    load_comparison,
    program,
    save,
)
from benches._revision import commit_of, has_method
from benches.run import all_benches
from tests.support.wire import COMPRESSED, FrameReader

from websocket_utils import PriceUpdate

MS = 1_000_000


def result_with(*sides: SideResult) -> BenchResult:
    bar = Bar(scenario="receive", text="<= 0.5x", ours="ours", peer="peer", metric="cpu_ns", at_most=0.5)
    return BenchResult(
        name="receive",
        title="Receive",
        method="How.",
        metrics=["cpu_ns"],
        bars=[bar],
        sides=list(sides),
        left_out=[],
        rounds=1,
        seconds=1.0,
        date="2026-01-01",
        commit="abc",
        machine=Machine(cpu="CPU", cores=2, kernel="Linux", python="CPython"),
        versions={"picows": "2.3.1"},
    )


def compared(*rounds: tuple[float, float, float], metric: str = "cpu_ns") -> ComparedCase:
    """A case of rounds of before, after, and the control."""
    return ComparedCase(
        bench="receive",
        side="websocket_utils on",
        metrics=[metric],
        rounds=[
            {"before": {metric: before}, "after": {metric: after}, "control": {metric: control}}
            for before, after, control in rounds
        ],
    )


def comparison_with(*cases: ComparedCase) -> Comparison:
    return Comparison(
        cases=list(cases),
        rounds=3,
        seconds=0.5,
        date="2026-01-01",
        before="old",
        commit="new",
        machine=Machine(cpu="CPU", cores=2, kernel="Linux", python="CPython"),
        versions={"picows": "2.3.1"},
    )


def side(name: str, *values: float) -> SideResult:
    return SideResult(name=name, rounds=[{"cpu_ns": value} for value in values])


def test_report_and_readme_are_what_the_results_render_to() -> None:
    assert render.main(["--check"]) == 0


def test_messages_have_122_bytes_and_are_the_same_for_us_and_the_peers() -> None:
    ours, peers = _payload.cycle(PriceUpdate), _payload.cycle(_payload.PriceUpdate)
    texts = [msgspec.json.encode(message) for message in ours]
    assert texts == [msgspec.json.encode(message) for message in peers]
    assert {len(text) for text in texts} == {_payload.SIZE}


@pytest.mark.parametrize("name", _wires.WIRES)
def test_messages_of_a_wire_have_one_size_and_travel_as_frames(name: str, tmp_path: Path) -> None:
    wire = _wires.WIRES[name]()
    assert len(wire.frames) == len(wire.messages) == _payload.CYCLE
    assert len({len(message) for message in wire.messages}) == 1
    # What a side sums up tells them apart.
    assert len({_wires.probe(message) for message in wire.messages}) > 5
    frames = FrameReader(reserved_bits=COMPRESSED).feed(b"".join(wire.frames))
    payloads = [one.payload for one in frames]
    if wire.extensions is not None:
        record = tmp_path / "record"
        _wires.write(wire._replace(frames=payloads), record)
        payloads = _wires.inflated(record)
    assert payloads == wire.messages
    assert _wires.check(payloads, wire.messages) is None
    assert _wires.check(payloads[1:], wire.messages) is not None


def test_bar_compares_medians() -> None:
    (verdict,) = judge(result_with(side("ours", 10, 40, 90), side("peer", 50, 100, 900)))
    assert verdict.measured == 0.4
    assert verdict.met is True


def test_bar_against_several_compares_with_the_best_of_those_that_ran() -> None:
    bar = Bar(scenario="s", text="t", ours="ours", best_of=("slow", "fast", "absent"), metric="cpu_ns", at_most=0.5)
    sides = (side("ours", 40), side("slow", 100), side("fast", 50))
    (verdict,) = judge(msgspec.structs.replace(result_with(*sides), bars=[bar]))
    assert (verdict.measured, verdict.met) == (0.8, False)
    # More is better of a rate.
    rates = [SideResult(name=one.name, rounds=[{"rate": one.median("cpu_ns")}]) for one in sides]
    rate_bar = msgspec.structs.replace(bar, metric="rate", at_most=None, at_least=0.3)
    (verdict,) = judge(msgspec.structs.replace(result_with(*rates), bars=[rate_bar]))
    assert (verdict.measured, verdict.met) == (0.4, True)
    (verdict,) = judge(msgspec.structs.replace(result_with(side("ours", 40)), bars=[bar]))
    assert verdict.met is None


def test_bar_on_what_is_beyond_another_side_takes_that_off() -> None:
    bar = Bar(scenario="s", text="t", ours="ours", beyond="usual", metric="cpu_ns", at_most=30)
    for usual, measured, met in (([side("usual", 60)], 40, False), ([side("usual", 120)], 0, True), ([], None, None)):
        (verdict,) = judge(msgspec.structs.replace(result_with(side("ours", 100), *usual), bars=[bar]))
        assert (verdict.measured, verdict.met) == (measured, met)


def test_bar_without_its_peer_is_open() -> None:
    (verdict,) = judge(result_with(side("ours", 40)))
    assert (verdict.measured, verdict.met) == (None, None)


def test_report_shows_bar_median_and_spread() -> None:
    text = render.report({"receive": result_with(side("ours", 10, 60, 90), side("peer", 100))}, None)
    assert "| receive | <= 0.5x | 0.60x | missed |" in text
    assert "| ours | **60** (10 to 90) |" in text


def test_every_bar_names_sides_and_metrics_of_its_bench() -> None:
    for bench in all_benches().values():
        names = {one.name for one in bench.sides}
        for bar in bench.bars:
            assert {bar.ours, bar.peer or bar.ours, bar.beyond or bar.ours, *bar.best_of} <= names
            assert [bar.peer, bar.best_of or None, bar.beyond].count(None) >= 2
            assert bar.metric in bench.metrics
            assert (bar.at_most is None) != (bar.at_least is None)


def ticks(*numbers: int, late: dict[int, int] | None = None) -> list[tuple[int, int, int]]:
    """Messages of a stream of one each millisecond, received 0.1 ms after they were due, but for late ones."""
    return [(number, number * MS, number * MS + MS // 10 + (late or {}).get(number, 0)) for number in numbers]


def test_numbers_of_a_standby_are_lost_duplicated_and_the_worst_wait_around_each_promotion() -> None:
    # Promoted behind number 5 and behind number 13, where number 14 was 0.3 ms late; number 2 was so by chance.
    stream = ticks(*range(1, 21), late={14: 300_000, 2: 900_000})
    numbers = _outages.standby_numbers(stream, [(5, 40_000, 6 * MS), (13, 50_000, 15 * MS)], [5 * MS, 14 * MS])
    assert numbers == {
        "lost": 0,
        "duplicated": 0,
        "gap_p50_us": 300,
        "gap_p99_us": 300,
        "promotion_p99_us": 50,
        "takeover_p50_us": 1000,
    }


def test_message_that_is_missing_or_twice_there_is_counted_and_a_wrong_order_is_an_error() -> None:
    promoted, killed = [(3, 1, 4 * MS)], [3 * MS]
    missing = _outages.standby_numbers(ticks(1, 2, 3, 5, 6), promoted, killed)
    assert (missing["lost"], missing["duplicated"]) == (1, 0)
    twice = _outages.standby_numbers(ticks(1, 2, 3, 3, 4), promoted, killed)
    assert (twice["lost"], twice["duplicated"]) == (0, 1)
    with pytest.raises(BenchError, match="out of order"):
        _outages.standby_numbers(ticks(1, 2, 4, 3), promoted, killed)


class Told:
    """A process of a run that says what the test has it say."""

    def __init__(self, *lines: dict[str, object]) -> None:
        self._lines = list(lines)

    def hear(self, timeout: float = 60) -> dict[str, object]:
        del timeout
        return self._lines.pop(0)


class Processes:
    """Starts no process: both are the test's."""

    side = all_benches()["reconnect"].sides[0]

    def __init__(self, load: Told, subject: Told) -> None:
        self._load, self._subject = load, subject

    def load(self, mode: str, **options: object) -> Child:
        del mode, options
        return cast("Child", self._load)

    def subject(self, **options: object) -> Child:
        del options
        return cast("Child", self._subject)


def test_gap_of_a_reconnect_is_from_the_reset_to_the_first_message_of_the_next_connection() -> None:
    def run(dropped: list[int], arrived: list[int]) -> tuple[dict[str, float], float]:
        start = Processes(Told({"port": 1}, {"dropped": dropped}), Told({"arrived_ns": arrived, "yardstick_ns": 7.0}))
        return _outages.reconnect(start, all_benches()["reconnect"], 2)

    assert run([10 * MS, 20 * MS], [1, 11 * MS, 23 * MS]) == ({"p50_ms": 3.0, "p99_ms": 3.0}, 7.0)
    # A drop that nothing followed, and a message from before the connection that it says to be of.
    for wrong in ([10 * MS], [10 * MS, 24 * MS]):
        with pytest.raises(BenchError):
            run(wrong, [1, 11 * MS, 23 * MS])


def test_spread_is_told_without_the_first_tenth_of_its_messages() -> None:
    numbers = _many.spread_numbers([90 * MS, *[2 * MS] * 8, 3 * MS], [95 * MS, *[4 * MS] * 8, 5 * MS], 1 * MS)
    assert numbers == {"spread_p50_ms": 2.0, "spread_p99_ms": 3.0, "late_p99_ms": 5.0, "sink_ms": 1.0}


def test_count_of_sinks_that_is_not_what_was_sent_is_an_error() -> None:
    right = {"messages": 20, "least": 2, "wrong": 0}
    _many.check(right, 2, 20)
    for wrong in ({"messages": 21}, {"least": 1}, {"wrong": 1}):
        with pytest.raises(BenchError, match="sinks expected 20 messages, 2 each"):
            _many.check(right | wrong, 2, 20)


def test_stalled_client_that_was_not_treated_as_its_policy_says_is_an_error() -> None:
    counted = {"lag_disconnects": 0, "dropped": 0, "conflated": 0}
    cut, kept = {"messages": 3, "has_last": False}, {"messages": 3, "has_last": True}
    for policy, done, read in (
        ("disconnect", {"lag_disconnects": 1}, cut),
        ("drop_oldest", {"dropped": 7}, kept),
        ("conflate", {"conflated": 7}, kept),
    ):
        result = {"policy": policy, **counted, **done}
        _many.check_stalled(read, result, 10)
        for wrong in (
            (cut if read is kept else kept, result),
            ({**read, "messages": 10}, result),
            (read, result | dict.fromkeys(done, 0)),
            (read, {**dict.fromkeys(result, 1), "policy": policy}),
        ):
            with pytest.raises(BenchError, match="a stalled client read"):
                _many.check_stalled(*wrong, 10)


def test_bench_with_more_clients_than_files_may_be_open_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = all_benches()["spread_5000"]
    for most, lacks in ((5000, True), (6000, False), (resource.RLIM_INFINITY, False)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, most=most: (1024, most))
        assert _harness.lacks_descriptors(bench) is lacks


def test_program_of_a_peer_is_found_where_a_variable_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("BENCH_CENTRIFUGO", raising=False)
    broker = all_benches()["broadcast_16"].sides[-1]
    assert broker.program == "centrifugo"
    assert not is_there(broker)
    monkeypatch.setenv("BENCH_CENTRIFUGO", sys.executable)
    assert is_there(broker)
    assert program("centrifugo") == sys.executable


def test_every_kind_of_outage_has_a_bench_and_its_run_reports_the_metrics_of_it() -> None:
    kinds = {bench.kind for bench in all_benches().values()}
    assert set(_outages.RUNS) | set(_many.RUNS) <= kinds
    for bench in all_benches().values():
        assert set(bench.metrics) <= set(render.METRICS)
        # What is shown is in the report's order.
        assert bench.name in render.ORDER


def test_results_survive_their_file() -> None:
    bench = Bench(
        name="b",
        title="B",
        kind="send",
        method="",
        sides=(Side(name="s", module="m", scenario="f", needs="picows"),),
        metrics=("rate",),
    )
    assert msgspec.json.decode(msgspec.json.encode(bench), type=Bench) == bench
    result = result_with(side("ours", 1))
    assert msgspec.json.decode(msgspec.json.encode(result), type=BenchResult) == result


def test_report_shows_both_versions_their_ratio_and_the_control() -> None:
    case = compared((100, 101, 100), (200, 204, 202), (300, 309, 297))
    text = render.report({}, None, comparison_with(case))
    assert "commit `old` before, and `new` after" in text
    ratios = "1.020x (1.015 to 1.025) | 1.000x (0.995 to 1.005)"
    assert f"| websocket_utils on | CPU ns/message | 200 | 204 | {ratios} | 1.010x (1.000x) | within 3 % |" in text


def test_report_without_comparison_has_no_section_of_it() -> None:
    assert "Against the version before" not in render.report({})


@pytest.mark.parametrize(
    ("rounds", "verdict"),
    [
        ([(100, 103, 100)] * 3, "within 3 %"),
        ([(100, 104, 100)] * 3, "more than 3 % slower"),
        # The same version is now slower, now faster than itself; or slower each time.
        ([(100, 90, 90), (100, 90, 100), (100, 90, 110)], "within 3 %; noise above it"),
        ([(100, 104, 105)] * 3, "more than 3 % slower; noise above it"),
    ],
)
def test_verdict_of_a_comparison_tells_slower_versions_and_noisy_machines(
    rounds: list[tuple[float, float, float]], verdict: str
) -> None:
    ((*_, told),) = render.comparison_rows(compared(*rounds))
    assert told == verdict


def test_ratio_above_one_is_slower_for_rates_too() -> None:
    case = compared((200, 100, 200), metric="rate")
    assert case.ratio("after", "rate") == Ratio(2, 2, 2)
    assert case.within("rate") is False
    assert render.best_ratio(case, "after", "rate") == 2


def test_six_rounds_of_a_comparison_have_every_order_once() -> None:
    assert {compare.turn_order(number) for number in range(6)} == set(itertools.permutations(compare.VERSIONS))


def test_round_of_a_comparison_counts_when_none_of_its_runs_was_disturbed() -> None:
    def taken(before: float, after: float, control: float) -> compare.Round:
        yardsticks: dict[Version, float] = {"before": before, "after": after, "control": control}
        return {version: _Run({}, yardstick) for version, yardstick in yardsticks.items()}

    rounds = [taken(100, 130, 100), taken(110, 100, 105), taken(100, 100, 120), taken(100, 100, 100)]
    assert compare.choose(rounds, 2) == [rounds[1], rounds[3]]
    # Too few: the least disturbed one joins them.
    assert compare.choose(rounds, 3) == [rounds[3], rounds[1], rounds[2]]


def test_comparison_runs_a_side_of_ours_in_each_of_its_benches() -> None:
    assert {bench.name for bench, _ in compare.sides_of(compare.NAMES)} == set(compare.NAMES)
    with pytest.raises(BenchError, match="no bench called nope"):
        compare.sides_of(["nope"])


def test_version_without_a_method_is_told_from_one_with_it() -> None:
    assert has_method(Path(sys.executable), "batches")
    assert not has_method(Path(sys.executable), "no_such_method")


def test_comparison_with_what_is_no_commit_says_so() -> None:
    for revision in ("", "no-such-revision"):
        with pytest.raises(BenchError, match="is no commit of this repository"):
            commit_of(revision)


def test_comparison_survives_its_file_and_is_no_bench(tmp_path: Path) -> None:
    result = comparison_with(compared((1, 2, 3)))
    save(result, tmp_path)
    save(result_with(side("ours", 1)), tmp_path)
    assert load_comparison(tmp_path) == result
    assert list(load(tmp_path)) == ["receive"]
