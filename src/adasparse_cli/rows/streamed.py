"""Rows on disk: windows of records are read ahead, and each step takes its rows from them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from adasparse_cli.batches import Batch
from adasparse_cli.errors import UsageError
from adasparse_cli.rows.dataset import Rows, number_of_steps
from adasparse_cli.rows.row_cache import RowCache
from adasparse_cli.rows.row_order import BLOCK, LANES, RowOrder

READ_ROWS = 65_536


@dataclass(frozen=True)
class StreamedStep:
    """The rows of one step, as places in the order of an epoch."""

    order: RowOrder
    step: int
    lanes: tuple[int, ...] = tuple(range(LANES))

    def __len__(self) -> int:
        return sum(end - start for start, end in (self.order.places(self.step, lane) for lane in self.lanes))

    def part(self, rank: int, world_size: int) -> StreamedStep:
        """The part of one of several processes: some of the lanes, so that it reads only these."""
        return replace(self, lanes=self.lanes[rank::world_size])


@dataclass(frozen=True)
class StreamedSteps(Sequence[StreamedStep]):
    """The steps of an epoch, computed on access."""

    order: RowOrder

    def __len__(self) -> int:
        return self.order.steps

    @overload
    def __getitem__(self, step: int) -> StreamedStep: ...

    @overload
    def __getitem__(self, step: slice) -> Sequence[StreamedStep]: ...

    def __getitem__(self, step: int | slice) -> StreamedStep | Sequence[StreamedStep]:
        if isinstance(step, slice):
            return [StreamedStep(self.order, index) for index in range(*step.indices(len(self)))]
        return StreamedStep(self.order, range(len(self))[step])


@dataclass(frozen=True, kw_only=True)
class DiskRows(Rows):
    """Rows of records on disk, which are read when rows are taken: `field_ids` has no columns.

    Args:
        read_places: reads `places`.
    """

    cache: RowCache
    device_of_batches: torch.device
    read_places: Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]

    @property
    def in_memory(self) -> bool:
        """False: the field ids are on disk."""
        return False

    @property
    def device(self) -> torch.device:
        """The device of batches."""
        return self.device_of_batches

    def places(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Sources and lines, from the prepared data, block by block."""
        return self.read_places()

    def batch(self, rows: Any) -> Batch:
        """The chosen rows as a batch on the device."""
        if isinstance(rows, slice):
            start, end, _ = rows.indices(len(self))
            return self._batch_of(torch.from_numpy(self.cache.read(start, end)))
        every = [self.cache.read(row, row + 1) for row in rows.tolist()]
        return self._batch_of(torch.from_numpy(np.concatenate([self.cache.read(0, 0), *every])))

    def _batch_of(self, records: Tensor) -> Batch:
        fields, records = self.cache.fields, records.to(self.device_of_batches)
        return Batch(
            records[:, :fields].contiguous(),
            records[:, fields].long(),
            records[:, fields + 1].long(),
            self.conditions,
            None if self.labels is None else records[:, fields + 2].float(),
        )


@dataclass(frozen=True, kw_only=True)
class StreamedRows(DiskRows):
    """The training rows of records on disk, in windows that one thread reads ahead.

    Args:
        cache: the records.
        window_rows: number of rows in the current windows; the same number is read ahead.
        windows: reader of the windows.
    """

    window_rows: int
    windows: _Windows

    @property
    def bytes_to_come(self) -> int:
        """Bytes of the current windows, the windows read ahead, and a copy of one lane's window while it is shuffled."""
        rows = min(2 * self.window_rows + self.window_rows // LANES, len(self))
        return 4 * self.cache.columns * rows

    def steps(self, seed: int, epoch: int, batch_size: int) -> StreamedSteps:
        """The steps of an epoch, as many as for rows in memory. Their sizes differ by a few rows."""
        steps = number_of_steps(len(self), batch_size)
        return StreamedSteps(RowOrder(len(self), steps, seed, epoch, self.window_rows))

    def batch(self, rows: Any) -> Batch:
        """The rows of a step, a slice or indices as a batch on the device."""
        if not isinstance(rows, StreamedStep):
            return super().batch(rows)
        return self._batch_of(torch.cat(list(self.windows.records(rows))))

    def with_another_rows_domain(self, seed: int) -> Rows:
        """Not supported, because it needs a permutation of all rows.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            "loop.placebo needs all rows in memory", hint="use loop.rows=memory, with fewer rows if they do not fit"
        )


class _Windows:
    """The current and the next window of each lane, read by one thread."""

    def __init__(self, cache: RowCache) -> None:
        self._cache = cache
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="rows")
        self.held: dict[tuple[int, int, int], Future[Tensor]] = {}
        self._file: int | None = None

    def records(self, chosen: StreamedStep) -> Iterator[Tensor]:
        """The records of a step, lane by lane."""
        order = chosen.order
        for number in chosen.lanes:
            lane = order.lanes[number]
            place, end = order.places(chosen.step, number)
            while place < end:
                window = lane.window_of(place)
                start, stop = lane.start(window), int(lane.ends[window])
                yield self._window(order, number, window)[place - start : min(end, stop) - start]
                place = min(end, stop)

    def _window(self, order: RowOrder, lane: int, window: int) -> Tensor:
        """The records of a window. Earlier windows are released, and the next window is requested."""
        for other in (window, window + 1):
            key = (order.epoch, lane, other)
            if other < len(order.lanes[lane].ends) and key not in self.held:
                self.held[key] = self._pool.submit(self._read, order, lane, other)
        for key in [key for key in self.held if key[0] != order.epoch or (key[1] == lane and key[2] < window)]:
            self.held.pop(key).cancel()
        return self.held[order.epoch, lane, window].result()

    def _read(self, order: RowOrder, lane: int, window: int) -> Tensor:
        own = order.lanes[lane]
        rows = int(own.ends[window]) - own.start(window)
        found = np.empty((rows, self._cache.columns), dtype="<i4")
        if self._file is None:
            self._file = os.open(self._cache.path, os.O_RDONLY)
        place = 0
        for block in own.window_blocks_of(window).tolist():
            length = min(self._cache.rows - block * BLOCK, BLOCK)
            self._cache.fill(self._file, found[place : place + length], block * BLOCK)
            place += length
        return torch.from_numpy(found).index_select(0, torch.from_numpy(own.shuffle(window)))


def disk_rows(
    cache: RowCache,
    device: torch.device,
    *,
    users: np.ndarray | None,
    places: Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]],
) -> DiskRows:
    """Rows of a split for evaluation; what metrics group by is in memory: domain, condition, user (4 bytes each) and label (1)."""
    domains, conditions = np.empty(cache.rows, dtype=np.int32), np.empty(cache.rows, dtype=np.int32)
    labels = np.empty(cache.rows, dtype=np.int8)
    for start in range(0, cache.rows, READ_ROWS):
        records = cache.read(start, end := min(start + READ_ROWS, cache.rows))
        domains[start:end], conditions[start:end], labels[start:end] = records[:, cache.fields :].T
    return DiskRows(
        **_described(cache, device),
        domain_ids=torch.from_numpy(domains),
        condition_ids=torch.from_numpy(conditions),
        labels=torch.from_numpy(labels) if labels.min(initial=0) >= 0 else None,
        domains=domains,
        users=users,
        read_places=places,
    )


def streamed_rows(cache: RowCache, device: torch.device, *, window_rows: int) -> StreamedRows:
    """Rows of the train split, of which only windows are in memory."""
    none = np.zeros(0, dtype=np.int32)
    return StreamedRows(
        **_described(cache, device),
        domain_ids=torch.from_numpy(none),
        condition_ids=torch.from_numpy(none),
        labels=torch.from_numpy(none.astype(np.int8)),
        domains=none,
        users=None,
        read_places=lambda: iter(()),
        window_rows=window_rows,
        windows=_Windows(cache),
    )


def _described(cache: RowCache, device: torch.device) -> dict[str, Any]:
    return {
        "cache": cache,
        "device_of_batches": device,
        "field_ids": torch.empty((cache.rows, 0), dtype=torch.int32),
        "conditions": torch.from_numpy(cache.conditions.astype(np.int64)).to(device),
        "sources": np.zeros(0, dtype=np.int32),
        "lines": np.zeros(0, dtype=np.int64),
    }
