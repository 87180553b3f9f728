"""Third pass: writes ids to Parquet, in parts of a fixed size, so that the same rows always give the same bytes."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from adasparse_cli.files import write_atomically

PART_ROWS = 1 << 18
GROUP_ROWS = 1 << 17


class PartWriter:
    """Collects a split's frames and writes `part-00000.parquet`, …; every part but the last has PART_ROWS rows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts = 0
        self._waiting: list[pl.DataFrame] = []
        self._rows = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Append rows."""
        self._waiting.append(frame)
        self._rows += frame.height
        while self._rows >= PART_ROWS:
            self._write(PART_ROWS)

    def close(self) -> None:
        """Write the remaining rows; a split without rows has no parts."""
        if self._rows:
            self._write(self._rows)

    def _write(self, rows: int) -> None:
        part = pl.concat(self._waiting).head(rows).rechunk()
        # the remaining rows are from the last frame, the only one that is kept for them
        self._waiting = [self._waiting[-1].tail(self._rows - rows)]
        self._rows -= rows
        self.folder.mkdir(exist_ok=True)
        write_table(part, self.folder / f"part-{self.parts:05d}.parquet")
        self.parts += 1


def write_table(frame: pl.DataFrame, path: Path) -> None:
    """Write Parquet atomically, with fixed settings."""
    write_atomically(
        path,
        lambda temporary: frame.write_parquet(
            temporary, compression="lz4", row_group_size=GROUP_ROWS, statistics=False
        ),
    )
