"""Mantel's test (Cancer Research 1967) on ranks: are two similarities of pairs of domains correlated?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
FITTING_ROUNDS = 1000


@dataclass(frozen=True, kw_only=True)
class Mantel:
    """Rank correlation of two matrices over pairs, and the probability of one as high when domains are shuffled."""

    correlation: float
    p: float
    permutations: int


def mantel(
    one: Floats,
    other: Floats,
    *,
    given: Sequence[Integers] = (),
    keys: Sequence[Sequence[str]] = (),
    permutations: int = 999,
    seed: int = 0,
) -> Mantel | None:
    """Whether pairs that are high in one matrix are high in the other; None if one of the matrices does not vary.

    p is one-sided: (1 + number of shuffles with a correlation at least as high) / (1 + shuffles).

    Args:
        given: factors of the pairs, for example from `key_pairs`. Their additive effects are first removed from the ranks of
            both matrices (the partial test of Smouse, Long and Sokal, Systematic Zoology 1986, with factors instead of its
            third matrix). The test is then for a relation beyond the factors.
        keys: as for `key_similarity`. If given, the values of each field are shuffled instead of the domains. Domains with the same
            key value stay together, as in an untrained pruner: its embeddings are drawn per value, so its neurons vary
            in far fewer ways than there are domains. Shuffles of domains would report that as a relation.
            A shuffle is evaluated on the domains that it maps to domains.
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
        higher += not shuffled < found - 1e-12  # a shuffle without a correlation counts against the relation
    return Mantel(correlation=found, p=(1 + higher) / (1 + permutations), permutations=permutations)


def _image(keys: Sequence[Sequence[str]], draw: np.random.Generator) -> Integers:
    """The image of each domain when the values of each key field are shuffled; −1 if no domain has the new key."""
    columns = [np.unique(np.asarray(key, dtype=str), return_inverse=True)[1] for key in keys]
    moved = [draw.permutation(int(column.max()) + 1)[column] for column in columns]
    places = {key: place for place, key in enumerate(zip(*(column.tolist() for column in columns), strict=True))}
    return np.array([places.get(key, -1) for key in zip(*(column.tolist() for column in moved), strict=True)])


def _correlation(x: Floats, y: Floats) -> float:
    """Pearson correlation; NaN if one side does not vary."""
    x, y = x - x.mean() if len(x) else x, y - y.mean() if len(y) else y
    scale = np.sqrt((x**2).sum() * (y**2).sum())
    return float((x * y).sum() / scale) if scale > 0 else float("nan")


def _ranks(matrix: Floats, pairs: tuple[Integers, Integers]) -> Floats:
    """Centred ranks of the pairs in a symmetric matrix with a diagonal of 0; all 0 if no pair differs."""
    ranks = rankdata(np.round(matrix[pairs], 12))  # differences caused by rounding are ties
    centred = np.zeros_like(matrix)
    centred[pairs] = ranks - ranks.mean()
    return centred + centred.T


def _without(ranks: Floats, factors: Sequence[Integers], pairs: tuple[Integers, Integers]) -> Floats:
    """Centred ranks minus the additive effects of factors; all 0 if only rounding errors remain.

    Means are subtracted factor by factor until they vanish, which gives the least-squares fit (backfitting).
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
