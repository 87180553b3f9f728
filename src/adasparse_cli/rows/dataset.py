"""Prepared data in memory (or on the GPU), as one matrix of ids that is indexed by a permutation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import polars as pl
import torch
from torch import Tensor

from adasparse_cli.batches import Batch
from adasparse_cli.choices import FieldKind, FieldRole, Split
from adasparse_cli.errors import ResourceError
from adasparse_cli.layers.embedding import Bags
from adasparse_cli.machine.resources import free_memory
from adasparse_cli.models.base import DataShape
from adasparse_cli.prepared.tables import read_bags, split_parts
from adasparse_cli.schema import Field, Manifest

KEY_COLUMNS = ("__domain", "__label", "__user", "__source", "__line")


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows of one split.

    Args:
        field_ids: int32, rows × fields.
        domain_ids: the domain that a model receives; differs from `domains` only in a control arm.
        condition_ids: the row's index into `conditions`.
        conditions: the distinct combinations of domain-aware ids; see `Batch`.
        labels: 0 or 1, float32, or int8 for rows on disk; None for unlabelled rows.
        domains: the true domain of each row, by which metrics are grouped.
        users: id of the row's user; None if the data have no users.
        sources: index of the row's raw file; empty for rows on disk, see `places`.
        lines: line of the row in its raw file; empty for rows on disk.
        bag_values: number of values in the bags of each row, so that the host does not wait for a GPU; None on a CPU.
    """

    field_ids: Tensor
    domain_ids: Tensor
    condition_ids: Tensor
    conditions: Tensor
    labels: Tensor | None
    domains: np.ndarray
    users: np.ndarray | None
    sources: np.ndarray
    lines: np.ndarray
    bag_values: np.ndarray | None = None

    def __len__(self) -> int:
        return int(self.field_ids.shape[0])

    @property
    def in_memory(self) -> bool:
        """Whether all columns are in memory."""
        return True

    @property
    def bytes_to_come(self) -> int:
        """Bytes of memory that the rows will need in addition to their current memory."""
        return 0

    @property
    def device(self) -> torch.device:
        """The device of batches."""
        return self.field_ids.device

    def steps(self, seed: int, epoch: int, batch_size: int) -> Sequence[Any]:
        """The rows of each step of an epoch, in an order that depends only on seed and epoch; `batch` reads them."""
        order = torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(len(self)))
        # the host needs the numbers too; from pinned memory they are copied while it works on
        return PermutedSteps(order.pin_memory() if self.device.type == "cuda" else order, batch_size)

    def batch(self, rows: Tensor | slice) -> Batch:
        """The chosen rows as a batch."""
        if isinstance(rows, slice):
            labels = None if self.labels is None else self.labels[rows]
            return Batch(self.field_ids[rows], self.domain_ids[rows], self.condition_ids[rows], self.conditions, labels)
        values = None
        if self.bag_values is not None and rows.device.type == "cpu":
            values = int(self.bag_values[rows.numpy()].sum())
        rows = rows.to(self.device, non_blocking=True)
        return Batch(
            self.field_ids.index_select(0, rows),
            self.domain_ids.index_select(0, rows),
            self.condition_ids.index_select(0, rows),
            self.conditions,
            None if self.labels is None else self.labels.index_select(0, rows),
            values,
        )

    def places(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Where each row stood in the raw files: sources and lines, block by block."""
        yield self.sources, self.lines

    def with_another_rows_domain(self, seed: int) -> Rows:
        """The rows of a control arm: a model receives the domain of another row, drawn once per split.

        Field ids stay with their row, so nothing changes for a DNN. Pruners and gates receive a domain that is unrelated to
        the row.
        """
        order = torch.from_numpy(np.random.default_rng([seed, len(self)]).permutation(len(self)))
        order = order.to(self.domain_ids.device)
        return replace(self, domain_ids=self.domain_ids[order], condition_ids=self.condition_ids[order])


@dataclass(frozen=True)
class PermutedSteps(Sequence[Tensor]):
    """The steps of an epoch as slices of a permutation."""

    order: Tensor
    batch_size: int

    def __len__(self) -> int:
        return number_of_steps(len(self.order), self.batch_size)

    @overload
    def __getitem__(self, step: int) -> Tensor: ...

    @overload
    def __getitem__(self, step: slice) -> Sequence[Tensor]: ...

    def __getitem__(self, step: int | slice) -> Tensor | Sequence[Tensor]:
        if isinstance(step, slice):
            return [self[one] for one in range(*step.indices(len(self)))]
        start = range(len(self))[step] * self.batch_size
        last = step in (-1, len(self) - 1)
        return self.order[start:] if last else self.order[start : start + self.batch_size]


def part_of(rows: Any, rank: int, world_size: int) -> Any:
    """The part of a step's rows that belongs to one of several processes."""
    if isinstance(rows, Tensor):
        return rows[rank * len(rows) // world_size : (rank + 1) * len(rows) // world_size]
    return rows.part(rank, world_size)


def number_of_steps(rows: int, batch_size: int) -> int:
    """Steps per epoch. A last step with one row, which has no batch statistics, joins the step before it."""
    steps = -(-rows // batch_size)
    return steps - 1 if steps > 1 and rows % batch_size == 1 else steps


def load_rows(folder: Path, manifest: Manifest, split: Split, *, device: torch.device) -> Rows:
    """Read a split of prepared data into memory, part by part, so that memory holds its rows only once.

    Raises:
        ResourceError: it does not fit into memory.
    """
    number = manifest.splits[split].rows
    expected = number * bytes_per_row(manifest)
    free = free_memory(device)
    if expected > 0.8 * free:
        raise ResourceError(
            f"the {split} split of {manifest.name} needs {expected / 2**30:.1f} GiB; {free / 2**30:.1f} GiB are free",
            hint="stream the rows from disk with loop.rows=stream, or prepare fewer fields or rows",
        )
    return rows_of(split_parts(folder, manifest, split), manifest.fields, rows=number, device=device)


def with_bag_values(rows: Rows, fields: Sequence[Field], bags: Mapping[str, Bags]) -> Rows:
    """Rows that know how many values their bags have."""
    found = np.zeros(len(rows), dtype=np.int32)
    for column, field in enumerate(fields):
        if field.name in bags:
            lengths = bags[field.name].starts.diff().cpu().numpy()
            found += lengths[rows.field_ids[:, column].cpu().numpy()].astype(np.int32)
    return replace(rows, bag_values=found)


def bytes_per_row(manifest: Manifest) -> int:
    """Bytes per row of `Rows`: ids (4 each), domain and condition as tensors (8 each), label, domain and source (4 each),
    line (8) and user (4).
    """
    return 4 * len(manifest.fields) + 36 + (4 if manifest.has_user else 0)


def rows_of(frames: Iterable[pl.DataFrame], fields: Sequence[Field], *, rows: int, device: torch.device) -> Rows:
    """Encoded rows as tensors.

    Args:
        frames: one or more frames.
        rows: total number of rows.
    """
    ids = np.empty((rows, len(fields)), dtype=np.int32)
    aware = [field.name for field in fields if field.role is FieldRole.domain_aware]
    kept: list[pl.DataFrame] = []
    start = 0
    for frame in frames:
        for column, field in enumerate(fields):
            ids[start : start + frame.height, column] = frame[field.name].to_numpy()
        start += frame.height
        kept.append(frame.select(name for name in frame.columns if name in (*aware, *KEY_COLUMNS)))
    keys = pl.concat(kept)
    conditions = keys.select(aware).unique().sort(aware).with_row_index("__condition")
    condition_ids = keys.select(aware).join(conditions, on=aware, how="left", maintain_order="left")["__condition"]
    domains = keys["__domain"].to_numpy()

    def tensor(values: np.ndarray, dtype: torch.dtype) -> Tensor:
        return torch.tensor(values, device=device, dtype=dtype)

    return Rows(
        field_ids=torch.from_numpy(ids).to(device),
        domain_ids=tensor(domains, torch.long),
        condition_ids=tensor(condition_ids.to_numpy(), torch.long),
        conditions=tensor(conditions.select(aware).to_numpy(), torch.long),
        labels=tensor(keys["__label"].to_numpy(), torch.float32) if "__label" in keys.columns else None,
        domains=domains,
        users=keys["__user"].to_numpy() if "__user" in keys.columns else None,
        sources=keys["__source"].to_numpy(),
        lines=keys["__line"].to_numpy(),
    )


def load_shape(folder: Path, manifest: Manifest) -> DataShape:
    """The properties of the data that a model needs: fields, bags, number of domains, base rate."""
    multi = [field.name for field in manifest.fields if field.kind is FieldKind.multi_valued]
    train = manifest.splits[Split.train]
    return DataShape(
        fields=manifest.fields,
        bags={name: bags_of(read_bags(folder, manifest, name)) for name in multi},
        num_domains=manifest.num_domains,
        base_rate=train.positives / train.rows if train.positives and train.positives < train.rows else None,
    )


def bags_of(lists: pl.Series) -> Bags:
    """A series of lists of ids as flat values and starts."""
    lengths = lists.list.len().to_numpy().astype(np.int64)
    starts = np.concatenate([[0], lengths.cumsum()])
    values = np.array(lists.filter(lists.list.len() > 0).explode().to_numpy(), dtype=np.int32)
    return Bags(values=torch.from_numpy(values), starts=torch.from_numpy(starts))
