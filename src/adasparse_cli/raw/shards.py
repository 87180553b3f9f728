"""Parts of raw files that are read on their own: fixed ranges of bytes or rows, whoever reads them and wherever."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of a raw file.

    Args:
        source: index of the file among the sources.
        start: first byte, or first row of a Parquet file. A line belongs to the range in which it begins.
        end: end of the range, exclusive; None for the entire content of the file.
        line: number of the first line that belongs to the range.
    """

    source: int
    start: int = 0
    end: int | None = None
    line: int = 1


@dataclass(frozen=True, slots=True)
class Survey:
    """A raw file before its rows are read: the sha256 of its bytes, and its parts in order."""

    sha256: str
    shards: tuple[Shard, ...]


def surveyed(path: Path, source: int, range_bytes: int | None) -> Survey:
    """Read a file once, for its sha256 and the number of the first line of each range.

    Args:
        range_bytes: size of a range; None if the content cannot be divided.
    """
    digest, size = hashlib.sha256(), path.stat().st_size
    step = range_bytes or max(size, 1)
    firsts, newlines, last = [1], 0, b""
    with path.open("rb") as file:
        for start in range(0, size, step):
            left = min(step, size - start)
            while left and (chunk := file.read(min(left, _CHUNK))):
                digest.update(chunk)
                newlines += chunk.count(b"\n") if range_bytes else 0
                left, last = left - len(chunk), chunk[-1:]
            # a line that begins right after this range is the first of the next one, as one that begins later
            firsts.append(2 + newlines - (last == b"\n"))
    if range_bytes is None:
        return Survey(digest.hexdigest(), (Shard(source),))
    starts = range(0, size, step)
    shards = (Shard(source, start, min(start + step, size), line) for start, line in zip(starts, firsts, strict=False))
    return Survey(digest.hexdigest(), tuple(shards))
