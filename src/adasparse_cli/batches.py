"""The input and output of a model. Floor 1; the only contract between data and models."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows to be scored.

    Args:
        field_ids: per row and field (in the manifest's order) an id, counted from 0 within the
            field; for a multi-valued field the index of the row's bag.
        domain_ids: the row's domain; ids from `num_domains` on are unseen in training.
        condition_ids: the row's combination of domain-aware ids, as a row of `conditions`. Pruners and
            gates read this instead of the row's ids, so that they compute once per distinct
            combination, and so that a control arm can receive another row's domain.
        conditions: ids of the domain-aware fields (in the manifest's order) per combination.
        labels: 0 or 1 per row; None if unknown.
        bag_values: number of values in the bags of all multi-valued fields together; None if the host does not know it.
    """

    field_ids: Int[Tensor, "rows fields"]
    domain_ids: Int[Tensor, " rows"]
    condition_ids: Int[Tensor, " rows"]
    conditions: Int[Tensor, "conditions domain_fields"]
    labels: Float[Tensor, " rows"] | None = None
    bag_values: int | None = None

    def __len__(self) -> int:
        return int(self.field_ids.shape[0])


@dataclass(frozen=True, slots=True)
class Prediction:
    """The output of a model for a batch.

    Args:
        logits: one per row, before the sigmoid.
        penalty: scalar that the model adds to the mean cross-entropy (0 for most models).
        pruned: per row and gated layer the share (0–1) of neurons whose weight factor is exactly 0;
            None for models that prune nothing.
    """

    logits: Float[Tensor, " rows"]
    penalty: Float[Tensor, ""]
    pruned: Float[Tensor, "rows layers"] | None = None


def no_penalty(like: Tensor) -> Float[Tensor, ""]:
    """A penalty of 0, on the device and with the type of `like`."""
    return torch.zeros((), dtype=like.dtype, device=like.device)
