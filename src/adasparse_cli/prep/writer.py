"""Third pass: ids in Parquet, in parts of a fixed size, so that the same rows always give the same bytes."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from adasparse_cli.files import write_atomically

PART_ROWS = 1 << 18
GROUP_ROWS = 1 << 17


class PartWriter:
    """Gathers a split's frames and writes `part-00000.parquet`, …; every part but the last has PART_ROWS rows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts = 0
        self._waiting: list[pl.DataFrame] = []
        self._rows = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Add rows behind those before."""
        self._waiting.append(frame)
        self._rows += frame.height
        while self._rows >= PART_ROWS:
            self._write(PART_ROWS)

    def close(self) -> None:
        """Write what is left; a split without rows has no parts."""
        if self._rows:
            self._write(self._rows)

    def _write(self, rows: int) -> None:
        part = pl.concat(self._waiting).head(rows).rechunk()
        # what is over is of the last frame, which alone is kept for it
        self._waiting = [self._waiting[-1].tail(self._rows - rows)]
        self._rows -= rows
        self.folder.mkdir(exist_ok=True)
        write_table(part, self.folder / f"part-{self.parts:05d}.parquet")
        self.parts += 1


def write_table(frame: pl.DataFrame, path: Path) -> None:
    """Write Parquet atomically, with settings that leave nothing to chance."""
    write_atomically(
        path,
        lambda temporary: frame.write_parquet(
            temporary, compression="lz4", row_group_size=GROUP_ROWS, statistics=False
        ),
    )
