"""Real runtimes of others: each file starts its own once, for all its tests."""

from collections.abc import Iterator

import pytest
from tests.support.workerd import Workerd


@pytest.fixture(scope="module")
def workerd() -> Iterator[Workerd]:
    """Both Workers, with the settings of the configuration; one for a module: tests take channels of their own."""
    with Workerd() as running:
        yield running
