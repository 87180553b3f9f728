"""Confidence intervals of differences between arms, paired over seeds and over test rows clustered by domain or user.

For an arm and its baseline with the same S seeds on the same test rows, and a metric T:

    Δ      = mean over seeds of T(arm, s) − T(baseline, s)
    Var Δ  = (C − 1)/C Σ_c (u_c / (1 − w_c))²  +  sd_s² / S
    Δ ± t(0.975, df) √Var Δ

u_c is the contribution of cluster c to Δ: the sum of the influences of its rows. w_c is the cluster's share of the rows
that the metric counts: all rows for the log loss, rows in domains with both classes for the GAUC, rows of the
rarer class for the AUC. C is the number of clusters with such rows. Dividing by 1 − w_c makes the first term a jackknife
variance, which leaves out one cluster at a time. The plain sum of squares, the limit of a bootstrap, is too small if a few
clusters have most of the data (measured: its 95 % intervals covered 90 %; tests/analysis). sd_s is the standard deviation
of the difference over seeds. df follows Welch and Satterthwaite, with S − 1 for seeds. For clusters it is their effective
number 1/Σ w² minus 1, so that one very large domain does not count as many.

Over W > 1 worlds (data drawn with other seeds), each with its Δ_w and Var Δ_w by the equations above:

    Δ      = mean over worlds of Δ_w
    Var Δ  = max(sd_w² / W, Σ_w Var Δ_w / W²)
    Δ ± t(0.975, W − 1) √Var Δ

sd_w is the standard deviation of Δ_w over worlds. It includes the variance of worlds, seeds and test rows together. The
second term is the variance explained by seeds and test rows alone. With few worlds, sd_w can fall below it by chance.

Source: DeLong et al., Biometrics 1988, for the influence of a row on an AUC; Efron, The Jackknife, the Bootstrap and Other
Resampling Plans, 1982; Holm, 1979, for the correction. Adding both variances is this project's choice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
POWER, LEVEL = 0.8, 0.05
TIE = 1e-9  # sums of shares are equal up to rounding


@dataclass(frozen=True, kw_only=True)
class TestRows:
    """The test rows of a comparison, the same for all arms.

    Args:
        labels: 0 or 1. domains: domain of each row.
        clusters: cluster of each row for the jackknife: the domains, or users.
    """

    __test__ = False  # not a test, despite its name

    labels: NDArray[Any]
    domains: Integers
    clusters: Integers


@dataclass(frozen=True, kw_only=True)
class Difference:
    """An arm against the baseline in one metric. Positive is better, except for the log loss.

    With standard error e, df degrees of freedom and m comparisons that are judged together:

        low, high                  Δ ± t(1 − α/2, df) e             95 % for this comparison alone
        joint_low, joint_high      Δ ± t(1 − α/2m, df) e            95 % for all m at once (Bonferroni)
        detectable                 (t(1 − α/2m, df) + t(0.8, df)) e

    Args:
        difference: Δ. error: e; NaN if a single seed or domain leaves a variance unknown. freedom: df.
        p_holm: two-sided p of Δ = 0, corrected for the comparisons judged together.
        comparisons: m.
        bounds: smallest and largest possible Δ; intervals are clipped to them.
    """

    difference: float
    error: float
    freedom: float
    p_holm: float
    comparisons: int = 1
    bounds: tuple[float, float] = (-math.inf, math.inf)

    @property
    def p(self) -> float:
        """Two-sided p of Δ = 0, for this comparison alone."""
        if self.error == 0.0:
            return 1.0
        return float(2 * stats.t.sf(abs(self.difference) / self.error, self.freedom))

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval of this comparison alone."""
        return max(self.difference - self._reach(1), self.bounds[0])

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval of this comparison alone."""
        return min(self.difference + self._reach(1), self.bounds[1])

    @property
    def joint_low(self) -> float:
        """Lower end of the 95 % interval that is simultaneous for all comparisons."""
        return max(self.difference - self._reach(self.comparisons), self.bounds[0])

    @property
    def joint_high(self) -> float:
        """Upper end of the 95 % interval that is simultaneous for all comparisons."""
        return min(self.difference + self._reach(self.comparisons), self.bounds[1])

    @property
    def detectable(self) -> float:
        """The smallest true difference that such a study detects with a probability of at least 80 %, after correction.

        Holm tests the smallest p at α/m, so this is the size that a single real difference among m needs.
        """
        return self._reach(self.comparisons) + float(stats.t.ppf(POWER, self.freedom)) * self.error

    @property
    def is_real(self) -> bool:
        """Whether the corrected test excludes 0."""
        return self.p_holm < LEVEL

    def negated(self) -> Self:
        """The same comparison with arm and baseline exchanged."""
        return replace(self, difference=-self.difference, bounds=(-self.bounds[1], -self.bounds[0]))

    def _reach(self, comparisons: int) -> float:
        return float(stats.t.ppf(1 - LEVEL / 2 / comparisons, self.freedom)) * self.error


@dataclass(frozen=True, kw_only=True)
class Uplift:
    """Shares (0–1) of the domains with both classes in which the arm's AUC, mean over seeds, exceeds the baseline's.

    A tie counts one half, as in an AUC: two equal arms have 0.5, not 0.

    Args:
        domains: unweighted share (UPR). rows: share weighted by test rows. ties: share of domains in which both are equal.
    """

    domains: float
    rows: float
    ties: float


def influences(metric: str, rows: TestRows, logits: NDArray[Any]) -> tuple[float, Floats]:
    """A metric, and the influence of each row on it. The influences add up to 0."""
    labels = rows.labels.astype(np.float64)
    if metric == "log_loss":
        losses = np.logaddexp(0.0, logits.astype(np.float64)) - labels * logits
        return float(losses.mean()), (losses - losses.mean()) / len(losses)
    groups = rows.domains if metric == "gauc_domain" else np.zeros(len(labels), dtype=np.int64)
    placed = placements(labels, logits, groups)
    number = int(groups.max()) + 1
    count = np.bincount(groups, minlength=number).astype(np.float64)
    positives = np.bincount(groups, weights=labels, minlength=number)
    usable = (positives > 0) & (positives < count)
    with np.errstate(invalid="ignore", divide="ignore"):
        auc = np.bincount(groups, weights=placed * labels, minlength=number) / positives
        of_class = np.where(labels > 0, positives[groups], (count - positives)[groups])
        own = (placed - auc[groups]) / of_class * count[groups]
    total = count[usable].sum()
    value = float((count[usable] * auc[usable]).sum() / total) if total else float("nan")
    spread = np.where(usable[groups], (own + auc[groups] - value) / total, 0.0) if total else np.zeros(len(labels))
    return value, spread


def placements(labels: Floats, scores: NDArray[Any], groups: Integers) -> Floats:
    """For a positive, the share of its group's negatives below it; for a negative, the share of positives above it; ties count half."""
    order = np.argsort(scores, kind="stable")
    order = order[np.argsort(groups[order], kind="stable")]
    s, g, y = scores[order], groups[order], labels[order]
    first = np.r_[True, (s[1:] != s[:-1]) | (g[1:] != g[:-1])]
    run = np.cumsum(first) - 1
    count = np.bincount(g).astype(np.float64)
    positives = np.bincount(g, weights=y)
    negatives = count - positives
    tied = np.bincount(run).astype(np.float64)
    tied_positives = np.bincount(run, weights=y)
    before = (np.cumsum(tied) - tied)[run] - (np.cumsum(count) - count)[g]
    positives_before = (np.cumsum(tied_positives) - tied_positives)[run] - (np.cumsum(positives) - positives)[g]
    p, n = tied_positives[run], (tied - tied_positives)[run]
    with np.errstate(invalid="ignore", divide="ignore"):
        of_positive = (before - positives_before + n / 2) / negatives[g]
        of_negative = (positives[g] - positives_before - p / 2) / positives[g]
    placed = np.empty(len(labels))
    placed[order] = np.where(y > 0, of_positive, of_negative)
    return placed


@dataclass(frozen=True, kw_only=True)
class Moves:
    """The change of a metric when a cluster is left out: u_c / (1 − w_c).

    Args:
        clusters: ids. shares: w_c, which add up to 1.
    """

    clusters: Integers
    moves: Floats
    shares: Floats

    @classmethod
    def of(cls, clusters: Integers, effects: Floats, shares: Floats) -> Self:
        """From u_c. A single cluster cannot be left out, so its move is NaN."""
        rest = np.where(shares < 1, 1 - shares, np.nan)
        return cls(clusters=clusters, moves=effects / rest, shares=shares)

    def variance(self) -> tuple[float, float]:
        """(C − 1)/C Σ moves², and its degrees of freedom; NaN with fewer than two clusters."""
        number = int((self.shares > 0).sum())
        if number < 2:
            return float("nan"), 1.0
        variance = float((self.moves**2).sum() * (number - 1) / number)
        return variance, max(float(1 / (self.shares**2).sum() - 1), 1.0)


@dataclass(frozen=True, kw_only=True)
class Gaps:
    """The difference between an arm and the baseline in one metric.

    Args:
        of_seeds: per seed T(arm, s) − T(baseline, s).
        of_rows: contributions of clusters, in parts without common clusters.
    """

    of_seeds: Floats
    of_rows: tuple[Moves, ...]


def compare(
    metric: str, rows: TestRows, arms: Mapping[str, Sequence[NDArray[Any]]], *, baseline: str
) -> dict[str, Difference]:
    """Compare every arm with the baseline.

    Args:
        arms: logits by arm, one array per seed, with the seeds in the same order for all arms.
    """
    return together({arm: difference_of(own) for arm, own in gaps(metric, rows, arms, baseline=baseline).items()})


def together(found: Mapping[str, Difference]) -> dict[str, Difference]:
    """The same differences by arm, `corrected` for being judged together."""
    return dict(zip(found, corrected(list(found.values())), strict=True))


def corrected(found: Sequence[Difference]) -> list[Difference]:
    """The same differences, corrected for being judged together. A difference without an interval is not counted."""
    known = sum(not math.isnan(one.p) for one in found)
    together = holm([one.p for one in found])
    return [replace(one, p_holm=p, comparisons=max(known, 1)) for one, p in zip(found, together, strict=True)]


def gaps(metric: str, rows: TestRows, arms: Mapping[str, Sequence[NDArray[Any]]], *, baseline: str) -> dict[str, Gaps]:
    """The difference between every other arm and the baseline."""
    found = {arm: [influences(metric, rows, logits) for logits in seeds] for arm, seeds in arms.items()}
    base = found.pop(baseline)
    ids, clusters = np.unique(rows.clusters, return_inverse=True)
    shares = _shares(metric, rows, clusters)
    result = {}
    for arm, own in found.items():
        spread = np.mean([a - b for (_, a), (_, b) in zip(own, base, strict=True)], axis=0)
        of_clusters = np.bincount(clusters, weights=spread, minlength=len(shares))
        result[arm] = Gaps(
            of_seeds=np.array([a - b for (a, _), (b, _) in zip(own, base, strict=True)]),
            of_rows=(Moves.of(ids, of_clusters.astype(np.float64), shares),),
        )
    return result


def contrast(one: Gaps, other: Gaps) -> Difference:
    """The difference between two gaps on different rows: one − other. A cluster may have rows in both."""
    (a,), (b,) = one.of_rows, other.of_rows
    of_seeds = one.of_seeds - other.of_seeds
    if not len(np.intersect1d(a.clusters, b.clusters)):
        return difference_of(Gaps(of_seeds=of_seeds, of_rows=(a, b)))
    ids = np.union1d(a.clusters, b.clusters)
    moves, shares = np.zeros(len(ids)), np.zeros(len(ids))
    for sign, side in ((1.0, a), (-1.0, b)):
        place = np.searchsorted(ids, side.clusters)
        moves[place] += sign * side.moves
        shares[place] += side.shares / 2
    return difference_of(Gaps(of_seeds=of_seeds, of_rows=(Moves(clusters=ids, moves=moves, shares=shares),)))


def difference_of(found: Gaps, *, bounds: tuple[float, float] = (-math.inf, math.inf)) -> Difference:
    """Δ with its interval, not yet corrected for the number of arms (`p_holm` is `p`)."""
    of_seeds = found.of_seeds
    difference, nan = float(of_seeds.mean()), float("nan")
    of_rows = [part.variance() for part in found.of_rows]
    if len(of_seeds) < 2 or not np.isfinite([difference, *(variance for variance, _ in of_rows)]).all():
        return Difference(difference=difference, error=nan, freedom=nan, p_holm=nan, bounds=bounds)
    parts = [*of_rows, (float(of_seeds.var(ddof=1) / len(of_seeds)), float(len(of_seeds) - 1))]
    error = sum(variance for variance, _ in parts) ** 0.5
    if error == 0.0:
        return Difference(difference=difference, error=0.0, freedom=1.0, p_holm=1.0, bounds=bounds)
    freedom = error**4 / sum(variance**2 / own for variance, own in parts)
    (alone,) = corrected([Difference(difference=difference, error=error, freedom=freedom, p_holm=nan, bounds=bounds)])
    return alone


def over_worlds(found: Sequence[Gaps]) -> Difference:
    """Δ over worlds with its interval, not yet corrected for the number of arms (`p_holm` is `p`).

    Var Δ = max(sd_w² / W, Σ_w Var Δ_w / W²) with W − 1 degrees of freedom. For one world, this is `difference_of` it. An unknown
    part of Var Δ_w, for example with a single seed, counts as 0, because sd_w includes it.

    Args:
        found: one per world, none of them empty.
    """
    if len(found) == 1:
        return difference_of(found[0])
    of_worlds = np.array([own.of_seeds.mean() for own in found])
    difference, nan, number = float(of_worlds.mean()), float("nan"), len(found)
    if not np.isfinite(difference):
        return Difference(difference=difference, error=nan, freedom=nan, p_holm=nan)
    within = sum(_known_variance(own) for own in found) / number**2
    error = max(float(of_worlds.var(ddof=1)) / number, within) ** 0.5
    (alone,) = corrected([Difference(difference=difference, error=error, freedom=number - 1.0, p_holm=nan)])
    return alone


def _known_variance(found: Gaps) -> float:
    """Var Δ within one world: the sum of the known parts."""
    number = len(found.of_seeds)
    parts = [part.variance()[0] for part in found.of_rows]
    parts += [float(found.of_seeds.var(ddof=1)) / number] if number > 1 else []
    return float(np.nansum(parts))


def _shares(metric: str, rows: TestRows, clusters: Integers) -> Floats:
    """The share of each cluster in the rows that the metric counts."""
    labels = rows.labels > 0.5
    if metric == "log_loss":
        weighed = np.ones(len(labels))
    elif metric == "auc":
        weighed = (labels if labels.mean() <= 0.5 else ~labels).astype(np.float64)
    else:
        count = np.bincount(rows.domains)
        positives = np.bincount(rows.domains, weights=labels)
        weighed = ((positives > 0) & (positives < count))[rows.domains].astype(np.float64)
    sums = np.bincount(clusters, weights=weighed).astype(np.float64)
    shares: Floats = sums / max(float(sums.sum()), 1.0)
    return shares


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction. NaN stays NaN and is not counted."""
    values = np.asarray(p, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    corrected = np.full(len(values), np.nan)
    factors = len(order) - np.arange(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return [float(value) for value in corrected]


def uplift(rows: TestRows, arm: Sequence[NDArray[Any]], base: Sequence[NDArray[Any]]) -> Uplift | None:
    """UPR: the share of domains in which the arm is better; None if no domain has both classes."""
    labels = rows.labels.astype(np.float64)
    count = np.bincount(rows.domains).astype(np.float64)
    positives = np.bincount(rows.domains, weights=labels)
    usable = (positives > 0) & (positives < count)
    if not usable.any():
        return None
    gap = np.zeros(len(count))
    for own, other in zip(arm, base, strict=True):
        for sign, logits in ((1.0, own), (-1.0, other)):
            placed = placements(labels, logits, rows.domains)
            gap[usable] += sign * np.bincount(rows.domains, weights=np.where(labels > 0, placed, 0.0))[usable]
    tied = np.abs(gap[usable]) <= TIE
    better = np.where(tied, 0.5, gap[usable] > 0)
    return Uplift(
        domains=float(better.mean()),
        rows=float(np.average(better, weights=count[usable])),
        ties=float(tied.mean()),
    )


def relative_improvement(auc: float, base: float) -> float | None:
    """RelaImpr = ((AUC − 0.5) / (AUC_base − 0.5) − 1) · 100 %, as a share; None if the baseline's AUC is not above 0.5."""
    return (auc - 0.5) / (base - 0.5) - 1 if base > 0.5 else None
