"""Third pass: writes ids to Parquet, in parts of a fixed size, so that the same rows always give the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from adasparse_cli.choices import Split
from adasparse_cli.files import sha256_of, write_atomically
from adasparse_cli.prep.encode import Encoder
from adasparse_cli.prep.recipe import ROW_HASH, TIMESTAMP
from adasparse_cli.prep.spill import PLACE, SPLIT, scan_frames

PART_ROWS = 1 << 18
GROUP_ROWS = 1 << 17


@dataclass(frozen=True)
class Part:
    """An output file: `<split>/part-<number>.parquet`.

    Args:
        pieces: frames with rows of the split, in order: path, first of these rows, and number of these rows.
    """

    split: Split
    number: int
    pieces: tuple[tuple[Path, int, int], ...]

    @property
    def name(self) -> str:
        """The path in the data's folder."""
        return f"{self.split}/part-{self.number:05d}.parquet"

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(rows for _, _, rows in self.pieces)


def parts_of(split: Split, paths: Sequence[Path], rows: Sequence[int]) -> Iterator[Part]:
    """The parts of a split; every part but the last has PART_ROWS rows, and a split without rows has no parts.

    Args:
        rows: number of the split's rows in each frame.
    """
    number, pieces, room = 0, [], PART_ROWS
    for path, height in zip(paths, rows, strict=True):
        first = 0
        while first < height:
            taken = min(room, height - first)
            pieces.append((path, first, taken))
            first, room = first + taken, room - taken
            if not room:
                yield Part(split, number, tuple(pieces))
                number, pieces, room = number + 1, [], PART_ROWS
    if pieces:
        yield Part(split, number, tuple(pieces))


def write_part(shared: tuple[Encoder, pl.Expr, Path], part: Part) -> tuple[str, str]:
    """Encode and write a part to a data folder.

    Args:
        shared: the encoder, the expression of a row's split, and the folder.

    Returns:
        The part's path in the folder, and its sha256.
    """
    encoder, split, folder = shared
    encoded = []
    for path, first, rows in part.pieces:
        own = scan_frames([path], split).filter(pl.col(SPLIT) == part.split.value).slice(first, rows)
        frame = own.select(pl.exclude(SPLIT, PLACE, ROW_HASH, TIMESTAMP)).collect()
        encoded.append(encoder.encode(frame, labelled=part.split is not Split.unlabelled))
    path = folder / part.name
    path.parent.mkdir(exist_ok=True)
    write_table(pl.concat(encoded).rechunk(), path)
    return part.name, sha256_of(path)


def parts_by_split(paths: Sequence[Path], rows: Sequence[Mapping[Split, int]]) -> list[Part]:
    """The parts of all splits.

    Args:
        rows: number of rows of each split in each frame.
    """
    return [part for split in Split for part in parts_of(split, paths, [own.get(split, 0) for own in rows])]


def write_table(frame: pl.DataFrame, path: Path) -> None:
    """Write Parquet atomically, with fixed settings."""
    write_atomically(
        path,
        lambda temporary: frame.write_parquet(
            temporary, compression="lz4", row_group_size=GROUP_ROWS, statistics=False
        ),
    )
