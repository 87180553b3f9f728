"""The overlap between the neurons that two domains use.

s_dn is the share of domain d's rows in which neuron n is active (π > 0). A_d = {n : s_dn ≥ ½} is the set of active
neurons and P_d the set of the others:

    Jaccard, active    |A_a ∩ A_b| / |A_a ∪ A_b|          Jaccard, pruned    |P_a ∩ P_b| / |P_a ∪ P_b|
    excess             (o − e) / (1 − e),   o the share of neurons active in both or in neither, e its expectation
                       for two random sets of these sizes: 0 by chance, 1 for equal sets (Cohen's kappa)
    closeness          1 − mean_n |s_an − s_bn|, without a threshold

Scaling prunes nothing: there s_dn is the mean factor over β, and only closeness is meaningful.

Source: the paper shows the overlap of pruned neurons for selected domains; the chance-corrected forms are this project's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster import hierarchy
from scipy.spatial.distance import cdist, squareform

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Matrices over pairs of domains; NaN if a measure is not defined."""

    active: Floats
    pruned: Floats
    excess: Floats
    closeness: Floats


def overlap(shares: Floats, *, prunes: bool) -> Overlap:
    """The overlap of every pair of domains.

    Args:
        shares: domains × neurons, for domains with rows.
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
    """An order of the domains that places similar ones next to each other (average linkage)."""
    if len(closeness) < 3:
        return np.arange(len(closeness))
    distance = 1.0 - (closeness + closeness.T) / 2
    np.fill_diagonal(distance, 0.0)
    tree = hierarchy.linkage(squareform(np.maximum(distance, 0.0), checks=False), "average")
    return np.asarray(hierarchy.leaves_list(tree), dtype=np.int64)


def _together(sets: Bools) -> Floats:
    held = sets.astype(np.float64)
    return np.asarray(held @ held.T)
