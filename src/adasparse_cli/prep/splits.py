"""The split of each row, and repeated rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from adasparse_cli.choices import DuplicateRule, Split, SplitRule
from adasparse_cli.columns.hashing import mixed
from adasparse_cli.columns.repeats import Repeats
from adasparse_cli.errors import DataError
from adasparse_cli.prep.counts import Count
from adasparse_cli.prep.engine import Engine
from adasparse_cli.prep.recipe import DAY, LABEL, ROW_HASH, SOURCE, DataSettings
from adasparse_cli.prep.spill import PLACE, SPLIT, Spill, read_frame, rewritten


@dataclass(frozen=True)
class _Frame:
    """A frame to be rewritten, and which of its rows repeat an earlier row."""

    path: Path
    repeats: Repeats


def count_duplicates(spill: Spill, rule: DuplicateRule, engine: Engine) -> int:
    """Count the second and later copies of exactly equal labelled rows; with `drop` they are removed."""
    copies = engine.repeats(spill, labelled=True)
    if len(copies) and rule is DuplicateRule.drop:
        spill.replace(engine.map(_without_repeats, None, list(_frames(spill, copies))))
    return len(copies)


def add_split(spill: Spill, settings: DataSettings, engine: Engine) -> None:
    """Assign a split to each row.

    Raises:
        DataError: fewer than three labelled days, for a split by day; no file of test rows, or no other, for a given one.
    """
    if settings.split is SplitRule.given:
        _require_both(spill)
    if settings.split is SplitRule.day:
        (days,) = engine.count(spill, [Count(keys=(pl.col(DAY),), where=pl.col(LABEL).is_not_null())])
        chosen = _by_day(sorted(days[DAY].drop_nulls()))
    else:
        copies = engine.repeats(spill, labelled=False)
        spill.replace(engine.map(_with_places, settings.split_seed, list(_frames(spill, copies))))
        chosen = _by_file(spill, settings) if settings.split is SplitRule.given else _by_place(settings)
    spill.split = pl.when(pl.col(LABEL).is_null()).then(_lit(Split.unlabelled)).otherwise(chosen).alias(SPLIT)


def _frames(spill: Spill, copies: Repeats) -> Iterator[_Frame]:
    start = 0
    for path, rows in zip(spill.paths, spill.heights, strict=True):
        yield _Frame(path, copies.between(start, start + rows))
        start += rows


def _without_repeats(_: None, frame: _Frame) -> tuple[Path, int]:
    def changed(rows: pl.DataFrame) -> pl.DataFrame:
        kept = np.ones(rows.height, dtype=bool)
        kept[frame.repeats.rows] = False
        return rows.filter(kept)

    return rewritten(frame.path, changed if len(frame.repeats) else None)


def _with_places(seed: int, frame: _Frame) -> tuple[Path, int]:
    return rewritten(frame.path, lambda rows: rows.with_columns(_places(rows, frame.repeats, seed)))


def _places(rows: pl.DataFrame, copies: Repeats, seed: int) -> pl.Series:
    """A number in [0, 1) for each row, from a hash of its values and of the number of equal rows before it.

    Equal rows are separate events. If all copies had the same split, a table with few distinct rows would train a model on
    other combinations than it is tested on.
    """
    hashes = rows[ROW_HASH].to_numpy().copy()
    with np.errstate(over="ignore"):
        hashes[copies.rows] += copies.ranks * np.uint64(0x9E3779B97F4A7C15)
    return pl.Series(PLACE, (mixed(hashes, salt=seed) >> np.uint64(11)) / 2.0**53)


def _by_place(settings: DataSettings) -> pl.Expr:
    valid, test = settings.valid_share, settings.valid_share + settings.test_share
    place = pl.col(PLACE)
    return (
        pl.when(place < valid)
        .then(_lit(Split.valid))
        .when(place < test)
        .then(_lit(Split.test))
        .otherwise(_lit(Split.train))
    )


def _by_file(spill: Spill, settings: DataSettings) -> pl.Expr:
    """The publisher's test files are test; a share of the other rows is valid."""
    return (
        pl.when(pl.col(SOURCE).is_in(sorted(spill.test_sources)))
        .then(_lit(Split.test))
        .when(pl.col(PLACE) < settings.valid_share)
        .then(_lit(Split.valid))
        .otherwise(_lit(Split.train))
    )


def _require_both(spill: Spill) -> None:
    """Refuse a given split without a file of test rows, or without another file."""
    instead = "data.split=random splits by a hash of the row"
    if not spill.test_sources & spill.rows_per_source.keys():
        raise DataError(
            "no file with rows is one of data.test_files, which data.split=given takes as the test split",
            hint=f"name the publisher's test files too; or {instead}",
        )
    if not spill.rows_per_source.keys() - spill.test_sources:
        raise DataError(
            "every file with rows is one of data.test_files, so none is left to train on",
            hint=f"name the publisher's training files too; or {instead}",
        )


def _by_day(known: Sequence[int]) -> pl.Expr:
    """The last labelled day is test, the day before valid."""
    if not known:
        raise DataError(
            "no labelled row has a timestamp; a split by day needs timestamps",
            hint="data.timestamp=COLUMN names the column that has them; data.split=random splits by a hash of the row",
        )
    if len(known) < 3:
        raise DataError(
            f"the labelled rows cover {len(known)} day{'s' * (len(known) != 1)}; a split by day needs three",
            hint="data.split=random splits by a hash of the row",
        )
    return (
        pl.when(pl.col(DAY) == known[-1])
        .then(_lit(Split.test))
        .when(pl.col(DAY) == known[-2])
        .then(_lit(Split.valid))
        .otherwise(_lit(Split.train))
    )


def _lit(split: Split) -> pl.Expr:
    # one byte per row instead of sixteen for texts
    return pl.lit(split.value, dtype=pl.Enum([split.value for split in Split]))


def split_rows(split: pl.Expr, path: Path) -> dict[Split, int]:
    """The number of rows of each split in a frame."""
    counts = read_frame(path, split, columns=[SPLIT])[SPLIT].cast(pl.String).value_counts()
    return {Split(name): count for name, count in counts.iter_rows()}
