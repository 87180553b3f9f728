"""Rows on disk: windows of records are read ahead, and each step takes its rows from them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from adasparse_cli.batches import Batch
from adasparse_cli.errors import IntegrityError, UsageError
from adasparse_cli.training.dataset import Rows, number_of_steps
from adasparse_cli.training.row_cache import RowCache, mapped
from adasparse_cli.training.row_order import BLOCK, LANES, RowOrder


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
class MappedRows(Rows):
    """Rows of records on disk. `field_ids` is a memory-mapped view of the file."""

    device_of_batches: torch.device

    @property
    def in_memory(self) -> bool:
        """False: the field ids are on disk."""
        return False

    @property
    def device(self) -> torch.device:
        """The device of batches."""
        return self.device_of_batches

    def batch(self, rows: Any) -> Batch:
        """The chosen rows as a batch on the device."""
        chosen, device = rows.cpu() if isinstance(rows, Tensor) else rows, self.device_of_batches
        return Batch(
            self.field_ids[chosen].contiguous().to(device),
            self.domain_ids[chosen].long().to(device),
            self.condition_ids[chosen].long().to(device),
            self.conditions,
            None if self.labels is None else self.labels[chosen].float().to(device),
        )


@dataclass(frozen=True, kw_only=True)
class StreamedRows(MappedRows):
    """The training rows of records on disk, in windows that one thread reads ahead.

    Args:
        cache: the records.
        window_rows: number of rows in the current windows; the same number is read ahead.
        windows: reader of the windows.
    """

    cache: RowCache
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
        records = torch.cat(list(self.windows.records(rows)))
        fields, device = self.cache.fields, self.device_of_batches
        records = records.to(device)
        return Batch(
            records[:, :fields].contiguous(),
            records[:, fields].long(),
            records[:, fields + 1].long(),
            self.conditions,
            records[:, fields + 2].float(),
        )

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
        blocks, size = order.lanes[lane], 4 * self._cache.columns
        rows = int(blocks.ends[window]) - blocks.start(window)
        records = np.empty((rows, self._cache.columns), dtype="<i4")
        if self._file is None:
            self._file = os.open(self._cache.path, os.O_RDONLY)
        rest = memoryview(records.data).cast("B")
        for block in blocks.window_blocks_of(window).tolist():
            offset, left = block * BLOCK * size, min(self._cache.rows - block * BLOCK, BLOCK) * size
            while left:
                read = os.preadv(self._file, [rest[:left]], offset)
                if not read:
                    raise IntegrityError(
                        f"{self._cache.path} was truncated while it was read", hint="run the same command again"
                    )
                rest, offset, left = rest[read:], offset + read, left - read
        return torch.from_numpy(records).index_select(0, torch.from_numpy(blocks.shuffle(window)))


def mapped_rows(
    cache: RowCache, device: torch.device, *, users: np.ndarray | None, sources: np.ndarray, lines: np.ndarray
) -> MappedRows:
    """Rows of a split for evaluation. Labels and domains are in memory, because metrics need all of them."""
    columns = _columns(cache, device) | {"users": users, "sources": sources, "lines": lines}
    domains, labels = columns["domains"], columns["labels"]
    in_memory = {"domains": np.array(domains), "labels": None if labels is None else labels.float()}
    return MappedRows(**columns | in_memory, device_of_batches=device)


def streamed_rows(cache: RowCache, device: torch.device, *, window_rows: int) -> StreamedRows:
    """Rows of the train split."""
    return StreamedRows(
        **_columns(cache, device),
        device_of_batches=device,
        cache=cache,
        window_rows=window_rows,
        windows=_Windows(cache),
    )


def _columns(cache: RowCache, device: torch.device) -> dict[str, Any]:
    records, fields = mapped(cache), cache.fields
    every = torch.from_numpy(records)
    labelled = not len(records) or records[0, fields + 2] >= 0
    return {
        "field_ids": every[:, :fields],
        "domain_ids": every[:, fields],
        "condition_ids": every[:, fields + 1],
        "conditions": torch.from_numpy(cache.conditions.astype(np.int64)).to(device),
        "labels": every[:, fields + 2] if labelled else None,
        "domains": records[:, fields],
        "users": None,
        "sources": np.zeros(0, dtype=np.int32),
        "lines": np.zeros(0, dtype=np.int64),
    }
