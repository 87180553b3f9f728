"""Metrics of 300 domains over a million rows, against scikit-learn's AUC of the pooled rows.

python benchmarks/metrics.py [--quick]
"""

from __future__ import annotations

import sys

import common
import numpy as np
from sklearn.metrics import roc_auc_score

from adasparse_cli.metrics import grouped_auc


def main() -> None:
    """Print the ratio."""
    rows = 200_000 if "--quick" in sys.argv else 1_000_000
    draw = np.random.default_rng(0)
    labels = (draw.random(rows) < 0.02).astype(np.float32)
    scores = (draw.normal(size=rows) + labels).astype(np.float32)
    domains = np.minimum(draw.geometric(0.02, rows), 300) - 1
    seconds = common.by_turns(
        {
            "ours": lambda: grouped_auc(labels, scores, domains, 300),
            "scikit-learn": lambda: roc_auc_score(labels, scores),
        },
        rounds=7,
    )
    print(common.machine())
    ratio = common.ratios(seconds, "ours", "scikit-learn")
    print(f"AUC of 300 domains over scikit-learn's pooled AUC, {rows:,} rows: {ratio:.2f}  (target at most 1)")


if __name__ == "__main__":
    main()
