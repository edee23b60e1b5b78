"""Holds the report of the benches to their results, and their messages to what the issue says they are."""

from pathlib import Path

import msgspec
import pytest
from benches import _payload, _wires, render
from benches._results import Bar, Bench, BenchResult, Machine, Side, SideResult, judge
from benches.run import all_benches
from tests.support.wire import COMPRESSED, FrameReader

from websocket_utils import PriceUpdate


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
            assert {bar.ours, bar.peer or bar.ours} <= names
            assert bar.metric in bench.metrics
            assert (bar.at_most is None) != (bar.at_least is None)


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
