"""First pass: writes a recipe's frames as columnar files of values, multi-valued strings as bag indices.

Later passes read single columns of these files, so memory does not grow with the number of rows.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from adasparse_cli.choices import DuplicateRule, FieldKind, Split, SplitRule
from adasparse_cli.errors import DataError
from adasparse_cli.files import disk_is_full, no_room
from adasparse_cli.prep.distinct import Remembered, numbered_type
from adasparse_cli.prep.hashing import mixed
from adasparse_cli.prep.recipe import DAY, LABEL, ROW_HASH, SOURCE, DataSettings, FieldPlan, Progress, RawData
from adasparse_cli.prep.repeats import Repeats, find_repeats
from adasparse_cli.raw.rejected import advice, examples

SPLIT, PLACE = "__split", "__place"
# With frames of this size, the cost per frame and field is small compared with the cost per row.
FRAME_ROWS = 1 << 16
FRAMES_AT_ONCE = 16
# Ids in Parquet, vocabularies and bags take up to 0.45 times the space of the values (measured on tables and on IAAC's text).
OUTPUT_SHARE = 0.5


class BagTable:
    """The distinct raw strings of a multi-valued field, numbered in order of first appearance; 0 is the empty bag."""

    def __init__(self) -> None:
        self._texts: list[pl.Series] = []
        self._type: pl.DataType | None = None
        # not a bound method: a reference cycle would keep all texts until the garbage collector runs
        self._remembered = Remembered(partial(_numbered, self._texts))

    def __len__(self) -> int:
        return sum(map(len, self._texts))

    def indices(self, texts: pl.Series) -> pl.Series:
        """The number of each string; null has number 0."""
        if self._type is None:
            # a recipe may number texts itself
            self._type = texts.dtype if isinstance(texts.dtype, pl.Categorical) else numbered_type()
        return self._remembered(texts.cast(self._type)).fill_null(0)

    def texts(self) -> pl.Series:
        """The strings of bags 1, 2, …"""
        return pl.concat(self._texts).alias("text") if self._texts else pl.Series("text", [], dtype=pl.String)


def _numbered(known: list[pl.Series], texts: pl.Series) -> pl.Series:
    """Numbers for new texts, which are added to `known`."""
    first = sum(map(len, known)) + 1
    known.append(texts)
    return pl.int_range(first, first + len(texts), dtype=pl.Int32, eager=True)


@dataclass
class Spill:
    """Value frames on disk, in the files' order.

    Args:
        split: expression of a row's SPLIT from its other columns; None before `add_split`.
        test_sources: the sources whose rows are the test split, for `split=given`.
    """

    folder: Path
    bags: dict[str, BagTable]
    paths: list[Path] = field(default_factory=list)
    rows_per_source: dict[int, int] = field(default_factory=dict)
    rows: int = 0
    bytes: int = 0
    split: pl.Expr | None = None
    test_sources: frozenset[int] = frozenset()
    _waiting: list[pl.DataFrame] = field(default_factory=list)

    def add(self, frame: pl.DataFrame) -> None:
        """Add the next frame. Frames are merged into larger ones before they are written."""
        self._waiting.append(frame)
        self.rows += frame.height
        if sum(own.height for own in self._waiting) >= FRAME_ROWS:
            self.flush()
        for source, count in frame[SOURCE].value_counts().rows():
            self.rows_per_source[source] = self.rows_per_source.get(source, 0) + count

    def flush(self) -> None:
        """Write the waiting rows."""
        if self._waiting:
            path = self.folder / f"{len(self.paths):06d}.arrow"
            _write(pl.concat(self._waiting, rechunk=True), path)
            self.paths.append(path)
            self.bytes += path.stat().st_size
            self._waiting.clear()

    def scan(self, columns: list[str] | None = None, *, paths: list[Path] | None = None) -> pl.LazyFrame:
        """All rows, or the rows of some frames, lazily; only the named columns are read."""
        scanned = pl.scan_ipc(self.paths if paths is None else paths, glob=False)
        if self.split is not None:
            scanned = scanned.with_columns(self.split)
        return scanned if columns is None else scanned.select(columns)

    def sorted_values(self, column: str) -> pl.Series:
        """The distinct values of a column, sorted. Memory is needed only for these and some frames."""
        found: pl.DataFrame | None = None
        for start in range(0, len(self.paths), FRAMES_AT_ONCE):
            some = self.scan([column], paths=self.paths[start : start + FRAMES_AT_ONCE])
            new = some.unique().sort(column).collect()
            found = new if found is None else found.merge_sorted(new, column)
            found = found.filter(pl.col(column).ne_missing(pl.col(column).shift()) | (pl.int_range(pl.len()) == 0))
        assert found is not None
        return found[column]

    def frame(self, path: Path) -> pl.DataFrame:
        """One frame, with each row's split."""
        frame = _read(path)
        return frame if self.split is None else frame.with_columns(self.split)


def spill_frames(raw: RawData, folder: Path, progress: Progress, *, size: int) -> Spill:
    """Read all files once.

    Args:
        size: bytes of the sources on disk.

    Raises:
        DataError: by the recipe, for a file that cannot be read at all.
        DiskFullError: the remaining disk space is not sufficient.
    """
    folder.mkdir(parents=True)
    multi = [plan.name for plan in raw.plans if plan.kind is FieldKind.multi_valued]
    spill, done = Spill(folder, {name: BagTable() for name in multi}, test_sources=raw.test_sources), 0
    for frame in raw.frames:
        spill.add(frame.with_columns(spill.bags[name].indices(frame[name]) for name in multi))
        now = raw.consumed()
        progress.advance(now - done, {"rows": spill.rows})
        done = now
        _require_room(spill, done / size if size else 0.0)
    spill.flush()
    if not spill.rows:
        raise DataError(
            f"the raw files hold no readable row; {len(raw.rejects):,} were rejected: {examples(raw.rejects)}"
            if raw.rejects
            else "the raw files hold no rows",
            hint="; ".join([*advice(raw.rejects), "correct the files, or the settings that describe the columns"]),
        )
    return spill


def _require_room(spill: Spill, share: float) -> None:
    """Fail early if the disk is too small, estimated from the space used for the share of the sources read so far."""
    if not share:  # not known yet
        return
    still = round(spill.bytes / share * (1 + OUTPUT_SHARE)) - spill.bytes
    if still > shutil.disk_usage(spill.folder).free:
        raise no_room(spill.folder, still)


def count_duplicates(spill: Spill, rule: DuplicateRule) -> int:
    """Count the second and later copies of exactly equal labelled rows; with `drop` they are removed."""
    copies = _repeats(spill, labelled=True)
    if len(copies) and rule is DuplicateRule.drop:
        start = 0
        for path in spill.paths:
            frame = _read(path)
            again = copies.between(start, start + frame.height).rows
            start += frame.height
            if len(again):
                kept = np.ones(frame.height, dtype=bool)
                kept[again] = False
                _rewrite(path, frame.filter(kept))
        spill.rows -= len(copies)
    return len(copies)


def _repeats(spill: Spill, *, labelled: bool) -> Repeats:
    """Rows that are equal to an earlier one, among all rows or the labelled rows; rows are numbered over all frames."""

    def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        start = 0
        for first in range(0, len(spill.paths), FRAMES_AT_ONCE):
            frame = spill.scan([ROW_HASH, LABEL], paths=spill.paths[first : first + FRAMES_AT_ONCE]).collect()
            numbers = np.arange(start, start + frame.height)
            start += frame.height
            chosen = frame[LABEL].is_not_null().to_numpy() if labelled else slice(None)
            yield numbers[chosen], frame[ROW_HASH].to_numpy()[chosen]

    return find_repeats(blocks(), rows=spill.rows, folder=spill.folder / "repeats")


def split_expression(spill: Spill, settings: DataSettings) -> pl.Expr:
    """The split of a row, from its day, from a hash of its content, or from its file.

    Raises:
        DataError: fewer than three labelled days, for a split by day; no file of test rows, or no other, for a given one.
    """
    if settings.split is SplitRule.given:
        _require_both(spill)
        chosen = (
            pl.when(pl.col(SOURCE).is_in(sorted(spill.test_sources)))
            .then(_lit(Split.test))
            .when(pl.col(PLACE) < settings.valid_share)
            .then(_lit(Split.valid))
            .otherwise(_lit(Split.train))
        )
    elif settings.split is SplitRule.random:
        valid, test = settings.valid_share, settings.valid_share + settings.test_share
        place = pl.col(PLACE)
        chosen = (
            pl.when(place < valid)
            .then(_lit(Split.valid))
            .when(place < test)
            .then(_lit(Split.test))
            .otherwise(_lit(Split.train))
        )
    else:
        days = spill.scan([DAY, LABEL]).filter(pl.col(LABEL).is_not_null()).select(pl.col(DAY).unique()).collect()[DAY]
        known = sorted(days.drop_nulls())
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
        chosen = (
            pl.when(pl.col(DAY) == known[-1])
            .then(_lit(Split.test))
            .when(pl.col(DAY) == known[-2])
            .then(_lit(Split.valid))
            .otherwise(_lit(Split.train))
        )
    return pl.when(pl.col(LABEL).is_null()).then(_lit(Split.unlabelled)).otherwise(chosen).alias(SPLIT)


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


def _lit(split: Split) -> pl.Expr:
    # one byte per row instead of sixteen for texts
    return pl.lit(split.value, dtype=pl.Enum([split.value for split in Split]))


def add_split(spill: Spill, settings: DataSettings) -> None:
    """Assign a split to each row."""
    if settings.split is not SplitRule.day:
        copies, start = _repeats(spill, labelled=False), 0
        for path in spill.paths:
            frame = _read(path)
            places = _places(frame, copies.between(start, start + frame.height), settings)
            start += frame.height
            _rewrite(path, frame.with_columns(places))
    spill.split = split_expression(spill, settings)


def _places(frame: pl.DataFrame, copies: Repeats, settings: DataSettings) -> pl.Series:
    """A number in [0, 1) for each row, from a hash of its values and of the number of equal rows before it.

    Equal rows are separate events. If all copies had the same split, a table with few distinct rows would train a model on
    other combinations than it is tested on.
    """
    hashes = frame[ROW_HASH].to_numpy().copy()
    with np.errstate(over="ignore"):
        hashes[copies.rows] += copies.ranks * np.uint64(0x9E3779B97F4A7C15)
    return pl.Series(PLACE, (mixed(hashes, salt=settings.split_seed) >> np.uint64(11)) / 2.0**53)


def _rewrite(path: Path, frame: pl.DataFrame) -> None:
    # the frame may still be mapped from the file it replaces
    new = path.with_suffix(".new")
    _write(frame, new)
    new.replace(path)


def _read(path: Path) -> pl.DataFrame:
    # read_ipc interprets the path as a pattern
    return pl.scan_ipc(path, glob=False).collect()


def _write(frame: pl.DataFrame, path: Path) -> None:
    # compressed files are read into memory column by column; plain ones would be mapped entirely and stay resident
    try:
        frame.write_ipc(path, compression="lz4")
    except OSError as error:
        if disk_is_full(error):
            raise no_room(path, int(frame.estimated_size())) from None
        raise


def field_columns(plans: tuple[FieldPlan, ...]) -> tuple[FieldPlan, ...]:
    """The plans in the manifest's order: agnostic before aware, single-valued before multi-valued within each."""
    return tuple(
        sorted(plans, key=lambda plan: (plan.role.value == "domain_aware", plan.kind is FieldKind.multi_valued))
    )
