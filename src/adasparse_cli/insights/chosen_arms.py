"""Which arms a figure shows at first, where all of them together cannot be read."""

from __future__ import annotations

from adasparse_cli.studies.comparison import Comparison

MOST_SHOWN = 3


def best_arm(comparison: Comparison) -> str | None:
    """The arm with the best GAUC on the valid split, apart from the baseline; the first where none has one."""
    rows = [row for row in comparison.table() if row["arm"] in comparison.logits and row["arm"] != comparison.baseline]
    known = {row["arm"]: -1.0 if row["valid_gauc_domain"] is None else row["valid_gauc_domain"] for row in rows}
    return max(known, key=lambda arm: known[arm]) if known else None


def shown_arms(comparison: Comparison) -> frozenset[str]:
    """All arms if they are few, else the baseline and the best by the valid split: test rows are for judging."""
    if len(comparison.logits) <= MOST_SHOWN:
        return frozenset(comparison.logits)
    best = best_arm(comparison)
    return frozenset([comparison.baseline, *([best] if best else [])])
