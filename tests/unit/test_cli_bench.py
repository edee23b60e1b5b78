from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from websocket_utils.cli import _bench, main

BENCHES = [SimpleNamespace(name="receive", title="Receive"), SimpleNamespace(name="send", title="Send")]


class BenchError(Exception):
    pass


def bar(scenario: str) -> SimpleNamespace:
    return SimpleNamespace(scenario=scenario, text="<= 0.30x")


def run_bench(bench: SimpleNamespace, *_: object, progress: Callable[[int, int, str], None], **__: object) -> object:
    progress(1, 2, bench.title)
    ours = SimpleNamespace(name="ours", median=lambda _: 1234.56)
    return SimpleNamespace(title=bench.title, metrics=["cpu_ns"], sides=[ours], left_out=["absent peer"])


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    harness = SimpleNamespace(BenchError=BenchError, build_load_generator=lambda: Path("load"), run_bench=run_bench)
    verdicts = [
        SimpleNamespace(bar=bar("receive"), measured=0.25, met=True),
        SimpleNamespace(bar=bar("send"), measured=0.5, met=False),
        SimpleNamespace(bar=bar("idle"), measured=None, met=None),
    ]
    monkeypatch.setattr(_bench, "_load", lambda _: (harness, BENCHES))
    monkeypatch.setattr("importlib.import_module", lambda _: SimpleNamespace(judge=lambda _: verdicts))
    return harness


def test_bench_shows_a_table_and_verdicts(harness: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "receive", "--quick"]) == 0
    output = capsys.readouterr().out
    assert "1,234.6" in output
    assert "absent peer" in output
    assert "met: receive, <= 0.30x; measured 0.25" in output
    assert "missed: send, <= 0.30x; measured 0.50" in output
    assert "not measured: idle" in output


def test_bench_that_fails_is_one_line(
    harness: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> Path:
        raise BenchError("cargo could not build")

    monkeypatch.setattr(harness, "build_load_generator", fail)
    assert main(["bench"]) == 1
    assert capsys.readouterr().err.endswith("websocket-utils: cargo could not build\n")


def test_bench_lists_and_chooses_by_name(harness: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["receive", "send"]
    assert main(["bench", "x"]) == 2
    assert "no bench 'x'; there are receive, send" in capsys.readouterr().err


def test_benches_are_looked_for_in_their_places(tmp_path: Path) -> None:
    (tmp_path / "repository" / "benches").mkdir(parents=True)
    (tmp_path / "repository" / "benches" / "_harness.py").touch()
    places = [tmp_path, tmp_path / "repository"]
    assert _bench._benches_root(places) == tmp_path / "repository"
    with pytest.raises(click.UsageError, match="clone the repository"):
        _bench._benches_root([tmp_path])
