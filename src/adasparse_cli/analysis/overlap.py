"""Which neurons each domain uses, and how far two domains use the same ones.

With s_dn the share of domain d's rows for which neuron n is active (π > 0), A_d = {n : s_dn ≥ ½} its active neurons
and P_d the others:

    Jaccard, active    |A_a ∩ A_b| / |A_a ∪ A_b|          Jaccard, pruned    |P_a ∩ P_b| / |P_a ∪ P_b|
    excess             (o − e) / (1 − e),   o the share of neurons that both use or both do not, e what it would be
                       if two sets of these sizes were drawn at random: 0 by chance, 1 for equal sets (Cohen's kappa)
    closeness          1 − mean_n |s_an − s_bn|, which needs no cut at one half

Scaling prunes nothing: there s_dn is the mean factor over β, and closeness alone means something.

Source: the paper shows the overlap of pruned neurons of hand-picked domains; the chance-corrected forms are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster import hierarchy
from scipy.spatial.distance import cdist, squareform

from adasparse_cli.choices import Mode
from adasparse_cli.models.adasparse import AdaSparse
from adasparse_cli.training.dataset import Rows

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Activity:
    """How often each neuron is active in each domain.

    Args:
        layers: names of the gated layers. shares: per layer, domains × width, in [0, 1]; NaN for domains without rows.
        rows: rows of each domain.
        prunes: whether factors can be 0.
    """

    layers: Sequence[str]
    shares: Sequence[Floats]
    rows: NDArray[np.int64]
    prunes: bool

    def all_layers(self) -> Floats:
        """The layers side by side."""
        return np.concatenate(self.shares, axis=1)


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Matrices over pairs of domains; NaN where a measure means nothing."""

    active: Floats
    pruned: Floats
    excess: Floats
    closeness: Floats


def activity(model: AdaSparse, rows: Rows, *, num_domains: int, batch_size: int) -> Activity:
    """Run the rows through the model, sorted by domain, and count. Memory grows with domains × neurons, not with rows."""
    was_training = model.training
    model.eval()
    device = rows.field_ids.device
    order = np.argsort(rows.domains, kind="stable")
    domains = rows.domains[order]
    sums: list[torch.Tensor] = []
    prunes = model.mode is not Mode.scaling
    for start in range(0, len(order), batch_size):
        own = domains[start : start + batch_size]
        factors = model.factors(rows.batch(torch.from_numpy(order[start : start + batch_size]).to(device)))
        if not sums:
            sums = [torch.zeros(num_domains, layer.shape[1], device=device) for layer in factors]
        present, first = np.unique(own, return_index=True)
        ends = [*first[1:].tolist(), len(own)]
        for total, layer in zip(sums, factors, strict=True):
            used = (layer > 0).to(layer.dtype) if prunes else layer / model.settings.scale
            for domain, begin, end in zip(present.tolist(), first.tolist(), ends, strict=True):
                total[domain] += used[begin:end].sum(0)
    model.train(was_training)
    counts = np.bincount(rows.domains, minlength=num_domains).astype(np.int64)
    with np.errstate(invalid="ignore"):
        shares = [total.cpu().numpy().astype(np.float64) / counts[:, None] for total in sums]
    return Activity(layers=model.gated_layers, shares=shares, rows=counts, prunes=prunes)


def overlap(shares: Floats, *, prunes: bool) -> Overlap:
    """Every pair of domains.

    Args:
        shares: domains × neurons, of domains with rows.
    """
    closeness = 1.0 - cdist(shares, shares, "cityblock") / shares.shape[1]
    if not prunes:
        unknown = np.full(closeness.shape, np.nan)
        return Overlap(active=unknown, pruned=unknown, excess=unknown, closeness=closeness)
    uses = shares >= 0.5
    number = shares.shape[1]
    both, neither = _together(uses), _together(~uses)
    of_one = uses.sum(1).astype(np.float64)
    share = of_one / number
    observed = (both + neither) / number
    expected = np.outer(share, share) + np.outer(1 - share, 1 - share)
    with np.errstate(invalid="ignore", divide="ignore"):
        return Overlap(
            active=both / (of_one[:, None] + of_one[None, :] - both),
            pruned=neither / (2 * number - of_one[:, None] - of_one[None, :] - neither),
            excess=np.where(expected < 1, (observed - expected) / (1 - expected), np.nan),
            closeness=closeness,
        )


def clustered(closeness: Floats) -> NDArray[np.int64]:
    """An order of the domains in which like ones stand together (average linkage)."""
    if len(closeness) < 3:
        return np.arange(len(closeness))
    distance = 1.0 - (closeness + closeness.T) / 2
    np.fill_diagonal(distance, 0.0)
    tree = hierarchy.linkage(squareform(np.maximum(distance, 0.0), checks=False), "average")
    return np.asarray(hierarchy.leaves_list(tree), dtype=np.int64)


def _together(sets: Bools) -> Floats:
    held = sets.astype(np.float64)
    return np.asarray(held @ held.T)
