"""Exact metrics of predictions, pooled, per domain and per user; None if a metric is not available.

Floor 1: only NumPy. A metric that cannot be computed is None (NaN inside arrays), never 0.5.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
ECE_BINS = 20


@dataclass(frozen=True, slots=True)
class GroupedAuc:
    """AUC of each group, as arrays over the groups; `auc` is NaN for a group with one class or without rows."""

    auc: Floats
    rows: Integers
    positives: Integers

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Groups with both classes."""
        return (self.positives > 0) & (self.positives < self.rows)

    def weighted(self) -> float | None:
        """GAUC = Σ n_g AUC_g / Σ n_g over groups with both classes, n_g their rows."""
        usable = self.usable
        return float(np.average(self.auc[usable], weights=self.rows[usable])) if usable.any() else None

    def unweighted(self) -> float | None:
        """The unweighted mean of AUC_g over groups with both classes."""
        usable = self.usable
        return float(self.auc[usable].mean()) if usable.any() else None

    @property
    def one_class_groups(self) -> int:
        """Groups with rows of only one class; they are excluded from numerator and denominator."""
        return int(((self.rows > 0) & ~self.usable).sum())

    @property
    def one_class_row_share(self) -> float | None:
        """Share (0–1) of the rows that are in such groups."""
        total = int(self.rows.sum())
        return float(self.rows[~self.usable].sum() / total) if total else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """Metrics of one split.

    Args:
        auc: over all rows, ties count half.
        log_loss: mean cross-entropy per row, in nats.
        gauc_domain: by domain, weighted by rows; the primary metric.
        gauc_domain_unweighted: by domain, unweighted.
        gauc_user: by user, weighted by rows; rows without a user are excluded.
        calibration: predicted over actual positives (PCOC); 1 is perfect.
        calibration_error: ECE over 20 bins of equal counts.
        one_class_domains, one_class_users: number of groups excluded from the GAUCs; their row shares (0–1).
        rows_without_user: rows that `gauc_user` excludes because they have no user; None if the data have no user column.
    """

    rows: int
    positives: int
    auc: float | None
    log_loss: float | None
    gauc_domain: float | None
    gauc_domain_unweighted: float | None
    gauc_user: float | None
    calibration: float | None
    calibration_error: float | None
    domains: int
    one_class_domains: int
    one_class_domain_row_share: float | None
    one_class_users: int | None
    one_class_user_row_share: float | None
    rows_without_user: int | None

    def to_json(self) -> dict[str, Any]:
        """Plain values; None is "not available"."""
        return asdict(self)


def auc(labels: NDArray[Any], scores: NDArray[Any]) -> float | None:
    """Probability that a positive is ranked above a negative, ties count half; None unless both classes are present."""
    found = grouped_auc(labels, scores, np.zeros(len(labels), dtype=np.int64), 1).auc[0]
    return None if np.isnan(found) else float(found)


def grouped_auc(labels: NDArray[Any], scores: NDArray[Any], groups: NDArray[Any], num_groups: int) -> GroupedAuc:
    """AUC within each group, all groups with one sort.

    AUC_g = (Σ_positives (negatives below + ½ negatives tied)) / (positives · negatives), counted in integers.

    Args:
        labels: 0 or 1. scores: any real numbers, but not NaN. groups: ids in [0, num_groups).
    """
    positive = np.asarray(labels) > 0.5
    groups = np.asarray(groups, dtype=np.int64)
    rows = np.bincount(groups, minlength=num_groups).astype(np.int64)
    positives = np.bincount(groups[positive], minlength=num_groups).astype(np.int64)
    result = np.full(num_groups, np.nan)
    if len(groups) == 0:
        return GroupedAuc(result, rows, positives)
    group, key, positive = _sorted(groups, scores, positive, num_groups)
    # runs of equal scores within a group
    starts = np.flatnonzero(np.concatenate([[True], (group[1:] != group[:-1]) | (key[1:] != key[:-1])]))
    before = np.concatenate([[0], np.cumsum(~positive)])
    ends = np.append(starts[1:], len(group))
    tied = before[ends] - before[starts]
    hits = ends - starts - tied
    of_run = group[starts]
    first_of_group = np.concatenate([[0], np.cumsum(rows)])[of_run]
    below = before[starts] - before[first_of_group]
    wins = hits * (2 * below + tied)
    totals = np.zeros(num_groups, dtype=np.int64)
    np.add.at(totals, of_run[hits > 0], wins[hits > 0])
    usable = (positives > 0) & (positives < rows)
    pairs = positives * (rows - positives)
    result[usable] = totals[usable] / (2.0 * pairs[usable])
    return GroupedAuc(result, rows, positives)


def log_loss(labels: NDArray[Any], logits: NDArray[Any]) -> float | None:
    """Mean over rows of log(1 + e^z) − y z, from the logits z, so that no value needs clipping."""
    losses = _losses(labels, logits)
    return float(losses.mean()) if len(losses) else None


def calibration(labels: NDArray[Any], logits: NDArray[Any]) -> float | None:
    """PCOC: the sum of predicted probabilities over the number of positives; None without positives."""
    positives = float(np.sum(np.asarray(labels, dtype=np.float64)))
    return float(_sigmoid(logits).sum() / positives) if positives else None


def calibration_error(labels: NDArray[Any], logits: NDArray[Any], *, bins: int = ECE_BINS) -> float | None:
    """ECE = Σ_b (n_b / n) |mean prediction − rate of positives| over bins of equal counts, ordered by score.

    Rows with equal scores share their rate of positives, so the result does not depend on the order of the rows.
    """
    number = len(labels)
    if not number:
        return None
    scores = np.asarray(logits)
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    run = np.cumsum(np.r_[False, ordered[1:] != ordered[:-1]])
    rates = np.bincount(run, weights=np.asarray(labels, dtype=np.float64)[order]) / np.bincount(run)
    gaps = _sigmoid(ordered) - rates[run]
    edges = np.arange(bins) * number // bins
    sums = np.add.reduceat(gaps, np.unique(edges))
    return float(np.abs(sums).sum() / number)


def per_domain(
    labels: NDArray[Any], logits: NDArray[Any], domain_ids: NDArray[Any], num_domains: int
) -> dict[str, NDArray[Any]]:
    """Rows, positives, AUC, log loss and calibration of each domain; NaN if not available."""
    groups = np.asarray(domain_ids, dtype=np.int64)
    grouped = grouped_auc(labels, logits, groups, num_domains)
    with np.errstate(invalid="ignore", divide="ignore"):
        losses = np.bincount(groups, weights=_losses(labels, logits), minlength=num_domains) / grouped.rows
        predicted = np.bincount(groups, weights=_sigmoid(logits), minlength=num_domains)
        ratio = np.where(grouped.positives > 0, predicted / grouped.positives, np.nan)
    return {
        "rows": grouped.rows,
        "positives": grouped.positives,
        "auc": grouped.auc,
        "log_loss": losses,
        "calibration": ratio,
    }


def compute_metrics(
    labels: NDArray[Any],
    logits: NDArray[Any],
    domain_ids: NDArray[Any],
    num_domains: int,
    user_ids: NDArray[Any] | None = None,
) -> Metrics:
    """All metrics of a split.

    Args:
        labels: 0 or 1. logits: before the sigmoid. domain_ids: in [0, num_domains). user_ids: from 0, −1 for a row
            without a user; None if the data have no user column.
    """
    by_domain = grouped_auc(labels, logits, domain_ids, num_domains)
    by_user, without = None, None
    if user_ids is not None:
        known = np.asarray(user_ids) >= 0
        without = int(len(known) - known.sum())
        if known.any():
            users = np.asarray(user_ids)[known]
            by_user = grouped_auc(np.asarray(labels)[known], np.asarray(logits)[known], users, int(users.max()) + 1)
    return Metrics(
        rows=len(labels),
        positives=int(by_domain.positives.sum()),
        auc=auc(labels, logits),
        log_loss=log_loss(labels, logits),
        gauc_domain=by_domain.weighted(),
        gauc_domain_unweighted=by_domain.unweighted(),
        gauc_user=None if by_user is None else by_user.weighted(),
        calibration=calibration(labels, logits),
        calibration_error=calibration_error(labels, logits),
        domains=int((by_domain.rows > 0).sum()),
        one_class_domains=by_domain.one_class_groups,
        one_class_domain_row_share=by_domain.one_class_row_share,
        one_class_users=None if by_user is None else by_user.one_class_groups,
        one_class_user_row_share=None if by_user is None else by_user.one_class_row_share,
        rows_without_user=without,
    )


def _sorted(
    groups: Integers, scores: NDArray[Any], positive: NDArray[np.bool_], num_groups: int
) -> tuple[Integers, NDArray[Any], NDArray[np.bool_]]:
    """Groups, sort keys and labels, ordered by (group, score)."""
    scores = np.asarray(scores)
    if scores.dtype == np.float32 and num_groups < 2**31:
        # Group, score and label fit into one integer. Sorting these is several times faster than an
        # argsort. A float32's bits sort like the number once negative ones are mirrored; adding zero makes
        # −0 and 0 one score.
        bits = (scores + np.float32(0)).view(np.int32).astype(np.int64)
        ordered = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits) + 2**31
        packed = (groups.astype(np.uint64) << np.uint64(33)) | (ordered.astype(np.uint64) << np.uint64(1))
        packed |= positive
        packed.sort()
        key = (packed >> np.uint64(1)) & np.uint64(0xFFFFFFFF)
        return (packed >> np.uint64(33)).astype(np.int64), key, (packed & np.uint64(1)).astype(bool)
    order = np.lexsort((scores, groups))
    return groups[order], scores[order], positive[order]


def _losses(labels: NDArray[Any], logits: NDArray[Any]) -> Floats:
    z = np.asarray(logits, dtype=np.float64)
    return np.asarray(np.logaddexp(0.0, z) - np.asarray(labels, dtype=np.float64) * z)


def _sigmoid(logits: NDArray[Any]) -> Floats:
    return np.asarray(np.exp(-np.logaddexp(0.0, -np.asarray(logits, dtype=np.float64))))
