"""The similarity of two domains, measured in four ways that do not use a model.

    key        share of the domain's key fields that are equal
    features   1 − the mean over fields of the total variation distance between the distributions of values
    labels     correlation over (field, value) of log((y + κ) / (e + κ)). y is the number of positives among the domain's
               rows with the value. e is the number expected from the domain's base rate and the value's overall
               rate. It measures which values have higher rates here than elsewhere, shrunk towards no difference
    planted    on the synthetic twin, cosine of the two mixtures of taste groups

Source: this project. `analysis.mantel` tests for relations with other similarities.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
FEATURE_VALUES, LABEL_VALUES, SHRINKAGE = 32, 10, 2.0


def key_similarity(keys: Sequence[Sequence[str]]) -> Floats:
    """Share of equal key fields of each pair.

    Args:
        keys: one list per key field, with one entry per domain.
    """
    columns = [np.unique(np.asarray(key, dtype=str), return_inverse=True)[1] for key in keys]
    return np.asarray(np.mean([column[:, None] == column[None, :] for column in columns], axis=0))


def key_pairs(keys: Sequence[Sequence[str]]) -> list[Integers]:
    """Factors of each pair of domains: for each key field, the unordered pair of its values as a number; last, the set of equal fields.

    Args:
        keys: as for `key_similarity`.
    """
    found, equal = [], []
    for key in keys:
        values, column = np.unique(np.asarray(key, dtype=str), return_inverse=True)
        low, high = np.minimum(column[:, None], column[None, :]), np.maximum(column[:, None], column[None, :])
        found.append((low * len(values) + high).astype(np.int64))
        equal.append(low == high)
    return [*found, np.sum([same * 2**place for place, same in enumerate(equal)], axis=0).astype(np.int64)]


def feature_similarity(field_ids: NDArray[np.int32], domains: Integers, chosen: Integers) -> Floats:
    """Closeness of the distributions of values; NaN for a domain without rows.

    Args:
        field_ids: rows × fields, single-valued. domains: domain of each row. chosen: the domains to compare.
    """
    distances = []
    for column in field_ids.T:
        counts = _counts(column, domains, chosen, FEATURE_VALUES, rest=True)
        total = counts.sum(1, keepdims=True)
        shares = np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)
        distances.append(cdist(shares, shares, "cityblock") / 2)
    return np.asarray(1.0 - np.mean(distances, axis=0))


def label_similarity(
    field_ids: NDArray[np.int32], labels: NDArray[np.float32], domains: Integers, chosen: Integers
) -> Floats:
    """Correlation of the values' relative rates between domains; 0 for a domain without information."""
    positive = labels > 0.5
    base = positive.mean()
    rows = np.bincount(domains, minlength=int(max(domains.max(), chosen.max())) + 1).astype(np.float64)
    hits = np.bincount(domains[positive], minlength=len(rows)).astype(np.float64)
    lift = ((hits + SHRINKAGE) / (rows * base + SHRINKAGE))[chosen]
    parts = []
    for column in field_ids.T:
        number = _counts(column, domains, chosen, LABEL_VALUES, rest=False)
        top = _top(column, LABEL_VALUES)
        rates = np.array([positive[column == value].mean() for value in top])
        found = _counts(column[positive], domains[positive], chosen, LABEL_VALUES, rest=False, top=top)
        expected = number * rates * lift[:, None]
        parts.append(np.log((found + SHRINKAGE) / (expected + SHRINKAGE)))
    table = np.concatenate(parts, axis=1)
    table = table - table.mean(1, keepdims=True)
    length = np.sqrt((table**2).sum(1, keepdims=True))
    unit = np.divide(table, length, out=np.zeros_like(table), where=length > 1e-9)
    return np.asarray(unit @ unit.T)


def planted_similarity(first: Integers, second: Integers, second_weight: Floats) -> Floats:
    """Cosine of the mixtures of taste groups."""
    mixtures = np.zeros((len(first), int(max(first.max(), second.max())) + 1))
    places = np.arange(len(first))
    np.add.at(mixtures, (places, first), 1.0 - second_weight)
    np.add.at(mixtures, (places, second), second_weight)
    mixtures /= np.linalg.norm(mixtures, axis=1, keepdims=True)
    return np.asarray(mixtures @ mixtures.T)


def _top(column: NDArray[np.int32], number: int) -> NDArray[np.int64]:
    counts = np.bincount(column)
    order = np.argsort(-counts, kind="stable")[:number]
    return order[counts[order] > 0].astype(np.int64)


def _counts(
    column: NDArray[np.int32],
    domains: Integers,
    chosen: Integers,
    number: int,
    *,
    rest: bool,
    top: NDArray[np.int64] | None = None,
) -> Floats:
    """Rows per chosen domain and frequent value; with `rest`, all other values form one more."""
    values = _top(column, number) if top is None else top
    size = int(max(column.max(initial=0), values.max(initial=0))) + 1
    place = np.full(size, len(values), dtype=np.int64)
    place[values] = np.arange(len(values))
    row_of = np.full(int(max(domains.max(initial=0), chosen.max(initial=0))) + 1, -1, dtype=np.int64)
    row_of[chosen] = np.arange(len(chosen))
    width = len(values) + 1
    inside = row_of[domains] >= 0
    cells = row_of[domains[inside]] * width + place[column[inside]]
    counts = np.bincount(cells, minlength=len(chosen) * width).reshape(len(chosen), width).astype(np.float64)
    return counts if rest else counts[:, :-1]
