"""Where the steps of preparation run: this machine, or a cluster (`spark.engine`).

An engine calls the same functions for the same frames wherever they run, so its results never depend on the number of
its workers. Frames are on disk; an engine passes their paths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import polars as pl

from adasparse_cli.columns.repeats import Repeats, find_repeats
from adasparse_cli.files import sha256_of
from adasparse_cli.prep.counts import ROWS, Count
from adasparse_cli.prep.parallel import in_order
from adasparse_cli.prep.recipe import LABEL, ROW_HASH, Progress, RawData
from adasparse_cli.prep.spill import FRAMES_AT_ONCE, Spill, spill_frames

# Above this number of rows, one column at a time is counted.
LARGE_ROWS = 2_000_000
Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(Protocol):
    """Runs the steps of preparation. Use it as a context manager.

    Args:
        frames_at_once: number of frames that one task should read to look at a single column.
    """

    @property
    def frames_at_once(self) -> int: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def digests(self, sources: Sequence[Path]) -> Callable[[], list[str]]:
        """Start to compute the sha256 of files; the function returns them. Called before `read`."""

    def read(self, raw: RawData, folder: Path, progress: Progress, *, size: int) -> Spill:
        """Read all files once, and write their frames to `folder`; see `spill_frames`."""

    def map(
        self, work: Callable[[Shared, Item], Result], shared: Shared, items: Sequence[Item], *, at_once: int = 1
    ) -> Iterator[Result]:
        """`work(shared, item)` for each item, in order.

        `work` is a function of a module. It may run twice for an item, so what it writes must be complete or absent.

        Args:
            at_once: number of items that this machine processes at once; a cluster decides by itself.
        """

    def count(self, spill: Spill, asked: Sequence[Count]) -> Iterator[pl.DataFrame]:
        """The counts of all rows, in the order asked; the rows of each result have no order."""

    def distinct(self, spill: Spill, column: str) -> pl.Series:
        """The distinct values of a column, sorted, null first."""

    def repeats(self, spill: Spill, *, labelled: bool) -> Repeats:
        """Rows that are equal to an earlier one, among all rows or the labelled rows; rows are numbered over all frames."""


class LocalEngine:
    """This machine, in this process. Memory is needed for some frames and for the distinct values of a column."""

    frames_at_once = FRAMES_AT_ONCE

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()

    def digests(self, sources: Sequence[Path]) -> Callable[[], list[str]]:
        """See `Engine.digests`; files are hashed while they are read."""
        found: list[Future[str]] = [self._pool.submit(sha256_of, path) for path in sources]
        return lambda: [digest.result() for digest in found]

    def read(self, raw: RawData, folder: Path, progress: Progress, *, size: int) -> Spill:
        """See `Engine.read`."""
        return spill_frames(raw, folder, progress, size=size)

    def map(
        self, work: Callable[[Shared, Item], Result], shared: Shared, items: Sequence[Item], *, at_once: int = 1
    ) -> Iterator[Result]:
        """See `Engine.map`."""
        if at_once == 1:
            return (work(shared, item) for item in items)
        return in_order(work, ((shared, item) for item in items), workers=at_once)

    def count(self, spill: Spill, asked: Sequence[Count]) -> Iterator[pl.DataFrame]:
        """See `Engine.count`."""

        def counted(one: Count) -> pl.DataFrame:
            return one.counted(spill.scan(one.columns())).filter(pl.col(ROWS) >= one.least).collect()

        # a large column needs enough memory by itself
        return in_order(counted, ((one,) for one in asked), workers=2 if spill.rows < LARGE_ROWS else 1)

    def distinct(self, spill: Spill, column: str) -> pl.Series:
        """See `Engine.distinct`."""
        return spill.sorted_values(column)

    def repeats(self, spill: Spill, *, labelled: bool) -> Repeats:
        """See `Engine.repeats`."""

        def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            start = 0
            for first in range(0, len(spill.paths), FRAMES_AT_ONCE):
                frame = spill.scan([ROW_HASH, LABEL], paths=spill.paths[first : first + FRAMES_AT_ONCE]).collect()
                numbers = np.arange(start, start + frame.height)
                start += frame.height
                chosen: Any = frame[LABEL].is_not_null().to_numpy() if labelled else slice(None)
                yield numbers[chosen], frame[ROW_HASH].to_numpy()[chosen]

        return find_repeats(blocks(), rows=spill.rows, folder=spill.folder / "repeats")
