"""Converts weights saved by an earlier version to the form of the current models."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from adasparse_cli.models.base import CONTEXT, EMBEDDING, Model
from adasparse_cli.models.saml import Saml


def weights_as_today(model: Model, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights from before the domain context had separate embeddings, so that the model gives the same scores.

    The domain-aware fields come last in the table of all fields; parts that read them receive a copy of their rows. SAML's
    branches did not read the domain, so their weights for it are 0. Current weights are returned unchanged.
    """
    found = dict(weights)
    if not model.reads_context or CONTEXT in found or EMBEDDING not in found:
        return found
    found[CONTEXT] = found[EMBEDDING][-len(model.context.table.weight) :].clone()
    if isinstance(model, Saml) and "branches" in found:
        branches = found["branches"]
        added = torch.zeros(*branches.shape[:-1], model.context.width, dtype=branches.dtype)
        found["branches"] = torch.cat([branches, added], dim=-1)
    return found
