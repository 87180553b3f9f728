"""The fault matrix: every test of this folder is marked `faults`, and `--short` takes a sample of each attack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.attacked import Server

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.faults)


@pytest.fixture(scope="session")
def attacks(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """`attacks(full, short)` is how often an attack is made: `full` times, or `short` times with `--short`."""
    short = bool(request.config.getoption("--short"))
    return lambda full, sample: sample if short else full


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Starts commands at once."""
    started = Server()
    yield started
    started.close()
