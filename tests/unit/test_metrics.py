import ast
import dataclasses
import inspect
import pickle
import textwrap
from typing import Any

import pytest

from websocket_utils.metrics import ClientStats, ServerStats

BOTH = pytest.mark.parametrize("stats", [ClientStats, ServerStats])


def snapshot(stats: type[ClientStats] | type[ServerStats]) -> ClientStats | ServerStats:
    values: dict[str, Any] = {field.name: 0 for field in dataclasses.fields(stats)}
    if "state" in values:
        values["state"] = "open"
    return stats(**values)


@BOTH
def test_stats_is_a_frozen_snapshot(stats: type[ClientStats] | type[ServerStats]) -> None:
    taken = snapshot(stats)
    with pytest.raises(dataclasses.FrozenInstanceError):
        taken.messages_received = 1  # type: ignore[misc]  # the point of the test
    assert not hasattr(taken, "__dict__")


@BOTH
def test_stats_survives_pickling(stats: type[ClientStats] | type[ServerStats]) -> None:
    taken = snapshot(stats)
    assert pickle.loads(pickle.dumps(taken)) == taken


@BOTH
def test_every_field_says_what_it_counts(stats: type[ClientStats] | type[ServerStats]) -> None:
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(stats))).body
    assert isinstance(tree, ast.ClassDef)
    described = {
        before.target.id
        for before, after in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(before, ast.AnnAssign)
        and isinstance(before.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
    }
    assert described == {field.name for field in dataclasses.fields(stats)}
