"""Which neurons each domain uses: the weight factors of a trained AdaSparse, counted domain by domain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from adasparse_cli.choices import Mode
from adasparse_cli.models.adasparse import AdaSparse
from adasparse_cli.rows.dataset import Rows

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Activity:
    """How often each neuron is active in each domain.

    Args:
        layers: names of the gated layers.
        shares: per layer, domains × width, in [0, 1]; NaN for domains without rows.
        rows: number of rows of each domain.
        prunes: whether factors can be 0.
    """

    layers: Sequence[str]
    shares: Sequence[Floats]
    rows: NDArray[np.int64]
    prunes: bool

    def all_layers(self) -> Floats:
        """The shares of all layers, concatenated: domains × neurons."""
        return np.concatenate(self.shares, axis=1)


def activity(model: AdaSparse, rows: Rows, *, num_domains: int, batch_size: int) -> Activity:
    """Count active neurons by domain. Memory grows with domains × neurons, not with rows."""
    was_training = model.training
    model.eval()
    device = rows.device
    order = np.argsort(rows.domains, kind="stable")
    domains = rows.domains[order]
    sums: list[torch.Tensor] = []
    prunes = model.mode is not Mode.scaling
    for start in range(0, len(order), batch_size):
        of_batch = domains[start : start + batch_size]
        factors = model.factors(rows.batch(torch.from_numpy(order[start : start + batch_size]).to(device)))
        if not sums:
            sums = [torch.zeros(num_domains, layer.shape[1], device=device) for layer in factors]
        present, first = np.unique(of_batch, return_index=True)
        ends = [*first[1:].tolist(), len(of_batch)]
        for total, layer in zip(sums, factors, strict=True):
            used = (layer > 0).to(layer.dtype) if prunes else layer / model.settings.scale
            for domain, begin, end in zip(present.tolist(), first.tolist(), ends, strict=True):
                total[domain] += used[begin:end].sum(0)
    model.train(was_training)
    counts = np.bincount(rows.domains, minlength=num_domains).astype(np.int64)
    with np.errstate(invalid="ignore"):
        shares = [total.cpu().numpy().astype(np.float64) / counts[:, None] for total in sums]
    return Activity(layers=model.gated_layers, shares=shares, rows=counts, prunes=prunes)
