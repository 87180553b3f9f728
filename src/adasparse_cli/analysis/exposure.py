"""Gain by exposure: do domains with few training rows gain as much as domains with many?

Domains are sorted by training rows and divided into bins. Each bin is a separate test set in which every arm is
compared with the baseline. The answer is a contrast: the gain in the sparsest bin minus the gain in the densest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adasparse_cli.analysis.statistics import (
    Difference,
    Gaps,
    TestRows,
    contrast,
    corrected,
    difference_of,
    gaps,
)
from adasparse_cli.metrics import compute_metrics


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Domains with similar numbers of training rows.

    Args:
        low, high: smallest and largest number of training rows of its domains.
        metrics: by arm and metric, the mean over seeds; None if not available.
        gains: by arm, the difference from the baseline in GAUC by domain; None if the bin has no domain with both classes.
    """

    low: int
    high: int
    domains: int
    rows: int
    positives: int
    metrics: Mapping[str, Mapping[str, float | None]]
    gains: Mapping[str, Difference | None]


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """The bins, the sparsest first.

    `contrasts` has, by arm, the gain in the first bin minus the gain in the last, corrected for the number of arms; None if
    one of the two bins has no gain.
    """

    bins: Sequence[Bin]
    contrasts: Mapping[str, Difference | None]


def bins_of(train_rows: NDArray[Any], present: NDArray[Any], number: int, *, logarithmic: bool) -> NDArray[np.int64]:
    """The bin of each domain, 0 for the sparsest; −1 for domains without test rows.

    Args:
        train_rows: per domain. present: whether the domain has test rows.
        logarithmic: edges at equal ratios of training rows instead of equal numbers of domains.
    """
    result = np.full(len(train_rows), -1, dtype=np.int64)
    own = np.flatnonzero(present)
    if not len(own):
        return result
    if logarithmic:
        size = np.log1p(train_rows[own].astype(np.float64))
        edges = np.linspace(size.min(), size.max(), number + 1)[1:-1]
        result[own] = np.searchsorted(edges, size, side="right")
    else:
        order = own[np.argsort(train_rows[own], kind="stable")]
        result[order] = np.arange(len(order)) * number // len(order)
    return result


def exposure(
    rows: TestRows,
    train_rows: NDArray[Any],
    arms: Mapping[str, Sequence[NDArray[Any]]],
    *,
    baseline: str,
    number: int = 5,
    logarithmic: bool = False,
) -> Exposure:
    """Divide the domains into bins and compare the arms in each bin.

    Args:
        train_rows: per domain id. arms: logits by arm, one array per seed.
    """
    present = np.bincount(rows.domains, minlength=len(train_rows)) > 0
    placed = bins_of(train_rows, present, number, logarithmic=logarithmic)
    bins, found = [], []
    for k in range(number):
        domains = np.flatnonzero(placed == k)
        if not len(domains):
            continue
        inside = placed[rows.domains] == k
        own = TestRows(labels=rows.labels[inside], domains=rows.domains[inside], clusters=rows.clusters[inside])
        logits = {arm: [seed[inside] for seed in seeds] for arm, seeds in arms.items()}
        of_bin: dict[str, Gaps] = gaps("gauc_domain", own, logits, baseline=baseline)
        found.append(of_bin)
        bins.append(
            Bin(
                low=int(train_rows[domains].min()),
                high=int(train_rows[domains].max()),
                domains=len(domains),
                rows=int(inside.sum()),
                positives=int(own.labels.sum()),
                metrics={arm: _means(own, seeds, len(train_rows)) for arm, seeds in logits.items()},
                gains={arm: _usable(difference_of(gap)) for arm, gap in of_bin.items()},
            )
        )
    arms_compared = list(found[0]) if len(found) > 1 else []
    contrasts = corrected([contrast(found[0][arm], found[-1][arm]) for arm in arms_compared])
    return Exposure(bins=bins, contrasts={arm: _usable(one) for arm, one in zip(arms_compared, contrasts, strict=True)})


def _usable(found: Difference) -> Difference | None:
    return found if np.isfinite(found.difference) else None


def _means(rows: TestRows, seeds: Sequence[NDArray[Any]], domains: int) -> dict[str, float | None]:
    metrics = [compute_metrics(rows.labels, logits, rows.domains, domains).to_json() for logits in seeds]
    result: dict[str, float | None] = {}
    for name in ("auc", "gauc_domain", "log_loss"):
        values = [found[name] for found in metrics]
        result[name] = None if None in values else float(np.mean(values))
    return result
