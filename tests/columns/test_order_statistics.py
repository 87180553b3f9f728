"""Order statistics of blocks against a sort of everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from adasparse_cli.columns import order_statistics as module
from adasparse_cli.columns.order_statistics import order_statistics

DRAW = np.random.default_rng(0)
COLUMNS = {
    "continuous": DRAW.normal(size=300_000),
    "whole numbers": DRAW.integers(-50, 50, 200_000).astype(float),
    "one value": np.full(70_000, 3.5),
    "one frequent value": np.where(DRAW.random(250_000) < 0.7, 0.0, DRAW.lognormal(size=250_000)),
    "sorted": np.arange(150_000, dtype=float),
    "few": np.array([2.0, 1.0, 2.0]),
    "with NaN": np.where(DRAW.random(10_000) < 0.1, np.nan, DRAW.normal(size=10_000)),
    "huge": np.array([1e308, -1e308, 0.0, 5e-324, np.inf, -np.inf] * 20_000),
}


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("size", [997, 65_536])
def test_they_are_those_of_a_sort(name: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE", 1 << 10)
    monkeypatch.setattr(module, "BINS", 1 << 6)
    values = COLUMNS[name]

    def each(look: Callable[[np.ndarray], Any]) -> Iterator[Any]:
        return map(look, np.split(values, range(size, len(values), size)))

    wanted = [0, *(k * len(values) // 100 for k in range(100)), len(values) - 1]
    found = order_statistics(each, lambda number: wanted if number == len(values) else [], rows=len(values))
    np.testing.assert_array_equal(found, np.sort(values)[wanted])


def test_without_values_there_is_none() -> None:
    assert len(order_statistics(lambda look: map(look, [np.zeros(0)]), lambda number: [0], rows=0)) == 0


def test_zeros_have_no_sign() -> None:
    found = order_statistics(lambda look: map(look, [np.array([-0.0, 0.0]), np.array([-0.0])]), range, rows=3)
    assert not np.signbit(found).any()
