"""Spilled frames give back what went into them, however many there are."""

from __future__ import annotations

import gc
import tempfile
import weakref
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adasparse_cli.choices import Split
from adasparse_cli.prep import spill as module
from adasparse_cli.prep.recipe import SOURCE
from adasparse_cli.prep.spill import BagTable, Spill, rewritten, write_frame
from adasparse_cli.prep.writer import parts_of

FRAMES = st.lists(st.lists(st.none() | st.sampled_from([-(2**63), -1, 0, 1, 2, 2**63 - 1]), min_size=1), min_size=1)


@pytest.mark.parametrize("kind", [pl.Int64, pl.String])
@settings(max_examples=50)
@given(frames=FRAMES)
def test_distinct_values_are_sorted_whatever_frame_they_come_from(
    kind: type[pl.DataType], frames: list[list[int | None]]
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FRAMES_AT_ONCE", 2)
        spill = Spill(Path(folder), {})
        for values in frames:
            spill.add(pl.DataFrame({"v": pl.Series(values, dtype=pl.Int64).cast(kind), SOURCE: [0] * len(values)}))
            spill.flush()
        found = spill.sorted_values("v").to_list()
    known = {value if kind is pl.Int64 or value is None else str(value) for values in frames for value in values}
    assert found == ([None] if None in known else []) + sorted(value for value in known if value is not None)


@given(st.lists(st.lists(st.none() | st.text(max_size=2), max_size=9), max_size=9))
def test_bags_are_numbered_in_order_of_appearance(frames: list[list[str | None]]) -> None:
    table, numbers = BagTable(), {}  # type: ignore[var-annotated]
    for texts in frames:
        expected = [0 if text is None else numbers.setdefault(text, len(numbers) + 1) for text in texts]
        assert table.indices(pl.Series(texts, dtype=pl.String)).to_list() == expected
        assert table.texts().to_list() == list(numbers)
        assert len(table) == len(numbers)


def test_a_table_of_bags_is_gone_once_nobody_has_it() -> None:
    table = BagTable()
    table.indices(pl.Series(["a", "b"]))
    gone = weakref.ref(table)
    gc.disable()
    try:
        del table
        assert gone() is None
    finally:
        gc.enable()


@settings(max_examples=100)
@given(st.lists(st.integers(0, 9), max_size=8))
def test_parts_hold_the_rows_in_order_and_all_but_the_last_are_full(heights: list[int]) -> None:
    paths = [Path(str(k)) for k in range(len(heights))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adasparse_cli.prep.writer.PART_ROWS", 4)
        parts = list(parts_of(Split.train, paths, heights))
    rows = [(path, row) for part in parts for path, first, count in part.pieces for row in range(first, first + count)]
    assert rows == [(path, row) for path, height in zip(paths, heights, strict=True) for row in range(height)]
    assert [part.rows for part in parts[:-1]] == [4] * (len(parts) - 1)
    assert [part.number for part in parts] == list(range(-(-sum(heights) // 4)))


def test_a_frame_is_changed_once_even_if_its_task_runs_again(tmp_path: Path) -> None:
    path = tmp_path / "000000.arrow"
    write_frame(pl.DataFrame({"a": [1, 2, 3]}), path)
    first = rewritten(path, lambda rows: rows.head(2))
    assert rewritten(path, lambda rows: rows.head(2)) == first == (tmp_path / "000000-1.arrow", 2)
    assert rewritten(first[0], lambda rows: rows.head(1)) == (tmp_path / "000000-2.arrow", 1)
    assert rewritten(tmp_path / "000000-2.arrow", None) == (tmp_path / "000000-2.arrow", 1)
    assert [one.name for one in tmp_path.iterdir()] == ["000000-2.arrow"]
