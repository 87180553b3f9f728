"""First pass: writes a recipe's frames as columnar files of values, multi-valued strings as bag indices.

Later passes read single columns of these files, so memory does not grow with the number of rows.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import polars as pl

from adasparse_cli.choices import FieldKind
from adasparse_cli.columns.distinct import Remembered, numbered_type
from adasparse_cli.errors import DataError
from adasparse_cli.files import disk_is_full, no_room
from adasparse_cli.prep.recipe import SOURCE, FieldPlan, Progress, RawData
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
        heights: rows of each frame.
        split: expression of a row's SPLIT from its other columns; None before `add_split`.
        test_sources: the sources whose rows are the test split, for `split=given`.
    """

    folder: Path
    bags: dict[str, BagTable]
    paths: list[Path] = field(default_factory=list)
    heights: list[int] = field(default_factory=list)
    rows_per_source: dict[int, int] = field(default_factory=dict)
    rows: int = 0
    bytes: int = 0
    split: pl.Expr | None = None
    test_sources: frozenset[int] = frozenset()
    _waiting: list[pl.DataFrame] = field(default_factory=list)

    def take(self, frame: pl.DataFrame) -> None:
        """Add the next frame of a recipe, whose multi-valued fields are texts."""
        self.add(frame.with_columns(table.indices(frame[name]) for name, table in self.bags.items()))

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
            frame = pl.concat(self._waiting, rechunk=True)
            write_frame(frame, path)
            self.paths.append(path)
            self.heights.append(frame.height)
            self.bytes += path.stat().st_size
            self._waiting.clear()

    def scan(self, columns: list[str] | None = None, *, paths: list[Path] | None = None) -> pl.LazyFrame:
        """All rows, or the rows of some frames, lazily; only the named columns are read."""
        scanned = scan_frames(self.paths if paths is None else paths, self.split)
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

    def replace(self, frames: Iterable[tuple[Path, int]]) -> None:
        """Use new versions of all frames: their paths and numbers of rows."""
        new = list(frames)
        self.paths, self.heights = [path for path, _ in new], [rows for _, rows in new]
        self.rows = sum(self.heights)


def spill_frames(raw: RawData, folder: Path, progress: Progress, *, size: int) -> Spill:
    """Read all files once.

    Args:
        size: bytes of the sources on disk.

    Raises:
        DataError: by the recipe, for a file that cannot be read at all.
        DiskFullError: the remaining disk space is not sufficient.
    """
    folder.mkdir(parents=True)
    spill, done = Spill(folder, {name: BagTable() for name in multi_valued(raw)}, test_sources=raw.test_sources), 0
    for frame in raw.frames:
        spill.take(frame)
        now = raw.consumed()
        progress.advance(now - done, {"rows": spill.rows})
        done = now
        _require_room(spill, done / size if size else 0.0)
    spill.flush()
    require_rows(raw, spill)
    return spill


def multi_valued(raw: RawData) -> list[str]:
    """The multi-valued fields."""
    return [plan.name for plan in raw.plans if plan.kind is FieldKind.multi_valued]


def require_rows(raw: RawData, spill: Spill) -> None:
    """Check that there are rows.

    Raises:
        DataError: there are none.
    """
    if not spill.rows:
        raise DataError(
            f"the raw files hold no readable row; {len(raw.rejects):,} were rejected: {examples(raw.rejects)}"
            if raw.rejects
            else "the raw files hold no rows",
            hint="; ".join([*advice(raw.rejects), "correct the files, or the settings that describe the columns"]),
        )


def _require_room(spill: Spill, share: float) -> None:
    """Fail early if the disk is too small, estimated from the space used for the share of the sources read so far."""
    if not share:  # not known yet
        return
    still = round(spill.bytes / share * (1 + OUTPUT_SHARE)) - spill.bytes
    if still > shutil.disk_usage(spill.folder).free:
        raise no_room(spill.folder, still)


def scan_frames(paths: Sequence[Path], split: pl.Expr | None) -> pl.LazyFrame:
    """The rows of some frames, with each row's split if its expression is given."""
    scanned = pl.scan_ipc(list(paths), glob=False)
    return scanned if split is None else scanned.with_columns(split)


def read_frame(path: Path, split: pl.Expr | None = None, *, columns: list[str] | None = None) -> pl.DataFrame:
    """A frame, with each row's split if its expression is given; only the named columns are read."""
    # read_ipc interprets the path as a pattern
    frame = scan_frames([path], split)
    return (frame if columns is None else frame.select(columns)).collect()


def rewritten(path: Path, change: Callable[[pl.DataFrame], pl.DataFrame] | None) -> tuple[Path, int]:
    """Replace a frame by a new version of it.

    The new version has another name, so that a task that runs again neither changes a frame twice nor misses it.

    Args:
        change: makes the new version; None if the frame remains as it is.

    Returns:
        Its path and its number of rows.
    """
    stem, _, version = path.stem.partition("-")
    new = path.with_name(f"{stem}-{int(version or 0) + 1}.arrow")
    if new.exists() and not path.exists():  # by an earlier attempt
        return new, _height(new)
    if change is None:
        return path, _height(path)
    frame = change(read_frame(path))
    write_frame(frame, new)
    path.unlink(missing_ok=True)
    return new, frame.height


def _height(path: Path) -> int:
    return int(pl.scan_ipc(path, glob=False).select(pl.len()).collect().item())


def write_frame(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame; `path` is complete or absent.

    Raises:
        DiskFullError: the disk is full.
    """
    # two tasks may write the same frame; what a killed task leaves is removed with the folder
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    # compressed files are read into memory column by column; plain ones would be mapped entirely and stay resident
    try:
        frame.write_ipc(temporary, compression="lz4")
        temporary.replace(path)
    except OSError as error:
        if disk_is_full(error):
            raise no_room(path, int(frame.estimated_size())) from None
        raise


def field_columns(plans: tuple[FieldPlan, ...]) -> tuple[FieldPlan, ...]:
    """The plans in the manifest's order: agnostic before aware, single-valued before multi-valued within each."""
    return tuple(
        sorted(plans, key=lambda plan: (plan.role.value == "domain_aware", plan.kind is FieldKind.multi_valued))
    )
