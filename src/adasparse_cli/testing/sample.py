"""Synthetic fields and rows: few, with a multi-valued field, and a label that depends on the item and the domain."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from adasparse_cli.batches import Batch
from adasparse_cli.choices import FieldKind, FieldRole
from adasparse_cli.layers.embedding import Bags
from adasparse_cli.models.base import DataShape
from adasparse_cli.rows.dataset import Rows
from adasparse_cli.schema import Field

FIELDS = (
    Field(name="item", role=FieldRole.domain_agnostic, kind=FieldKind.categorical, size=40),
    Field(name="shop", role=FieldRole.domain_agnostic, kind=FieldKind.categorical, size=15),
    Field(name="tags", role=FieldRole.domain_agnostic, kind=FieldKind.multi_valued, size=9, bags=5),
    Field(name="place", role=FieldRole.domain_aware, kind=FieldKind.categorical, size=7),
)


BAGS = {"tags": Bags(values=torch.tensor([1, 2, 3, 4, 8, 5]), starts=torch.tensor([0, 0, 2, 3, 5, 6]))}


SHAPE = DataShape(fields=FIELDS, bags=BAGS, num_domains=6)


def rows(count: int = 500, seed: int = 0) -> Rows:
    """Rows with a label that depends on the item and the place, with some noise."""
    draw = np.random.default_rng(seed)
    domains = draw.integers(0, 6, count)
    ids = np.stack(
        [draw.integers(0, 40, count), draw.integers(0, 15, count), draw.integers(0, 5, count), domains + 1], axis=1
    )
    chance = 1 / (1 + np.exp(-((ids[:, 0] % 5) - 2 + (domains % 3) - 1)))
    return Rows(
        field_ids=torch.from_numpy(ids.astype(np.int32)),
        domain_ids=torch.from_numpy(domains),
        condition_ids=torch.from_numpy(domains),
        conditions=torch.arange(1, 7).unsqueeze(1),
        labels=torch.from_numpy((draw.random(count) < chance).astype(np.float32)),
        domains=domains,
        users=draw.integers(0, 50, count),
        sources=np.zeros(count, dtype=np.int32),
        lines=np.arange(2, count + 2),
    )


def part(batch: Batch, chosen: torch.Tensor) -> Batch:
    """The chosen rows of a batch."""
    return replace(
        batch,
        field_ids=batch.field_ids[chosen],
        domain_ids=batch.domain_ids[chosen],
        condition_ids=batch.condition_ids[chosen],
        labels=batch.labels[chosen] if batch.labels is not None else None,
    )
