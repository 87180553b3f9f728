"""The smallest detectable difference of a larger study, with more test rows or more seeds.

With k times the test rows, in k times as many clusters of the same kinds, and the same S seeds:

    Var(k) = (kC − 1)/(kC) · k Σ_c (u_c/k / (1 − w_c/k))²  +  sd_s² / S        (about Var_rows / k + Var_seeds)
    detectable(k) = (t(1 − α/2m, df(k)) + t(0.8, df(k))) √Var(k)

Only the error caused by test rows falls, as 1/√k. df(k) is computed as in `statistics` for the larger study. For more
seeds, sd_s is constant and S grows. Both are approximations: they treat the variances of this study as the true ones.
"""

from __future__ import annotations

import math

import numpy as np

from adasparse_cli.analysis.statistics import Difference, Gaps, Moves

MOST_ROWS, MOST_SEEDS = 1000.0, 100
STEP = 1.01  # ratio of consecutive row factors that are tried


def detectable_with(found: Gaps, *, times: float = 1.0, seeds: int | None = None, comparisons: int) -> float:
    """The smallest detectable difference of another study; NaN if the error of this study is unknown.

    Args:
        times: factor of the test rows (≥ 1). seeds: number of seeds (≥ 2); None for the current number.
        comparisons: m.
    """
    parts = [_part(part, times) for part in found.of_rows]
    return _detectable([*parts, _seeds(found, seeds or len(found.of_seeds))], comparisons)


def rows_for(found: Gaps, target: float, *, comparisons: int, seeds: int | None = None) -> float | None:
    """The factor of test rows that makes `target` detectable; None if even 1,000 is not enough.

    It is no bisection: with few seeds the degrees of freedom fall as rows grow, so the detectable difference is not monotonic.
    """
    for step in range(math.ceil(math.log(MOST_ROWS) / math.log(STEP)) + 1):
        if detectable_with(found, times=STEP**step, seeds=seeds, comparisons=comparisons) <= target:
            return STEP**step
    return None


def seeds_for(found: Gaps, target: float, *, comparisons: int) -> int | None:
    """The number of seeds that makes `target` detectable with these test rows; None if even 100 are not enough."""
    for seeds in range(len(found.of_seeds), MOST_SEEDS + 1):
        if detectable_with(found, seeds=seeds, comparisons=comparisons) <= target:
            return seeds
    return None


def rows_and_seeds_for(found: Gaps, target: float, *, comparisons: int) -> tuple[float, int] | None:
    """Test rows and seeds, increased by the same factor, that make `target` detectable; None if 100 seeds are not enough."""
    now = len(found.of_seeds)
    for seeds in range(now, MOST_SEEDS + 1):
        if detectable_with(found, times=seeds / now, seeds=seeds, comparisons=comparisons) <= target:
            return seeds / now, seeds
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
    return Difference(difference=0.0, error=total**0.5, freedom=freedom, p_holm=1.0, comparisons=comparisons).detectable
