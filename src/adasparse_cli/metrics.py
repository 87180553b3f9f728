"""Exact metrics of predictions, pooled, per domain and per user; None if a metric is not available.

Floor 1: only NumPy. A metric that cannot be computed is None (NaN inside arrays), never 0.5.

Apart from the input, the metrics hold 8 bytes per row; everything else is computed in blocks of rows. Sums over blocks are
added in the order in which NumPy adds up a whole array, so that a metric does not depend on the size of the blocks.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
ECE_BINS = 20
BLOCK = 65_536  # rows


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
    return _pooled_auc(_ranked(labels, scores))


def grouped_auc(labels: NDArray[Any], scores: NDArray[Any], groups: NDArray[Any], num_groups: int) -> GroupedAuc:
    """AUC within each group, all groups with one sort.

    AUC_g = (Σ_positives (negatives below + ½ negatives tied)) / (positives · negatives), counted in integers.

    Args:
        labels: 0 or 1. scores: any real numbers, but not NaN. groups: ids in [0, num_groups), below 2³¹.
    """
    return _grouped_auc(_ranked(labels, scores, groups), num_groups)


def log_loss(labels: NDArray[Any], logits: NDArray[Any]) -> float | None:
    """Mean over rows of log(1 + e^z) − y z, from the logits z, so that no value needs clipping."""
    labels, logits = np.asarray(labels), np.asarray(logits)
    number = len(labels)
    return _sum(lambda part: _losses(labels[part], logits[part]), 0, number) / number if number else None


def calibration(labels: NDArray[Any], logits: NDArray[Any]) -> float | None:
    """PCOC: the sum of predicted probabilities over the number of positives; None without positives."""
    logits = np.asarray(logits)
    positives = float(np.sum(labels, dtype=np.float64))
    return _sum(lambda part: _sigmoid(logits[part]), 0, len(logits)) / positives if positives else None


def calibration_error(labels: NDArray[Any], logits: NDArray[Any], *, bins: int = ECE_BINS) -> float | None:
    """ECE = Σ_b (n_b / n) |mean prediction − rate of positives| over bins of equal counts, ordered by score.

    Rows with equal scores share their rate of positives, so the result does not depend on the order of the rows.
    """
    return _calibration_error(_ranked(labels, logits), bins)


def per_domain(
    labels: NDArray[Any], logits: NDArray[Any], domain_ids: NDArray[Any], num_domains: int
) -> dict[str, NDArray[Any]]:
    """Rows, positives, AUC, log loss and calibration of each domain; NaN if not available."""
    labels, logits, groups = np.asarray(labels), np.asarray(logits), np.asarray(domain_ids)
    grouped = grouped_auc(labels, logits, groups, num_domains)
    losses, predicted = np.zeros(num_domains), np.zeros(num_domains)
    for part in _blocks(len(groups)):
        np.add.at(losses, groups[part], _losses(labels[part], logits[part]))
        np.add.at(predicted, groups[part], _sigmoid(logits[part]))
    with np.errstate(invalid="ignore", divide="ignore"):
        losses /= grouped.rows
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
    labels, logits = np.asarray(labels), np.asarray(logits)
    by_domain = grouped_auc(labels, logits, domain_ids, num_domains)
    by_user, without = None, None
    if user_ids is not None:
        users = np.asarray(user_ids)
        known = users >= 0
        without = int(len(known) - known.sum())
        if without < len(known):
            every = slice(None) if without == 0 else known
            own, number = _renumbered(users[every])
            by_user = grouped_auc(labels[every], logits[every], own, number)
    pooled = _ranked(labels, logits)
    return Metrics(
        rows=len(labels),
        positives=int(by_domain.positives.sum()),
        auc=_pooled_auc(pooled),
        log_loss=log_loss(labels, logits),
        gauc_domain=by_domain.weighted(),
        gauc_domain_unweighted=by_domain.unweighted(),
        gauc_user=None if by_user is None else by_user.weighted(),
        calibration=calibration(labels, logits),
        calibration_error=_calibration_error(pooled, ECE_BINS),
        domains=int((by_domain.rows > 0).sum()),
        one_class_domains=by_domain.one_class_groups,
        one_class_domain_row_share=by_domain.one_class_row_share,
        one_class_users=None if by_user is None else by_user.one_class_groups,
        one_class_user_row_share=None if by_user is None else by_user.one_class_row_share,
        rows_without_user=without,
    )


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Labelled scores, sorted.

    Args:
        packed: group · 2³³ + key · 2 + label of each row, ascending. Sorting such integers is several times faster than
            an argsort. Keys are below 2³² and have the order of the scores.
        values: the score of each key; None where a key is made of the bits of a float32.
    """

    packed: NDArray[np.uint64]
    values: NDArray[Any] | None

    def scores(self, keys: NDArray[np.uint64]) -> NDArray[Any]:
        """The scores of these keys."""
        if self.values is not None:
            return np.asarray(self.values[keys.astype(np.int64)])
        ordered = keys.astype(np.int64) - 2**31
        bits = np.where(ordered < 0, -ordered | 0x80000000, ordered)
        return bits.astype(np.uint32).view(np.float32)


def _ranked(labels: NDArray[Any], scores: NDArray[Any], groups: NDArray[Any] | None = None) -> _Ranked:
    labels, scores = np.asarray(labels), np.asarray(scores)
    packed = np.empty(len(scores), dtype=np.uint64)
    values = codes = None
    if scores.dtype != np.float32:
        values, codes = np.unique(scores, return_inverse=True)
    for part in _blocks(len(packed)):
        if codes is None:
            # A float32's bits sort like the number once negative ones are mirrored; adding zero makes −0 and 0 one score.
            bits = (scores[part] + np.float32(0)).view(np.int32).astype(np.int64)
            keys = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits) + 2**31
        else:
            keys = codes[part]
        own = keys.astype(np.uint64) << np.uint64(1)
        own |= labels[part] > 0.5
        if groups is not None:
            own |= np.asarray(groups[part]).astype(np.uint64) << np.uint64(33)
        packed[part] = own
    packed.sort()
    return _Ranked(packed, values)


def _pooled_auc(ranked: _Ranked) -> float | None:
    found = _grouped_auc(ranked, 1).auc[0]
    return None if np.isnan(found) else float(found)


def _grouped_auc(ranked: _Ranked, num_groups: int) -> GroupedAuc:
    packed = ranked.packed
    rows, positives, wins = (np.zeros(num_groups, dtype=np.int64) for _ in range(3))
    for part in _blocks(len(packed)):
        own = packed[part]
        groups = (own >> np.uint64(33)).astype(np.int64)
        np.add.at(rows, groups, 1)
        np.add.at(positives, groups, (own & np.uint64(1)).astype(np.int64))
    first_negative = np.cumsum(rows - positives) - (rows - positives)
    before = 0  # negatives before this block
    open_run = np.zeros((4, 0), dtype=np.int64)  # the last run of equal scores, which may go on in the next block
    last = None
    for part in _blocks(len(packed)):
        own = packed[part]
        runs, negative = own >> np.uint64(1), (own & np.uint64(1)) == 0
        starts = np.flatnonzero(np.concatenate([[True], runs[1:] != runs[:-1]]))
        ends = np.append(starts[1:], len(runs))
        negatives = np.concatenate([[0], np.cumsum(negative)])
        tied = negatives[ends] - negatives[starts]
        groups = (runs[starts] >> np.uint64(32)).astype(np.int64)
        below = before + negatives[starts] - first_negative[groups]
        found = np.stack([groups, below, tied, ends - starts - tied])
        if last is not None and runs[0] == last:
            found[1, 0] = open_run[1, 0]
            found[2:, 0] += open_run[2:, 0]
        else:
            _add_wins(wins, open_run)
        _add_wins(wins, found[:, :-1])
        open_run, last = found[:, -1:], runs[-1]
        before += int(negatives[-1])
    _add_wins(wins, open_run)
    result = np.full(num_groups, np.nan)
    usable = (positives > 0) & (positives < rows)
    result[usable] = wins[usable] / (2.0 * (positives * (rows - positives))[usable])
    return GroupedAuc(result, rows, positives)


def _add_wins(wins: Integers, runs: Integers) -> None:
    """Add twice the number of pairs that runs of equal scores win, by group."""
    groups, below, tied, hits = runs[:, runs[3] > 0]
    np.add.at(wins, groups, hits * (2 * below + tied))


def _calibration_error(ranked: _Ranked, bins: int) -> float | None:
    packed = ranked.packed
    number = len(packed)
    if not number:
        return None

    def gaps(part: slice) -> Floats:
        keys, run = np.unique(packed[part] >> np.uint64(1), return_inverse=True)
        # of equal scores, negatives come first
        start, middle, end = (np.searchsorted(packed, (keys << np.uint64(1)) + np.uint64(k)) for k in range(3))
        gap = _sigmoid(ranked.scores(keys)) - (end - middle) / (end - start)
        return np.asarray(gap[run])

    edges = [*np.unique(np.arange(bins) * number // bins).tolist(), number]
    # NumPy's `add.reduceat` adds the sum of the others to the first
    sums = [float(gaps(slice(a, a + 1))[0]) + _sum(gaps, a + 1, b) for a, b in itertools.pairwise(edges)]
    return float(np.abs(sums).sum() / number)


def _renumbered(ids: NDArray[Any]) -> tuple[NDArray[np.int32], int]:
    """Ids that occur, numbered from 0 in the same order; and how many there are."""
    present = np.zeros(int(ids.max()) + 1, dtype=np.bool_)
    present[ids] = True
    numbers = np.cumsum(present, dtype=np.int32)
    return numbers[ids] - np.int32(1), int(numbers[-1])


def _blocks(number: int) -> Iterator[slice]:
    return (slice(start, min(start + BLOCK, number)) for start in range(0, number, BLOCK))


def _sum(values: Callable[[slice], Floats], start: int, end: int) -> float:
    """The sum of `values` of the rows from `start` to `end`, to the bit as `numpy.sum` of all of them.

    NumPy halves an array, at a multiple of 8, until 128 numbers are left. A block is at least as large, so that it is such a
    half.
    """
    number = end - start
    if number <= max(BLOCK, 128):
        return float(values(slice(start, end)).sum()) if number else 0.0
    middle = start + number // 2 - number // 2 % 8
    return _sum(values, start, middle) + _sum(values, middle, end)


def _losses(labels: NDArray[Any], logits: NDArray[Any]) -> Floats:
    z = np.asarray(logits, dtype=np.float64)
    return np.asarray(np.logaddexp(0.0, z) - np.asarray(labels, dtype=np.float64) * z)


def _sigmoid(logits: NDArray[Any]) -> Floats:
    return np.asarray(np.exp(-np.logaddexp(0.0, -np.asarray(logits, dtype=np.float64))))
