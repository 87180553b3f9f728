"""The steps as an engine of independent tasks runs them: parts read on their own, bags renumbered, frames rewritten.

Truth: the files that this machine writes in one process, which other tests compare with references. `test_spark.py` runs the
same on Spark, where it is installed.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import polars as pl
import pytest

from adasparse_cli.columns.repeats import Repeats
from adasparse_cli.errors import DataError, TooManyRejectedError, UsageError
from adasparse_cli.prep.counts import POSITIVES, ROWS, Count
from adasparse_cli.prep.engine import LocalEngine
from adasparse_cli.prep.recipe import LABEL
from adasparse_cli.prep.spill import Spill, write_frame
from adasparse_cli.spark import tasks as spark_tasks
from adasparse_cli.spark.engine import SparkEngine
from tests.prep.engines import GIVEN, RANDOM, TABLE, made, raw_files


class OneByOne(SparkEngine):
    """The tasks of Spark in this process, each run twice, the last item first; what a shuffle does is done locally."""

    def __init__(self) -> None:
        super().__init__(None, "x", Path())

    def __enter__(self) -> Self:
        return self

    def require_workers(self, paths: Sequence[Path]) -> None:
        pass

    def map(
        self, work: Callable[[Any, Any], Any], shared: Any, items: Sequence[Any], *, at_once: int = 1
    ) -> Iterator[Any]:
        for item in items:
            work(shared, item)
        return reversed([work(shared, item) for item in reversed(items)])

    def count(self, spill: Spill, asked: Sequence[Count]) -> Iterator[pl.DataFrame]:
        return LocalEngine().count(spill, asked)

    def distinct(self, spill: Spill, column: str) -> pl.Series:
        return LocalEngine().distinct(spill, column)

    def repeats(self, spill: Spill, *, labelled: bool) -> Repeats:
        return LocalEngine().repeats(spill, labelled=labelled)


@pytest.mark.parametrize("words", [TABLE, RANDOM, GIVEN], ids=["day", "random", "given"])
@pytest.mark.parametrize("range_bytes", [4000, 1 << 25])
def test_independent_tasks_write_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], range_bytes: int
) -> None:
    raw = raw_files(tmp_path)
    expected = made(tmp_path / "data" / "local", raw, words, LocalEngine())
    monkeypatch.setattr("adasparse_cli.tables.text.BLOCK_BYTES", range_bytes)
    monkeypatch.setattr("adasparse_cli.tables.parquet.ROWS", max(range_bytes // 50, 1))
    monkeypatch.setattr("adasparse_cli.prep.spill.FRAME_ROWS", 50)
    found = made(tmp_path / "data" / "tasks", raw, words, OneByOne())
    assert found == expected
    assert sum(found["rejected"].values()) > 5
    assert found["duplicates"] > 5
    rejects = pl.read_parquet(tmp_path / "data" / "tasks" / "rejects.parquet")
    # line 21 of the file is `too,few`
    assert ("a.csv", 21, "too few columns: 2 where the header has 8") in rejects.select(
        "source", "line", "reason"
    ).rows()


def test_too_many_rejected_rows_are_reported_with_the_same_text(tmp_path: Path) -> None:
    raw, said = raw_files(tmp_path), []
    for engine in (LocalEngine(), OneByOne()):
        with pytest.raises(TooManyRejectedError) as error:
            made(tmp_path / "data" / "x", raw, (*TABLE, "data.max_rejected=0"), engine)
        said.append(error.value.message)
    assert said[0] == said[1]
    assert "a.csv:21" in said[0]


def test_a_recipe_that_reads_in_one_process_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = raw_files(tmp_path)
    monkeypatch.setattr("adasparse_cli.data_prep.tabular._Reader", lambda *_: None)
    with pytest.raises(UsageError, match="cannot run on Spark"):
        made(tmp_path / "data" / "x", raw, TABLE, OneByOne())
    assert [path.name for path in (tmp_path / "data").iterdir()] == []


def test_counts_come_back_with_their_keys_whatever_they_are(tmp_path: Path) -> None:
    """Numbers, texts and several keys, with missing values and characters that JSON escapes."""
    frame = pl.DataFrame(
        {
            "text": ["a", None, "", 'q"\\/', "né\n", "a"],
            "number": pl.Series([1, None, -1, 2**62, 1, 1], dtype=pl.Int64),
            "small": pl.Series([1, 2, None, 4, 5, 1], dtype=pl.Int8),
            LABEL: pl.Series([1, 0, None, 1, 0, 1], dtype=pl.Int8),
        }
    )
    write_frame(frame, tmp_path / "000000.arrow")
    asked = [
        Count(keys=(pl.col("text"),)),
        Count(keys=(pl.col("number"),), positives=True),
        Count(keys=(pl.col("text"), pl.col("small")), where=pl.col("number").is_not_null(), positives=True),
    ]
    path = spark_tasks.write_counts((asked, None, tmp_path), (0, tmp_path / "000000.arrow"))
    table = pl.read_parquet(path)
    for k, one in enumerate(asked):
        expected = one.counted(frame.lazy()).collect()
        own = table.filter(pl.col(spark_tasks.ASKED) == k)
        types = {name: expected.schema[name] for name in expected.columns[: len(one.keys)]}
        sums = [own[name] for name in (ROWS, POSITIVES) if name in expected.columns]
        found = pl.DataFrame([*spark_tasks.keys_of(own, types), *sums])
        assert found.schema == expected.schema
        assert sorted(found.rows(), key=str) == sorted(expected.rows(), key=str)


def test_an_error_that_is_explained_comes_back_from_a_task() -> None:
    from adasparse_cli.spark.engine import _Refused

    error = pickle.loads(pickle.dumps(_Refused(TooManyRejectedError("bad", hint="do", reasons={"r": 1})))).error()
    assert isinstance(error, DataError)
    assert (error.message, error.hint, str(error), error.reasons) == ("bad", "do", "bad", {"r": 1})
