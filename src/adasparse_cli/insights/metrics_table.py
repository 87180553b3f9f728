"""Metrics of a single arm on each split: the first section of a page without a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adasparse_cli.findings.finding import Finding, Table, few_caption, is_few
from adasparse_cli.findings.wording import mean_or_none
from adasparse_cli.insights.cost import rates_shown
from adasparse_cli.studies.comparison import Comparison

METRICS = {
    "gauc_domain": "GAUC by domain",
    "gauc_domain_unweighted": "GAUC by domain, unweighted",
    "gauc_user": "GAUC by user",
    "auc": "AUC",
    "log_loss": "log loss",
    "calibration": "predicted / actual",
    "calibration_error": "calibration error (ECE)",
}


def metrics_finding(comparison: Comparison) -> Finding:
    """Metrics by split and the cost of the only arm, mean ± standard deviation over seeds."""
    (arm,) = comparison.arms
    reports = comparison.reports[arm.name]
    splits = [name for name in reports[0]["metrics"] if "," not in name]
    found = {split: [report["metrics"].get(split, {}) for report in reports] for split in splits}
    rows = [
        {"metric": name, **{split: spelled(found[split], metric) for split in splits}}
        for metric, name in METRICS.items()
    ]
    sizes = {split: own[0] for split, own in found.items() if own[0].get("rows") is not None}
    counts = ", ".join(f"{split}: {own['rows']:,} rows, {own['positives']:,} positives" for split, own in sizes.items())
    seeds = ", mean ± standard deviation over seeds" if len(reports) > 1 else ""
    caption = "; ".join(filter(None, (counts, few_caption(sizes))))
    (row,) = comparison.table()
    cost = {
        "multiply-adds per row": row["multiply_adds"],
        "parameters without embeddings": row["parameters"],
        "seconds per run": None if row["seconds"] is None else round(row["seconds"], 1),
        **rates_shown(row, [row]),
    }
    return Finding(
        name="metrics",
        title="Metrics",
        question="",
        answers=_left_out(found.get("test", [{}])[0]),
        tables=[
            Table(
                name="metrics",
                title=f"Metrics by split{seeds}",
                # a metric without values on every split, for example GAUC by user without users, is omitted
                rows=[own for own in rows if any(own[split] is not None for split in splits)],
                caption=caption,
            ),
            Table(name="cost", title="Cost", rows=[cost]),
        ],
        notes=(
            "GAUC by domain is the mean of the AUC within each domain, weighted by rows. Domains with one class are left out.",
            "Predicted / actual is the sum of the predicted rates over the number of positives: 1 is correct.",
        ),
    )


def spelled(found: Sequence[Mapping[str, Any]], metric: str) -> str | None:
    """Mean over seeds, with the standard deviation for several seeds; two digits and a mark if a class is rare."""
    values = [one.get(metric) for one in found]
    mean = mean_or_none(values)
    if mean is None:
        return None
    few = is_few(found[0].get("rows"), found[0].get("positives"))
    digits = ".2f" if few else ".4f"
    held = [float(value) for value in values if value is not None]
    spread = (sum((value - mean) ** 2 for value in held) / (len(held) - 1)) ** 0.5 if len(held) > 1 else None
    return f"{mean:{digits}}" + ("" if spread is None else f" ± {spread:{digits}}") + (" *" if few else "")


def _left_out(test: Mapping[str, Any]) -> list[str]:
    """The number of test domains excluded from the GAUC."""
    if not test.get("domains") or not test.get("one_class_domains"):
        return []
    share = test.get("one_class_domain_row_share") or 0.0
    return [
        f"GAUC by domain leaves out {test['one_class_domains']:,} of {test['domains']:,} test domains, which have one class "
        f"({share:.1%} of the test rows)."
    ]
