"""How alike two domains are, in four ways that do not look at a model; and whether that goes with something else.

    key        share of the domain's key fields that are equal
    features   1 − the mean over fields of the total variation between the two distributions of values
    labels     correlation over (field, value) of log((y + κ) / (e + κ)), with y the positives of the domain's rows that
               hold the value and e what its base rate and the value's overall rate would give: which values do better
               here than elsewhere, shrunk towards "as elsewhere"
    planted    on the synthetic twin, cosine of the two mixtures of taste groups

Source: ours. The test is Mantel's (Cancer Research 1967) on ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
FEATURE_VALUES, LABEL_VALUES, SHRINKAGE = 32, 10, 2.0
FITTING_ROUNDS = 1000


@dataclass(frozen=True, kw_only=True)
class Mantel:
    """Rank correlation of two matrices over pairs, and the chance of one as high if domains were shuffled."""

    correlation: float
    p: float
    permutations: int


def key_similarity(keys: Sequence[Sequence[str]]) -> Floats:
    """Share of equal key fields of each pair.

    Args:
        keys: one list per key field, an entry per domain.
    """
    columns = [np.unique(np.asarray(key, dtype=str), return_inverse=True)[1] for key in keys]
    return np.asarray(np.mean([column[:, None] == column[None, :] for column in columns], axis=0))


def key_pairs(keys: Sequence[Sequence[str]]) -> list[Integers]:
    """For each key field, which two of its values a pair of domains has, as a number, whatever their order; last, which fields are equal.

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
        field_ids: rows × fields, single-valued. domains: of each row. chosen: the domains compared.
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
    """Correlation of how values do in a domain against how they do elsewhere; 0 where a domain has nothing to say."""
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


def mantel(
    one: Floats,
    other: Floats,
    *,
    given: Sequence[Integers] = (),
    keys: Sequence[Sequence[str]] = (),
    permutations: int = 999,
    seed: int = 0,
) -> Mantel | None:
    """Whether pairs that are high in one matrix are high in the other; None where one of them does not vary.

    The p is one-sided: (1 + how often a shuffle of the domains gives as high a correlation) / (1 + shuffles).

    Args:
        given: factors of the pairs, such as `key_pairs`, whose additive effects are taken out of the ranks of both first (the
            partial test of Smouse, Long and Sokal, Systematic Zoology 1986, with factors instead of its third
            matrix): whether the two go together beyond what the factors explain.
        keys: as for `key_similarity`; then each field's values are shuffled instead of the domains. Domains of one key value
            stay together, as they do in a pruner that has learnt nothing: its embeddings are drawn per value, so its
            neurons vary in far fewer ways than there are domains, and shuffles of the domains would take that for a
            relation. A shuffle is judged on the domains that it maps to domains.
    """
    number = len(one)
    pairs = np.triu_indices(number, 1)
    x, y = _ranks(one, pairs), _ranks(other, pairs)
    if given:
        factors = [np.unique(factor[pairs], return_inverse=True)[1] for factor in given]
        x, y = _without(x, factors, pairs), _without(y, factors, pairs)
    if len(pairs[0]) < 3 or not x.any() or not y.any():
        return None
    found = _correlation(x[pairs], y[pairs])
    draw = np.random.default_rng(seed)
    higher = 0
    for _ in range(permutations):
        image = _image(keys, draw) if keys else draw.permutation(number)
        left = np.flatnonzero(image >= 0)
        some = np.triu_indices(len(left), 1)
        shuffled = _correlation(x[np.ix_(left, left)][some], y[np.ix_(image[left], image[left])][some])
        higher += not shuffled < found - 1e-12  # one that cannot be computed counts against the relation
    return Mantel(correlation=found, p=(1 + higher) / (1 + permutations), permutations=permutations)


def _image(keys: Sequence[Sequence[str]], draw: np.random.Generator) -> Integers:
    """Where each domain goes when the values of each key field are shuffled; −1 where no domain has the new key."""
    columns = [np.unique(np.asarray(key, dtype=str), return_inverse=True)[1] for key in keys]
    moved = [draw.permutation(int(column.max()) + 1)[column] for column in columns]
    places = {key: place for place, key in enumerate(zip(*(column.tolist() for column in columns), strict=True))}
    return np.array([places.get(key, -1) for key in zip(*(column.tolist() for column in moved), strict=True)])


def _correlation(x: Floats, y: Floats) -> float:
    """Pearson's; NaN where a side does not vary."""
    x, y = x - x.mean() if len(x) else x, y - y.mean() if len(y) else y
    scale = np.sqrt((x**2).sum() * (y**2).sum())
    return float((x * y).sum() / scale) if scale > 0 else float("nan")


def _ranks(matrix: Floats, pairs: tuple[Integers, Integers]) -> Floats:
    """Centred ranks of the pairs in a symmetric matrix with a diagonal of 0; all 0 if no pair differs."""
    ranks = rankdata(np.round(matrix[pairs], 12))  # what differs by rounding alone is tied
    centred = np.zeros_like(matrix)
    centred[pairs] = ranks - ranks.mean()
    return centred + centred.T


def _without(ranks: Floats, factors: Sequence[Integers], pairs: tuple[Integers, Integers]) -> Floats:
    """Centred ranks less the additive effects of factors; all 0 if nothing is left but rounding.

    Means are taken out factor by factor until none is left, which is the least-squares fit (backfitting).
    """
    rest = ranks[pairs]
    size = max(float(np.abs(rest).max(initial=0.0)), 1.0)
    counts = [np.bincount(factor) for factor in factors]
    for _ in range(FITTING_ROUNDS):
        largest = 0.0
        for factor, count in zip(factors, counts, strict=True):
            means = np.bincount(factor, weights=rest) / count
            rest = rest - means[factor]
            largest = max(largest, float(np.abs(means).max(initial=0.0)))
        if largest < 1e-9 * size:
            break
    left = np.zeros_like(ranks)
    if np.abs(rest).max(initial=0.0) > 1e-6 * size:
        left[pairs] = rest
    return left + left.T


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
    """Rows per chosen domain and frequent value; with `rest`, the other values as one more."""
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
