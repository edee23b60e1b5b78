"""`websocket-utils bench`: run the benches of the repository, with a progress bar and a table at the end."""

import importlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from websocket_utils.cli._failures import Failure, one_line

_ROUNDS, _SECONDS = 5, 2.0
# Enough to see that everything runs; too short for numbers to compare.
_QUICK_ROUNDS, _QUICK_SECONDS = 1, 0.3


@click.command(
    short_help="Measure this library and its peers in turn.",
    epilog="""Exit codes: 0 all benches ran (also where a bar is missed), 1 one failed, 2 called wrongly or no benches
here, 130 Ctrl-C before the end.

\b
Examples:
  websocket-utils bench --list
  websocket-utils bench receive send --quick
""",
)
@click.argument("names", nargs=-1)
@click.option("--quick", is_flag=True, help="One short round: shows that everything runs, numbers mean little.")
@click.option("--list", "only_list", is_flag=True, help="Show the names of the benches and end.")
def bench(names: tuple[str, ...], quick: bool, only_list: bool) -> None:
    """Run the benches called NAMES, or all: this library and its peers, each in its own process, in turn.

    They are part of the repository, not of the installed package, and need cargo for the load generator. Nothing is
    saved: `make bench` writes the results that docs/BENCHMARKS.md is rendered from.
    """
    harness, benches = _load(_benches_root((Path(__file__).parents[3], Path.cwd())))
    chosen = _choose(benches, names)
    if only_list:
        for one in chosen:
            click.echo(f"{one.name:<20} {one.title}")
        return
    rounds, seconds = (_QUICK_ROUNDS, _QUICK_SECONDS) if quick else (_ROUNDS, _SECONDS)
    try:
        results = _run(harness, chosen, rounds, seconds)
    except harness.BenchError as error:
        raise Failure(one_line(error)) from error
    judge = importlib.import_module("benches._results").judge
    console = Console()
    for result in results:
        console.print(_table(result))
        for verdict in judge(result):
            console.print(_verdict_line(verdict), highlight=False)
        console.print()


def _benches_root(places: Iterable[Path]) -> Path:
    """The first of `places` that holds `benches/`: the repository that this file belongs to, or where the user is."""
    for root in places:
        if (root / "benches" / "_harness.py").is_file():
            return root
    raise click.UsageError(
        "the benches are not part of the installed package: clone the repository and run this in its folder, or "
        "`make bench` there"
    )


def _load(root: Path) -> tuple[ModuleType, list[Any]]:
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    modules = (
        importlib.import_module(f"benches.{path.stem}") for path in sorted((root / "benches").glob("bench_*.py"))
    )
    benches = [one for module in modules for one in getattr(module, "BENCHES", ())]
    return importlib.import_module("benches._harness"), benches


def _choose(benches: Sequence[Any], names: Iterable[str]) -> list[Any]:
    known = {one.name: one for one in benches}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise click.UsageError(f"no bench {unknown[0]!r}; there are {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)] or list(benches)


def _run(harness: ModuleType, benches: Sequence[Any], rounds: int, seconds: float) -> list[Any]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    console.print("building the load generator")
    load_generator = harness.build_load_generator()
    # Drawn once a second: it runs on the cores that are measured.
    with Progress(*columns, console=console, refresh_per_second=1) as progress:
        everything = progress.add_task("all benches", total=len(benches))
        current = progress.add_task("", total=None)

        def show(done: int, planned: int, what: str) -> None:
            progress.update(current, completed=done, total=planned, description=what)

        results: list[Any] = []
        for one in benches:
            results.append(harness.run_bench(one, load_generator, rounds=rounds, seconds=seconds, progress=show))
            progress.advance(everything)
        return results


def _table(result: Any) -> Table:
    table = Table(title=result.title, title_justify="left")
    table.add_column("side")
    for metric in result.metrics:
        table.add_column(metric, justify="right")
    for side in result.sides:
        table.add_row(side.name, *(f"{side.median(metric):,.1f}" for metric in result.metrics))
    for name in result.left_out:
        table.add_row(name, "not installed")
    return table


def _verdict_line(verdict: Any) -> str:
    bar, measured = verdict.bar, verdict.measured
    if measured is None:
        return f"not measured: {bar.scenario}, {bar.text}"
    word = "[green]met[/]" if verdict.met else "[red]missed[/]"
    return f"{word}: {bar.scenario}, {bar.text}; measured {measured:,.2f}"
