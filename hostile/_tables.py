"""What the sections of docs/RELIABILITY.md are made of."""

from collections.abc import Iterable

from hostile._results import Result


def where(result: Result) -> str:
    """When and on what a result was found."""
    machine = result.machine
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    return (
        f"{result.date}, commit `{result.commit}`, {machine.cpu}, {machine.cores} cores, {machine.kernel}, "
        f"{machine.python}; {versions}."
    )


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]], right: Iterable[int]) -> str:
    """Return a table; `right` are the columns of numbers."""
    right = set(right)
    rule = ["---:" if column in right else "---" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def number(value: float) -> str:
    """Return a number with thousands apart."""
    return f"{value:,.0f}".replace(",", " ")


def word(met: bool) -> str:  # a fact, not a switch
    """Return whether a bar is met, in a word."""
    return "met" if met else "missed"
