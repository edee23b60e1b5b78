"""Holds the micro-benches to their rows, and their report to what rounds found."""

from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from benches import _codec_cases, _micro, render
from benches._callgrind import read_costs
from benches._codec_cases import BARS, OURS, ROWS, Work
from benches._harness import _Run
from benches._micro_round import Options, rotated
from benches._results import Bar, Machine, MicroCase, MicroResult, judge, load_micro, save

ROW = "json/decode/price"
CASES = [(row, side) for row in ROWS for side in _codec_cases.installed(row)]


def case(name: str, *values: float) -> MicroCase:
    return MicroCase(group=ROW, name=name, rounds=[{"ns": value, "least_ns": value - 5} for value in values])


def result_with(*cases: MicroCase) -> MicroResult:
    bar = Bar(scenario="decode", text="<= 0.6x", ours=f"{ROW}/{OURS}", peer=f"{ROW}/msgspec", metric="ns", at_most=0.6)
    return MicroResult(
        cases=list(cases),
        bars=[bar],
        left_out=["json/decode/price/orjson, no class"],
        rounds=3,
        seconds=0.1,
        date="2026-01-01",
        commit="abc",
        machine=Machine(cpu="CPU", cores=2, kernel="Linux", python="CPython"),
        versions={"msgspec": "0.22.0"},
    )


@pytest.mark.parametrize(("row", "side"), CASES)
def test_side_of_a_row_gives_the_right_result_each_time(row: str, side: str) -> None:
    work = _codec_cases.installed(row)[side].prepare()
    assert work.right(work.call(*work.arguments))
    work.repeat(2)
    assert work.right(work.call(*work.arguments))


@pytest.mark.parametrize(("row", "side"), CASES)
def test_side_of_a_row_takes_no_other_result_for_right(row: str, side: str) -> None:
    work = _codec_cases.installed(row)[side].prepare()
    if "encode-into" in row:
        # What is right is in the buffer, and nothing is before the call.
        assert not work.right(len(_codec_cases.PRICE_JSON))
    elif row.startswith("protobuf/"):
        # Google's messages are read field by field: another message has them all.
        other = work.call(*work.arguments)
        assert work.right(other)
        assert not work.right(b"" if isinstance(other, bytes) else type(other)() if side == "protobuf" else None)
    elif work.messages > 1:
        assert not work.right([])
    else:
        assert not work.right(None)


@pytest.mark.parametrize("arguments", [(), (1,), (1, 2)])
def test_work_is_repeated_as_often_as_told(arguments: tuple[int, ...]) -> None:
    seen: list[tuple[int, ...]] = []
    Work(lambda *given: seen.append(given), arguments, lambda _: True).repeat(3)
    assert seen == [arguments] * 3


def test_every_bar_names_two_sides_of_one_row() -> None:
    names = {f"{row}/{side}": row for row, peers in ROWS.items() for side in peers}
    for bar in BARS:
        assert bar.peer is not None
        assert names[bar.ours] == names[bar.peer]
        assert bar.metric == "ns"


def test_every_row_has_a_side_of_ours_and_a_peer() -> None:
    assert all(OURS in peers and len(peers) > 1 for peers in ROWS.values())


def test_side_without_its_library_is_left_out_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_codec_cases, "is_installed", lambda module: module not in {"orjson", "google.protobuf"})
    assert "orjson, no class" not in _codec_cases.installed(ROW)
    assert list(_codec_cases.installed("protobuf/decode/price")) == [OURS]
    assert f"{ROW}/orjson, no class" in _codec_cases.left_out()


def test_rounds_begin_with_each_case_in_turn() -> None:
    assert [rotated([1, 2, 3], number)[0] for number in range(4)] == [1, 2, 3, 1]
    assert sorted(rotated([1, 2, 3], 5)) == [1, 2, 3]
    assert rotated([], 1) == []


def test_rows_are_run_until_each_case_has_enough_undisturbed_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    # The second row's core is slow in the first two rounds.
    yardsticks = {"a": [100.0] * 5, "b": [200.0, 200.0, 100.0, 100.0, 100.0]}

    def play(options: Options, seconds: float) -> Iterable[tuple[tuple[str, str], _Run]]:
        asked.append(options.rows)
        for row in options.rows or ["a", "b"]:
            yardstick = yardsticks[row].pop(0)
            yield (row, OURS), _Run({"ns": yardstick / 2, "least_ns": yardstick / 4}, yardstick)

    monkeypatch.setattr(_micro, "_round", play)
    result = _micro.run_micro(rounds=2)
    assert asked == [[], ["a", "b"], ["b"], ["b"]]
    assert [(one.group, one.median("ns"), one.disturbed) for one in result.cases] == [("a", 50, 0), ("b", 50, 2)]


def test_bar_of_a_case_compares_medians_of_rounds() -> None:
    (verdict,) = judge(result_with(case(OURS, 10, 60, 900), case("msgspec", 90, 100, 110)))
    assert (verdict.measured, verdict.met) == (0.6, True)


def test_report_shows_bar_case_ratio_and_what_was_left_out() -> None:
    text = render.report({}, result_with(case(OURS, 60, 70, 90), case("msgspec", 100, 100, 100)))
    assert "| decode | <= 0.6x | 0.70x | missed |" in text
    assert f"| {ROW} | {OURS} | **70.0** (60.0 to 90.0) | 55.0 |  |" in text
    assert f"| {ROW} | msgspec | **100.0** (100.0 to 100.0) | 95.0 | 0.70x |" in text
    assert "left out: json/decode/price/orjson, no class." in text


def test_report_shows_profile_and_note_of_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "NOTES", tmp_path)
    monkeypatch.setattr(render, "PROFILES", tmp_path)
    result = result_with(case(OURS, 60))
    assert f"### {ROW}" not in render.report({}, result)
    (tmp_path / "json-decode-price.md").write_text("Why it misses.\n")
    (tmp_path / "json-decode-price.json").write_text('{"websocket_utils": {"a": 1, "b": 20}, "msgspec": {"a": 30}}')
    text = render.report({}, result)
    assert f"### {ROW}\n\n" in text
    assert "| b | 20 | 0 |\n| in all | 21 | 30 |\n\nWhy it misses.\n" in text


def test_micro_result_survives_its_file(tmp_path: Path) -> None:
    result = result_with(case(OURS, 1, 2))
    save(result, tmp_path)
    assert load_micro(tmp_path) == result
    assert msgspec.json.decode(msgspec.json.encode(result), type=MicroResult) == result


def test_costs_of_a_callgrind_file_are_those_of_functions_and_lines_themselves(tmp_path: Path) -> None:
    path = tmp_path / "callgrind"
    path.write_text(
        "events: Ir\n\nob=(1) /lib/core.so\nfl=(1) plan.rs\nfn=(1) decode\n10 5\n+2 7\nfi=(2) slice.rs\n3 1\nfe=(1)\n"
        "cfi=(3) object.c\ncfn=(2) malloc\ncalls=4 0\n13 400\n* 2\n\nfl=(3)\nfn=(2)\n20 100\n-1 11\n"
    )
    costs = read_costs(path)
    assert costs.functions == {"decode": 15, "malloc": 111}
    assert costs.lines == {"plan.rs:10": 5, "plan.rs:12": 7, "slice.rs:3": 1, "plan.rs:13": 2, "object.c:20": 100} | {
        "object.c:19": 11
    }
