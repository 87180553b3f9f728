"""What a larger study would have shown: the smallest detectable difference with more test rows, or with more seeds.

With k times the test rows, in k times as many clusters of the same kinds, and the same S seeds:

    Var(k) = (kC − 1)/(kC) · k Σ_c (u_c/k / (1 − w_c/k))²  +  sd_s² / S        (about Var_rows / k + Var_seeds)
    detectable(k) = (t(1 − α/2m, df(k)) + t(0.8, df(k))) √Var(k)

Only the part of the error that test rows cause falls, as 1/√k. df(k) is that of `statistics` for the larger study. Seeds
are treated in the same way: sd_s is kept and S grows. Both are rough: they take the spread found in this study as the true one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from adasparse_cli.analysis.statistics import Difference, Gaps, Moves

MOST_ROWS, MOST_SEEDS = 1000.0, 100


def with_rows(found: Gaps, times: float, *, comparisons: int) -> float:
    """The smallest detectable difference with `times` as many test rows (≥ 1); NaN where the error is not known."""
    parts = [_part(part, times) for part in found.of_rows]
    return _detectable([*parts, _seeds(found, len(found.of_seeds))], comparisons)


def with_seeds(found: Gaps, seeds: int, *, comparisons: int) -> float:
    """The smallest detectable difference with another number of seeds (≥ 2)."""
    return _detectable([*(part.variance() for part in found.of_rows), _seeds(found, seeds)], comparisons)


def rows_for(found: Gaps, target: float, *, comparisons: int) -> float | None:
    """How many times the test rows make `target` detectable; None if even 1,000 times as many do not."""
    return _smallest(lambda times: with_rows(found, times, comparisons=comparisons), target, MOST_ROWS)


def seeds_for(found: Gaps, target: float, *, comparisons: int) -> int | None:
    """How many seeds make `target` detectable with these test rows; None if even 100 do not."""
    for seeds in range(len(found.of_seeds), MOST_SEEDS + 1):
        if with_seeds(found, seeds, comparisons=comparisons) <= target:
            return seeds
    return None


def _smallest(detectable: Callable[[float], float], target: float, most: float) -> float | None:
    """The first point from 1 up, in steps of 1 %, at which the target is reached.

    No bisection: with few seeds the degrees of freedom fall as rows grow, so `detectable` need not fall throughout.
    """
    for step in range(math.ceil(math.log(most) / math.log(1.01)) + 1):
        times = 1.01**step
        if detectable(times) <= target:
            return times
    return None


def _part(own: Moves, times: float) -> tuple[float, float]:
    """Variance and degrees of freedom of `times` copies of each cluster, each with 1/times of its share."""
    number = int((own.shares > 0).sum()) * times
    effects = own.moves * (1 - own.shares) / times
    shares = own.shares / times
    variance = float((number - 1) / number * times * ((effects / (1 - shares)) ** 2).sum())
    return variance, max(float(times / (own.shares**2).sum() - 1), 1.0)


def _seeds(found: Gaps, seeds: int) -> tuple[float, float]:
    if len(found.of_seeds) < 2:
        return math.nan, math.nan
    return float(found.of_seeds.var(ddof=1)) / seeds, float(seeds - 1)


def _detectable(parts: list[tuple[float, float]], comparisons: int) -> float:
    total = sum(variance for variance, _ in parts)
    if not np.isfinite(total):
        return math.nan
    if total == 0.0:
        return 0.0
    freedom = total**2 / sum(variance**2 / own for variance, own in parts)
    return Difference(
        difference=0.0, error=total**0.5, freedom=freedom, p_holm=1.0, comparisons=comparisons
    ).detectable
