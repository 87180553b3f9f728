"""Finds rows that repeat an earlier row, by their hashes, in one pass over the rows and with bounded memory."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Number of hashes that are searched together: 16 bytes each, and twice that while they are sorted.
TOGETHER, MOST_PARTS = 1 << 20, 1 << 14
_ROW = np.dtype([("row", "<i8"), ("hash", "<u8")])


@dataclass(frozen=True)
class Repeats:
    """Rows that are equal to an earlier one.

    Args:
        rows: their numbers, int64, ascending.
        ranks: number of equal rows before each, uint64, from 1.
    """

    rows: np.ndarray
    ranks: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def between(self, start: int, end: int) -> Repeats:
        """The repeats among rows `start` … `end − 1`, numbered from `start`."""
        first, last = np.searchsorted(self.rows, [start, end])
        return Repeats(self.rows[first:last] - start, self.ranks[first:last])


def find_repeats(blocks: Iterable[tuple[np.ndarray, np.ndarray]], *, rows: int, folder: Path) -> Repeats:
    """Find every row whose hash equals the hash of an earlier row.

    Equal hashes have equal remainders. The rows are therefore distributed to files by the remainder of their hash, and each
    file is searched separately. Time grows with the number of rows, memory with TOGETHER and the number of repeats.

    Args:
        blocks: numbers and hashes (uint64) of rows, in ascending order of the numbers.
        rows: approximate number of rows. folder: for temporary files; created here and removed.
    """
    parts = min(rows // TOGETHER + 1, MOST_PARTS)
    if parts == 1:
        gathered = [_joined(numbers, hashes) for numbers, hashes in blocks]
        return _merged([_repeats_in(np.concatenate(gathered))] if gathered else [])
    folder.mkdir()
    try:
        for numbers, hashes in blocks:
            _deal_out(_joined(numbers, hashes), parts, folder)
        return _merged([_repeats_in(np.fromfile(path, dtype=_ROW)) for path in _files(folder, parts)])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _joined(numbers: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    joined = np.empty(len(numbers), dtype=_ROW)
    joined["row"], joined["hash"] = numbers, hashes
    return joined


def _deal_out(block: np.ndarray, parts: int, folder: Path) -> None:
    """Append each row to the file of its hash's remainder; rows keep their order."""
    # a stable sort of 16-bit numbers is linear
    part = (block["hash"] % np.uint64(parts)).astype(np.uint16)
    ends = np.bincount(part, minlength=parts).cumsum()
    for number, some in enumerate(np.split(block[np.argsort(part, kind="stable")], ends[:-1])):
        if len(some):
            with (folder / f"{number}.rows").open("ab") as file:
                some.tofile(file)


def _files(folder: Path, parts: int) -> Iterator[Path]:
    yield from (path for number in range(parts) if (path := folder / f"{number}.rows").exists())


def _repeats_in(rows: np.ndarray) -> np.ndarray:
    """The repeats among rows with ascending numbers, as (row, rank); the rank replaces the hash."""
    order = np.argsort(rows["hash"], kind="stable")
    hashes = rows["hash"][order]
    first = np.concatenate([[True], hashes[1:] != hashes[:-1]]) if len(hashes) else np.zeros(0, dtype=bool)
    places = np.arange(len(hashes))
    ranks = places - np.maximum.accumulate(np.where(first, places, 0))
    found: np.ndarray = rows[order[~first]]
    found["hash"] = ranks[~first]
    return found


def _merged(parts: list[np.ndarray]) -> Repeats:
    every = np.concatenate(parts) if parts else np.zeros(0, dtype=_ROW)
    every = every[np.argsort(every["row"], kind="stable")]
    return Repeats(rows=every["row"].copy(), ranks=every["hash"].copy())
