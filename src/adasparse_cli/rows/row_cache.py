"""The rows of a split as fixed-size records in one file next to the prepared data, so that any row can be read by its index.

The records are a cache of the Parquet files. They belong to the fingerprint of the data and can be removed at any time.

rows/SPLIT.i32             row-major int32: the ids of all fields, then domain, condition and label (−1: none)
rows/SPLIT.conditions.i32  row-major int32: the distinct combinations of domain-aware ids
rows/SPLIT.json            fingerprint of the data, and checksums of both files; written last
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from adasparse_cli.choices import FieldRole, Split
from adasparse_cli.errors import IntegrityError
from adasparse_cli.files import (
    SealedFolder,
    no_room,
    only_owner,
    read_sealed,
    sha256_of,
    write_atomically,
    write_sealed,
)
from adasparse_cli.prep.recipe import Progress
from adasparse_cli.prepared.tables import split_parts
from adasparse_cli.schema import Manifest

FOLDER, VERSION = "rows", 1
_MORE = 3  # columns after the fields


@dataclass(frozen=True, kw_only=True)
class RowCache:
    """Records on disk.

    Args:
        path: file of the records.
        rows: number of rows.
        fields: number of fields.
        conditions: int32, conditions × domain-aware fields.
    """

    path: Path
    rows: int
    fields: int
    conditions: np.ndarray

    @property
    def columns(self) -> int:
        """Numbers per record."""
        return self.fields + _MORE

    def read(self, start: int, end: int) -> np.ndarray:
        """The records of some consecutive rows; int32, rows × columns."""
        found = np.empty((max(end - start, 0), self.columns), dtype="<i4")
        if found.size:
            with self.path.open("rb", buffering=0) as file:
                self.fill(file.fileno(), found, start)
        return found

    def fill(self, file: int, records: np.ndarray, start: int) -> None:
        """Read consecutive records, from row `start` on, into an array.

        Args:
            file: descriptor of the open file.

        Raises:
            IntegrityError: the file is too short.
        """
        rest, offset = memoryview(records.data).cast("B"), 4 * self.columns * start
        while rest:
            read = os.preadv(file, [rest], offset)
            if not read:
                raise IntegrityError(f"{self.path} became shorter while it was read", hint="run the same command again")
            rest, offset = rest[read:], offset + read


def open_cache(folder: Path, manifest: Manifest, split: Split, progress: Progress) -> RowCache:
    """The records of a split. They are written if they do not exist.

    Raises:
        IntegrityError: the checksum of a file differs.
        DiskFullError: the disk has too little space for the records.
        OSError: the folder of the data is not writable.
    """
    place, name = folder / FOLDER, f"{split}.json"
    rows, fields = manifest.splits[split].rows, len(manifest.fields)
    with only_owner(place, wait=True):
        if not _is_current(place / name, manifest):
            needed = 4 * rows * (fields + _MORE)
            if needed > shutil.disk_usage(place).free:
                raise no_room(place / f"{split}.i32", needed)
            progress.start(f"rows of the {split} split as records", rows, "rows")
            files = _write(folder, manifest, split, place, progress)
            write_sealed(place / name, {"rows_version": VERSION, "fingerprint": manifest.fingerprint, "files": files})
        sealed = SealedFolder(
            folder=place,
            files=read_sealed(place / name, "rows_version", unsealed=None)["files"],
            changed="was changed after it was written",
            hint=f"remove {place}; it is written again from the prepared data",
        )
        records, conditions = sealed.paths([f"{split}.i32", f"{split}.conditions.i32"])
    aware = max(len(_aware(manifest)), 1)
    return RowCache(
        path=records, rows=rows, fields=fields, conditions=np.fromfile(conditions, dtype="<i4").reshape(-1, aware)
    )


def _is_current(path: Path, manifest: Manifest) -> bool:
    try:
        index = read_sealed(path, "rows_version", unsealed=None)
    except IntegrityError:
        return False
    return index.get("rows_version") == VERSION and index.get("fingerprint") == manifest.fingerprint


def _aware(manifest: Manifest) -> list[str]:
    return [field.name for field in manifest.fields if field.role is FieldRole.domain_aware]


def _write(folder: Path, manifest: Manifest, split: Split, place: Path, progress: Progress) -> dict[str, str]:
    aware = _aware(manifest)
    conditions = pl.DataFrame(schema=dict.fromkeys(aware, pl.Int32))
    for frame in split_parts(folder, manifest, split):
        conditions = pl.concat([conditions, frame.select(pl.col(aware).cast(pl.Int32))]).unique()
    conditions = conditions.sort(aware)
    numbered = conditions.with_row_index("__condition")

    def blocks() -> Iterator[np.ndarray]:
        for frame in split_parts(folder, manifest, split):
            with_condition = frame.with_columns(pl.col(aware).cast(pl.Int32)).join(
                numbered, on=aware, how="left", maintain_order="left"
            )
            label = pl.col("__label") if "__label" in frame.columns else pl.lit(None)
            records = with_condition.select(
                *(pl.col(field.name).cast(pl.Int32) for field in manifest.fields),
                pl.col("__domain").cast(pl.Int32),
                pl.col("__condition").cast(pl.Int32),
                label.cast(pl.Int32).fill_null(-1).alias("__label"),
            )
            yield records.to_numpy(order="c").astype("<i4", copy=False)
            progress.advance(frame.height)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            for block in blocks():
                file.write(np.ascontiguousarray(block).data)

    records, table = place / f"{split}.i32", place / f"{split}.conditions.i32"
    write_atomically(records, write)
    write_atomically(table, lambda temporary: conditions.to_numpy().astype("<i4").tofile(temporary))
    return {path.name: sha256_of(path) for path in (records, table)}
