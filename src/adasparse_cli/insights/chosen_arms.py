"""The arms that a figure shows at first if there are too many to read."""

from __future__ import annotations

from adasparse_cli.studies.comparison import Comparison

MOST_SHOWN = 3


def best_arm(comparison: Comparison) -> str | None:
    """The arm with the best GAUC on the valid split, except the baseline; the first arm if none has one."""
    rows = [row for row in comparison.table() if row["arm"] in comparison.logits and row["arm"] != comparison.baseline]
    known = {row["arm"]: -1.0 if row["valid_gauc_domain"] is None else row["valid_gauc_domain"] for row in rows}
    return max(known, key=lambda arm: known[arm]) if known else None


def shown_arms(comparison: Comparison) -> frozenset[str]:
    """All arms if they are few, otherwise the baseline and the best by the valid split: the test split must not choose."""
    if len(comparison.logits) <= MOST_SHOWN:
        return frozenset(comparison.logits)
    best = best_arm(comparison)
    return frozenset([comparison.baseline, *([best] if best else [])])
