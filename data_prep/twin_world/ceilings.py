"""The best possible logits on the twin for a model that knows shared tastes, additive ones, pairwise ones, or all of them.

The taste of domain d for level k is T[d, k]. With n_d rows of domain d, a degree of knowledge with the design matrix X
(one row per domain, 0/1 columns) reaches

    T̂ = X argmin_B Σ_d n_d ‖T[d] − X[d] B‖²

    shared     one column of ones: every domain has the mean taste
    additive   one column per gender, per age and per star
    pairs      one column per gender × age, gender × star and age × star
    full       T̂ = T
"""

from __future__ import annotations

import itertools

import numpy as np

from adasparse_cli.data_prep.twin_world import logit as twin_logit
from adasparse_cli.data_prep.twin_world.population import Floats, Integers


def logits(
    *,
    without: Floats,
    heterogeneity: float,
    tastes: dict[str, Floats],
    levels: dict[str, Integers],
    domain: Integers,
) -> dict[str, Floats]:
    """The logit of each row by degree of knowledge about tastes.

    Args:
        without: logits without tastes. tastes: by column, domain × level. levels: by column, of each row.
        domain: of each row.

    Returns:
        By the names above, in their order.
    """
    rows = np.bincount(domain, minlength=len(next(iter(tastes.values())))).astype(np.float64)
    found = {}
    for name, size in (("shared", 0), ("additive", 1), ("pairs", 2)):
        design = _design(size)
        nearest = {column: projected(table, design, rows) for column, table in tastes.items()}
        found[name] = without + heterogeneity * twin_logit.taste_of_rows(nearest, levels, domain)
    found["full"] = without + heterogeneity * twin_logit.taste_of_rows(tastes, levels, domain)
    return found


def projected(table: Floats, design: Floats, weights: Floats) -> Floats:
    """The least-squares approximation of `table` by `design`, with one weight per row."""
    root = np.sqrt(weights)[:, None]
    found: Floats = design @ np.linalg.lstsq(root * design, root * table, rcond=None)[0]
    return found


def _design(size: int) -> Floats:
    """One 0/1 column for each combination of values of `size` fields (of none: ones); one row per domain."""
    if not size:
        return np.ones((int(np.prod([len(levels) for levels in twin_logit.DOMAIN_LEVELS])), 1))
    values = np.meshgrid(*(np.arange(len(levels)) for levels in twin_logit.DOMAIN_LEVELS), indexing="ij")
    blocks = []
    for fields in itertools.combinations(values, size):
        _, value = np.unique(np.stack([field.ravel() for field in fields], axis=1), axis=0, return_inverse=True)
        blocks.append(np.eye(int(value.max()) + 1)[value.ravel()])
    return np.concatenate(blocks, axis=1)
