"""Repeated rows by hashes, against counting in plain Python, in memory and dealt out to files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from adasparse_cli.columns import repeats as module
from adasparse_cli.columns.repeats import find_repeats


@pytest.mark.parametrize("together", [1 << 22, 1_000])
@pytest.mark.parametrize("distinct", [1, 300, 10_000_000])
def test_every_repeat_is_found_with_its_rank(
    tmp_path: Path, distinct: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOGETHER", together)
    draw = np.random.default_rng(distinct)
    hashes = draw.integers(0, distinct, 20_000).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    numbers = np.flatnonzero(draw.random(30_000) < 2 / 3)[:20_000]
    hashes = hashes[: len(numbers)]
    seen: Counter[int] = Counter()
    expected = {}
    for number, value in zip(numbers.tolist(), hashes.tolist(), strict=True):
        if seen[value]:
            expected[number] = seen[value]
        seen[value] += 1
    blocks = list(zip(np.array_split(numbers, 7), np.array_split(hashes, 7), strict=True))
    found = find_repeats(blocks, rows=len(numbers), folder=tmp_path / "repeats")
    assert dict(zip(found.rows.tolist(), found.ranks.tolist(), strict=True)) == expected
    assert found.rows.tolist() == sorted(expected)
    assert not list(tmp_path.iterdir())
    some = found.between(5_000, 9_000)
    assert some.rows.tolist() == [number - 5_000 for number in sorted(expected) if 5_000 <= number < 9_000]


def test_no_rows_have_no_repeats(tmp_path: Path) -> None:
    assert len(find_repeats([], rows=0, folder=tmp_path / "repeats")) == 0
